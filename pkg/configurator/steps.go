package configurator

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/slipway-os/slipway/pkg/cri"
	"github.com/slipway-os/slipway/pkg/kubeadm"
	"github.com/slipway-os/slipway/pkg/podnet"
)

// steps returns the steps of a control plane that starts a cluster.
func (c *Configurator) steps() []step {
	const (
		tellsMore    = "journalctl -u kubelet -u containerd -u slipway-configure tells more"
		podsTellMore = "journalctl -u kubelet, and the logs below /var/log/pods, tell more"
	)
	// What needs no waiting for the API server's own first steps: it obeys this
	// user from the start, the administrator only once it has made its roles.
	superAdmin := []string{"--kubeconfig", c.path(superAdminConfig)}
	pki, config := c.path(kubeadm.PKIDir), c.path(kubeadm.ConfigDir)
	phase := func(name, doing, phase string, args ...string) step {
		return step{name: name, doing: doing, next: tellsMore, run: func(ctx context.Context) error {
			return c.phase(ctx, phase, c.path(kubeadmFile), args...)
		}}
	}
	authorities := step{
		name: "authorities", doing: "making the certificate authorities", run: c.authorities, next: tellsMore,
		// Nothing was signed by them yet. Those that are whole stay, for they
		// may be the user's own.
		clean: func() error { return kubeadm.DropDamagedAuthorities(pki) },
	}
	certificates := phase("certificates", "making certificates", "certs all")
	certificates.clean = func() error {
		_, err := kubeadm.DropDamagedLeaves(pki)
		return err
	}
	kubeconfigs := step{name: "kubeconfigs", doing: "writing kubeconfigs", next: tellsMore, run: func(ctx context.Context) error {
		if err := c.phase(ctx, "kubeconfig all", c.path(kubeadmFile)); err != nil {
			return err
		}
		return kubeadm.LetKubeletRotate(config, c.path(kubeletPKI))
	}}
	kubeconfigs.clean = func() error {
		_, err := kubeadm.DropDamagedKubeconfigs(config, pki)
		return err
	}
	// Only kubeadm's own: other static pods there are the user's.
	manifests := func(names ...string) func() error {
		return func() error {
			var files []string
			for _, n := range names {
				files = append(files, filepath.Join(config, "manifests", n+".yaml"))
			}
			return removeAll(files...)
		}
	}
	etcd := phase("etcd", "configuring etcd", "etcd local")
	etcd.clean = manifests("etcd")
	plane := phase("control-plane", "configuring the control plane", "control-plane all")
	plane.clean = manifests("kube-apiserver", "kube-controller-manager", "kube-scheduler")
	kubelet := phase("kubelet", "starting the kubelet", "kubelet-start")
	kubelet.clean = func() error {
		dir := c.path("/var/lib/kubelet")
		return removeAll(filepath.Join(dir, "config.yaml"), filepath.Join(dir, "instance-config.yaml"), filepath.Join(dir, "kubeadm-flags.env"))
	}
	steps := []step{
		{name: "node", doing: "finding out name and address", run: c.node, next: "is a cable in, is there DHCP? node.name and node.ip of the role pin both"},
		{name: "images", doing: "checking the baked images", run: c.images, always: true, next: "journalctl -u slipway-seed -u containerd tells more"},
		{name: "network", doing: "setting up the pod network", run: c.network, always: true, next: tellsMore},
		authorities, certificates, kubeconfigs, etcd, plane, kubelet,
		// Not kubeadm's wait-control-plane: it says nothing of why it waits.
		{name: "api", doing: "waiting for the API server", run: c.waitAPI, next: podsTellMore},
		{name: "subnet", doing: "giving the node its subnet of pods", run: c.assignSubnet, next: podsTellMore},
		phase("config", "storing the configuration in the cluster", "upload-config all", superAdmin...),
		phase("proxy", "adding kube-proxy", "addon kube-proxy", superAdmin...),
		phase("token", "making it ready for nodes to join", "bootstrap-token", superAdmin...),
		{name: "admin", doing: "letting the administrator in", run: c.admitAdmin, next: podsTellMore},
		phase("mark", "marking the node as control plane", "mark-control-plane"),
		// Services lead somewhere then: CoreDNS, started earlier, would wait for
		// long between its attempts.
		{name: "joined", doing: "waiting for the node", run: c.waitNode, next: podsTellMore},
		{name: "dns", doing: "configuring cluster DNS", run: c.dns, always: true, next: podsTellMore},
		phase("coredns", "adding CoreDNS", "addon coredns"),
		{name: ready, doing: "waiting for the node and its pods", run: c.waitReady, always: true, next: "kubectl --kubeconfig " + adminConfig + " -n kube-system get pods tells more"},
	}
	if kubeadm.SharesCertificates(c.role) {
		upload := phase("upload-certs", "storing the shared certificates", "upload-certs", "--upload-certs")
		steps = slices.Insert(steps, len(steps)-1, upload)
	}
	return steps
}

// removeAll removes files that may not exist.
func removeAll(files ...string) error {
	var errs []error
	for _, f := range files {
		errs = append(errs, os.RemoveAll(f))
	}
	return errors.Join(errs...)
}

// images checks through the runtime that every baked image is there: kubeadm
// itself no longer looks, and a missing one would only show as a long wait.
func (c *Configurator) images(ctx context.Context) error {
	client := cri.New(c.path(criSocket))
	defer client.Close()
	var err error
	for range 150 {
		var images []cri.Image
		asked, cancel := context.WithTimeout(ctx, 10*time.Second)
		images, err = client.ListImages(asked)
		cancel()
		if err == nil {
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

// network sets up what pods need of the kernel, and tells containerd the MTU
// that the uplink has by now.
func (c *Configurator) network(ctx context.Context) error {
	if err := podnet.Apply(ctx, c.role.Cluster); err != nil {
		return err
	}
	for deadline := time.Now().Add(15 * time.Second); !podnet.HasAddress(c.pinned.NodeIP) && time.Now().Before(deadline); {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	return podnet.Render(c.role.Cluster)
}

// authorities makes the certificate authorities in a step of their own, so
// that whatever is interrupted later finds them whole.
func (c *Configurator) authorities(context.Context) error {
	if err := kubeadm.MakeAuthorities(c.path(kubeadm.PKIDir), c.role, time.Now()); err != nil {
		return err
	}
	if err := kubeadm.CheckAuthorities(c.path(kubeadm.PKIDir)); err != nil {
		return err
	}
	hash, err := kubeadm.CAHash(c.path(kubeadm.PKIDir))
	if err == nil {
		c.status.Note("cluster CA " + hash)
	}
	return err
}
