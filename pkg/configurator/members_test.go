package configurator

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/slipway-os/slipway/pkg/kubeadm"
	"github.com/slipway-os/slipway/pkg/kubeadm/kubeadmtest"
	"github.com/slipway-os/slipway/pkg/role"
	"github.com/slipway-os/slipway/pkg/status"
)

// etcds are real etcd members on the loopback, e1 to e3.
type etcds struct {
	t       *testing.T
	program string
	dir     string
	running map[string]*exec.Cmd
}

func newEtcds(t *testing.T) (*etcds, kubeadmtest.Pair) {
	t.Helper()
	e := &etcds{t: t, program: kubeadmtest.Etcd(t), dir: t.TempDir(), running: map[string]*exec.Cmd{}}
	ca := kubeadmtest.Authority(t, "etcd-ca", kubeadmtest.Validity{})
	must(t, os.WriteFile(filepath.Join(e.dir, "ca.crt"), ca.CertPEM(), 0o644))
	ca.Sign(t, "etcd", kubeadmtest.Validity{}).Write(t, e.dir, "server")
	t.Cleanup(func() {
		for name := range e.running {
			e.stop(name)
		}
	})
	return e, ca
}

func loopback(name string) string { return "127.1.3." + name[1:] }

func (e *etcds) start(name, cluster, state string) {
	e.t.Helper()
	log, err := os.Create(filepath.Join(e.dir, name+".log"))
	must(e.t, err)
	defer log.Close()
	at := func(name string) string { return filepath.Join(e.dir, name) }
	client, peer := "https://"+loopback(name)+":2379", peerURL(loopback(name))
	cmd := exec.Command(e.program, "--name", name, "--data-dir", at(name), "--listen-client-urls", client, "--advertise-client-urls", client,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", cluster, "--initial-cluster-state", state,
		"--cert-file", at("server.crt"), "--key-file", at("server.key"), "--trusted-ca-file", at("ca.crt"), "--client-cert-auth",
		"--peer-cert-file", at("server.crt"), "--peer-key-file", at("server.key"), "--peer-trusted-ca-file", at("ca.crt"), "--peer-client-cert-auth")
	cmd.Stdout, cmd.Stderr = log, log
	must(e.t, cmd.Start())
	e.running[name] = cmd
}

func (e *etcds) stop(name string) {
	e.running[name].Process.Kill()
	e.running[name].Wait()
	delete(e.running, name)
}

// node is the node that is e3.
func (e *etcds) node(ca kubeadmtest.Pair) *Configurator {
	e.t.Helper()
	n, _ := configure(e.t, "version: 1\nrole: etcd\netcd: {members: [{name: e1, ip: 192.0.2.1}, {name: e2, ip: 192.0.2.2}, {name: e3, ip: 192.0.2.3}]}\n")
	// A role does not take addresses of the loopback.
	n.role.Etcd.Members = []role.Member{{Name: "e1", IP: loopback("e1")}, {Name: "e2", IP: loopback("e2")}, {Name: "e3", IP: loopback("e3")}}
	p := n.pinned
	p.NodeName, p.NodeIP = "e3", loopback("e3")
	must(e.t, n.pin(p))
	must(e.t, os.MkdirAll(n.path(kubeadm.PKIDir+"/etcd"), 0o700))
	must(e.t, os.WriteFile(n.path(kubeadm.PKIDir+"/etcd/ca.crt"), ca.CertPEM(), 0o644))
	ca.Sign(e.t, "client", kubeadmtest.Validity{}).Write(e.t, n.path(kubeadm.PKIDir), "etcd/healthcheck-client")
	return n
}

