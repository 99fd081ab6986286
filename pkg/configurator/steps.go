package configurator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/slipway-os/slipway/pkg/cri"
	"github.com/slipway-os/slipway/pkg/durable"
	"github.com/slipway-os/slipway/pkg/kubeadm"
	"github.com/slipway-os/slipway/pkg/podnet"
)

// steps returns the steps of a control plane that starts a cluster.
func (c *Configurator) steps() []step {
	phase := func(name, doing, phase string, args ...string) step {
		return step{name: name, doing: doing, next: "journalctl -u kubelet -u containerd -u slipway-configure tells more", run: func(ctx context.Context) error {
			return kubeadm.Phase(ctx, phase, kubeadmFile, args...)
		}}
	}
	authorities := step{
		name: "authorities", doing: "making the certificate authorities", run: c.authorities,
		// Nothing was signed by them yet: an attempt that was cut off may go.
		clean: func() error { return removeAll(kubeadm.AuthorityFiles(kubeadm.PKIDir)...) },
	}
	certificates := phase("certificates", "making certificates", "certs all")
	certificates.clean = func() error { return removeAll(kubeadm.LeafFiles(kubeadm.PKIDir)...) }
	kubeconfigs := phase("kubeconfigs", "writing kubeconfigs", "kubeconfig all")
	kubeconfigs.clean = func() error { return removeGlob("/etc/kubernetes/*.conf") }
	etcd := phase("etcd", "configuring etcd", "etcd local")
	etcd.clean = func() error { return removeAll("/etc/kubernetes/manifests/etcd.yaml") }
	plane := phase("control-plane", "configuring the control plane", "control-plane all")
	plane.clean = func() error { return removeGlob("/etc/kubernetes/manifests/kube-*.yaml") }
	kubelet := phase("kubelet", "starting the kubelet", "kubelet-start")
	kubelet.clean = func() error { return removeAll("/var/lib/kubelet/config.yaml", "/var/lib/kubelet/kubeadm-flags.env") }
	return []step{
		{name: "node", doing: "finding out name and address", run: c.node, next: "is a cable in, is there DHCP? node.name and node.ip of the role pin both"},
		{name: "images", doing: "checking the baked images", run: c.images, always: true, next: "journalctl -u slipway-seed -u containerd tells more"},
		{name: "network", doing: "setting up the pod network", run: c.network, always: true},
		authorities, certificates, kubeconfigs, etcd, plane, kubelet,
		// Not kubeadm's wait-control-plane: it says nothing of why it waits.
		{name: "api", doing: "waiting for the API server", run: c.waitAPI, next: "journalctl -u kubelet, and the logs below /var/log/pods, tell more"},
		phase("config", "storing the configuration in the cluster", "upload-config all"),
		{name: "dns", doing: "configuring cluster DNS", run: c.dns, always: true},
		phase("addons", "adding kube-proxy and CoreDNS", "addon all"),
		phase("mark", "marking the node as control plane", "mark-control-plane"),
		phase("token", "making it ready for nodes to join", "bootstrap-token"),
		phase("upload-certs", "storing the shared certificates", "upload-certs", "--upload-certs"),
		phase("finalize", "letting the kubelet rotate its certificate", "kubelet-finalize all"),
		{name: ready, doing: "waiting for the node and its pods", run: c.waitReady, always: true, next: "kubectl --kubeconfig " + adminConfig + " -n kube-system get pods tells more"},
	}
}

func removeGlob(pattern string) error {
	files, err := filepath.Glob(pattern)
	if err != nil {
		return err
	}
	return removeAll(files...)
}

// node finds out the node's name and address and pins them, together with
// the secrets that each run of kubeadm would otherwise make anew.
func (c *Configurator) node(ctx context.Context) error {
	if c.pinned.NodeName != "" {
		return c.writeConfig()
	}
	name := strings.ToLower(c.role.Node.Name)
	if name == "" {
		host, err := os.Hostname()
		if err != nil {
			return err
		}
		if name = strings.ToLower(host); name == "" || name == "localhost" || name == "(none)" {
			id, err := os.ReadFile("/etc/machine-id")
			if err != nil {
				return err
			}
			name = "node-" + string(id)[:8]
		}
	}
	address, err := c.address(ctx)
	if err != nil {
		return err
	}
	if c.pinned, err = kubeadm.NewPinned(name, address); err != nil {
		return err
	}
	if err := durable.WriteFile("/etc/hostname", []byte(name+"\n"), 0o644); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte(name)); err != nil {
		return fmt.Errorf("setting the host name %q: %w", name, err)
	}
	data, err := json.Marshal(c.pinned)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(pinnedFile, data, 0o600); err != nil {
		return err
	}
	return c.writeConfig()
}

