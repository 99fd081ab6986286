package role

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// Network is how the node is connected. What it says holds before a config is
// fetched over the network, too.
type Network struct {
	Links []Link `yaml:"links" doc:"Interfaces. Every other wired one asks DHCP."`
}

// Link is a network interface: a card, a bond of cards or a VLAN.
type Link struct {
	Name      string   `yaml:"name" doc:"Name of the interface. Of a card: as Linux names it, or any name for what mac finds."`
	MAC       string   `yaml:"mac" doc:"Permanent hardware address of the card that is meant."`
	DHCP      *bool    `yaml:"dhcp" doc:"Ask DHCP, of both families. Default: only if there are no addresses."`
	Addresses []string `yaml:"addresses" doc:"Addresses with the length of their network: 192.0.2.10/24."`
	Gateways  []string `yaml:"gateways" doc:"Where what leaves the network goes: at most one IPv4 and one IPv6 address."`
	Routes    []Route  `yaml:"routes" doc:"More routes."`
	DNS       []string `yaml:"dns" doc:"Resolvers that this interface leads to."`
	Domains   []string `yaml:"domains" doc:"Domains in which names without one are looked up."`
	MTU       int      `yaml:"mtu" doc:"Largest packet, in bytes. Default: the card's own, or what DHCP says."`
	Bond      *Bond    `yaml:"bond" doc:"Makes this interface of several others."`
	VLAN      *VLAN    `yaml:"vlan" doc:"Makes this interface of the packets of another that have a tag."`
}

// Route is a route of an interface.
type Route struct {
	To     string `yaml:"to" doc:"Destination: a network."`
	Via    string `yaml:"via" doc:"Gateway. Without one the network is reached directly."`
	Metric int    `yaml:"metric" doc:"The route with the lowest is taken."`
}

// Bond is several interfaces that act as one.
type Bond struct {
	Members []string `yaml:"members" doc:"Names of the interfaces it is made of."`
	Mode    string   `yaml:"mode" doc:"As Linux calls it: active-backup (default), 802.3ad, balance-rr, balance-xor, broadcast, balance-tlb or balance-alb."`
	Primary string   `yaml:"primary" doc:"The member that is used as long as it works, with active-backup, balance-tlb and balance-alb."`
}

// VLAN is the packets of an interface that have a tag.
type VLAN struct {
	ID   int    `yaml:"id" doc:"The tag: 1 to 4094."`
	Link string `yaml:"link" doc:"Name of the interface that the packets come by."`
}

// Linux allows 15 bytes; networkd takes a few signs for patterns.
var linkPattern = regexp.MustCompile(`^[A-Za-z0-9][-A-Za-z0-9_.]{0,14}$`)

func bondModes() []string {
	return []string{"active-backup", "802.3ad", "balance-rr", "balance-xor", "broadcast", "balance-tlb", "balance-alb"}
}

// primaryModes are those in which a bond has a member that it prefers
// (systemd.network(5), PrimarySlave).
func primaryModes() []string { return []string{"active-backup", "balance-tlb", "balance-alb"} }

// ownLink tells the names of interfaces that there are on every node.
func ownLink(name string) bool {
	return name == "lo" || name == "cni0" || name == "slipway-svc" || name == "kube-ipvs0" || strings.HasPrefix(name, "flannel")
}

// asksDHCP reports whether an interface asks DHCP. One that only carries others
// does not, unless it is told to.
func (n Network) asksDHCP(l Link) bool {
	if l.DHCP != nil {
		return *l.DHCP
	}
	carries := slices.ContainsFunc(n.Links, func(of Link) bool { return of.VLAN != nil && of.VLAN.Link == l.Name })
	return len(l.Addresses) == 0 && !carries && !n.bonded(l)
}

// bonded reports whether an interface is a member of a bond.
func (n Network) bonded(l Link) bool {
	return slices.ContainsFunc(n.Links, func(of Link) bool { return of.Bond != nil && slices.Contains(of.Bond.Members, l.Name) })
}

