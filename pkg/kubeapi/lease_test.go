package kubeapi_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"sync"
	"testing"
)

// oneLease keeps a lease as an API server does: who writes it must have read
// the last version.
type oneLease struct {
	mu      sync.Mutex
	object  map[string]any
	version int
}

func (o *oneLease) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var sent map[string]any
	body, _ := io.ReadAll(r.Body)
	json.Unmarshal(body, &sent)
	switch {
	case r.Method == http.MethodGet && o.object == nil:
		w.WriteHeader(http.StatusNotFound)
		return
	case r.Method == http.MethodPost && o.object != nil:
		w.WriteHeader(http.StatusConflict)
		return
	case r.Method == http.MethodPut && sent["metadata"].(map[string]any)["resourceVersion"] != strconv.Itoa(o.version):
		w.WriteHeader(http.StatusConflict)
		return
	}
	if r.Method != http.MethodGet {
		o.version++
		sent["metadata"].(map[string]any)["resourceVersion"] = strconv.Itoa(o.version)
		o.object = sent
	}
	json.NewEncoder(w).Encode(o.object)
}

func TestOneHoldsALease(t *testing.T) {
	s := serve(t, new(oneLease))
	client := s.client(t, s.ca)
	one, two := client.Lease("etcd", "cp1"), client.Lease("etcd", "cp2")
	take := func(l interface {
		Take(context.Context) (string, error)
	}, want string) {
		t.Helper()
		if other, err := l.Take(t.Context()); err != nil || other != want {
			t.Errorf("got %q, %v; want %q", other, err, want)
		}
	}
	take(one, "")
	take(one, "") // whoever has it keeps it
	take(two, "cp1")
	one.Keep(t.Context())()
	take(two, "")
	take(one, "cp2")
	// What another has meanwhile is not given back.
	one.Keep(t.Context())()
	take(one, "cp2")
}
