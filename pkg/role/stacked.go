package role

import (
	"fmt"
	"slices"
	"strings"

	"github.com/slipway-os/slipway/pkg/diag"
)

// stack is what interfaces are made of.
type stack struct {
	*checker
	links []Link
	names map[string]int    // their places in links
	bonds map[string]string // bonds by their members
	tags  map[tag]string    // VLANs
}

type tag struct {
	link string
	id   int
}

// checkStacked checks what interfaces are made of.
func (r *Role) checkStacked(c *checker, names map[string]int) {
	s := stack{checker: c, links: r.Network.Links, names: names, bonds: map[string]string{}, tags: map[tag]string{}}
	for i, l := range s.links {
		path := at("network.links", i)
		switch {
		case l.Bond != nil && l.VLAN != nil:
			c.errorf(path+".vlan", "make the VLAN an interface of its own, of this one", "%s is a bond and a VLAN at once", path)
		case l.Bond != nil:
			s.bond(path, l)
		}
	}
	for i, l := range s.links { // only now it is known what is in bonds
		if l.VLAN != nil && l.Bond == nil {
			s.vlan(at("network.links", i), l)
		}
	}
}

func (s stack) vlan(path string, l Link) {
	v := l.VLAN
	if v.ID < 1 || v.ID > 4094 {
		s.errorf(path+".vlan.id", "1 to 4094", "%s.vlan.id: %d is not possible", path, v.ID)
	}
	if other := s.tags[tag{v.Link, v.ID}]; other != "" {
		s.errorf(path+".vlan.id", "one interface for a tag", "%s.vlan.id: %s has the packets with tag %d of %s already", path, other, v.ID, v.Link)
	}
	s.tags[tag{v.Link, v.ID}] = l.Name
	s.part(path+".vlan.link", v.Link, l.Name)
	if bond := s.bonds[v.Link]; bond != "" {
		s.errorf(path+".vlan.link", "make it of "+bond, "%s.vlan.link: %q is a member of %s", path, v.Link, bond)
		return
	}
	j, known := s.names[v.Link]
	if !known || v.Link == l.Name {
		return
	}
	if s.links[j].VLAN != nil {
		s.errorf(path+".vlan.link", "give the interface below it", "%s.vlan.link: %q is a VLAN itself", path, v.Link)
	}
	if most := s.links[j].MTU; most > 0 && l.MTU > most {
		s.errorf(path+".mtu", fmt.Sprintf("at most %d, or give %s a larger one", most, v.Link), "%s.mtu: %d is more than %s has", path, l.MTU, v.Link)
	}
}

func (s stack) bond(path string, l Link) {
	b := l.Bond
	if len(b.Members) == 0 {
		s.errorf(path+".bond.members", "name the cards", "%s.bond has no members", path)
	}
	if b.Mode == "" {
		b.Mode = bondModes()[0]
	} else if !slices.Contains(bondModes(), b.Mode) {
		hint := diag.Suggest(b.Mode, bondModes())
		if hint == "" {
			hint = "known: " + strings.Join(bondModes(), ", ")
		}
		s.errorf(path+".bond.mode", hint, "%s.bond.mode: unknown mode %q", path, b.Mode)
	}
	if s.given(path+".bond.primary", b.Primary) {
		switch {
		case !slices.Contains(b.Members, b.Primary):
			s.errorf(path+".bond.primary", "one of "+strings.Join(b.Members, ", "), "%s.bond.primary: %q is no member", path, b.Primary)
		case slices.Contains(bondModes(), b.Mode) && !slices.Contains(primaryModes(), b.Mode):
			s.errorf(path+".bond.primary", "leave it out", "%s.bond.primary goes with %s only", path, strings.Join(primaryModes(), ", "))
		}
	}
	for j, m := range b.Members {
		where := at(path+".bond.members", j)
		s.part(where, m, l.Name)
		if other := s.bonds[m]; other != "" {
			s.errorf(where, "", "%s: %q is in %s already", where, m, other)
		}
		s.bonds[m] = l.Name
		if k, known := s.names[m]; known && m != l.Name {
			s.member(where, k, l)
		}
	}
}

// member checks an interface of the role's that is in a bond: that has all that
// leads anywhere.
func (s stack) member(where string, k int, bond Link) {
	of, path := s.links[k], at("network.links", k)
	switch {
	case of.Bond != nil || of.VLAN != nil:
		s.errorf(where, "name cards", "%s: %q is a bond or VLAN itself", where, of.Name)
		return
	case len(of.Addresses) > 0 || of.DHCP != nil && *of.DHCP || len(of.Gateways) > 0:
		s.errorf(path, "give the addresses to "+bond.Name, "%q is a member of %s and has no addresses of its own", of.Name, bond.Name)
	}
	for _, f := range []struct {
		name, what string
		given      bool
	}{
		{"routes", "routes", len(of.Routes) > 0},
		{"dns", "resolvers", len(of.DNS) > 0},
		{"domains", "domains", len(of.Domains) > 0},
		{"mtu", "mtu", of.MTU > 0 && of.MTU != bond.MTU},
	} {
		if f.given {
			s.errorf(path+"."+f.name, "give that to "+bond.Name, "%q is a member of %s and has no %s of its own", of.Name, bond.Name, f.what)
		}
	}
}

// part checks the name of an interface that another is made of: one of the
// role's, or a card as Linux names it.
func (s stack) part(path, name, of string) {
	_, known := s.names[name]
	switch {
	case name == of:
		s.errorf(path, "", "%s: %q is made of itself", path, name)
	case known:
	case ownLink(name):
		s.errorf(path, "name cards", "%s: %q is an interface that the node itself makes", path, name)
	case !linkPattern.MatchString(name):
		s.errorf(path, "one of network.links, or as Linux names the card", "%s: %q is not a name of an interface", path, name)
	}
}
