package configurator

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/kubeadm"
	"github.com/slipway-os/slipway/pkg/loadbalancer"
	"github.com/slipway-os/slipway/pkg/role"
)

// What shares the address runs after every boot, and is only started anew if
// it is to do something else.
func TestSharing(t *testing.T) {
	n, _ := configure(t, minimal)
	n.pinned = kubeadm.Pinned{NodeName: "cp1", NodeIP: "127.0.0.1"}
	n.role.Cluster.Endpoint = "192.0.2.100:6443"
	n.role.VirtualIP = &role.VirtualIP{Addresses: []string{"192.0.2.100"}, ControlPlanes: []role.Plane{{Name: "cp1", IP: "127.0.0.1"}}, RouterID: 51}
	var asked []string
	var fails error
	n.systemctl = func(_ context.Context, args ...string) error {
		asked = append(asked, strings.Join(args, " "))
		return fails
	}
	const both = " haproxy.service keepalived.service"
	for _, c := range []struct {
		name   string
		before func()
		want   []string
	}{
		{"the first start", func() {}, []string{"enable" + both, "restart" + both}},
		{"the next boot", func() {
			must(t, n.journal.Begin("virtual-ip"))
			must(t, n.journal.End("virtual-ip", 0))
		}, []string{"start" + both}},
		{"another control plane", func() {
			n.role.VirtualIP.ControlPlanes = append(n.role.VirtualIP.ControlPlanes, role.Plane{Name: "cp2", IP: "192.0.2.12"})
		}, []string{"enable" + both, "restart" + both}},
		{"a configuration that is gone", func() { must(t, os.Remove(n.path(loadbalancer.KeepalivedFile))) }, []string{"enable" + both, "restart" + both}},
		{"nothing new", func() {}, []string{"start" + both}},
	} {
		asked = nil
		c.before()
		must(t, n.share(t.Context()))
		if !slices.Equal(asked, c.want) {
			t.Errorf("%s: systemd was asked to %q, want %q", c.name, asked, c.want)
		}
	}
	fails = errors.New("it does not start")
	if err := n.share(t.Context()); !errors.Is(err, fails) {
		t.Errorf("one that does not start: %v", err)
	}
}
