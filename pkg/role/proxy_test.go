package role_test

import (
	"strings"
	"testing"
)

func TestBadProxies(t *testing.T) {
	refused(t, head, []badRole{
		{"no scheme", "proxy: {http: 'proxy:3128'}\n", `r.yaml:4:15: proxy.http is not the address of a proxy (for example http://proxy.example.net:3128)`},
		{"another scheme", "proxy: {https: 'socks5://proxy:1080'}\n", `r.yaml:4:16: proxy.https is not the address of a proxy (for example http://proxy.example.net:3128)`},
		{"a password", "proxy: {http: 'http://me:hunter2@proxy:3128'}\n", `r.yaml:4:15: proxy.http has a password, which everybody on the node could read (let the proxy know the node by its address)`},
		{"a port that there is not", "proxy: {http: 'http://proxy:99999'}\n", `r.yaml:4:15: proxy.http: the port must be a number from 1 to 65535 (for example http://proxy.example.net:3128)`},
		{"a port without a number", "proxy: {https: 'http://proxy:/'}\n", `r.yaml:4:16: proxy.https: the port must be a number from 1 to 65535 (for example http://proxy.example.net:3128)`},
		{"a question", "proxy: {http: 'http://proxy?hunter2'}\n", `r.yaml:4:15: proxy.http is not the address of a proxy (for example http://proxy.example.net:3128)`},
		{"an exception that is none", "proxy: {http: 'http://proxy', no: ['*.example net']}\n", `r.yaml:4:36: proxy.no[0]: "*.example net" is neither a name nor an address or network (for example .example.net or 10.0.0.0/8)`},
		{"no certificate", "proxy: {http: 'http://proxy', ca: hunter2}\n", `r.yaml:4:35: proxy.ca holds no certificate, or a damaged one (-----BEGIN CERTIFICATE-----, as in a .pem file)`},
		{"none", "proxy: {no: [.example.net]}\n", `r.yaml:4:8: proxy names none (give proxy.http or proxy.https)`},
	})
}

// The cluster's own traffic never goes through the proxy.
func TestNoProxy(t *testing.T) {
	r := parse(t, "proxy: {http: 'http://proxy:3128', no: [.example.net, localhost]}\ncluster: {endpoint: cp.example.org}\nnode: {ip: 192.0.2.10}\n")
	const want = ".cluster.local .example.net .svc 10.244.0.0/16 10.96.0.0/12 127.0.0.0/8 192.0.2.10 ::1 cp.example.org localhost"
	if got := strings.Join(r.NoProxy(), " "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
