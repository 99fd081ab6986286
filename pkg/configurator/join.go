package configurator

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/durable"
	"github.com/slipway-os/slipway/pkg/kubeadm"
	"github.com/slipway-os/slipway/pkg/kubeapi"
)

const (
	kubeletConfig    = kubeadm.ConfigDir + "/kubelet.conf"
	bootstrapConfig  = kubeadm.ConfigDir + "/bootstrap-kubelet.conf"
	clusterConfigMap = "/api/v1/namespaces/kube-system/configmaps/kubeadm-config"
	clusterInfo      = "/api/v1/namespaces/kube-public/configmaps/cluster-info"
)

// joinAsWorker returns the steps of a worker.
func (c *Configurator) joinAsWorker() []step {
	return append(c.withPods(),
		c.clusterStep(),
		c.kubeletStep("join phase kubelet-start"),
		c.admittedStep(),
		c.joinedStep(),
	)
}

// joinAsControlPlane returns the steps of a control plane that joins others.
func (c *Configurator) joinAsControlPlane() []step {
	steps := append(c.withPods(), c.clusterStep())
	if c.role.Join.CertificateKey != "" {
		shared := c.phaseStep("shared", "fetching the shared certificates", "join phase control-plane-prepare download-certs")
		shared.clean = func() error { return c.pki().DropDamagedAuthorities() }
		steps = append(steps, shared)
	}
	steps = append(steps,
		c.certificatesStep("join phase control-plane-prepare certs"),
		c.kubeconfigsStep("join phase control-plane-prepare kubeconfig"),
		c.heldPlaneStep("join phase control-plane-prepare control-plane", "kube-apiserver", "kube-controller-manager", "kube-scheduler"),
	)
	steps = append(append(steps, c.shareSteps()...), c.kubeletStep("join phase kubelet-start"))
	if c.role.Etcd == nil {
		steps = append(steps, step{name: "etcd", doing: "joining etcd", run: c.joinEtcd, next: "a control plane that was joining and is gone keeps etcd from taking others: start it again, or `etcdctl member remove` it", clean: c.dropTornEtcd})
	}
	return append(steps,
		c.serveStep(),
		// Its kubelet asks for its certificate through the API server of its own
		// node, which needs etcd.
		c.admittedStep(),
		step{name: "api", doing: "waiting for the API server of this node", run: c.waitServing, next: podsTellMore},
		c.releaseStep("managers", "starting controller manager and scheduler", "kube-controller-manager", "kube-scheduler"),
		c.phaseStep("mark", "marking the node as control plane", "join phase control-plane-join mark-control-plane"),
		c.joinedStep(),
	)
}

func (c *Configurator) clusterStep() step {
	return step{name: "cluster", doing: "waiting for the cluster", run: c.findCluster, next: "does a control plane run there, and does this node reach it?"}
}

func (c *Configurator) admittedStep() step {
	return step{name: "admitted", doing: "waiting for the cluster to admit the kubelet", run: c.waitAdmitted, next: tellsMore}
}

func (c *Configurator) joinedStep() step {
	return step{name: ready, doing: "waiting for the node and its pods", run: c.waitJoined, always: true, next: podsTellMore}
}

// discovery is the kubeconfig by which kubeadm finds the cluster: the one that
// was laid down, or once that is gone what the node has of its own.
func (c *Configurator) discovery() string {
	for _, file := range []string{kubeadm.CredentialsFile, adminConfig, kubeletConfig} {
		if _, err := os.Stat(c.path(file)); err == nil {
			return file
		}
	}
	return kubeadm.CredentialsFile
}

// findCluster waits for the cluster. If only that says which subnets there are,
// what the node made of none before is made anew.
func (c *Configurator) findCluster(ctx context.Context) error {
	if err := c.waitCluster(ctx); err != nil || len(c.pinned.ServiceSubnets) == 0 {
		return err
	}
	return c.network(ctx)
}

// waitCluster waits for a cluster that may only be started months from now.
func (c *Configurator) waitCluster(ctx context.Context) error {
	if file := c.role.Join.DiscoveryFile; file != "" {
		return c.waitDiscovered(ctx, file)
	}
	if c.role.Join.Token != "" {
		return c.waitToken(ctx)
	}
	file := c.discovery()
	data, err := os.ReadFile(c.path(file))
	if errors.Is(err, os.ErrNotExist) {
		return &FatalError{fmt.Errorf("this node has no credentials to join with: %s is missing, and the role gives no join.token; `builder cluster render` lays it down", kubeadm.CredentialsFile)}
	}
	if err != nil {
		return err
	}
	client, err := kubeapi.FromKubeconfig(data, nil)
	if err != nil {
		return &FatalError{fmt.Errorf("the credentials of this node cannot be used; have `builder cluster render` lay them down anew: %s: %w", file, err)}
	}
	defer client.Close()
	return c.agree(ctx, client)
}

