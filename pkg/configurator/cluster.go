package configurator

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/slipway-os/slipway/pkg/console"
	"github.com/slipway-os/slipway/pkg/kubeadm"
	"github.com/slipway-os/slipway/pkg/kubeapi"
	"github.com/slipway-os/slipway/pkg/podnet"
	"github.com/slipway-os/slipway/pkg/role"
)

// client asks this node's API server as the administrator.
func (c *Configurator) client() (*kubeapi.Client, error) {
	data, err := os.ReadFile(c.path(adminConfig))
	if err != nil {
		return nil, err
	}
	return kubeapi.FromKubeconfig(data, nil)
}

// waitAPI waits until the API server has done all that it does at a start, and
// serves what is in etcd.
func (c *Configurator) waitAPI(ctx context.Context) error {
	client, err := c.superAdmin()
	if err != nil {
		return err
	}
	defer client.Close()
	return c.waitFor(ctx, c.local(), func(ctx context.Context) (string, error) {
		for _, path := range []string{"/healthz", "/api/v1/namespaces/kube-system"} {
			if _, err := client.Send(ctx, http.MethodGet, path, "", nil); err != nil {
				return "", err
			}
		}
		return "", nil
	})
}

// assignSubnet gives the first node the subnet that the controller manager
// would give it once it leads and has its controllers up, which takes a while:
// the pod network and with it the node are ready that much sooner.
func (c *Configurator) assignSubnet(ctx context.Context) error {
	subnets := kubeadm.FirstSubnets(c.role)
	if len(subnets) == 0 {
		return nil
	}
	client, err := c.superAdmin()
	if err != nil {
		return err
	}
	defer client.Close()
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"podCIDR": subnets[0], "podCIDRs": subnets}})
	if err != nil {
		return err
	}
	path := "/api/v1/nodes/" + c.pinned.NodeName
	return c.waitFor(ctx, c.local(), func(ctx context.Context) (string, error) {
		var node struct{ Spec struct{ PodCIDR string } }
		err := client.Get(ctx, path, &node)
		if err == nil && node.Spec.PodCIDR == "" {
			_, err = client.Send(ctx, http.MethodPatch, path, "application/merge-patch+json", bytes.NewReader(patch))
		}
		if kubeapi.IsNotFound(err) {
			return "the kubelet has not registered the node yet", nil
		}
		return "", err
	})
}

// superAdmin is a client that the API server obeys before it has any roles.
func (c *Configurator) superAdmin() (*kubeapi.Client, error) {
	data, err := os.ReadFile(c.path(superAdminConfig))
	if err != nil {
		return nil, err
	}
	return kubeapi.FromKubeconfig(data, nil)
}

// admitAdmin binds kubeadm's group of administrators to the role that may do
// everything, as kubeadm does, and waits until that holds.
func (c *Configurator) admitAdmin(ctx context.Context) error {
	const binding = `{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRoleBinding","metadata":{"name":"kubeadm:cluster-admins"},` +
		`"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"cluster-admin"},` +
		`"subjects":[{"apiGroup":"rbac.authorization.k8s.io","kind":"Group","name":"kubeadm:cluster-admins"}]}`
	super, err := c.superAdmin()
	if err != nil {
		return err
	}
	defer super.Close()
	_, err = super.Send(ctx, http.MethodPost, "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", "application/json", strings.NewReader(binding))
	var status *kubeapi.StatusError
	if err != nil && (!errors.As(err, &status) || status.Code != http.StatusConflict) {
		return fmt.Errorf("binding the administrators to their role: %w", err)
	}
	client, err := c.client()
	if err != nil {
		return err
	}
	defer client.Close()
	return c.waitFor(ctx, c.local(), func(ctx context.Context) (string, error) {
		_, err := client.Send(ctx, http.MethodGet, "/api/v1/nodes", "", nil)
		return "", err
	})
}

