package configurator

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/slipway-os/slipway/pkg/kubeadm"
	"github.com/slipway-os/slipway/pkg/role"
)

// etcdMember is a member as etcd counts it (etcd, rpc.proto, Member).
type etcdMember struct {
	ID         string   `json:"ID"` // a decimal number
	Name       string   `json:"name"`
	PeerURLs   []string `json:"peerURLs"`
	ClientURLs []string `json:"clientURLs"` // of one that has started
	Learner    bool     `json:"isLearner"`
}

const notCounted = "etcd does not count this node any more: was it removed? It comes in again with a fresh disk"

func peerURL(ip string) string { return "https://" + net.JoinHostPort(ip, "2380") }

func (c *Configurator) isThisNode(m etcdMember) bool {
	return slices.Contains(m.PeerURLs, peerURL(c.pinned.NodeIP))
}

// etcdHasStarted says whether this node's etcd has written anything down: it
// makes its log last, once it knows which cluster it belongs to.
func (c *Configurator) etcdHasStarted() (bool, error) {
	_, err := os.Stat(c.path(kubeadm.EtcdLog(c.role)))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// otherMembers are the role's members of etcd on other nodes.
func (c *Configurator) otherMembers() []role.Member {
	return slices.DeleteFunc(slices.Clone(c.role.Etcd.Members), func(m role.Member) bool { return m.IP == c.pinned.NodeIP })
}

// findMembers finds out whether this node's etcd starts a cluster together with
// the others of the role, or comes into one that runs without it: because the
// node's disk was lost, or the role names more members than there were. It is
// let in as a learner then, which counts for no majority until it has all data.
func (c *Configurator) findMembers(ctx context.Context) error {
	if c.pinned.EtcdMembers != "" {
		return c.writeConfig(c.pinned) // the power may have gone before it was written
	}
	if started, err := c.etcdHasStarted(); started || err != nil {
		return err
	}
	client, err := c.etcdClient()
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	others := c.otherMembers()
	var members []etcdMember
	err = c.waitFor(ctx, c.local(), func(ctx context.Context) (waiting string, err error) {
		cluster := etcdCluster{client: client}
		if members, waiting = cluster.find(ctx, others); members == nil {
			return waiting, nil
		}
		at := slices.IndexFunc(members, c.isThisNode)
		switch {
		case at < 0:
			if members, err = cluster.add(ctx, peerURL(c.pinned.NodeIP)); err != nil {
				return "etcd does not take this node in yet: " + err.Error(), nil
			}
			c.status.Note("etcd runs without this node, and has taken it in")
		case members[at].Name == "": // it was taken in, and has not started
		case len(members[at].ClientURLs) == 0: // it is one of those that start the cluster
			members = nil
		default:
			return fmt.Sprintf("etcd has a member at %s that has data, and this node has none: if its disk was lost, remove it, on another member, in /etc/kubernetes/pki/etcd: "+
				"etcdctl --cacert ca.crt --cert peer.crt --key peer.key member remove %s", peerURL(c.pinned.NodeIP), members[at].hexID()), nil
		}
		return "", nil
	})
	if err != nil || members == nil {
		return err
	}
	// It may have been configured as one that starts the cluster, in vain.
	if err := c.journal.Reopen("etcd"); err != nil {
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
	slices.Sort(list) // etcd's order is not always the same
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
	return c.waitFor(ctx, c.local(), func(ctx context.Context) (string, error) {
		cluster := etcdCluster{client: client}
		members, waiting := cluster.find(ctx, c.role.Etcd.Members)
		if members == nil {
			return cmp.Or(waiting, "no etcd member serves"), nil
		}
		at := slices.IndexFunc(members, c.isThisNode)
		switch {
		case at < 0:
			return notCounted, nil
		case !members[at].Learner:
			return "", nil
		}
		started, err := c.etcdHasStarted()
		if err != nil {
			return "", err
		}
		if now := c.initialCluster(members); !started && now != c.pinned.EtcdMembers {
			return "etcd has other members by now: starting again", c.restartEtcd(ctx, now)
		}
		if err := cluster.promote(ctx, members[at].ID); err != nil {
			return "this node's etcd takes the data of the others: " + err.Error(), nil
		}
		return "", nil
	})
}

// restartEtcd makes an etcd that has not started expect other members: it starts
// only with those that there are. They are pinned last, so that an interruption
// has it done again.
func (c *Configurator) restartEtcd(ctx context.Context, members string) error {
	p := c.pinned
	p.EtcdMembers = members
	if err := c.writeConfig(p); err != nil {
		return err
	}
	if err := c.phase(ctx, "init phase etcd local", c.path(kubeadmFile)); err != nil {
		return err
	}
	return c.pin(p)
}

// hexID is how etcdctl writes an ID.
func (m etcdMember) hexID() string {
	n, _ := strconv.ParseUint(m.ID, 10, 64)
	return strconv.FormatUint(n, 16)
}

// etcdCluster asks the members of a cluster, over the JSON that etcd serves
// beside gRPC (etcd, "gRPC gateway").
type etcdCluster struct {
	client *http.Client
	at     string // host and port of the member that answered
}

// find returns the members, by the word of one of some others; or what to wait
// for before it is known that there is no cluster; or neither, if there is none.
// An etcd that is starting a cluster answers nobody until it is there: whoever
// answers anything belongs to one that runs.
func (e *etcdCluster) find(ctx context.Context, others []role.Member) (members []etcdMember, waiting string) {
	type answer struct {
		members []etcdMember
		err     error
	}
	answers := make([]answer, len(others))
	var all sync.WaitGroup
	for i, m := range others {
		all.Go(func() {
			one := etcdCluster{e.client, net.JoinHostPort(m.IP, "2379")}
			answers[i].members, answers[i].err = one.list(ctx)
		})
	}
	all.Wait()
	up := 1 // this node
	var down, trouble []string
	for i, a := range answers {
		switch {
		case a.err == nil:
			e.at = net.JoinHostPort(others[i].IP, "2379")
			return a.members, ""
		case errors.Is(a.err, syscall.ECONNREFUSED):
			up++
		case isDial(a.err):
			down = append(down, others[i].Name)
		default:
			trouble = append(trouble, fmt.Sprintf("%s (%v)", others[i].Name, told(a.err)))
		}
	}
	switch {
	case len(trouble) > 0:
		return nil, "etcd runs, but does not say of which members: " + strings.Join(trouble, ", ")
	case up <= (len(others)+1)/2:
		return nil, "etcd starts once a majority of its members is there: nobody answers at " + strings.Join(down, ", ")
	}
	return nil, ""
}

// isDial says whether nobody was reached, as if a machine is off.
func isDial(err error) bool {
	var network *net.OpError
	return errors.As(err, &network) && network.Op == "dial"
}

// list returns the members by the word of a majority; if there is none, by the
// member's own.
func (e *etcdCluster) list(ctx context.Context) ([]etcdMember, error) {
	members, err := e.ask(ctx, true)
	if err != nil && !isDial(err) {
		members, err = e.ask(ctx, false)
	}
	return members, err
}

// ask returns the members, by the word of a majority or the member's own.
func (e *etcdCluster) ask(ctx context.Context, majority bool) ([]etcdMember, error) {
	var answer struct{ Members []etcdMember }
	err := e.call(ctx, "list", map[string]any{"linearizable": majority}, &answer)
	if err == nil && len(answer.Members) == 0 {
		err = errors.New("it names none")
	}
	return answer.Members, err
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
		return err
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