// waitDiscovered waits for the cluster that a discovery file says is meant.
func (c *Configurator) waitDiscovered(ctx context.Context, file string) error {
	at := c.role.Position("join.discoveryFile")
	data, err := os.ReadFile(c.path(file))
	if errors.Is(err, os.ErrNotExist) {
		return &FatalError{diag.At(at, "lay it down with Ignition, or give join.caCertHashes and cluster.endpoint", "join.discoveryFile: there is no %s on this node", file)}
	}
	if err != nil {
		return err
	}
	client, err := kubeapi.FromDiscovery(data, c.role.Join.Token)
	if err != nil {
		return &FatalError{diag.At(at, "kubectl -n kube-public get configmap cluster-info -o jsonpath={.data.kubeconfig} prints one", "join.discoveryFile: %s: %v", file, err)}
	}
	defer client.Close()
	return c.agree(ctx, client)
}

// agree waits for what the cluster says of itself. A role that says otherwise
// is refused before the node does anything in the cluster.
func (c *Configurator) agree(ctx context.Context, client *kubeapi.Client) error {
	var config configMap
	err := c.waitFor(ctx, c.forCluster(client.Server()), func(ctx context.Context) (string, error) {
		err := client.Get(ctx, clusterConfigMap, &config)
		if kubeapi.IsNotFound(err) {
			return "the cluster at " + client.Server() + " is being set up", nil
		}
		return "", err
	})
	if err != nil {
		return err
	}
	stored := config.Data["ClusterConfiguration"]
	if err := kubeadm.Agree(c.role, stored); err != nil {
		return &FatalError{err}
	}
	note, err := kubeadm.CheckSkew(c.role, c.image, stored)
	if err != nil {
		return &FatalError{err}
	}
	if note != "" {
		c.status.Warn(note)
	}
	if len(c.role.Cluster.ServiceSubnets) > 0 {
		return nil
	}
	return c.adopt(ctx, stored)
}

// adopt takes the subnets of the cluster, and the node's addresses once more:
// which family they have to be of is known only now.
func (c *Configurator) adopt(ctx context.Context, stored string) error {
	pods, services, err := kubeadm.Subnets(stored)
	if err == nil && len(services) == 0 {
		err = errors.New("the cluster does not say which subnets it has")
	}
	if err != nil {
		return &FatalError{fmt.Errorf("%w; give cluster.podSubnets and cluster.serviceSubnets in the role", err)}
	}
	p := c.pinned
	p.PodSubnets, p.ServiceSubnets = pods, services
	if p.NodeIP, p.SecondIP, err = c.addresses(ctx, services); err != nil {
		return err
	}
	if isV6(p.NodeIP) != isV6(services[0]) {
		return &FatalError{diag.At(c.role.Position("node.ip"), "", "node.ip is %s, but the first service subnet of the cluster is %s", p.NodeIP, services[0])}
	}
	if err := c.pin(p); err != nil {
		return err
	}
	c.remember()
	c.status.Note("the cluster has pods in " + strings.Join(pods, ", ") + " and services in " + strings.Join(services, ", "))
	return c.writeConfig(p)
}

// waitToken waits for a cluster that knows the role's token, and is the one
// whose CA the role has the digest of.
func (c *Configurator) waitToken(ctx context.Context) error {
	host, port := kubeadm.SplitEndpoint(c.role.Cluster.Endpoint)
	anybody := kubeapi.Unverified(net.JoinHostPort(host, port))
	defer anybody.Close()
	server, token := anybody.Server(), c.role.Join.Token
	id, _, _ := strings.Cut(token, ".")
	var client *kubeapi.Client
	err := c.waitFor(ctx, c.forCluster(server), func(ctx context.Context) (string, error) {
		var info configMap
		err := anybody.Get(ctx, clusterInfo, &info)
		switch {
		case kubeapi.IsNotFound(err):
			return "the cluster at " + server + " is being set up", nil
		case err != nil:
			return "", err
		case info.Data["jws-kubeconfig-"+id] == "":
			return fmt.Sprintf("the cluster at %s does not know the token %s.…: it has expired, or is another cluster's; `kubeadm token create` on a control plane makes one", server, id), nil
		}
		client, err = kubeapi.ByToken(server, token, []byte(info.Data["kubeconfig"]), c.role.Join.CACertHashes)
		if err != nil {
			return fmt.Sprintf("who answers at %s is not the cluster that join.caCertHashes means: %v", server, err), nil
		}
		return "", nil
	})
	if err != nil {
		return err
	}
	defer client.Close()
	return c.agree(ctx, client)
}

// forCluster is how to wait for a cluster that others start: for however long
// that takes, and ever more seldom, as many nodes may do so.
func (c *Configurator) forCluster(server string) pace {
	return pace{first: time.Second, most: 15 * time.Second, patience: 3 * time.Second, why: func(err error) string { return unreached(server, err) }}
}

