package role

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
)

// near reports whether an interface with addresses of some networks can reach an
// address without help.
func (n Network) near(l *Link, networks []netip.Prefix, ip netip.Addr) bool {
	switch {
	case n.asksDHCP(*l), ip.Is6() && ip.IsLinkLocalUnicast():
		return true
	case n.bonded(*l): // which is wrong by itself
		return true
	case ip.Is6() && len(l.Addresses) == 0 && l.DHCP != nil: // routers may tell it its network
		return true
	}
	return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// linkGateways checks where an interface leads.
func (r *Role) linkGateways(c *checker, path string, l *Link, networks []netip.Prefix) {
	have := map[bool]bool{}
	for j, g := range l.Gateways {
		where := at(path+".gateways", j)
		ip, err := parseAddr(g)
		switch {
		case err != nil:
			c.errorf(where, "for example 192.0.2.1", "%s: %q is not an IP address", where, g)
			continue
		case have[ip.Is4()]:
			c.errorf(where, "say with routes where else to go", "%s: %s is a second %s gateway", where, g, family(ip))
		default:
			r.checkHop(c, where, l, networks, ip)
		}
		have[ip.Is4()] = true
	}
}

// checkHop checks the address of a machine that packets are handed to.
func (r *Role) checkHop(c *checker, path string, l *Link, networks []netip.Prefix, ip netip.Addr) {
	for _, p := range networks {
		switch end := endOf(p, ip); {
		case p.Addr() == ip:
			c.errorf(path, "the address of the machine that leads on", "%s: %s is the interface's own address", path, ip)
			return
		case end != "" && ip.Is4(): // with IPv6 it may be any router of the network
			c.errorf(path, "the address of the machine that leads on", "%s: %s is %s", path, ip, end)
			return
		}
	}
	switch {
	case !assignable(ip):
		c.errorf(path, "the address of the machine that leads on", "%s: %s is for %s", path, ip, purpose(ip))
	case !r.Network.near(l, networks, ip):
		c.errorf(path, "give the interface an address of its network", "%s: %s is in none of the interface's networks", path, ip)
	}
}

// linkRoutes checks more of that.
func (r *Role) linkRoutes(c *checker, path string, l *Link, networks []netip.Prefix) {
	type kept struct {
		to     netip.Prefix
		metric int
	}
	seen := map[kept]bool{}
	for _, g := range l.Gateways {
		if ip, err := parseAddr(g); err == nil {
			seen[kept{netip.PrefixFrom(ip, 0).Masked(), 0}] = true
		}
	}
	for j, route := range l.Routes {
		where := at(path+".routes", j)
		p, err := netip.ParsePrefix(route.To)
		switch {
		case err != nil || p.Addr().Is4In6():
			c.errorf(where+".to", "for example 10.0.0.0/8", "%s.to: %q is not a network", where, route.To)
			continue
		case p != p.Masked():
			c.errorf(where+".to", "write "+p.Masked().String(), "%s.to: %s has bits set beyond its mask", where, route.To)
		case seen[kept{p, route.Metric}]:
			c.errorf(where+".to", "another metric for the one that is to wait", "%s.to: there is a route to %s already", where, p)
		default:
			r.checkDestination(c, where+".to", p)
		}
		seen[kept{p, route.Metric}] = true
		if c.given(where+".via", route.Via) {
			switch ip, err := parseAddr(route.Via); {
			case err != nil:
				c.errorf(where+".via", "for example 192.0.2.1", "%s.via: %q is not an IP address", where, route.Via)
			case ip.Is4() != p.Addr().Is4():
				c.errorf(where+".via", "", "%s.via: %s and %s are of different families", where, ip, p)
			default:
				r.checkHop(c, where+".via", l, networks, ip)
			}
		}
		if route.Metric < 0 || int64(route.Metric) > math.MaxUint32 {
			c.errorf(where+".metric", fmt.Sprintf("0 to %d", uint32(math.MaxUint32)), "%s.metric: %d is not possible", where, route.Metric)
		}
	}
}

// checkDestination refuses routes to the cluster's own subnets: the nodes make
// those. With a network of the user's own the user may.
func (r *Role) checkDestination(c *checker, path string, to netip.Prefix) {
	if r.Cluster.PodNetwork.Backend == NoNetwork || r.Role == Etcd {
		return
	}
	for _, s := range slices.Concat(quiet(r.Cluster.PodSubnets), quiet(r.Cluster.ServiceSubnets)) {
		if s.Bits() <= to.Bits() && s.Overlaps(to) {
			c.errorf(path, "leave it out: the nodes know the way", "%s: %s is of the cluster's own subnet %s", path, to, s)
		}
	}
}
