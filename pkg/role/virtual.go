package role

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// VirtualIP is an address that the control planes share.
type VirtualIP struct {
	Addresses     []string `yaml:"addresses" doc:"The address; on a cluster of both families, one of each."`
	ControlPlanes []Plane  `yaml:"controlPlanes" doc:"All control planes, this node among them: the first that runs is the first to have the address."`
	RouterID      int      `yaml:"routerID" doc:"VRRP's virtual router identifier: 1 to 255, another for each cluster on a network. Default 51."`
}

// Plane is one of the control planes that share an address.
type Plane struct {
	Name     string `yaml:"name" doc:"Name of the node."`
	IP       string `yaml:"ip" doc:"Address that the others reach it by."`
	SecondIP string `yaml:"secondIP" doc:"Its address of the other family. Give that of all control planes or of none: without it they ask each other by the first only, and a shared address of the other family moves along."`
}

const defaultRouterID = 51

// IPOf is the control plane's address of a family; "" if it has none.
func (p Plane) IPOf(v6 bool) string {
	for _, ip := range []string{p.IP, p.SecondIP} {
		if ip != "" && isV6(ip) == v6 {
			return ip
		}
	}
	return ""
}

// Rank is the place of the control plane with an address in their order.
func (v *VirtualIP) Rank(ip string) (int, error) {
	rank := slices.IndexFunc(v.ControlPlanes, func(p Plane) bool { return p.IP == ip })
	if rank < 0 {
		return 0, fmt.Errorf("configuring the virtual address: this node's address %s is none of the control planes'", ip)
	}
	return rank, nil
}

// checkVirtualIP checks the shared address, and lets the cluster's endpoint be
// at it.
func (r *Role) checkVirtualIP(c *checker) {
	v := r.VirtualIP
	if !c.doc.Has("virtualIP") {
		return
	}
	if v == nil {
		c.errorf("virtualIP", "virtualIP: {addresses: […], controlPlanes: [{name: …, ip: …}]}", "virtualIP has no value")
		return
	}
	if v.RouterID == 0 && !c.doc.Has("virtualIP.routerID") {
		v.RouterID = defaultRouterID
	}
	if v.RouterID < 1 || v.RouterID > 255 {
		c.errorf("virtualIP.routerID", "1 to 255", "virtualIP.routerID: %d is not possible", v.RouterID)
	}
	if len(v.Addresses) == 0 {
		c.errorf("virtualIP", "give virtualIP.addresses", "virtualIP has no address")
	}
	r.checkShared(c)
	if len(v.ControlPlanes) == 0 {
		c.errorf("virtualIP", "name all control planes in virtualIP.controlPlanes", "virtualIP has no control planes")
	}
	r.checkPlanes(c)
	if len(v.Addresses) == 0 {
		return
	}
	if len(v.ControlPlanes) > 0 && v.ControlPlanes[0].IP != "" && !slices.ContainsFunc(v.Addresses, func(a string) bool { return v.ControlPlanes[0].IPOf(isV6(a)) != "" }) {
		c.errorf("virtualIP.addresses", "share one of the family of their own addresses", "virtualIP.addresses: the control planes cannot ask each other by the family of %s", v.Addresses[0])
	}
	r.checkSharedEndpoint(c)
}

// checkShared checks the addresses themselves.
func (r *Role) checkShared(c *checker) {
	v := r.VirtualIP
	pods, services := quiet(r.Cluster.PodSubnets), quiet(r.Cluster.ServiceSubnets)
	have, own := map[bool]bool{}, r.ownAddresses()
	for i, a := range v.Addresses {
		path := at("virtualIP.addresses", i)
		ip, err := parseAddr(a)
		switch {
		case err != nil:
			c.errorf(path, "for example 192.0.2.100", "%s: %q is not an IP address", path, a)
			continue
		case !usable(ip):
			c.errorf(path, "an address of the control planes' network that nothing else has", "%s: %s cannot be shared", path, ip)
		case have[ip.Is4()]:
			c.errorf(path, "give at most one of each family", "%s: %s is a second %s address", path, ip, family(ip))
		case strings.HasPrefix(own[ip.String()], "network."):
			c.errorf(own[ip.String()], "give the interface one of its own", "%s: %s is the shared address", own[ip.String()], ip)
		case own[ip.String()] != "":
			c.errorf(path, "an address that nothing else has", "%s: %s is the node's own", path, ip)
		case r.owner(ip) != "":
			c.errorf(path, "an address that nothing else has", "%s: %s is %s", path, ip, r.owner(ip))
		default:
			c.outside(path, ip.String(), pods, services)
		}
		have[ip.Is4()] = true
		v.Addresses[i] = ip.String()
	}
}

