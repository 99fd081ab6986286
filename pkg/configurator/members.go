package configurator

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/slipway-os/slipway/pkg/role"
)

// etcdData is where etcd's member keeps what it knows.
const etcdData = "/var/lib/etcd/member"

// etcdMember is a member as etcd counts it (etcd, rpc.proto, Member).
type etcdMember struct {
	ID         string   `json:"ID"` // a decimal number
	Name       string   `json:"name"`
	PeerURLs   []string `json:"peerURLs"`
	ClientURLs []string `json:"clientURLs"` // of one that has started
	Learner    bool     `json:"isLearner"`
}

func peerURL(ip string) string { return "https://" + net.JoinHostPort(ip, "2380") }

// findMembers finds out whether this node's etcd starts a cluster together with
// the others of the role, or comes into one that runs without it: because the
// node's disk was lost, or the role names more members than there were. It is
// let in as a learner then, which counts for no majority until it has all data.
func (c *Configurator) findMembers(ctx context.Context) error {
	if _, err := os.Stat(c.path(etcdData)); c.pinned.EtcdMembers != "" || err == nil {
		return err
	}
	client, err := c.etcdClient()
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	var others []role.Member
	self := peerURL(c.pinned.NodeIP)
	for _, m := range c.role.Etcd.Members {
		if peerURL(m.IP) != self {
			others = append(others, m)
		}
	}
	var members []etcdMember
	waiting := c.local()
	waiting.patience = 0
	waiting.why = func(err error) string { return err.Error() }
	err = c.waitFor(ctx, waiting, func(ctx context.Context) (string, error) {
		cluster := etcdCluster{client: client}
		if members = cluster.find(ctx, others); members == nil {
			return "", nil // nobody serves: it is not there yet
		}
		at := slices.IndexFunc(members, func(m etcdMember) bool { return slices.Contains(m.PeerURLs, self) })
		switch {
		case at < 0:
			var err error
			if members, err = cluster.add(ctx, self); err != nil {
				return "etcd does not take this node in yet: " + err.Error(), nil
			}
			c.status.Note("etcd runs without this node, and has taken it in")
			return "", nil
		case members[at].Name == "": // it was taken in, and has not started
			return "", nil
		case len(members[at].ClientURLs) == 0: // it is one of those that start the cluster
			members = nil
			return "", nil
		}
		return fmt.Sprintf("etcd has a member at %s that has data, and this node has none: if its disk was lost, remove it, on another member, in /etc/kubernetes/pki/etcd: "+
			"etcdctl --cacert ca.crt --cert peer.crt --key peer.key member remove %s", self, members[at].hexID()), nil
	})
	if err != nil || members == nil {
		return err
	}
	p := c.pinned
	p.EtcdMembers = c.initialCluster(members)
	if err := c.pin(p); err != nil {
		return err
	}
	return c.writeConfig(p)
}

// initialCluster writes members as etcd's --initial-cluster. It compares their
// addresses only; those that have not started have no names of their own yet.
func (c *Configurator) initialCluster(members []etcdMember) string {
	names := map[string]string{peerURL(c.pinned.NodeIP): c.pinned.NodeName}
	for _, m := range c.role.Etcd.Members {
		names[peerURL(m.IP)] = m.Name
	}
	var list []string
	for _, m := range members {
		for _, url := range m.PeerURLs {
			list = append(list, cmp.Or(m.Name, names[url], m.hexID())+"="+url)
		}
	}
	return strings.Join(list, ",")
}

// promoteMember makes a learner a member that counts, once it has all data.
func (c *Configurator) promoteMember(ctx context.Context) error {
	if c.pinned.EtcdMembers == "" {
		return nil
	}
	client, err := c.etcdClient()
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	self := peerURL(c.pinned.NodeIP)
	waiting := c.local()
	waiting.patience = 0
	waiting.why = func(err error) string { return err.Error() }
	return c.waitFor(ctx, waiting, func(ctx context.Context) (string, error) {
		cluster := etcdCluster{client: client}
		members := cluster.find(ctx, c.role.Etcd.Members)
		at := slices.IndexFunc(members, func(m etcdMember) bool { return slices.Contains(m.PeerURLs, self) })
		switch {
		case members == nil:
			return "no etcd member serves", nil
		case at < 0:
			return "etcd does not count this node any more: was it removed?", nil
		case !members[at].Learner:
			return "", nil
		}
		if err := cluster.promote(ctx, members[at].ID); err != nil {
			return "this node's etcd takes the data of the others: " + err.Error(), nil
		}
		return "", nil
	})
}

// hexID is how etcdctl writes an ID.
func (m etcdMember) hexID() string {
	var n uint64
	fmt.Sscan(m.ID, &n)
	return fmt.Sprintf("%x", n)
}

// etcdCluster asks the members of a cluster, over the JSON that etcd serves
// beside gRPC (etcd, "gRPC gateway").
type etcdCluster struct {
	client *http.Client
	at     string // host and port of the member that answered
}

// find returns the members by the word of the first of some that serves for a
// majority; nil if none does.
func (e *etcdCluster) find(ctx context.Context, of []role.Member) []etcdMember {
	for i, problem := range ask(ctx, e.client, of) {
		if problem != nil {
			continue
		}
		e.at = net.JoinHostPort(of[i].IP, "2379")
		var answer struct{ Members []etcdMember }
		if e.call(ctx, "list", map[string]any{"linearizable": true}, &answer) == nil && len(answer.Members) > 0 {
			return answer.Members
		}
	}
	return nil
}

// add lets a learner in, and returns all members.
func (e *etcdCluster) add(ctx context.Context, peer string) ([]etcdMember, error) {
	var answer struct{ Members []etcdMember }
	err := e.call(ctx, "add", map[string]any{"peerURLs": []string{peer}, "isLearner": true}, &answer)
	return answer.Members, err
}

func (e *etcdCluster) promote(ctx context.Context, id string) error {
	return e.call(ctx, "promote", map[string]any{"ID": id}, &struct{}{})
}

func (e *etcdCluster) call(ctx context.Context, verb string, request, answer any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+e.at+"/v3/cluster/member/"+verb, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := e.client.Do(req)
	if err != nil {
		return told(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		var refused struct{ Message string }
		if json.Unmarshal(data, &refused) != nil || refused.Message == "" {
			refused.Message = resp.Status
		}
		return errors.New(refused.Message)
	}
	return json.Unmarshal(data, answer)
}
