package configurator

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-os/slipway/pkg/status"
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

// The turn of a control plane that does not serve ends by itself, once.
func TestTurnEndsByItself(t *testing.T) {
	first, _, _ := joining(t, joinPair, "")
	second := *first
	second.pinned.NodeName = "cp2"
	told := make(chan string, 16)
	first.status = status.NewReporter(filepath.Join(t.TempDir(), "status.json"), func(format string, args ...any) {
		told <- fmt.Sprintf(format, args...)
	}, func() time.Duration { return 0 })
	must(t, first.takeTurn(t.Context()))
	first.limitTurn(time.Millisecond)
	select {
	case line := <-told:
		if !strings.Contains(line, "others may join meanwhile") {
			t.Errorf("said %q", line)
		}
	case <-time.After(time.Minute):
		t.Fatal("the turn does not end")
	}
	must(t, second.takeTurn(t.Context()))
	first.endTurn()
	first.endTurn()
	client, err := first.client()
	must(t, err)
	defer client.Close()
	if other, err := client.Lease("slipway-join", "cp3").Take(t.Context()); err != nil || other != "cp2" {
		t.Errorf("the turn is that of %q: %v", other, err)
	}
	second.endTurn()
}

const turn = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/slipway-join"