// checkSharedEndpoint checks that clients are led to the address.
func (r *Role) checkSharedEndpoint(c *checker) {
	v := r.VirtualIP
	host, port, err := splitEndpoint(r.Cluster.Endpoint)
	switch {
	case r.Cluster.Endpoint == "":
		first := v.Addresses[0]
		if ip, err := netip.ParseAddr(first); err == nil {
			r.Cluster.Endpoint = netip.AddrPortFrom(ip, apiPort).String()
		}
	case err != nil:
	case r.listener(port) != "":
		c.errorf("cluster.endpoint", "leave the port out", "cluster.endpoint: %s on port %s", r.listener(port), port)
	default:
		if ip, err := netip.ParseAddr(host); err == nil && !slices.Contains(v.Addresses, ip.String()) {
			c.errorf("cluster.endpoint", "give the shared address, or a name that leads there", "cluster.endpoint %s is not the virtual IP", ip)
		}
	}
}

// checkPlanes checks the control planes that share an address. They can ask
// each other by a second family only if all of them have an address of it.
func (r *Role) checkPlanes(c *checker) {
	const list = "virtualIP.controlPlanes"
	v, seen := r.VirtualIP, r.newMembers(c)
	for i := range v.ControlPlanes {
		p, first, path := &v.ControlPlanes[i], &v.ControlPlanes[0], at(list, i)
		seen.name(path+".name", p.Name)
		known := seen.address(path+".ip", &p.IP)
		if slices.Contains(v.Addresses, p.IP) {
			c.errorf(path+".ip", "", "%s.ip: %s is the shared address", path, p.IP)
		}
		if known && isV6(p.IP) != isV6(first.IP) {
			c.errorf(path+".ip", "give all an ip of one family; that of the other is their secondIP", "%s.ip: %s is of another family than %s", path, p.IP, first.IP)
		}
		if p.SecondIP == "" && first.SecondIP != "" {
			c.errorf(path, "give that of all control planes, or of none", "%s has no secondIP, but %s has one", path, first.Name)
		}
		if !c.given(path+".secondIP", p.SecondIP) {
			continue
		}
		both := seen.address(path+".secondIP", &p.SecondIP) && known
		if slices.Contains(v.Addresses, p.SecondIP) {
			c.errorf(path+".secondIP", "", "%s.secondIP: %s is the shared address", path, p.SecondIP)
		}
		if first.SecondIP == "" {
			c.errorf(path+".secondIP", "give that of all control planes, or of none", "%s has a secondIP, but %s has none", path, first.Name)
		}
		if both && isV6(p.SecondIP) == isV6(p.IP) {
			c.errorf(path+".secondIP", "its address of the other family", "%s.secondIP: %s is of the same family as %s", path, p.SecondIP, p.IP)
		}
	}
	if len(v.ControlPlanes) == 0 {
		return
	}
	if r.Node.Name == "" {
		if ip, err := parseAddr(r.Node.IP); err == nil && !slices.ContainsFunc(v.ControlPlanes, func(p Plane) bool { return p.IP == ip.String() }) {
			c.errorf("node.ip", "give it in "+list, "node.ip: %s is none of the control planes'", ip)
		}
		return
	}
	own := slices.IndexFunc(v.ControlPlanes, func(p Plane) bool { return p.Name == r.Node.Name })
	if own < 0 {
		c.errorf("node.name", "name it in "+list, "node.name: %q is none of the control planes", r.Node.Name)
		return
	}
	for _, a := range []struct{ field, node, plane string }{
		{"ip", r.Node.IP, v.ControlPlanes[own].IP},
		{"secondIP", r.Node.SecondIP, v.ControlPlanes[own].SecondIP},
	} {
		if a.node != "" && a.plane != "" && a.node != a.plane {
			c.errorf("node."+a.field, "the same address in both places", "node.%s is %s, but %s.%s is %s", a.field, a.node, at(list, own), a.field, a.plane)
		}
	}
}

// Where API servers listen: by themselves, and behind a shared address.
const (
	apiPort       = 6443
	apiPortBehind = 6444
)

// listener is what listens on a port of every control plane; "" if nothing does.
func (r *Role) listener(port string) string {
	switch port {
	case strconv.Itoa(apiPortBehind):
		return "the API servers themselves listen"
	case "2379", "2380", "2381":
		if r.Etcd == nil {
			return "etcd listens"
		}
	case "10248", "10250":
		return "the kubelet listens"
	case "10249", "10256":
		return "kube-proxy listens"
	case "10257":
		return "the controller manager listens"
	case "10259":
		return "the scheduler listens"
	case "22":
		return "sshd listens"
	}
	return ""
}

// owner is whose an address is that cannot be shared, if it is not the node's own.
func (r *Role) owner(ip netip.Addr) string {
	for i, l := range r.Network.Links {
		for _, g := range l.Gateways {
			if gateway, err := parseAddr(g); err == nil && gateway == ip {
				return "the gateway of " + at("network.links", i)
			}
		}
		for _, a := range l.Addresses {
			if p, err := netip.ParsePrefix(a); err == nil && endOf(p, ip) != "" {
				return endOf(p, ip)
			}
		}
	}
	return ""
}

// APIPort is where the API server of this control plane itself listens: what
// serves a shared address has the endpoint's port.
func (r *Role) APIPort() int {
	if r.VirtualIP != nil {
		return apiPortBehind
	}
	return apiPort
}

func isV6(ip string) bool { return strings.Contains(ip, ":") }
