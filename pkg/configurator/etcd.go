package configurator

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/slipway-os/slipway/pkg/durable"
	"github.com/slipway-os/slipway/pkg/kubeadm"
	"github.com/slipway-os/slipway/pkg/role"
)

// serveEtcd returns the steps of an etcd member on a node of its own. Its
// kubelet belongs to no cluster.
func (c *Configurator) serveEtcd() []step {
	etcd := c.phaseStep("etcd", "configuring etcd", "init phase etcd local")
	etcd.clean = c.dropManifests("etcd")
	return append(c.prepare(),
		step{name: "members", doing: "finding out whether etcd runs already", run: c.findMembers, next: "firstboot status on the other members tells more"},
		etcd,
		step{name: "kubelet", doing: "starting the kubelet", run: c.standaloneKubelet, next: tellsMore},
		step{name: "promoted", doing: "waiting for the data of the etcd cluster", run: c.promoteMember, next: podsTellMore},
		step{name: ready, doing: "waiting for the etcd cluster", run: c.waitEtcd, always: true, next: podsTellMore},
	)
}

// standaloneKubelet starts a kubelet that only runs what lies in its directory.
func (c *Configurator) standaloneKubelet(ctx context.Context) error {
	config, err := kubeadm.StandaloneKubelet(c.role)
	if err != nil {
		return err
	}
	dir := c.path("/var/lib/kubelet")
	if err := durable.WriteFile(filepath.Join(dir, "config.yaml"), config, 0o600); err != nil {
		return err
	}
	// Without a kubeconfig it asks nobody what to run.
	flags := fmt.Sprintf("KUBELET_KUBECONFIG_ARGS=\nKUBELET_KUBEADM_ARGS=\"--hostname-override=%s\"\n", c.pinned.NodeName)
	if err := durable.WriteFile(filepath.Join(dir, "kubeadm-flags.env"), []byte(flags), 0o644); err != nil {
		return err
	}
	return c.systemctl(ctx, "restart", "kubelet.service")
}

func systemctl(ctx context.Context, args ...string) error {
	if out, err := exec.CommandContext(ctx, "/usr/bin/systemctl", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("systemctl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// waitEtcd waits until the etcd members are one cluster, which a majority of
// them make. A member asks itself, others ask any.
func (c *Configurator) waitEtcd(ctx context.Context) error {
	client, err := c.etcdClient()
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	members := c.role.Etcd.Members
	if m, err := c.role.Etcd.Member(c.pinned.NodeName, func(string) bool { return false }); err == nil {
		members = append(members[:0:0], m)
	}
	waiting := c.local()
	waiting.patience = 0
	waiting.why = func(err error) string { return err.Error() }
	return c.waitFor(ctx, waiting, func(ctx context.Context) (string, error) {
		var missing []string
		for i, err := range ask(ctx, client, members) {
			if err == nil {
				return "", nil
			}
			missing = append(missing, fmt.Sprintf("%s (%v)", members[i].Name, told(err)))
		}
		if len(members) == 1 && len(c.role.Etcd.Members) > 1 {
			cluster := etcdCluster{client: client}
			if counted, _ := cluster.find(ctx, c.otherMembers()); counted != nil && !slices.ContainsFunc(counted, c.isThisNode) {
				return notCounted, nil
			}
			return fmt.Sprintf("etcd needs a majority of its %d members: %s", len(c.role.Etcd.Members), c.silent(ctx, client)), nil
		}
		return "no etcd member serves: " + strings.Join(missing, ", "), nil
	})
}

// silent names the members that nobody can connect to.
func (c *Configurator) silent(ctx context.Context, client *http.Client) string {
	var names []string
	for i, err := range ask(ctx, client, c.role.Etcd.Members) {
		var refused *net.OpError
		if errors.As(err, &refused) || errors.Is(err, context.DeadlineExceeded) {
			names = append(names, c.role.Etcd.Members[i].Name)
		}
	}
	if len(names) == 0 {
		return "all answer, and elect a leader"
	}
	return strings.Join(names, ", ") + " do not answer yet"
}

// ask asks members at the same time, for those that are off take long to be
// found so, and returns what is wrong with each.
func ask(ctx context.Context, client *http.Client, members []role.Member) []error {
	problems := make([]error, len(members))
	var all sync.WaitGroup
	for i, m := range members {
		all.Go(func() { problems[i] = healthy(ctx, client, m.IP) })
	}
	all.Wait()
	return problems
}

// told is an error without the port that this node asked from, which is another
// each time: the same trouble is to be said once.
func told(err error) error {
	var network *net.OpError
	if errors.As(err, &network) {
		return fmt.Errorf("%s: %w", network.Op, network.Err)
	}
	return err
}

// etcdClient presents the certificate that the node has for etcd.
func (c *Configurator) etcdClient() (*http.Client, error) {
	name := "apiserver-etcd-client"
	if _, member := c.pki().Delivered["etcd/server"]; member {
		name = "etcd/healthcheck-client"
	}
	file := filepath.Join(c.path(kubeadm.PKIDir), name)
	pair, err := tls.LoadX509KeyPair(file+".crt", file+".key")
	if err != nil {
		return nil, fmt.Errorf("reading the certificate for etcd: %w", err)
	}
	ca, err := os.ReadFile(filepath.Join(c.path(kubeadm.PKIDir), "etcd/ca.crt"))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, errors.New("reading etcd/ca.crt: it holds no certificate")
	}
	// Machines that are off are told from members that do not answer.
	dialer := net.Dialer{Timeout: 2 * time.Second}
	return &http.Client{Timeout: 4 * time.Second, Transport: &http.Transport{
		DialContext:     dialer.DialContext,
		TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12},
	}}, nil
}

// healthy asks a member whether it serves: it has a leader, and no alarm
// (etcd, "Monitoring etcd", /health).
func healthy(ctx context.Context, client *http.Client, ip string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+net.JoinHostPort(ip, "2379")+"/health", nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		var network *net.OpError
		if errors.As(err, &network) {
			return network
		}
		return err
	}
	defer resp.Body.Close()
	var answer struct{ Health, Reason string }
	data, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err == nil {
		err = json.Unmarshal(data, &answer)
	}
	switch {
	case err != nil:
		return fmt.Errorf("reading its answer: %w", err)
	case answer.Health != "true":
		return fmt.Errorf("it does not serve: %s", answer.Reason)
	}
	return nil
}
