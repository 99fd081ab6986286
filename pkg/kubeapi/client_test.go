package kubeapi_test

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/slipway-os/slipway/pkg/kubeadm/kubeadmtest"
	"github.com/slipway-os/slipway/pkg/kubeapi"
)

// server is an API server's front: TLS, and clients that a CA vouches for.
type server struct {
	*httptest.Server
	ca kubeadmtest.Pair
}

func serve(t *testing.T, handler http.Handler) server {
	t.Helper()
	ca := kubeadmtest.Authority(t, "kubernetes", kubeadmtest.Validity{})
	own := ca.Sign(t, "kube-apiserver", kubeadmtest.Validity{})
	pool := x509.NewCertPool()
	pool.AddCert(ca.Cert)
	s := httptest.NewUnstartedServer(handler)
	s.TLS = &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{own.Cert.Raw}, PrivateKey: own.Key}},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: pool,
	}
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // strangers are turned away in tests
	s.StartTLS()
	t.Cleanup(s.Close)
	return server{s, ca}
}

// client returns a client of the server's that an authority vouches for.
func (s server) client(t *testing.T, by kubeadmtest.Pair) *kubeapi.Client {
	t.Helper()
	c, err := kubeapi.FromKubeconfig(kubeadmtest.Kubeconfig(t, s.URL, s.ca, by.Sign(t, "kubernetes-admin", kubeadmtest.Validity{})), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestClientCertificates(t *testing.T) {
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"metadata":{"name":%q}}`, r.TLS.PeerCertificates[0].Subject.CommonName)
	}))
	var who kubeapi.Object
	if err := s.client(t, s.ca).Get(t.Context(), "/x", &who); err != nil || who.Metadata.Name != "kubernetes-admin" {
		t.Errorf("got %q, %v", who.Metadata.Name, err)
	}
	stranger := kubeadmtest.Authority(t, "other", kubeadmtest.Validity{})
	if err := s.client(t, stranger).Get(t.Context(), "/x", &who); err == nil {
		t.Error("a client of another authority was let in")
	}
	// Nor does a client trust a server of another authority.
	c, err := kubeapi.FromKubeconfig(kubeadmtest.Kubeconfig(t, s.URL, stranger, s.ca.Sign(t, "x", kubeadmtest.Validity{})), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Get(t.Context(), "/x", &who); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("got %v", err)
	}
}

// A token is shown to none but servers of the authority that was meant.
func TestByToken(t *testing.T) {
	ca, other := kubeadmtest.Authority(t, "kubernetes", kubeadmtest.Validity{}), kubeadmtest.Authority(t, "other", kubeadmtest.Validity{})
	shown := ""
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown = r.Header.Get("Authorization")
		io.WriteString(w, "{}")
	}))
	own := ca.Sign(t, "kube-apiserver", kubeadmtest.Validity{})
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{own.Cert.Raw}, PrivateKey: own.Key}}}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	config := func(authorities ...kubeadmtest.Pair) []byte {
		var pem []byte
		for _, a := range authorities {
			pem = append(pem, a.CertPEM()...)
		}
		return []byte("clusters: [{cluster: {certificate-authority-data: " + base64.StdEncoding.EncodeToString(pem) + "}}]")
	}
	digest := func(p kubeadmtest.Pair) string {
		return fmt.Sprintf("sha256:%x", sha256.Sum256(p.Cert.RawSubjectPublicKeyInfo))
	}
	for _, c := range []struct {
		name    string
		config  []byte
		digests []string
		want    string // of the error
	}{
		{"its authority", config(ca), []string{digest(other), digest(ca)}, ""},
		{"one of two authorities", config(other, ca), []string{digest(ca)}, ""},
		{"another authority", config(other), []string{digest(ca)}, kubeapi.ErrUnknownAuthority.Error()},
		{"an authority that was smuggled in", config(other, ca), []string{digest(other)}, "certificate signed by unknown authority"},
		{"no certificate", config(), []string{digest(ca)}, "certificate-authority-data"},
		{"no kubeconfig", []byte("x"), []string{digest(ca)}, "reading kubeconfig: it names no cluster"},
	} {
		t.Run(c.name, func(t *testing.T) {
			shown = ""
			client, err := kubeapi.ByToken(s.Listener.Addr().String(), "abcdef.0123456789abcdef", c.config, c.digests)
			if err == nil {
				defer client.Close()
				err = client.Get(t.Context(), "/x", new(struct{}))
			}
			if c.want == "" {
				if err != nil || shown != "Bearer abcdef.0123456789abcdef" {
					t.Errorf("got %v, shown %q", err, shown)
				}
			} else if err == nil || !strings.Contains(err.Error(), c.want) || shown != "" {
				t.Errorf("got %v, shown %q, want %s", err, shown, c.want)
			}
		})
	}
}

func FuzzByToken(f *testing.F) {
	ca := kubeadmtest.Authority(f, "kubernetes", kubeadmtest.Validity{})
	f.Add([]byte("clusters: [{cluster: {certificate-authority-data: " + base64.StdEncoding.EncodeToString(ca.CertPEM()) + "}}]"))
	f.Add([]byte("clusters: [{cluster: {certificate-authority-data: LS0t}}]"))
	f.Fuzz(func(t *testing.T, config []byte) {
		kubeapi.FromDiscovery(config, "abcdef.0123456789abcdef")
		if _, err := kubeapi.ByToken("192.0.2.1:6443", "abcdef.0123456789abcdef", config, []string{"sha256:x"}); err == nil {
			t.Error("took an authority that has another digest")
		}
	})
}

func TestDialer(t *testing.T) {
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "{}") }))
	asked := ""
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		asked = address
		return (&net.Dialer{}).DialContext(ctx, network, s.Listener.Addr().String())
	}
	c, err := kubeapi.FromKubeconfig(kubeadmtest.Kubeconfig(t, "https://127.0.0.1:6443", s.ca, s.ca.Sign(t, "x", kubeadmtest.Validity{})), dial)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Send(t.Context(), http.MethodGet, "/livez", "", nil); err != nil || asked != "127.0.0.1:6443" {
		t.Errorf("asked %q, %v", asked, err)
	}
}

func TestSend(t *testing.T) {
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s %s", r.Method, r.URL, r.Header.Get("Content-Type"), body)
	}))
	got, err := s.client(t, s.ca).Send(t.Context(), http.MethodPatch, "/api/v1/x?a=b", "application/json", strings.NewReader("{}"))
	if want := "PATCH /api/v1/x?a=b application/json {}"; err != nil || string(got) != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
}

// What goes wrong is told in one line of reasonable length.
func TestErrors(t *testing.T) {
	for _, c := range []struct {
		name, body string
		code       int
		want       string
	}{
		{"a Status", `{"kind":"Status","message":"nodes \"x\" not found"}`, 404, `the API server says 404: nodes "x" not found`},
		{"a health check", "[+]ping ok\n[-]etcd failed: reason withheld\n[+]log ok\n[-]poststarthook/rbac failed: not finished\nlivez check failed\n", 500, "the API server says 500: etcd failed: reason withheld, poststarthook/rbac failed: not finished"},
		{"plain text in lines", "too many\nrequests\r\n", 429, "the API server says 429: too many requests"},
		{"nothing", "", 503, "the API server says 503 Service Unavailable"},
		{"a page without end", strings.Repeat("ä", 1<<20), 502, "the API server says 502: " + strings.Repeat("ä", 150) + "…"},
		{"not JSON where an object should be", "<html>", 200, "reading /x: invalid character '<' looking for beginning of value"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(c.code)
				io.WriteString(w, c.body)
			}))
			var into kubeapi.Object
			err := s.client(t, s.ca).Get(t.Context(), "/x", &into)
			if err == nil || err.Error() != c.want {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
			var status *kubeapi.StatusError
			if errors.As(err, &status) != (c.code != 200) || status != nil && status.Code != c.code {
				t.Errorf("status %+v", status)
			}
		})
	}
}

func TestCanceled(t *testing.T) {
	release := make(chan struct{})
	s := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer close(release)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.client(t, s.ca).Get(ctx, "/x", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestKubeconfigs(t *testing.T) {
	ca := kubeadmtest.Authority(t, "ca", kubeadmtest.Validity{})
	good := string(kubeadmtest.Kubeconfig(t, "https://192.0.2.1:6443", ca, ca.Sign(t, "x", kubeadmtest.Validity{})))
	other := string(kubeadmtest.Kubeconfig(t, "https://192.0.2.1:6443", ca, ca.Sign(t, "x", kubeadmtest.Validity{})))
	field := func(config, name string) string {
		_, rest, _ := strings.Cut(config, name+": ")
		value, _, _ := strings.Cut(rest, "\n")
		return value
	}
	key := field(good, "client-key-data")
	for _, c := range []struct{ name, in, want string }{
		{"right", good, ""},
		{"empty", "", "it names no user"},
		{"not YAML", "a: [" + key, "not valid YAML"},
		{"no user", "clusters: [{}]", "it names no user"},
		{"no cluster", "users: [{}]", "it names no cluster"},
		{"no authority", strings.Replace(good, field(good, "certificate-authority-data"), "", 1), "certificate-authority-data is missing"},
		{"a key that is not base64", strings.Replace(good, key, "!"+key, 1), "client-key-data is missing or not base64"},
		{"a key that is cut off", strings.Replace(good, key, key[:40], 1), "client certificate"},
		{"another's key", strings.Replace(good, key, field(other, "client-key-data"), 1), "client certificate"},
		{"an authority that is none", strings.Replace(good, field(good, "certificate-authority-data"), "aGVsbG8=", 1), "holds no certificate"},
		{"without TLS", strings.Replace(good, "https://", "http://", 1), `server "http://192.0.2.1:6443" is no https address`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := kubeapi.FromKubeconfig([]byte(c.in), nil)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), key[:20]) {
				t.Errorf("the key is told: %v", err)
			}
		})
	}
}

func FuzzFromKubeconfig(f *testing.F) {
	ca := kubeadmtest.Authority(f, "ca", kubeadmtest.Validity{})
	f.Add(kubeadmtest.Kubeconfig(f, "https://192.0.2.1:6443", ca, ca.Sign(f, "x", kubeadmtest.Validity{})))
	f.Add([]byte("clusters: [{cluster: {server: 'https://x', certificate-authority-data: aGVsbG8=}}]\nusers: [{user: {client-certificate-data: eA==, client-key-data: eA==}}]"))
	f.Add([]byte("a: &a [*a]\nclusters: *a\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := kubeapi.FromKubeconfig(data, nil)
		if (c == nil) == (err == nil) {
			t.Errorf("client %v, error %v", c, err)
		}
		if err != nil && (len(err.Error()) > 2*len(data)+200 || strings.Contains(err.Error(), "\n")) {
			t.Errorf("error %q", err)
		}
	})
}
