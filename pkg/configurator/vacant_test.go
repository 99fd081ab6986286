package configurator

import (
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/kubeadm"
	"github.com/slipway-os/slipway/pkg/kubeadm/kubeadmtest"
)

// A node starts no second cluster beside one of its own authority.
func TestTheClusterRunsAlready(t *testing.T) {
	ours, theirs := kubeadmtest.Authority(t, "kubernetes", kubeadmtest.Validity{}), kubeadmtest.Authority(t, "kubernetes", kubeadmtest.Validity{})
	serve := func(t *testing.T, of kubeadmtest.Pair, answer http.HandlerFunc) string {
		own := of.Sign(t, "kube-apiserver", kubeadmtest.Validity{})
		s := httptest.NewUnstartedServer(answer)
		s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{own.Cert.Raw}, PrivateKey: own.Key}}}
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		s.StartTLS()
		t.Cleanup(s.Close)
		return s.Listener.Addr().String()
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
		{"another cluster", func(t *testing.T) string { return serve(t, theirs, with(http.StatusOK)) }, false},
		{"this cluster", func(t *testing.T) string { return serve(t, ours, with(http.StatusOK)) }, true},
		{"this cluster, which answers nobody it does not know", func(t *testing.T) string { return serve(t, ours, with(http.StatusUnauthorized)) }, true},
		{"this cluster, on its way up", func(t *testing.T) string { return serve(t, ours, with(http.StatusInternalServerError)) }, true},
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