// address waits for the node's own address, of the family of the pods.
func (c *Configurator) address(ctx context.Context) (string, error) {
	if c.role.Node.IP != "" {
		return c.role.Node.IP, nil
	}
	v6 := false
	if p, err := netip.ParsePrefix(c.role.Cluster.PodSubnets[0]); err == nil {
		v6 = p.Addr().Is6()
	}
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	for said := false; ; {
		if a, ok := podnet.Uplink(v6); ok {
			return a.String(), nil
		}
		if !said {
			said = true
			c.status.Waiting("no interface has an address yet")
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-deadline.C:
			return "", errors.New("no interface got an address")
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// recall reads what was pinned.
func (c *Configurator) recall() error {
	data, err := os.ReadFile(pinnedFile)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, &c.pinned); err != nil || c.pinned.NodeName == "" {
		return fmt.Errorf("reading %s: it is damaged", pinnedFile)
	}
	return nil
}

// writeConfig writes the configuration that every phase reads.
func (c *Configurator) writeConfig() error {
	config, err := kubeadm.Config(c.role, c.image, c.pinned)
	if err != nil {
		return err
	}
	if err := c.resolveEndpoint(); err != nil {
		return err
	}
	return durable.WriteFile(kubeadmFile, config, 0o600)
}

// resolveEndpoint lets the node know itself by the endpoint's name where no
// resolver does: it is the only one that can be meant yet.
func (c *Configurator) resolveEndpoint() error {
	host, _ := kubeadm.SplitEndpoint(c.role.Cluster.Endpoint)
	if host == "" {
		return nil
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if _, err := net.DefaultResolver.LookupHost(ctx, host); err == nil {
		return nil
	}
	const file = "/etc/hosts"
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return durable.WriteFile(file, append(data, []byte(c.pinned.NodeIP+" "+host+"\n")...), 0o644)
}

// images checks through the runtime that every baked image is there: kubeadm
// itself no longer looks, and a missing one would only show as a long wait.
func (c *Configurator) images(ctx context.Context) error {
	client := cri.New(criSocket)
	var err error
	for range 150 {
		var images []cri.Image
		if images, err = client.ListImages(ctx); err == nil {
			return missing(c.image.Images, images)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
	return fmt.Errorf("asking containerd for its images: %w", err)
}

func missing(wanted []string, images []cri.Image) error {
	var gone []string
	for _, ref := range wanted {
		if !slices.ContainsFunc(images, func(i cri.Image) bool { return slices.Contains(i.RepoTags, ref) }) {
			gone = append(gone, ref)
		}
	}
	if len(gone) > 0 {
		return fmt.Errorf("containerd lacks baked images: %s", strings.Join(gone, ", "))
	}
	return nil
}

func (c *Configurator) network(ctx context.Context) error {
	return podnet.Apply(ctx, c.role.Cluster.PodSubnets, c.role.Cluster.ServiceSubnets)
}

// authorities makes the certificate authorities in a step of their own, so
// that whatever is interrupted later finds them whole.
func (c *Configurator) authorities(ctx context.Context) error {
	for _, p := range []string{"certs ca", "certs etcd-ca", "certs front-proxy-ca", "certs sa"} {
		if err := kubeadm.Phase(ctx, p, kubeadmFile); err != nil {
			return err
		}
	}
	if err := kubeadm.CheckAuthorities(kubeadm.PKIDir); err != nil {
		return err
	}
	hash, err := kubeadm.CAHash(kubeadm.PKIDir)
	if err == nil {
		c.status.Note("cluster CA " + hash)
	}
	return err
}

// inspect looks at what earlier runs left before anything goes on from there.
func (c *Configurator) inspect() error {
	if !c.journal.Done("authorities") {
		return nil
	}
	if err := kubeadm.CheckAuthorities(kubeadm.PKIDir); err != nil {
		return &fatalError{fmt.Errorf("this cluster's certificate authorities are damaged and are not made anew, for every node trusts them; restore %s from a backup: %w", kubeadm.PKIDir, err)}
	}
	if !c.journal.Done("certificates") {
		return nil
	}
	dropped, err := kubeadm.DropDamagedLeaves(kubeadm.PKIDir)
	if err != nil {
		return err
	}
	if len(dropped) > 0 && !c.journal.Done(ready) {
		c.status.Waiting("damaged certificates are made again: " + strings.Join(dropped, ", "))
		return c.journal.Forget("certificates")
	}
	return nil
}
