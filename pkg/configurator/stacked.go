package configurator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/slipway-os/slipway/pkg/durable"
	"github.com/slipway-os/slipway/pkg/kubeadm"
	"github.com/slipway-os/slipway/pkg/kubeapi"
	"github.com/slipway-os/slipway/pkg/role"
)

const (
	etcdPods       = "/api/v1/namespaces/kube-system/pods?labelSelector=component%3Detcd"
	etcdAnnotation = "kubeadm.kubernetes.io/etcd.advertise-client-urls" // by which kubeadm finds members
)

// checkEtcd says why this node must not join etcd yet, by the word of the other
// control planes. It does not wait for what somebody has to mend: another one
// gets its turn meanwhile, and may be the one that etcd waits for.
func (c *Configurator) checkEtcd(ctx context.Context) error {
	started, err := c.etcdHasStarted()
	if err != nil {
		return err
	}
	members, err := c.stackedMembers(ctx)
	if err != nil {
		return err
	}
	const remove = "on another control plane, in /etc/kubernetes/pki/etcd: etcdctl --cacert ca.crt --cert peer.crt --key peer.key member remove"
	for _, m := range members {
		switch {
		// kubeadm takes it for this node's, which would vote without what it
		// has agreed to.
		case c.isThisNode(m) && !started && m.Name != "":
			return fmt.Errorf("etcd has a member at %s that has data, and this node has none: if its disk was lost, remove it, %s %s", peerURL(c.pinned.NodeIP), remove, m.hexID())
		case !c.isThisNode(m) && m.Learner: // etcd has one at a time
			return fmt.Errorf("etcd waits for its learner %s at %s; if that machine is gone, remove it, %s %s",
				cmp.Or(m.Name, m.hexID()), strings.Join(m.PeerURLs, ", "), remove, m.hexID())
		}
	}
	if started && !slices.ContainsFunc(members, c.isThisNode) {
		return c.dropRemoved(ctx)
	}
	return nil
}

// dropRemoved removes what this node's etcd wrote before it was removed from the
// cluster, in the midst of joining it: it would never start with that again, and
// keep etcd waiting for the learner that it would be.
func (c *Configurator) dropRemoved(ctx context.Context) error {
	if err := c.dropManifests("etcd")(); err != nil {
		return err
	}
	address := net.JoinHostPort(c.pinned.NodeIP, "2380")
	err := c.waitFor(ctx, c.local(), func(ctx context.Context) (string, error) {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err != nil {
			return "", nil
		}
		return "etcd of this node, which the others have removed, is to end", conn.Close()
	})
	if err != nil {
		return err
	}
	member, log := kubeadm.EtcdData(c.role)
	if err := removeAll(c.path(member), c.path(log)); err != nil {
		return fmt.Errorf("removing what a removed etcd member knew: %w", err)
	}
	c.status.Note("etcd had removed this node while it was joining; it joins anew, without what it had of etcd")
	return durable.SyncDir(filepath.Dir(c.path(member)))
}

// stackedMembers returns the members of the etcd that runs on control planes.
func (c *Configurator) stackedMembers(ctx context.Context) (members []etcdMember, err error) {
	api, err := c.client()
	if err != nil {
		return nil, err
	}
	defer api.Close()
	client, err := c.etcdClient()
	if err != nil {
		return nil, err
	}
	defer client.CloseIdleConnections()
	// Others may need the turn for etcd to answer.
	limited, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	reason := "the cluster does not answer"
	err = c.waitFor(limited, c.forCluster(api.Server()), func(ctx context.Context) (string, error) {
		others, err := c.otherEtcds(ctx, api)
		if err != nil {
			return "", err
		}
		if members, err = agreed(ctx, client, others); err != nil {
			reason = "no etcd member of another control plane says which there are: " + told(err).Error()
			return reason, nil
		}
		return "", nil
	})
	if err != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("asking for the members of etcd: %s", reason)
	}
	return members, err
}

// agreed returns the members by the word of a majority, which any one of some
// members has.
func agreed(ctx context.Context, client *http.Client, of []role.Member) (members []etcdMember, err error) {
	type answer struct {
		members []etcdMember
		err     error
	}
	answers := make(chan answer, len(of))
	for _, m := range of {
		go func() {
			cluster := etcdCluster{client, net.JoinHostPort(m.IP, "2379")}
			found, err := cluster.ask(ctx, true)
			answers <- answer{found, err}
		}()
	}
	err = errors.New("none is known")
	for range of {
		a := <-answers
		if a.err == nil {
			return a.members, nil
		}
		err = a.err
	}
	return nil, err
}

// otherEtcds finds the etcd members on other control planes.
func (c *Configurator) otherEtcds(ctx context.Context, api *kubeapi.Client) ([]role.Member, error) {
	var pods struct {
		Items []struct {
			Metadata struct{ Annotations map[string]string }
			Spec     struct{ NodeName string }
		}
	}
	if err := api.Get(ctx, etcdPods, &pods); err != nil {
		return nil, err
	}
	var others []role.Member
	for _, p := range pods.Items {
		first, _, _ := strings.Cut(p.Metadata.Annotations[etcdAnnotation], ",")
		at, err := url.Parse(first)
		if err != nil || at.Hostname() == "" || at.Hostname() == c.pinned.NodeIP {
			continue
		}
		m := role.Member{Name: p.Spec.NodeName, IP: at.Hostname()}
		if !slices.Contains(others, m) {
			others = append(others, m)
		}
	}
	return others, nil
}
