package role

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/slipway-os/slipway/pkg/diag"
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
	Primary string   `yaml:"primary" doc:"The member that is used as long as it works, with active-backup."`
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

// ownLink tells the names of interfaces that there are on every node.
func ownLink(name string) bool {
	return name == "lo" || name == "cni0" || name == "slipway-svc" || name == "kube-ipvs0" || strings.HasPrefix(name, "flannel")
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
		case ownLink(l.Name):
			c.errorf(path+".name", "give it another", "%s.name: %q is an interface that the node itself makes", path, l.Name)
		case again:
			c.errorf(path+".name", "", "%s.name: %q is given twice", path, l.Name)
		default:
			names[l.Name] = i
		}
		if c.given(path+".mac", l.MAC) {
			mac, err := net.ParseMAC(l.MAC)
			switch {
			case err != nil:
				c.errorf(path+".mac", "for example 52:54:00:12:34:56", "%s.mac: %q is not a hardware address", path, l.MAC)
			case l.Bond != nil || l.VLAN != nil:
				c.errorf(path+".mac", "give the cards' own", "%s.mac: a bond or VLAN has none of its own", path)
			case macs[mac.String()]:
				c.errorf(path+".mac", "", "%s.mac: %s is given twice", path, mac)
			default:
				l.MAC = mac.String()
				macs[l.MAC] = true
			}
		}
		networks := c.linkAddresses(path, l, addresses)
		for j, a := range l.Addresses {
			if p, err := netip.ParsePrefix(a); err == nil {
				c.outside(at(path+".addresses", j), p.Addr().String(), pods, services)
			}
		}
		c.linkRoutes(path, l, networks)
		for j, d := range l.DNS {
			if _, err := parseAddr(d); err != nil {
				c.errorf(at(path+".dns", j), "for example 192.0.2.53", "%s: %q is not an IP address", at(path+".dns", j), d)
			}
		}
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
		case !usable(p.Addr()):
			c.errorf(where, "", "%s: %s cannot be an interface's address", where, p.Addr())
		case p.Addr() == p.Masked().Addr() && p.Bits() < p.Addr().BitLen()-1:
			c.errorf(where, "give the interface's own address in it", "%s: %s is the address of the network itself", where, a)
		case seen[p.Addr()]:
			c.errorf(where, "", "%s: %s is given twice", where, p.Addr())
		default:
			seen[p.Addr()] = true
			networks = append(networks, p)
			l.Addresses[j] = p.String()
		}
	}
	return networks
}

// linkRoutes checks where an interface leads.
func (c *checker) linkRoutes(path string, l *Link, networks []netip.Prefix) {
	near := func(ip netip.Addr) bool {
		return ip.IsLinkLocalUnicast() || (l.DHCP != nil && *l.DHCP) || len(l.Addresses) == 0 ||
			slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(ip) })
	}
	have := map[bool]bool{}
	for j, g := range l.Gateways {
		where := at(path+".gateways", j)
		ip, err := parseAddr(g)
		switch {
		case err != nil:
			c.errorf(where, "for example 192.0.2.1", "%s: %q is not an IP address", where, g)
		case have[ip.Is4()]:
			c.errorf(where, "say with routes where else to go", "%s: %s is a second %s gateway", where, g, family(ip))
		case !near(ip):
			c.errorf(where, "give the interface an address of its network", "%s: %s is in none of the interface's networks", where, g)
		}
		have[ip.Is4()] = true
	}
	for j, route := range l.Routes {
		where := at(path+".routes", j)
		p, err := netip.ParsePrefix(route.To)
		switch {
		case err != nil:
			c.errorf(where+".to", "for example 10.0.0.0/8", "%s.to: %q is not a network", where, route.To)
			continue
		case p != p.Masked():
			c.errorf(where+".to", "write "+p.Masked().String(), "%s.to: %s has bits set beyond its mask", where, route.To)
		}
		if c.given(where+".via", route.Via) {
			switch ip, err := parseAddr(route.Via); {
			case err != nil:
				c.errorf(where+".via", "for example 192.0.2.1", "%s.via: %q is not an IP address", where, route.Via)
			case ip.Is4() != p.Addr().Is4():
				c.errorf(where+".via", "", "%s.via: %s and %s are of different families", where, ip, p)
			case !near(ip):
				c.errorf(where+".via", "give the interface an address of its network", "%s.via: %s is in none of the interface's networks", where, ip)
			}
		}
		if route.Metric < 0 {
			c.errorf(where+".metric", "0 or more", "%s.metric: %d is not possible", where, route.Metric)
		}
	}
}

