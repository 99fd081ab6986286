package configurator

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/slipway-os/slipway/pkg/role"
)

// The same trouble is told in the same words, whatever port the question came
// from.
func TestToldOfEtcd(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.Read(make([]byte, 1)) // who still writes is told otherwise
			conn.(*net.TCPConn).SetLinger(0)
			conn.Close()
		}
	}()
	_, err = http.Get("http://" + l.Addr().String())
	if err == nil || told(err).Error() != "read: read: connection reset by peer" {
		t.Errorf("got %v, told %v", err, told(err))
	}
}

// Members that are off, of which nothing comes back, do not make the others
// look so.
func TestSilentMembersOfEtcd(t *testing.T) {
	listen := func(ip string) net.Listener {
		l, err := net.Listen("tcp", ip+":2379")
		must(t, err)
		return l
	}
	c := &Configurator{role: &role.Role{Etcd: &role.EtcdCluster{}}}
	for _, m := range []role.Member{{Name: "e1", IP: "127.1.2.1"}, {Name: "e2", IP: "127.1.2.2"}} {
		l := listen(m.IP) // the kernel takes connections, and nobody answers
		defer l.Close()
		c.role.Etcd.Members = append(c.role.Etcd.Members, m)
	}
	on := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"health":"false","reason":"NO LEADER"}`)
	}))
	on.Listener.Close()
	on.Listener = listen("127.1.2.3")
	on.StartTLS()
	defer on.Close()
	c.role.Etcd.Members = append(c.role.Etcd.Members, role.Member{Name: "e3", IP: "127.1.2.3"})
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer client.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
	defer cancel()
	if got, want := c.silent(ctx, client), "e1, e2 do not answer yet"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
