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
	"github.com/slipway-os/slipway/pkg/role"
)

// steps returns the steps of the node's role.
func (c *Configurator) steps() []step {
	switch {
	case c.role.Role == role.Etcd:
		return c.serveEtcd()
	case c.role.Role == role.Worker:
		return c.joinAsWorker()
	case c.role.Join != nil:
		return c.joinAsControlPlane()
	}
	return c.startCluster()
}

// What a person can ask for more.
const (
	tellsMore    = "journalctl -u kubelet -u containerd -u slipway-configure tells more"
	podsTellMore = "journalctl -u kubelet, and the logs below /var/log/pods, tell more"
)

// phase is a step that is a phase of kubeadm's.
func (c *Configurator) phaseStep(name, doing, phase string, args ...string) step {
	return step{name: name, doing: doing, next: tellsMore, run: func(ctx context.Context) error {
		return c.phase(ctx, phase, c.path(kubeadmFile), args...)
	}}
}

// prepare are the steps of every node.
func (c *Configurator) prepare() []step {
	return append(c.clockStep(), []step{
		{name: "node", doing: "finding out name and address", run: c.node, next: "is a cable in, is there DHCP? node.name and node.ip of the role pin both"},
		{name: "images", doing: "checking the baked images", run: c.images, always: true, next: "journalctl -u slipway-seed -u containerd tells more"},
	}...)
}

// withPods are the steps of every node of a cluster.
func (c *Configurator) withPods() []step {
	return append(c.prepare(), step{name: "network", doing: "setting up the pod network", run: c.network, always: true, next: tellsMore})
}

// certificatesStep is the step of a control plane that makes its certificates.
func (c *Configurator) certificatesStep(phase string) step {
	s := c.phaseStep("certificates", "making certificates", phase)
	s.clean = func() error {
		_, err := c.pki().DropDamagedLeaves()
		return err
	}
	return s
}

// kubeconfigsStep is the step that writes the kubeconfigs of what runs on a
// control plane.
func (c *Configurator) kubeconfigsStep(phase string) step {
	s := c.phaseStep("kubeconfigs", "writing kubeconfigs", phase)
	s.clean = func() error {
		_, err := c.dropDamagedKubeconfigs()
		return err
	}
	return s
}

// planeStep is the step that starts components of the control plane.
func (c *Configurator) planeStep(phase string, components ...string) step {
	s := c.phaseStep("control-plane", "configuring the control plane", phase)
	s.clean = c.dropManifests(components...)
	return s
}

// kubeletStep is the step that configures and starts the kubelet.
func (c *Configurator) kubeletStep(phase string) step {
	s := c.phaseStep("kubelet", "starting the kubelet", phase)
	s.clean = func() error {
		// One that an interrupted attempt started registers the node, and kubeadm
		// takes that for another machine of the same name.
		if err := c.systemctl(context.Background(), "stop", "kubelet.service"); err != nil {
			return err
		}
		dir := c.path("/var/lib/kubelet")
		return removeAll(filepath.Join(dir, "config.yaml"), filepath.Join(dir, "instance-config.yaml"), filepath.Join(dir, "kubeadm-flags.env"))
	}
	return s
}

// dropManifests removes what an interrupted attempt left of kubeadm's own
// static pods; others there are the user's.
func (c *Configurator) dropManifests(names ...string) func() error {
	return func() error {
		var files []string
		for _, n := range names {
			files = append(files, c.manifest(n))
		}
		return removeAll(files...)
	}
}

// pki is the node's certificates.
func (c *Configurator) pki() kubeadm.PKI {
	all := kubeadm.NewPKI(c.path(kubeadm.PKIDir), c.role)
	return all.Without(c.keyless(all))
}

// keyless are the authorities that are kept elsewhere. What is missing later
// than at the first start is lost.
func (c *Configurator) keyless(all kubeadm.PKI) []string {
	if c.pinned.NodeName == "" && !c.journal.Done(c.founded()) {
		return all.Keyless()
	}
	return c.pinned.Keyless
}

// signsItself says whether the node has the key of the cluster's authority.
func (c *Configurator) signsItself() bool { return slices.Contains(c.pki().Authorities, "ca") }

func (c *Configurator) kubeconfigs() []string { return kubeadm.Kubeconfigs(c.role.Join != nil) }

// dropDamagedKubeconfigs lets kubeconfigs be made again that are damaged; those
// that were signed elsewhere nobody here can make.
func (c *Configurator) dropDamagedKubeconfigs() ([]string, error) {
	dir, pki := c.path(kubeadm.ConfigDir), c.path(kubeadm.PKIDir)
	if !c.signsItself() {
		return nil, kubeadm.CheckKubeconfigs(dir, pki, c.kubeconfigs())
	}
	return kubeadm.DropDamagedKubeconfigs(dir, pki, c.kubeconfigs())
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
