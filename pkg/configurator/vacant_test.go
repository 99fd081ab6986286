package configurator

import (
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/slipway-os/slipway/pkg/kubeadm"
	"github.com/slipway-os/slipway/pkg/kubeadm/kubeadmtest"
)

// A node starts no second cluster beside one of its own authority.
func TestTheClusterRunsAlready(t *testing.T) {
	ours, theirs := kubeadmtest.Authority(t, "kubernetes", kubeadmtest.Validity{}), kubeadmtest.Authority(t, "kubernetes", kubeadmtest.Validity{})
	today := kubeadmtest.Validity{}
	past := kubeadmtest.Validity{From: time.Now().Add(-48 * time.Hour), To: time.Now().Add(-24 * time.Hour)}
	at := func(t *testing.T, of kubeadmtest.Pair, v kubeadmtest.Validity, answer http.HandlerFunc) string {
		return serve(t, of, v, answer).Listener.Addr().String()
	}
	with := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
	}
	for _, c := range []struct {
		name     string
		endpoint func(t *testing.T) string
		refused  bool
	}{
		{"no endpoint", func(*testing.T) string { return "" }, false},
		{"nobody there", func(t *testing.T) string {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			must(t, err)
			defer l.Close()
			return l.Addr().String()
		}, false},
		{"a balancer without anybody behind it", func(t *testing.T) string {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			must(t, err)
			t.Cleanup(func() { l.Close() })
			go func() {
				for c, err := l.Accept(); err == nil; c, err = l.Accept() {
					c.Close()
				}
			}()
			return l.Addr().String()
		}, false},
		{"another cluster", func(t *testing.T) string { return at(t, theirs, today, with(http.StatusOK)) }, false},
		{"this cluster", func(t *testing.T) string { return at(t, ours, today, with(http.StatusOK)) }, true},
		{"this cluster, which answers nobody it does not know", func(t *testing.T) string { return at(t, ours, today, with(http.StatusUnauthorized)) }, true},
		{"this cluster, on its way up", func(t *testing.T) string { return at(t, ours, today, with(http.StatusInternalServerError)) }, true},
		{"this cluster, by a clock that is wrong", func(t *testing.T) string { return at(t, ours, past, with(http.StatusOK)) }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, _ := configure(t, minimal)
			write(t, n.root, kubeadm.PKIDir+"/ca.crt", string(ours.CertPEM()))
			n.role.Cluster.Endpoint = c.endpoint(t)
			err := n.vacant(t.Context())
			var fatal *FatalError
			if c.refused && (!errors.As(err, &fatal) || !strings.Contains(err.Error(), "runs already, at "+n.role.Cluster.Endpoint)) || !c.refused && err != nil {
				t.Errorf("got %v", err)
			}
		})
	}
}

// Whoever might serve the cluster is asked once.
func TestWhoMightServeTheCluster(t *testing.T) {
	for _, c := range []struct{ name, role, want string }{
		{"a cluster of one", minimal, ""},
		{"others", "version: 1\nrole: control-plane\ninit: {others: [192.0.2.11, 192.0.2.12]}\ncluster: {endpoint: 192.0.2.10}\n", "192.0.2.10:6443 192.0.2.11:6443 192.0.2.12:6443"},
		{"the endpoint is one of them", "version: 1\nrole: control-plane\ninit: {others: [192.0.2.11]}\ncluster: {endpoint: 192.0.2.11}\n", "192.0.2.11:6443"},
		{"a shared address", "version: 1\nrole: control-plane\ninit: {others: [192.0.2.11]}\ncluster: {endpoint: 192.0.2.100}\n" +
			"virtualIP: {addresses: [192.0.2.100], controlPlanes: [{name: cp1, ip: 192.0.2.10}, {name: cp2, ip: 192.0.2.11}]}\n", "192.0.2.100:6443 192.0.2.11:6444"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, _ := configure(t, c.role)
			if got := strings.Join(n.others(), " "); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