// unreached says what is known of a cluster that a node cannot join yet.
func unreached(server string, err error) string {
	var (
		status  *kubeapi.StatusError
		foreign *tls.CertificateVerificationError
		unknown *net.DNSError
		network *net.OpError
	)
	switch {
	case errors.As(err, &status) && status.Code == http.StatusUnauthorized:
		return fmt.Sprintf("the cluster at %s does not take this node's credentials: %s", server, status.Message)
	case errors.As(err, &status) && status.Code == http.StatusForbidden: // so it is while it is being set up
		return fmt.Sprintf("the cluster at %s does not let this node join yet: %s", server, status.Message)
	case errors.As(err, &status):
		return fmt.Sprintf("the cluster at %s answers, but is not ready: %s", server, status.Message)
	case errors.As(err, &foreign):
		return fmt.Sprintf("who answers at %s is not this node's cluster, or the clock is wrong: %v", server, foreign.Err)
	case errors.As(err, &unknown):
		return fmt.Sprintf("the name of the cluster's endpoint %s is not known: %v", server, unknown.Err)
	case errors.As(err, &network):
		return fmt.Sprintf("nobody answers at %s yet: %v", server, network.Err)
	}
	return fmt.Sprintf("nobody answers at %s yet", server)
}

// keepEtcd puts etcd's manifest on the disk once kubeadm has written it, and
// before it makes this node a voter: without it after a power cut the cluster
// would have lost its majority.
func (c *Configurator) keepEtcd(ctx context.Context) error {
	for !c.etcdIsWhole() {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(100 * time.Millisecond):
		}
	}
	return durable.SyncTree(filepath.Dir(c.manifest("etcd")))
}

// dropTornEtcd removes etcd's manifest if it is not whole. A whole one may be
// that of a voter, which the cluster cannot do without.
func (c *Configurator) dropTornEtcd() error {
	if c.etcdIsWhole() {
		return nil
	}
	return c.dropManifests("etcd")()
}

// etcdIsWhole says whether etcd's manifest is all there: its end is the pod's
// volumes.
func (c *Configurator) etcdIsWhole() bool {
	data, err := os.ReadFile(c.manifest("etcd"))
	if err != nil {
		return false
	}
	var pod struct {
		Kind string
		Spec struct{ Containers, Volumes []any }
	}
	return yaml.Unmarshal(data, &pod) == nil && pod.Kind == "Pod" && len(pod.Spec.Containers) > 0 && len(pod.Spec.Volumes) > 1
}

// waitAdmitted waits until the kubelet has a certificate of its own, and
// removes the credentials that it got it with.
func (c *Configurator) waitAdmitted(ctx context.Context) error {
	local := c.local()
	local.patience = 0
	local.why = func(error) string { return "the kubelet has no certificate of the cluster's yet" }
	err := c.waitFor(ctx, local, func(context.Context) (string, error) {
		// The kubelet writes where its certificate will be before it has one.
		client, err := c.kubeletClient()
		if err == nil {
			client.Close()
		}
		return "", err
	})
	if err != nil {
		return err
	}
	return removeAll(c.path(bootstrapConfig))
}

// kubeletClient asks the API server as this node's kubelet.
func (c *Configurator) kubeletClient() (*kubeapi.Client, error) {
	data, err := os.ReadFile(c.path(kubeletConfig))
	if err != nil {
		return nil, err
	}
	return kubeapi.FromKubeconfig(data, nil)
}

// waitOwnAPI waits for the API server of this node, where the endpoint may
// lead to another's.
func (c *Configurator) waitOwnAPI(ctx context.Context) error {
	data, err := os.ReadFile(c.path(adminConfig))
	if err != nil {
		return err
	}
	client, err := kubeapi.FromKubeconfig(data, func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort(c.pinned.NodeIP, strconv.Itoa(c.role.APIPort())))
	})
	if err != nil {
		return err
	}
	defer client.Close()
	return c.waitFor(ctx, c.local(), func(ctx context.Context) (string, error) {
		_, err := client.Send(ctx, http.MethodGet, "/readyz", "", nil)
		return "", err
	})
}

// waitJoined waits for this node to be Ready, and for the pods of kube-system
// on it, with what the kubelet may ask, as far as the role lets them.
func (c *Configurator) waitJoined(ctx context.Context) error {
	client, err := c.kubeletClient()
	if err != nil {
		return err
	}
	defer client.Close()
	waiting := c.local()
	waiting.why = func(err error) string { return c.unjoined(client.Server(), err) }
	ask := client.WaitingOn
	if !c.bringsNetwork() {
		ask = c.hosted(client)
	}
	return c.waitFor(ctx, waiting, func(ctx context.Context) (string, error) { return ask(ctx, c.pinned.NodeName) })
}

// unjoined says what is known of a cluster that this node has joined, and that
// does not answer it: the node may have been off until its certificate ended.
func (c *Configurator) unjoined(server string, err error) string {
	var ended *kubeadm.ClockError
	if errors.As(kubeadm.CheckKubeletClient(c.path(kubeletPKI)), &ended) {
		return fmt.Sprintf("the cluster does not let this node in any more: %v; if the clock is right, it comes in again with a fresh disk", ended)
	}
	return unreached(server, err)
}
