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
	const tellsMore = "journalctl -u kubelet -u containerd -u slipway-configure tells more"
	pki, config := c.path(kubeadm.PKIDir), c.path(kubeadm.ConfigDir)
	phase := func(name, doing, phase string, args ...string) step {
		return step{name: name, doing: doing, next: tellsMore, run: func(ctx context.Context) error {
			return kubeadm.Phase(ctx, phase, c.path(kubeadmFile), args...)
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
	kubeconfigs := phase("kubeconfigs", "writing kubeconfigs", "kubeconfig all")
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
	return []step{
		{name: "node", doing: "finding out name and address", run: c.node, next: "is a cable in, is there DHCP? node.name and node.ip of the role pin both"},
		{name: "images", doing: "checking the baked images", run: c.images, always: true, next: "journalctl -u slipway-seed -u containerd tells more"},
		{name: "network", doing: "setting up the pod network", run: c.network, always: true, next: tellsMore},
		authorities, certificates, kubeconfigs, etcd, plane, kubelet,
		// Not kubeadm's wait-control-plane: it says nothing of why it waits.
		{name: "api", doing: "waiting for the API server", run: c.waitAPI, next: "journalctl -u kubelet, and the logs below /var/log/pods, tell more"},
		phase("config", "storing the configuration in the cluster", "upload-config all"),
		{name: "dns", doing: "configuring cluster DNS", run: c.dns, always: true, next: "journalctl -u kubelet, and the logs below /var/log/pods, tell more"},
		phase("addons", "adding kube-proxy and CoreDNS", "addon all"),
		phase("mark", "marking the node as control plane", "mark-control-plane"),
		phase("token", "making it ready for nodes to join", "bootstrap-token"),
		phase("upload-certs", "storing the shared certificates", "upload-certs", "--upload-certs"),
		phase("finalize", "letting the kubelet rotate its certificate", "kubelet-finalize all"),
		{name: ready, doing: "waiting for the node and its pods", run: c.waitReady, always: true, next: "kubectl --kubeconfig " + adminConfig + " -n kube-system get pods tells more"},
	}
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
	if err := podnet.Apply(ctx, c.role.Cluster.PodSubnets, c.role.Cluster.ServiceSubnets); err != nil {
		return err
	}
	for deadline := time.Now().Add(15 * time.Second); !podnet.HasAddress(c.pinned.NodeIP) && time.Now().Before(deadline); {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	return podnet.Render()
}

// authorities makes the certificate authorities in a step of their own, so
// that whatever is interrupted later finds them whole.
func (c *Configurator) authorities(ctx context.Context) error {
	for _, p := range []string{"certs ca", "certs etcd-ca", "certs front-proxy-ca", "certs sa"} {
		if err := kubeadm.Phase(ctx, p, c.path(kubeadmFile)); err != nil {
			return err
		}
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
