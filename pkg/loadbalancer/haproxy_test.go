package loadbalancer_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/slipway-os/slipway/pkg/loadbalancer"
	"github.com/slipway-os/slipway/pkg/role"
)

// apiServer stands for an API server, and says its name.
type apiServer struct {
	*httptest.Server
	ready atomic.Bool
}

func startAPIServer(t *testing.T, name, address string) *apiServer {
	t.Helper()
	s := new(apiServer)
	s.ready.Store(true)
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/readyz" && !s.ready.Load() {
			http.Error(w, "etcd failed", http.StatusInternalServerError)
			return
		}
		io.WriteString(w, name)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // of checks that end with haproxy
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	s.Listener.Close()
	s.Listener = listener
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// TestHAProxyPassesOn runs HAProxy between a client and two API servers.
func TestHAProxyPassesOn(t *testing.T) {
	program, err := exec.LookPath("haproxy")
	if err != nil {
		t.Skip("haproxy is missing, which is to pass connections on here: `make judges` installs it, and `make test` does so first")
	}
	a := startAPIServer(t, "a", "127.0.0.1:0")
	port := a.Listener.Addr().(*net.TCPAddr).Port
	b := startAPIServer(t, "b", net.JoinHostPort("127.0.0.2", strconv.Itoa(port)))
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	front := free.Addr().(*net.TCPAddr).Port
	free.Close()

	dir := t.TempDir()
	ca, file := filepath.Join(dir, "ca.crt"), filepath.Join(dir, "haproxy.cfg")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	planes := role.VirtualIP{ControlPlanes: []role.Plane{{Name: "a", IP: "127.0.0.1"}, {Name: "b", IP: "127.0.0.2"}}}
	config := loadbalancer.HAProxy(planes, strconv.Itoa(front), port, ca)
	if uid := os.Getuid(); uid != 0 { // who is not root may only become who he is
		config = bytes.Replace(config, []byte("user haproxy\n    group haproxy\n"), fmt.Appendf(nil, "uid %d\n    gid %d\n", uid, os.Getgid()), 1)
	}
	if err := os.WriteFile(file, config, 0o600); err != nil {
		t.Fatal(err)
	}
	haproxy := exec.CommandContext(t.Context(), program, "-db", "-n", "100", "-f", file) // of file descriptors a machine may have few
	haproxy.Stdout, haproxy.Stderr = t.Output(), t.Output()
	if err := haproxy.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { haproxy.Wait() })

	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	// ask says who answers on a client's connection, and whether it had it before.
	ask := func(client *http.Client) (name string, reused bool) {
		traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { reused = i.Reused }})
		request, err := http.NewRequestWithContext(traced, http.MethodGet, fmt.Sprintf("https://127.0.0.1:%d/", front), nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(request)
		if err != nil {
			return "", false
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		if err != nil {
			return "", false
		}
		return string(text), reused
	}
	client := func(keep bool) *http.Client {
		transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: !keep}
		t.Cleanup(transport.CloseIdleConnections)
		return &http.Client{Transport: transport}
	}
	// answer asks on new connections until done says of the last ten answers that
	// it is what is waited for.
	answer := func(what string, done func(last map[string]int) bool) {
		t.Helper()
		for {
			last := map[string]int{}
			for range 10 {
				name, _ := ask(client(false))
				last[name]++
			}
			if done(last) {
				return
			}
			select {
			case <-ctx.Done():
				t.Fatalf("%s: the last answers are of %v", what, last)
			case <-time.After(100 * time.Millisecond):
			}
		}
	}

	answer("both are ready", func(last map[string]int) bool { return last["a"] == 5 && last["b"] == 5 })
	held := client(true)
	for name, _ := ask(held); name != "b"; name, _ = ask(held) {
		if ctx.Err() != nil {
			t.Fatal("no connection reached b")
		}
		held = client(true)
	}
	b.ready.Store(false)
	answer("b is not ready", func(last map[string]int) bool { return last["a"] == 10 })
	if name, reused := ask(held); name != "b" || !reused {
		t.Errorf("a connection to b was answered by %q, on the same connection: %v; want it kept", name, reused)
	}
	a.ready.Store(false)
	answer("none is ready", func(last map[string]int) bool { return last["a"] == 5 && last["b"] == 5 })
	a.ready.Store(true)
	b.ready.Store(true)
	answer("both are ready again", func(last map[string]int) bool { return last["a"] == 5 && last["b"] == 5 })
	// Before a check finds out that a is gone, each of these finds b.
	a.Close()
	for range 10 {
		if name, _ := ask(client(false)); name != "b" {
			t.Errorf("with a gone, %q answers, want b", name)
		}
	}
}
