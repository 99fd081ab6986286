package role

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// defaultPort is the API server's.
const defaultPort = "6443"

// subnet is a subnet and where it was written.
type subnet struct {
	netip.Prefix
	path string
}

func (r *Role) checkCluster(c *checker) {
	k := &r.Cluster
	if !isLabel(k.Name) {
		c.errorf("cluster.name", nameHint(k.Name, false), "cluster.name: %q is not a DNS label", k.Name)
	}
	if !isSubdomain(k.DNSDomain) {
		c.errorf("cluster.dnsDomain", nameHint(k.DNSDomain, true), "cluster.dnsDomain: %q is not a domain", k.DNSDomain)
	}
	if c.given("cluster.kubernetesVersion", k.KubernetesVersion) && !isVersion(k.KubernetesVersion) {
		hint := "for example v1.37.2"
		if isVersion("v" + k.KubernetesVersion) {
			hint = "write v" + k.KubernetesVersion
		}
		c.errorf("cluster.kubernetesVersion", hint, "cluster.kubernetesVersion: %q is not a version", k.KubernetesVersion)
	}
	pods := c.subnets("cluster.podSubnets", k.PodSubnets, r.Join != nil)
	services := c.subnets("cluster.serviceSubnets", k.ServiceSubnets, r.Join != nil)
	if r.Join != nil && (len(k.PodSubnets) == 0) != (len(k.ServiceSubnets) == 0) {
		c.errorf(c.written("cluster.podSubnets", "cluster.serviceSubnets"), "write [] for both, to take those that the cluster has, or give both", "only one of cluster.podSubnets and cluster.serviceSubnets is empty")
	}
	c.compare(pods, services)
	c.sizes(pods, services, len(r.Kubeadm) > 0)
	if c.doc.Has("cluster.endpoint") {
		if k.Endpoint == "" {
			c.errorf("cluster.endpoint", "leave it out for the node's own address", "cluster.endpoint is empty")
		} else if host, port, err := splitEndpoint(k.Endpoint); err != nil {
			c.errorf("cluster.endpoint", "for example cp.example.net:6443", "cluster.endpoint %v", err)
		} else {
			c.outside("cluster.endpoint", host, pods, services)
			k.Endpoint = net.JoinHostPort(host, port)
		}
	}
	r.checkAddresses(c, pods, services)
}

// checkAddresses checks the node's own addresses.
func (r *Role) checkAddresses(c *checker, pods, services []subnet) {
	if ip, ok := c.ownAddress("node.ip", &r.Node.IP, pods, services); ok {
		if r.Role != Etcd && len(services) > 0 && services[0].Addr().Is4() != ip.Is4() {
			c.errorf("node.ip", "the API server's address is of the family of the first service subnet", "node.ip is %s, but the first service subnet is %s", family(ip), services[0])
		}
	}
	if ip, ok := c.ownAddress("node.secondIP", &r.Node.SecondIP, pods, services); ok {
		switch {
		case len(services) == 1:
			c.errorf("node.secondIP", "leave it out, or give podSubnets and serviceSubnets of both", "node.secondIP goes with a cluster of both families only")
		case len(services) > 1 && services[0].Addr().Is4() == ip.Is4():
			c.errorf("node.secondIP", "its address of the other family", "node.secondIP is %s, as the first service subnet %s", family(ip), services[0])
		}
	}
}

// ownAddress reads an address of the node's own; ok says that it may be one.
func (c *checker) ownAddress(path string, address *string, pods, services []subnet) (ip netip.Addr, ok bool) {
	if !c.given(path, *address) {
		return ip, false
	}
	ip, err := parseAddr(*address)
	switch {
	case err != nil:
		c.errorf(path, "for example 192.0.2.10", "%s: %q is not an IP address", path, *address)
	case !usable(ip):
		c.errorf(path, "an address that other nodes reach it by", "%s: %s cannot be a node's address", path, ip)
	default:
		c.outside(path, ip.String(), pods, services)
		*address = ip.String()
		return ip, true
	}
	return ip, false
}

// subnets parses a list of subnets and writes each in its usual form. Those
// that are wrong are left out of the result. Whether there may be none at all
// is known beforehand.
func (c *checker) subnets(path string, list []string, none bool) []subnet {
	if len(list) == 0 && !none {
		c.errorf(path, "leave it out for the default", "%s is empty", path)
	}
	var parsed []subnet
	have := map[bool]bool{}
	for i, s := range list {
		p, err := netip.ParsePrefix(s)
		switch {
		case err != nil || p.Addr().Is4In6():
			c.errorf(at(path, i), "for example 10.244.0.0/16", "%s: %q is not a subnet", at(path, i), s)
			continue
		case p != p.Masked():
			c.errorf(at(path, i), "write "+p.Masked().String(), "%s: %s has bits set beyond its mask", at(path, i), s)
			continue
		case have[p.Addr().Is4()]:
			c.errorf(at(path, i), "give at most one IPv4 and one IPv6 subnet", "%s: %s is a second %s subnet", at(path, i), s, family(p.Addr()))
			continue
		}
		if of := reserved(p); of != "" {
			c.errorf(at(path, i), "for example "+example(path, p.Addr().Is4()), "%s: %s is for %s", at(path, i), s, of)
			continue
		}
		have[p.Addr().Is4()] = true
		list[i] = p.String()
		parsed = append(parsed, subnet{p, at(path, i)})
	}
	if len(parsed) != len(list) {
		return nil // comparing the rest would only complain of what follows from this
	}
	return parsed
}

// written is the path to blame of several that do not fit together: the first
// that is in the file and not a default.
func (c *checker) written(paths ...string) string {
	for _, p := range paths {
		if c.doc.Has(p) {
			return p
		}
	}
	return paths[0]
}

