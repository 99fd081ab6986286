package configurator

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// A control plane starts nothing of the cluster's while another one is joining,
// and says which.
func TestOneControlPlaneJoinsAtATime(t *testing.T) {
	first, a, _ := joining(t, joinPair, "")
	second := *first
	second.pinned.NodeName = "cp2"
	var said *[]string
	second.status, said = newReport(t)
	write(t, "", second.held("kube-apiserver"), "kind: Pod")
	write(t, "", second.manifest("etcd"), "kind: Pod")
	must(t, first.takeTurn(t.Context()))
	asked := len(a.asked)
	done := make(chan error, 1)
	go func() { done <- second.serveStep().run(t.Context()) }()
	waits := func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return slices.Index(a.asked[asked:], "GET "+turn+" admin.conf") >= 0
	}
	for !waits() {
		select {
		case err := <-done:
			t.Fatalf("started in the turn of another: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
	first.endTurn()
	must(t, <-done)
	if _, err := os.Stat(second.manifest("kube-apiserver")); err != nil {
		t.Error(err)
	}
	if all := strings.Join(*said, "\n"); !strings.Contains(all, "waiting: control plane cp1 is joining; one at a time") {
		t.Errorf("said %q", all)
	}
	second.endTurn()
	must(t, first.takeTurn(t.Context()))
	first.endTurn()
}

const turn = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/slipway-join"
