package role

import (
	"crypto/x509"
	"encoding/pem"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// Proxy is what stands between the node and the world. Nothing at first boot
// needs it, but for a config that is fetched, and images of the user's own.
type Proxy struct {
	HTTP  string   `yaml:"http" doc:"Proxy for http://: http://proxy.example.net:3128." becomes:"Ignition's proxy; HTTP_PROXY of containerd"`
	HTTPS string   `yaml:"https" doc:"Proxy for https://." becomes:"Ignition's proxy; HTTPS_PROXY of containerd"`
	No    []string `yaml:"no" doc:"Names, domains (.example.net), addresses and networks that are reached directly, besides the cluster's own." becomes:"NO_PROXY"`
	CA    string   `yaml:"ca" doc:"Certificates, in PEM, of authorities that sign for the proxy." becomes:"Ignition's certificateAuthorities; /etc/ssl/certs/proxy.pem"`
}

func (r *Role) checkProxy(c *checker) {
	p := &r.Proxy
	for _, f := range []struct{ path, value string }{{"proxy.http", p.HTTP}, {"proxy.https", p.HTTPS}} {
		if !c.given(f.path, f.value) {
			continue
		}
		u, err := url.Parse(f.value)
		switch {
		case err != nil || u.Scheme != "http" && u.Scheme != "https" || !isHost(u.Hostname()) || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "":
			// It may hold a password.
			c.errorf(f.path, "for example http://proxy.example.net:3128", "%s is not the address of a proxy", f.path)
		case strings.HasSuffix(u.Host, ":") || u.Port() != "" && !isPort(u.Port()):
			c.errorf(f.path, "for example http://proxy.example.net:3128", "%s: the port must be a number from 1 to 65535", f.path)
		case u.User != nil:
			c.errorf(f.path, "let the proxy know the node by its address", "%s has a password, which everybody on the node could read", f.path)
		}
	}
	for i, n := range p.No {
		path := at("proxy.no", i)
		_, addrErr := parseAddr(n)
		_, netErr := netip.ParsePrefix(n)
		if name := strings.TrimPrefix(n, "."); addrErr != nil && netErr != nil && !isSubdomain(strings.ToLower(name)) {
			c.errorf(path, "for example .example.net or 10.0.0.0/8", "%s: %q is neither a name nor an address or network", path, n)
		}
	}
	if c.given("proxy.ca", p.CA) {
		found := false
		for rest := []byte(p.CA); ; {
			var b *pem.Block
			if b, rest = pem.Decode(rest); b == nil {
				break
			}
			_, err := x509.ParseCertificate(b.Bytes)
			found = b.Type == "CERTIFICATE" && err == nil
			if !found {
				break
			}
		}
		if !found {
			c.errorf("proxy.ca", "-----BEGIN CERTIFICATE-----, as in a .pem file", "proxy.ca holds no certificate, or a damaged one")
		}
	}
	if c.doc.Has("proxy") && p.HTTP == "" && p.HTTPS == "" && p.CA == "" && !c.doc.Has("proxy.http") && !c.doc.Has("proxy.https") {
		c.errorf("proxy", "give proxy.http or proxy.https", "proxy names none")
	}
}

// NoProxy returns whom the node reaches directly: whom the role names, and its
// own cluster.
func (r *Role) NoProxy() []string {
	all := slices.Concat(r.Proxy.No, []string{"localhost", "127.0.0.0/8", "::1", ".svc", "." + r.Cluster.DNSDomain}, r.Cluster.PodSubnets, r.Cluster.ServiceSubnets)
	if host, _, err := splitEndpoint(r.Cluster.Endpoint); err == nil && r.Cluster.Endpoint != "" {
		all = append(all, host)
	}
	for _, ip := range []string{r.Node.IP, r.Node.SecondIP} {
		if ip != "" {
			all = append(all, ip)
		}
	}
	if r.Etcd != nil {
		for _, m := range r.Etcd.Members {
			all = append(all, m.IP)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