func (r *Role) checkLinks(c *checker) {
	names, macs, addresses := map[string]int{}, map[string]bool{}, map[netip.Addr]bool{}
	pods, services := quiet(r.Cluster.PodSubnets), quiet(r.Cluster.ServiceSubnets)
	for i := range r.Network.Links {
		l, path := &r.Network.Links[i], at("network.links", i)
		_, again := names[l.Name]
		switch {
		case !linkPattern.MatchString(l.Name) || numberPattern.MatchString(l.Name):
			c.errorf(path+".name", "at most 15 letters, digits, hyphens, underscores and dots", "%s.name: %q is not a name for an interface", path, l.Name)
		case l.Name == "all" || l.Name == "default":
			c.errorf(path+".name", "give it another", "%s.name: %q means every interface to Linux", path, l.Name)
		case ownLink(l.Name):
			c.errorf(path+".name", "give it another", "%s.name: %q is an interface that the node itself makes", path, l.Name)
		case again:
			c.errorf(path+".name", "", "%s.name: %q is given twice", path, l.Name)
		default:
			names[l.Name] = i
		}
		c.linkMAC(path+".mac", l, macs)
		networks := c.linkAddresses(path, l, addresses)
		for j, a := range l.Addresses {
			if p, err := netip.ParsePrefix(a); err == nil {
				c.outside(at(path+".addresses", j), p.Addr().String(), pods, services)
			}
		}
		r.linkGateways(c, path, l, networks)
		r.linkRoutes(c, path, l, networks)
		r.checkResolvers(c, path+".dns", l.DNS)
		for j, d := range l.Domains {
			if !isSubdomain(strings.ToLower(d)) {
				c.errorf(at(path+".domains", j), nameHint(d, true), "%s: %q is not a domain", at(path+".domains", j), d)
			}
		}
		least := 576
		if slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Addr().Is6() }) {
			least = 1280 // RFC 8200, section 5
		}
		if c.doc.Has(path+".mtu") && (l.MTU < least || l.MTU > 65535) {
			c.errorf(path+".mtu", fmt.Sprintf("%d to 65535", least), "%s.mtu: %d is not possible", path, l.MTU)
		}
	}
	r.checkStacked(c, names)
}

// linkMAC checks the hardware address that a card is found by.
func (c *checker) linkMAC(path string, l *Link, seen map[string]bool) {
	if !c.given(path, l.MAC) {
		return
	}
	mac, err := net.ParseMAC(l.MAC)
	switch {
	case err != nil:
		c.errorf(path, "for example 52:54:00:12:34:56", "%s: %q is not a hardware address", path, l.MAC)
	case l.Bond != nil || l.VLAN != nil:
		c.errorf(path, "give the cards' own", "%s: a bond or VLAN has none of its own", path)
	case len(mac) == 6 && mac[0]&1 != 0, !slices.ContainsFunc(mac, func(b byte) bool { return b != 0 }):
		c.errorf(path, "as the machine itself has it", "%s: %s is no card's own", path, mac)
	case seen[mac.String()]:
		c.errorf(path, "", "%s: %s is given twice", path, mac)
	default:
		l.MAC = mac.String()
		seen[l.MAC] = true
	}
}

// linkAddresses checks the addresses of an interface and returns their networks.
func (c *checker) linkAddresses(path string, l *Link, seen map[netip.Addr]bool) []netip.Prefix {
	var networks []netip.Prefix
	for j, a := range l.Addresses {
		where := at(path+".addresses", j)
		p, err := netip.ParsePrefix(a)
		switch {
		case err != nil && !strings.Contains(a, "/"):
			hint := "for example 192.0.2.10/24"
			if ip, err := parseAddr(a); err == nil {
				hint = "with the length of its network, for example " + ip.String() + "/" + map[bool]string{true: "24", false: "64"}[ip.Is4()]
			}
			c.errorf(where, hint, "%s: %q has no length", where, a)
		case err != nil || p.Addr().Is4In6():
			c.errorf(where, "for example 192.0.2.10/24", "%s: %q is not an address with a length", where, a)
		case !assignable(p.Addr()):
			c.errorf(where, "", "%s: %s cannot be an interface's address", where, p.Addr())
		case endOf(p, p.Addr()) != "":
			c.errorf(where, "give the interface's own address in it", "%s: %s is %s", where, a, endOf(p, p.Addr()))
			networks = append(networks, p)
		case seen[p.Addr()]:
			c.errorf(where, "", "%s: %s is given twice", where, p.Addr())
			networks = append(networks, p)
		default:
			seen[p.Addr()] = true
			networks = append(networks, p)
			l.Addresses[j] = p.String()
		}
	}
	return networks
}