// waitNode waits for the node to be Ready, and for kube-proxy on it. Without a
// pod network it only waits for the node.
func (c *Configurator) waitNode(ctx context.Context) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	defer client.Close()
	wait := func(ask func(context.Context) (string, error)) error {
		return c.waitFor(ctx, c.local(), ask)
	}
	proxy := func(ctx context.Context) (string, error) { return client.WaitingProxy(ctx, c.pinned.NodeName) }
	if c.role.Cluster.PodNetwork.Backend == role.NoNetwork {
		// What brings one may be applied later on.
		if err := wait(func(ctx context.Context) (string, error) { return client.WaitingHosted(ctx, c.pinned.NodeName) }); err != nil {
			return err
		}
		return wait(proxy)
	}
	err = wait(func(ctx context.Context) (string, error) { return client.WaitingNode(ctx, c.pinned.NodeName) })
	if err != nil {
		return err
	}
	c.status.Note(fmt.Sprintf("the node is Ready %.0f s after the start", console.Uptime().Seconds()))
	return wait(proxy)
}

// waitReady waits for the node to be Ready and every pod of kube-system to run,
// as far as the role lets them, but for those on nodes that joined meanwhile.
// Once they did, what somebody took out of the cluster is not what a boot of
// this node waits for.
func (c *Configurator) waitReady(ctx context.Context) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	defer client.Close()
	ask := client.Waiting
	switch {
	case !c.bringsNetwork():
		ask = c.hosted(client)
	// Without CoreDNS there may be no Deployment, without kube-proxy no DaemonSet.
	case c.journal.Done(ready), kubeadm.Disabled(c.role, "dns"), kubeadm.Disabled(c.role, "proxy"):
		ask = client.WaitingOn
	}
	return c.waitFor(ctx, c.local(), func(ctx context.Context) (string, error) { return ask(ctx, c.pinned.NodeName) })
}

// pace is how to wait for something.
type pace struct {
	first, most time.Duration // between two questions; ever longer, up to the most
	patience    time.Duration // how long an error is no news
	why         func(error) string
}

// local is how to wait for what this node starts itself: its API server does
// not answer for a while at every start.
func (c *Configurator) local() pace {
	return pace{first: 250 * time.Millisecond, most: time.Second, patience: 20 * time.Second, why: c.why}
}

// waitFor asks until the answer is that there is nothing to wait for. What
// there is, is told when it changes.
func (c *Configurator) waitFor(ctx context.Context, p pace, ask func(context.Context) (string, error)) error {
	said, since, pause := "", time.Now(), p.first
	for {
		asked, cancel := context.WithTimeout(ctx, 10*time.Second)
		began := time.Now()
		waiting, err := ask(asked)
		took := time.Since(began)
		cancel()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil && waiting == "" {
			if said != "" {
				c.status.Resumed()
			}
			return nil
		}
		if err == nil {
			since = time.Now()
		} else if time.Since(since) >= p.patience {
			waiting = p.why(err)
		}
		if waiting != "" && waiting != said {
			c.status.Waiting(waiting)
			said = waiting
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		// Who answers slowly has other things to do.
		case <-time.After(max(pause, min(took, 3*time.Second))):
		}
		pause = min(pause*3/2, p.most)
	}
}

// within is waitFor for a while. It says whether there was nothing left to wait
// for before patience ran out.
func (c *Configurator) within(ctx context.Context, patience time.Duration, ask func() string) (bool, error) {
	if ask() == "" { // be patience as short as it may
		return true, ctx.Err()
	}
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	pace := pace{first: 200 * time.Millisecond, most: 200 * time.Millisecond}
	err := c.waitFor(limited, pace, func(context.Context) (string, error) { return ask(), nil })
	return err == nil, ctx.Err()
}

// why says what is known of an API server that is not ready: what it says
// itself, that the node's address is gone, or which containers have run.
func (c *Configurator) why(err error) string {
	var status *kubeapi.StatusError
	if errors.As(err, &status) {
		return "the API server answers, but is not ready: " + status.Message
	}
	var unknown *tls.CertificateVerificationError
	if errors.As(err, &unknown) {
		return "the API server's certificate is not accepted: " + unknown.Err.Error()
	}
	if ip := c.pinned.NodeIP; ip != "" && !podnet.HasAddress(ip) {
		return fmt.Sprintf("the address %s, which this node was configured with, is on none of its interfaces; give it back to the machine", ip)
	}
	running := c.runningPods()
	if len(running) == 0 {
		return "the kubelet has started no pod yet"
	}
	return "the API server does not answer; there are logs of " + strings.Join(running, ", ")
}