// checkStacked checks what interfaces are made of.
func (r *Role) checkStacked(c *checker, names map[string]int) {
	type tag struct {
		link string
		id   int
	}
	taken, tags := map[string]string{}, map[tag]string{}
	for i, l := range r.Network.Links {
		path := at("network.links", i)
		if l.Bond != nil && l.VLAN != nil {
			c.errorf(path+".vlan", "make the VLAN an interface of its own, of this one", "%s is a bond and a VLAN at once", path)
			continue
		}
		if v := l.VLAN; v != nil {
			if v.ID < 1 || v.ID > 4094 {
				c.errorf(path+".vlan.id", "1 to 4094", "%s.vlan.id: %d is not possible", path, v.ID)
			}
			if other := tags[tag{v.Link, v.ID}]; other != "" {
				c.errorf(path+".vlan.id", "one interface for a tag", "%s.vlan.id: %s has the packets with tag %d of %s already", path, other, v.ID, v.Link)
			}
			tags[tag{v.Link, v.ID}] = l.Name
			c.part(path+".vlan.link", v.Link, l.Name, names)
			if j, known := names[v.Link]; known && r.Network.Links[j].VLAN != nil {
				c.errorf(path+".vlan.link", "give the interface below it", "%s.vlan.link: %q is a VLAN itself", path, v.Link)
			}
		}
		b := l.Bond
		if b == nil {
			continue
		}
		if len(b.Members) == 0 {
			c.errorf(path+".bond.members", "name the cards", "%s.bond has no members", path)
		}
		if b.Mode == "" {
			b.Mode = bondModes()[0]
		} else if !slices.Contains(bondModes(), b.Mode) {
			hint := diag.Suggest(b.Mode, bondModes())
			if hint == "" {
				hint = "known: " + strings.Join(bondModes(), ", ")
			}
			c.errorf(path+".bond.mode", hint, "%s.bond.mode: unknown mode %q", path, b.Mode)
		}
		if c.given(path+".bond.primary", b.Primary) && !slices.Contains(b.Members, b.Primary) {
			c.errorf(path+".bond.primary", "one of "+strings.Join(b.Members, ", "), "%s.bond.primary: %q is no member", path, b.Primary)
		}
		for j, m := range b.Members {
			where := at(path+".bond.members", j)
			c.part(where, m, l.Name, names)
			if other := taken[m]; other != "" {
				c.errorf(where, "", "%s: %q is in %s already", where, m, other)
			}
			taken[m] = l.Name
			if k, known := names[m]; known && m != l.Name {
				switch of := r.Network.Links[k]; {
				case of.Bond != nil || of.VLAN != nil:
					c.errorf(where, "name cards", "%s: %q is a bond or VLAN itself", where, m)
				case len(of.Addresses) > 0 || of.DHCP != nil && *of.DHCP || len(of.Gateways) > 0:
					c.errorf(at("network.links", k), "give the addresses to "+l.Name, "%q is a member of %s and has no addresses of its own", m, l.Name)
				}
			}
		}
	}
}

// part checks the name of an interface that another is made of: one of the
// role's, or a card as Linux names it.
func (c *checker) part(path, name, of string, names map[string]int) {
	_, known := names[name]
	switch {
	case name == of:
		c.errorf(path, "", "%s: %q is made of itself", path, name)
	case known:
	case !linkPattern.MatchString(name):
		c.errorf(path, "one of network.links, or as Linux names the card", "%s: %q is not a name of an interface", path, name)
	}
}
