package configurator

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/kubeadm"
	"github.com/slipway-os/slipway/pkg/kubeadm/kubeadmtest"
)

// A control plane does not join an etcd that counts it already, but with data
// that it has lost, or that has another learner.
func TestWhatKeepsAControlPlaneFromEtcd(t *testing.T) {
	e, ca := newEtcds(t)
	n, a, said := joining(t, joinPair, "")
	n.pinned.NodeName, n.pinned.NodeIP = "e3", loopback("e3")
	must(t, os.MkdirAll(n.path(kubeadm.PKIDir+"/etcd"), 0o700))
	must(t, os.WriteFile(n.path(kubeadm.PKIDir+"/etcd/ca.crt"), ca.CertPEM(), 0o644))
	for _, name := range []string{"apiserver-etcd-client", "etcd/healthcheck-client"} {
		ca.Sign(t, "client", kubeadmtest.Validity{}).Write(t, n.path(kubeadm.PKIDir), name)
	}
	var pods []string
	for _, name := range []string{"e2", "e1", "e3"} { // e2 is off
		pods = append(pods, fmt.Sprintf(`{"metadata":{"annotations":{%q:"https://%s:2379"}},"spec":{"nodeName":%q}}`, etcdAnnotation, loopback(name), name))
	}
	path, _, _ := strings.Cut(etcdPods, "?")
	a.objects[path] = `{"items":[` + strings.Join(pods, ",") + `]}`

	e.start("e1", "e1="+peerURL(loopback("e1")), "new")
	e.serving(n, "e1")
	client, err := n.etcdClient()
	must(t, err)
	defer client.CloseIdleConnections()
	cluster := etcdCluster{client, loopback("e1") + ":2379"}
	log := n.path(kubeadm.EtcdLog(n.role))
	refused := func(text string) {
		t.Helper()
		if err := n.checkEtcd(t.Context()); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("got %v, want %q", err, text)
		}
	}
	id := func(peer string) etcdMember {
		t.Helper()
		members, err := cluster.list(t.Context())
		must(t, err)
		for _, m := range members {
			if m.PeerURLs[0] == peer {
				return m
			}
		}
		t.Fatalf("%s is not among %+v", peer, members)
		return etcdMember{}
	}

	must(t, n.checkEtcd(t.Context())) // etcd does not know it

	add := func(peer string) {
		t.Helper()
		_, err := cluster.add(t.Context(), peer)
		must(t, err)
	}
	gone := peerURL("127.1.3.9")
	add(gone)
	learner := id(gone)
	refused("etcd waits for its learner " + learner.hexID() + " at " + gone)
	refused("member remove " + learner.hexID())
	must(t, cluster.call(t.Context(), "remove", map[string]string{"ID": learner.ID}, &struct{}{}))

	own := peerURL(n.pinned.NodeIP)
	add(own)
	must(t, n.checkEtcd(t.Context())) // it was taken in, and has not started
	e.start("e3", fmt.Sprintf("e1=%s,e3=%s", peerURL(loopback("e1")), own), "existing")
	e.named(cluster, own)
	refused("has data, and this node has none")
	refused("member remove " + id(own).hexID())
	must(t, os.MkdirAll(log, 0o700))
	must(t, n.checkEtcd(t.Context())) // it has its data

	// One that was removed in the midst of joining has it in vain.
	must(t, cluster.call(t.Context(), "remove", map[string]string{"ID": id(own).ID}, &struct{}{}))
	e.stop("e3")
	write(t, "", n.manifest("etcd"), "kind: Pod")
	must(t, n.checkEtcd(t.Context()))
	for _, gone := range []string{log, filepath.Dir(log), n.manifest("etcd")} {
		if _, err := os.Stat(gone); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", gone, err)
		}
	}
	if all := strings.Join(*said, "\n"); !strings.Contains(all, "it joins anew") {
		t.Errorf("said %q", all)
	}
}