// runningPods names the containers that have written logs.
func (c *Configurator) runningPods() []string {
	dirs, _ := filepath.Glob(c.path("/var/log/pods/kube-system_*/*"))
	var names []string
	for _, d := range dirs {
		if name := filepath.Base(d); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// configMap is a ConfigMap of the API.
type configMap struct {
	APIVersion string            `json:"apiVersion"`
	Kind       string            `json:"kind"`
	Metadata   map[string]any    `json:"metadata"`
	Data       map[string]string `json:"data"`
}

// dns writes CoreDNS's configuration before kubeadm would, and at later boots
// follows a resolver that came or went: with a forwarder and no resolver
// CoreDNS does not start. But the configuration is that of all control planes:
// one that starts before its resolvers are known does not take the others'
// away. A configuration of the user's own stays.
func (c *Configurator) dns(ctx context.Context) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	defer client.Close()
	const all = "/api/v1/namespaces/kube-system/configmaps"
	const one = all + "/coredns"
	var old configMap
	found := false
	err = c.waitFor(ctx, c.local(), func(ctx context.Context) (string, error) {
		err := client.Get(ctx, one, &old)
		if kubeapi.IsNotFound(err) {
			return "", nil
		}
		found = err == nil
		return "", err
	})
	if err != nil {
		return err
	}
	upstream := c.hasResolver()
	wanted, ok := corefile(c.role.Cluster.DNSDomain, upstream, found, old.Data["Corefile"])
	if !ok {
		return nil
	}
	if found && !upstream && c.journal.Done(ready) {
		alone, err := c.isOnlyPlane(ctx, client)
		if err != nil {
			return err
		}
		if !alone {
			c.status.Warn("this node knows no resolver: cluster DNS goes on with those of the other control planes; a pod of CoreDNS on this node does not start like that, delete it once there is a resolver")
			return nil
		}
		c.status.Warn("this node knows no resolver: cluster DNS only knows the cluster's own names, until this node starts with one")
	}
	method, path := http.MethodPost, all
	if found {
		method, path = http.MethodPut, one
	}
	body, err := json.Marshal(configMap{APIVersion: "v1", Kind: "ConfigMap", Metadata: map[string]any{"name": "coredns", "namespace": "kube-system"}, Data: map[string]string{"Corefile": wanted}})
	if err != nil {
		return err
	}
	if _, err := client.Send(ctx, method, path, "application/json", bytes.NewReader(body)); err != nil {
		return fmt.Errorf("writing the configuration of CoreDNS: %w", err)
	}
	return nil
}

// isOnlyPlane says whether the cluster has no other control planes, which
// alone run CoreDNS.
func (c *Configurator) isOnlyPlane(ctx context.Context, client *kubeapi.Client) (alone bool, err error) {
	var planes struct {
		Items []struct{ Metadata struct{ Name string } }
	}
	err = c.waitFor(ctx, c.local(), func(ctx context.Context) (string, error) {
		return "", client.Get(ctx, "/api/v1/nodes?labelSelector=node-role.kubernetes.io%2Fcontrol-plane", &planes)
	})
	for _, p := range planes.Items {
		if p.Metadata.Name != c.pinned.NodeName {
			return false, err
		}
	}
	return true, err
}

// corefile returns what CoreDNS's configuration is to be, and whether it has
// to be written.
func corefile(domain string, upstream, found bool, old string) (wanted string, write bool) {
	wanted = kubeadm.Corefile(domain, upstream)
	// Only Slipway's own is replaced.
	return wanted, !found || old == kubeadm.Corefile(domain, !upstream)
}

// hasResolver says whether the node knows a resolver, as its pods see it.
func (c *Configurator) hasResolver() bool {
	data, err := os.ReadFile(c.path("/run/systemd/resolve/resolv.conf"))
	if err != nil {
		return false
	}
	for _, line := range strings.Split(string(data), "\n") {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "nameserver" && !strings.HasPrefix(f[1], "127.") && f[1] != "::1" {
			return true
		}
	}
	return false
}
