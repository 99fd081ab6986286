package configurator

import (
	"bytes"
	"context"
	"os"
	"path/filepath"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/durable"
	"github.com/slipway-os/slipway/pkg/kubeadm"
	"github.com/slipway-os/slipway/pkg/loadbalancer"
	"github.com/slipway-os/slipway/pkg/podnet"
)

// shareSteps are the steps of a control plane that shares an address with
// others.
func (c *Configurator) shareSteps() []step {
	if c.role.VirtualIP == nil {
		return nil
	}
	return []step{{name: "virtual-ip", doing: "sharing the virtual address", run: c.share, always: true, next: "journalctl -u haproxy -u keepalived tells more"}}
}

// share starts what gives the shared address to one of the control planes, and
// passes connections to it on to all. Later boots start it by themselves, unless
// the role names other control planes by then; whether they did is looked at.
func (c *Configurator) share(ctx context.Context) error {
	if _, err := c.role.VirtualIP.Rank(c.pinned.NodeIP); err != nil {
		return &FatalError{diag.At(c.role.Position("virtualIP.controlPlanes"), "name it there, or give the node node.ip", "%v", err)}
	}
	keepalived, err := loadbalancer.Keepalived(*c.role.VirtualIP, c.pinned.NodeIP, podnet.LinkOf)
	if err != nil {
		return err
	}
	_, port := kubeadm.SplitEndpoint(c.role.Cluster.Endpoint)
	same := c.journal.Done("virtual-ip")
	for file, content := range map[string][]byte{
		loadbalancer.HAProxyFile:    loadbalancer.HAProxy(*c.role.VirtualIP, port, c.role.APIPort(), kubeadm.PKIDir+"/ca.crt"),
		loadbalancer.KeepalivedFile: keepalived,
	} {
		if old, err := os.ReadFile(c.path(file)); err == nil && bytes.Equal(old, content) {
			continue
		}
		same = false
		if err := os.MkdirAll(filepath.Dir(c.path(file)), 0o755); err != nil {
			return err
		}
		if err := durable.WriteFile(c.path(file), content, 0o644); err != nil {
			return err
		}
	}
	units := []string{"haproxy.service", "keepalived.service"}
	if same { // what runs is left alone
		return c.systemctl(ctx, append([]string{"start"}, units...)...)
	}
	if err := c.systemctl(ctx, append([]string{"enable"}, units...)...); err != nil {
		return err
	}
	return c.systemctl(ctx, append([]string{"restart"}, units...)...)
}
