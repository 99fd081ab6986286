package role

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
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
	r.sizes(c, pods, services)
	r.checkAddresses(c, pods, services)
	r.checkEndpoint(c, pods, services)
}

// checkEndpoint checks where clients reach the API server.
func (r *Role) checkEndpoint(c *checker, pods, services []subnet) {
	const path = "cluster.endpoint"
	if !c.doc.Has(path) {
		return
	}
	if r.Cluster.Endpoint == "" {
		c.errorf(path, "leave it out for the node's own address", "cluster.endpoint is empty")
		return
	}
	host, port, err := splitEndpoint(r.Cluster.Endpoint)
	if err != nil {
		c.errorf(path, "for example cp.example.net:6443", "cluster.endpoint %v", err)
		return
	}
	c.outside(path, host, pods, services)
	r.Cluster.Endpoint = net.JoinHostPort(host, port)
	switch own := r.ownAddresses()[host] != ""; {
	case own && r.Join != nil && r.Join.Token != "" && !c.doc.Has("join.discoveryFile"):
		c.errorf(path, "an address that leads to the control planes that run", "cluster.endpoint %s is this node's own, where nobody answers before it has joined", host)
	case own && r.Role == ControlPlane && !c.doc.Has("virtualIP") && port != defaultPort:
		c.errorf(path, "leave the port out", "cluster.endpoint %s is this node's own, where the API server listens on port %s", host, defaultPort)
	}
}

// ownAddresses are the addresses that the role gives to this node, and which
// field does.
func (r *Role) ownAddresses() map[string]string {
	own := map[string]string{}
	for i, l := range r.Network.Links {
		for j, a := range l.Addresses {
			if p, err := netip.ParsePrefix(a); err == nil {
				own[p.Addr().String()] = at(at("network.links", i)+".addresses", j)
			}
		}
	}
	for path, ip := range map[string]string{"node.ip": r.Node.IP, "node.secondIP": r.Node.SecondIP} {
		if ip != "" {
			own[ip] = path
		}
	}
	return own
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

// sizes refuses what kubeadm and the API server refuse. Whoever joins takes the
// subnets of pods as they are: how large a node's share of them is, a flag may say
// where the cluster is started.
func (r *Role) sizes(c *checker, pods, services []subnet) {
	for _, s := range services {
		switch bits := s.Addr().BitLen(); {
		case s.Bits() < bits-20:
			c.errorf(s.path, fmt.Sprintf("at most a /%d", bits-20), "%s: %s is too large for services", s.path, s)
		case s.Bits() > bits-4:
			c.errorf(s.path, fmt.Sprintf("at least a /%d", bits-4), "%s: %s is too small for services", s.path, s)
		}
	}
	if r.Init == nil || !r.sharesOut() {
		return
	}
	for _, p := range pods {
		node, flag := r.nodeBits(p.Addr())
		switch {
		case node == 0:
			c.errorf(flag.path+".value", fmt.Sprintf("1 to %d", p.Addr().BitLen()), "%s: %s cannot be %q", flag.path, flag.name, flag.value)
		case p.Bits() > node:
			c.errorf(p.path, fmt.Sprintf("at least a /%d", node), "%s: %s is too small: each node takes a /%d of it", p.path, p, node)
		case p.Bits() < node-16:
			c.errorf(p.path, fmt.Sprintf("at most a /%d", node-16), "%s: %s is too large", p.path, p)
		}
	}
}

// sharesOut reports whether each node is given a share of the pods' addresses.
func (r *Role) sharesOut() bool {
	allocate, _ := r.clusterFlag("controllerManager", "allocate-node-cidrs")
	return allocate != "false"
}

// NodeBits is the length of a node's share of the pods' addresses of a family, as
// the controller manager gives it; 0 if it gives none.
func (r *Role) NodeBits(of netip.Addr) int {
	if !r.sharesOut() {
		return 0
	}
	// This one is for clusters of one family; kubeadm takes no notice of it.
	if text, _ := r.clusterFlag("controllerManager", "node-cidr-mask-size"); text != "" && len(r.Cluster.PodSubnets) == 1 {
		bits, _ := strconv.Atoi(text)
		return bits
	}
	bits, _ := r.nodeBits(of)
	return bits
}

// nodeBits is NodeBits as kubeadm checks it, and the flag that says so; 0 if that
// is wrong.
func (r *Role) nodeBits(of netip.Addr) (int, rawFlag) {
	f, bits := rawFlag{name: "node-cidr-mask-size-ipv4"}, 24
	if of.Is6() {
		f.name, bits = "node-cidr-mask-size-ipv6", 64
	}
	if f.value, f.path = r.clusterFlag("controllerManager", f.name); f.value == "" { // as if it were not given
		return bits, f
	}
	bits, err := strconv.Atoi(f.value)
	if err != nil || bits < 1 || bits > of.BitLen() {
		return 0, f
	}
	return bits, f
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

// checkResolvers checks whom names are asked of.
func (r *Role) checkResolvers(c *checker, path string, list []string) {
	seen := map[netip.Addr]bool{}
	for i, s := range list {
		where := at(path, i)
		ip, err := parseAddr(s)
		switch {
		case err != nil:
			c.errorf(where, "for example 192.0.2.53", "%s: %q is not an IP address", where, s)
			continue
		case seen[ip]:
			c.errorf(where, "", "%s: %s is given twice", where, ip)
		case nobody(s): // a resolver of the user's own may run on the node
			c.errorf(where, "for example 192.0.2.53", "%s: %s is for %s", where, ip, purpose(ip))
		case ip == netip.AddrFrom4([4]byte{127, 0, 0, 53}), ip == netip.AddrFrom4([4]byte{127, 0, 0, 54}): // systemd-resolved(8)
			c.errorf(where, "whom that is to ask", "%s: %s is the node's own resolver", where, ip)
		default:
			for _, s := range slices.Concat(quiet(r.Cluster.PodSubnets), quiet(r.Cluster.ServiceSubnets)) {
				if s.Contains(ip) {
					c.errorf(where, "a resolver outside the cluster: the cluster's own asks that", "%s: %s is inside the cluster's own subnet %s", where, ip, s)
				}
			}
		}
		seen[ip] = true
	}
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
