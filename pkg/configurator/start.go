package configurator

import (
	"context"
	"slices"
	"time"

	"github.com/slipway-os/slipway/pkg/kubeadm"
)

// startCluster returns the steps of a control plane that starts a cluster.
func (c *Configurator) startCluster() []step {
	// What needs no waiting for the API server's own first steps: it obeys this
	// user from the start, the administrator only once it has made its roles.
	superAdmin := []string{"--kubeconfig", c.path(superAdminConfig)}
	authorities := step{
		name: "authorities", doing: "making the certificate authorities", run: c.authorities, next: tellsMore,
		// Nothing was signed by them yet. Those that are whole stay, for they
		// may be the user's own.
		clean: func() error { return c.pki().DropDamagedAuthorities() },
	}
	kubeconfigs := c.kubeconfigsStep("init phase kubeconfig all")
	write := kubeconfigs.run
	kubeconfigs.run = func(ctx context.Context) error {
		if err := write(ctx); err != nil {
			return err
		}
		return kubeadm.LetKubeletRotate(c.path(kubeadm.ConfigDir), c.path(kubeletPKI))
	}
	etcd := c.phaseStep("etcd", "configuring etcd", "init phase etcd local")
	etcd.clean = c.dropManifests("etcd")
	if c.role.Etcd != nil {
		etcd = step{name: "etcd", doing: "waiting for the etcd cluster", run: c.waitEtcd, next: "firstboot status on the etcd members tells more"}
	}
	vacant := step{name: "vacant", doing: "making sure that the cluster does not run yet", run: c.vacant, next: tellsMore}
	steps := append(c.withPods(), authorities, vacant, c.certificatesStep("init phase certs all"), kubeconfigs, etcd,
		c.planeStep("init phase control-plane apiserver", "kube-apiserver"))
	steps = append(append(steps, c.shareSteps()...),
		c.kubeletStep("init phase kubelet-start"),
		// Not kubeadm's wait-control-plane: it says nothing of why it waits.
		step{name: "api", doing: "waiting for the API server", run: c.waitAPI, next: podsTellMore},
		c.managersStep(),
		step{name: "subnet", doing: "giving the node its subnet of pods", run: c.assignSubnet, next: podsTellMore},
		c.phaseStep("proxy", "adding kube-proxy", "init phase addon kube-proxy", superAdmin...),
		step{name: "pod-network", doing: "adding the pod network", run: c.applyNetwork, next: podsTellMore},
		c.phaseStep("token", "making it ready for nodes to join", "init phase bootstrap-token", superAdmin...),
		step{name: "admin", doing: "letting the administrator in", run: c.admitAdmin, next: podsTellMore},
		// What joining nodes wait for, so it comes last of what they need: no
		// sooner do they keep the API server busy.
		c.phaseStep("config", "storing the configuration in the cluster", "init phase upload-config all", superAdmin...),
		c.phaseStep("mark", "marking the node as control plane", "init phase mark-control-plane"),
		// Services lead somewhere then: CoreDNS, started earlier, would wait for
		// long between its attempts.
		step{name: "joined", doing: "waiting for the node", run: c.waitNode, next: podsTellMore},
		step{name: "dns", doing: "configuring cluster DNS", run: c.dns, always: true, next: podsTellMore},
		c.phaseStep("coredns", "adding CoreDNS", "init phase addon coredns"),
		step{name: "manifests", doing: "applying the manifests of the role", run: c.applyManifests, next: "kubectl --kubeconfig " + adminConfig + " get events -A tells more"},
		step{name: ready, doing: "waiting for the node and its pods", run: c.waitReady, always: true, next: "kubectl --kubeconfig " + adminConfig + " -n kube-system get pods tells more"},
	)
	// A phase that is run by itself does not look whether it is wanted.
	without := map[string]bool{"proxy": kubeadm.Disabled(c.role, "proxy"), "dns": kubeadm.Disabled(c.role, "dns"), "coredns": kubeadm.Disabled(c.role, "dns")}
	steps = slices.DeleteFunc(steps, func(s step) bool { return without[s.name] })
	if kubeadm.SharesCertificates(c.role) {
		upload := c.phaseStep("upload-certs", "storing the shared certificates", "init phase upload-certs", "--upload-certs")
		steps = slices.Insert(steps, len(steps)-1, upload)
	}
	return steps
}

// managersStep starts the controller manager and the scheduler, once the API
// server says that it is healthy: both end where none does within ten seconds,
// and the kubelet starts again ever more seldom what ends.
func (c *Configurator) managersStep() step {
	return step{
		name: "managers", doing: "starting controller manager and scheduler", next: podsTellMore,
		clean: c.dropManifests("kube-controller-manager", "kube-scheduler"),
		run: func(ctx context.Context) error {
			for _, component := range []string{"controller-manager", "scheduler"} {
				if err := c.phase(ctx, "init phase control-plane "+component, c.path(kubeadmFile)); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// authorities makes the certificate authorities in a step of their own, so
// that whatever is interrupted later finds them whole.
func (c *Configurator) authorities(context.Context) error {
	if err := c.pki().Make(c.role, time.Now()); err != nil {
		return err
	}
	if err := c.pki().Check(); err != nil {
		return err
	}
	hash, err := c.pki().CAHash()
	if err == nil {
		c.status.Note("cluster CA " + hash)
	}
	return err
}