func (c *checker) compare(pods, services []subnet) {
	if len(pods) == 0 || len(services) == 0 {
		return
	}
	for _, p := range pods {
		for _, s := range services {
			if p.Overlaps(s.Prefix) {
				c.errorf(c.written(p.path, s.path), "choose another for one of them", "pod subnet %s and service subnet %s overlap", p, s)
			}
		}
	}
	if a, b := families(pods), families(services); a != b {
		where := c.written("cluster.podSubnets", "cluster.serviceSubnets")
		c.errorf(where, "give podSubnets and serviceSubnets of the same families", "pod subnets are %s, but service subnets are %s", a, b)
	}
}

// sizes refuses what kubeadm and the API server refuse. How large a node's
// share of the pods is can be changed by a raw document of kubeadm's, so that
// with one (raw) only kubeadm can tell.
func (c *checker) sizes(pods, services []subnet, raw bool) {
	for _, s := range services {
		switch bits := s.Addr().BitLen(); {
		case s.Bits() < bits-20:
			c.errorf(s.path, fmt.Sprintf("at most a /%d", bits-20), "%s: %s is too large for services", s.path, s)
		case s.Bits() > bits-4:
			c.errorf(s.path, fmt.Sprintf("at least a /%d", bits-4), "%s: %s is too small for services", s.path, s)
		}
	}
	for _, p := range pods {
		node := 24
		if p.Addr().Is6() {
			node = 64
		}
		switch {
		case raw:
		case p.Bits() > node:
			c.errorf(p.path, fmt.Sprintf("at least a /%d", node), "%s: %s is too small: each node takes a /%d of it", p.path, p, node)
		case p.Bits() < node-16:
			c.errorf(p.path, fmt.Sprintf("at most a /%d", node-16), "%s: %s is too large", p.path, p)
		}
	}
}

// outside refuses an address of the host network that lies inside the
// cluster's own: its packets would never leave the node.
func (c *checker) outside(path, host string, pods, services []subnet) {
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return
	}
	for _, s := range pods {
		if s.Contains(ip) {
			c.errorf(path, "choose other podSubnets", "%s %s is inside the pod subnet %s", path, ip, s)
		}
	}
	for _, s := range services {
		if s.Contains(ip) {
			c.errorf(path, "choose other serviceSubnets", "%s %s is inside the service subnet %s", path, ip, s)
		}
	}
}

func family(ip netip.Addr) string {
	if ip.Is4() {
		return "IPv4"
	}
	return "IPv6"
}

func families(list []subnet) string {
	four, six := false, false
	for _, s := range list {
		four = four || s.Addr().Is4()
		six = six || s.Addr().Is6()
	}
	switch {
	case four && six:
		return "IPv4 and IPv6"
	case six:
		return "IPv6"
	}
	return "IPv4"
}

// usable reports whether other nodes may reach a node by an address.
func usable(ip netip.Addr) bool {
	return !ip.IsUnspecified() && !ip.IsLoopback() && !ip.IsMulticast()
}

// reserved says what a subnet is for that no cluster can use.
func reserved(p netip.Prefix) string {
	ip := p.Addr()
	switch {
	case ip.IsLoopback(), ip.Is4() && ip.As4()[0] == 127:
		return "talk of a node with itself"
	case ip.IsLinkLocalUnicast():
		return "addresses that are known on one link only"
	case ip.IsMulticast():
		return "multicast"
	}
	return ""
}

// example is a subnet that could stand in a list.
func example(list string, four bool) string {
	switch pods := list == "cluster.podSubnets"; {
	case pods && four:
		return "10.244.0.0/16"
	case pods:
		return "fd00:10:244::/56"
	case four:
		return "10.96.0.0/16"
	}
	return "fd00:10:96::/112"
}

// parseAddr reads an address of a whole network: without a zone, and not an
// IPv4 address dressed up as IPv6.
func parseAddr(s string) (netip.Addr, error) {
	ip, err := netip.ParseAddr(s)
	if err == nil && (ip.Zone() != "" || ip.Is4In6()) {
		err = errors.New("has a zone, or is mapped")
	}
	return ip, err
}

// splitEndpoint reads host, host:port, an IPv6 address, [IPv6] or [IPv6]:port.
// The error continues "cluster.endpoint".
func splitEndpoint(s string) (host, port string, err error) {
	if strings.Contains(s, "://") || strings.ContainsAny(s, "/@") {
		return "", "", errors.New("must be a host or host:port, without https:// or a path")
	}
	host, port = s, defaultPort
	if _, err := netip.ParseAddr(s); err != nil {
		if inner, ok := strings.CutPrefix(s, "["); ok && strings.HasSuffix(inner, "]") {
			host = strings.TrimSuffix(inner, "]")
			if !strings.Contains(host, ":") {
				return "", "", fmt.Errorf("%q: only IPv6 addresses stand in brackets", s)
			}
		} else if strings.Contains(s, ":") {
			if host, port, err = net.SplitHostPort(s); err != nil || ok && !strings.Contains(host, ":") {
				return "", "", fmt.Errorf("%q is not a host or host:port", s)
			}
		}
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || port[0] == '0' || port[0] == '+' {
		return "", "", fmt.Errorf("%q: the port must be a number from 1 to 65535", s)
	}
	if ip, err := parseAddr(host); err == nil {
		if ip.IsUnspecified() || ip.IsMulticast() {
			return "", "", fmt.Errorf("%q: nobody can reach that address", s)
		}
		return ip.String(), port, nil
	}
	if !isHost(host) {
		return "", "", fmt.Errorf("%q is not a host or host:port", s)
	}
	return host, port, nil
}