// serving waits until members serve.
func (e *etcds) serving(n *Configurator, names ...string) {
	e.t.Helper()
	client, err := n.etcdClient()
	must(e.t, err)
	defer client.CloseIdleConnections()
	patient, cancel := context.WithTimeout(e.t.Context(), 2*time.Minute)
	defer cancel()
	for _, name := range names {
		for healthy(patient, client, loopback(name)) != nil {
			select {
			case <-patient.Done():
				log, _ := os.ReadFile(filepath.Join(e.dir, name+".log"))
				e.t.Fatalf("%s does not serve:\n%s", name, log)
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
}

// named waits until the member at an address has started.
func (e *etcds) named(cluster etcdCluster, peer string) {
	e.t.Helper()
	patient, cancel := context.WithTimeout(e.t.Context(), 2*time.Minute)
	defer cancel()
	for {
		members, err := cluster.list(patient)
		for _, m := range members {
			if m.PeerURLs[0] == peer && m.Name != "" {
				return
			}
		}
		select {
		case <-patient.Done():
			e.t.Fatalf("%s does not start: %+v, %v", peer, members, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// waits sees a node that looks for members wait for something, and returns how
// it says so.
func (e *etcds) waits(n *Configurator, text string) string {
	e.t.Helper()
	return e.waitsIn(n, n.findMembers, text)
}

func (e *etcds) waitsIn(n *Configurator, step func(context.Context) error, text string) string {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.t.Context(), 2*time.Minute)
	defer cancel()
	heard, before := "", n.status
	defer func() { n.status = before }()
	n.status = status.NewReporter(filepath.Join(e.t.TempDir(), "status.json"), func(format string, args ...any) {
		if line := fmt.Sprintf(format, args...); strings.Contains(line, text) {
			heard = line
			cancel()
		}
	}, func() time.Duration { return 0 })
	if err := step(ctx); !errors.Is(err, context.Canceled) {
		e.t.Fatalf("it does not wait, saying %q: %v", text, err)
	}
	return heard
}

func TestMembersOfEtcd(t *testing.T) {
	e, ca := newEtcds(t)
	n := e.node(ca)
	must(t, n.findMembers(t.Context()))
	if n.pinned.EtcdMembers != "" {
		t.Errorf("nobody serves, but etcd is %s", n.pinned.EtcdMembers)
	}
	n.role.Etcd.Members[0].IP, n.role.Etcd.Members[1].IP = "100::1", "100::2" // of which nothing comes back (RFC 6666)
	e.waits(n, "etcd starts once a majority of its members is there: nobody answers at e1, e2")
	n.role.Etcd.Members[0].IP, n.role.Etcd.Members[1].IP = loopback("e1"), loopback("e2")

	all := fmt.Sprintf("e1=%s,e2=%s,e3=%s", peerURL(loopback("e1")), peerURL(loopback("e2")), peerURL(loopback("e3")))
	e.start("e1", all, "new")
	e.start("e2", all, "new")
	e.serving(n, "e1", "e2")
	must(t, n.findMembers(t.Context()))
	if n.pinned.EtcdMembers != "" {
		t.Errorf("one of those that start the cluster, but late: etcd is %s", n.pinned.EtcdMembers)
	}
	e.stop("e2") // without whom this node is needed for a majority
	must(t, n.findMembers(t.Context()))
	if n.pinned.EtcdMembers != "" {
		t.Errorf("late, and needed: etcd is %s", n.pinned.EtcdMembers)
	}

	e.start("e3", all, "new")
	e.start("e2", all, "new")
	e.serving(n, "e1", "e2", "e3")
	e.stop("e3")
	must(t, os.RemoveAll(filepath.Join(e.dir, "e3")))
	const remove = "has data, and this node has none: if its disk was lost, remove it, on another member, in /etc/kubernetes/pki/etcd: etcdctl --cacert ca.crt --cert peer.crt --key peer.key member remove "
	_, id, _ := strings.Cut(e.waits(n, remove), remove)
	e.stop("e2") // the others have no majority, but run
	e.waits(n, "member remove "+id)
	e.start("e2", all, "new")
	e.serving(n, "e2")
	client, err := n.etcdClient()
	must(t, err)
	defer client.CloseIdleConnections()
	cluster := etcdCluster{client: client}
	members, _ := cluster.find(t.Context(), n.role.Etcd.Members[:2])
	for _, m := range members {
		if m.Name == "e3" {
			if m.hexID() != id {
				t.Errorf("said %q, but it is %s", id, m.hexID())
			}
			must(t, cluster.call(t.Context(), "remove", map[string]string{"ID": m.ID}, &struct{}{}))
		}
	}

	must(t, n.findMembers(t.Context()))
	if got := n.pinned.EtcdMembers; len(got) != len(all) || strings.Count(got, ",") != 2 || !strings.Contains(got, "e3="+peerURL(loopback("e3"))) {
		t.Errorf("etcd is %s, want %s in any order", got, all)
	}
	config, err := os.ReadFile(n.path(kubeadmFile))
	must(t, err)
	if !strings.Contains(string(config), "value: existing") {
		t.Errorf("kubeadm's configuration:\n%s", config)
	}
	// The power was cut after etcd had taken it in, and before that was kept.
	again := n.pinned
	again.EtcdMembers = ""
	must(t, n.pin(again))
	must(t, n.findMembers(t.Context()))
	// And after that, but before kubeadm was told.
	must(t, os.Remove(n.path(kubeadmFile)))
	must(t, n.findMembers(t.Context()))
	if again, err := os.ReadFile(n.path(kubeadmFile)); err != nil || string(again) != string(config) {
		t.Errorf("kubeadm's configuration: %v\n%s", err, again)
	}

	// One that was counted then is gone before this node's etcd has started: it
	// starts once kubeadm has written whom to expect.
	whole, stale := n.pinned.EtcdMembers, n.pinned
	stale.EtcdMembers += ",e4=https://192.0.2.4:2380"
	must(t, n.pin(stale))
	n.phase = func(context.Context, string, string, ...string) error {
		config, err := os.ReadFile(n.path(kubeadmFile))
		must(t, err)
		if !strings.Contains(string(config), "value: "+whole+"\n") {
			t.Errorf("kubeadm's configuration:\n%s", config)
		}
		if _, running := e.running["e3"]; !running {
			e.start("e3", whole, "existing")
		}
		return nil
	}
	must(t, n.promoteMember(t.Context()))
	if n.pinned.EtcdMembers != whole {
		t.Errorf("etcd is %s, want %s", n.pinned.EtcdMembers, whole)
	}
	members, _ = cluster.find(t.Context(), n.role.Etcd.Members[:2])
	if len(members) != 3 {
		t.Errorf("got %+v", members)
	}
	for _, m := range members {
		if m.Learner || m.Name == "" {
			t.Errorf("got %+v", m)
		}
	}
	must(t, n.promoteMember(t.Context())) // again, after an interruption
}

// A member that the others have removed does not wait for a majority.
func TestRemovedMemberSaysSo(t *testing.T) {
	e, ca := newEtcds(t)
	n := e.node(ca)
	e.waitsIn(n, n.waitEtcd, "etcd needs a majority of its 3 members: e1, e2, e3 do not answer yet")
	two := fmt.Sprintf("e1=%s,e2=%s", peerURL(loopback("e1")), peerURL(loopback("e2")))
	e.start("e1", two, "new")
	e.start("e2", two, "new")
	e.serving(n, "e1", "e2")
	e.waitsIn(n, n.waitEtcd, notCounted)
}
