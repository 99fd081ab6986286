package role

import (
	"net/netip"
	"slices"
	"strconv"
)

// VirtualIP is an address that the control planes share.
type VirtualIP struct {
	Addresses     []string `yaml:"addresses" doc:"The address; on a cluster of both families, one of each."`
	ControlPlanes []Member `yaml:"controlPlanes" doc:"All control planes, this node among them: the first that runs is the first to have the address."`
	RouterID      int      `yaml:"routerID" doc:"VRRP's virtual router identifier: 1 to 255, another for each cluster on a network. Default 51."`
}

const defaultRouterID = 51

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
	pods, services := quiet(r.Cluster.PodSubnets), quiet(r.Cluster.ServiceSubnets)
	if len(v.Addresses) == 0 {
		c.errorf("virtualIP", "give virtualIP.addresses", "virtualIP has no address")
	}
	have := map[bool]bool{}
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
		case ip.String() == r.Node.IP:
			c.errorf(path, "an address that nothing else has", "%s: %s is the node's own", path, ip)
		default:
			c.outside(path, ip.String(), pods, services)
		}
		have[ip.Is4()] = true
		v.Addresses[i] = ip.String()
	}
	if len(v.ControlPlanes) == 0 {
		c.errorf("virtualIP", "name all control planes in virtualIP.controlPlanes", "virtualIP has no control planes")
	}
	c.members("virtualIP.controlPlanes", v.ControlPlanes)
	for i, m := range v.ControlPlanes {
		if slices.Contains(v.Addresses, m.IP) {
			path := at("virtualIP.controlPlanes", i) + ".ip"
			c.errorf(path, "", "%s: %s is the shared address", path, m.IP)
		}
	}
	if name := r.Node.Name; name != "" && len(v.ControlPlanes) > 0 && !slices.ContainsFunc(v.ControlPlanes, func(m Member) bool { return m.Name == name }) {
		c.errorf("node.name", "name it in virtualIP.controlPlanes", "node.name: %q is none of the control planes", name)
	}
	if len(v.Addresses) == 0 {
		return
	}
	host, port, err := splitEndpoint(r.Cluster.Endpoint)
	switch {
	case r.Cluster.Endpoint == "":
		first := v.Addresses[0]
		if ip, err := netip.ParseAddr(first); err == nil {
			r.Cluster.Endpoint = netip.AddrPortFrom(ip, apiPort).String()
		}
	case err != nil:
	case port == strconv.Itoa(apiPortBehind):
		c.errorf("cluster.endpoint", "leave the port out", "cluster.endpoint: the API servers themselves listen on port %s", port)
	default:
		if ip, err := netip.ParseAddr(host); err == nil && !slices.Contains(v.Addresses, ip.String()) {
			c.errorf("cluster.endpoint", "give the shared address, or a name that leads there", "cluster.endpoint %s is not the virtual IP", ip)
		}
	}
}

// Where API servers listen: by themselves, and behind a shared address.
const (
	apiPort       = 6443
	apiPortBehind = 6444
)

// APIPort is where the API server of this control plane itself listens: what
// serves a shared address has the endpoint's port.
func (r *Role) APIPort() int {
	if r.VirtualIP != nil {
		return apiPortBehind
	}
	return apiPort
}

// quiet parses subnets that are checked elsewhere.
func quiet(list []string) []subnet {
	var parsed []subnet
	for _, s := range list {
		if p, err := netip.ParsePrefix(s); err == nil {
			parsed = append(parsed, subnet{Prefix: p})
		}
	}
	return parsed
}
