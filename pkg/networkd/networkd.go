// Package networkd writes the configuration of systemd-networkd for the
// network section of a role (systemd.netdev(5), systemd.network(5)).
package networkd

import (
	"fmt"
	"slices"
	"strings"

	"github.com/slipway-os/slipway/pkg/role"
)

// Dir is where networkd looks for what an administrator configures.
const Dir = "/etc/systemd/network"

// File is a file below Dir.
type File struct{ Name, Content string }

// Files returns the files for the interfaces of a node, in the order of the
// role.
func Files(n role.Network) []File {
	var files []File
	for _, l := range n.Links {
		base := "10-role-" + l.Name
		if device := netdev(l); device != "" {
			files = append(files, File{base + ".netdev", device})
		}
		files = append(files, File{base + ".network", network(n, l)})
	}
	// Cards that only others name.
	for _, name := range parts(n) {
		if !slices.ContainsFunc(n.Links, func(l role.Link) bool { return l.Name == name }) {
			files = append(files, File{"10-role-" + name + ".network", network(n, role.Link{Name: name})})
		}
	}
	return files
}

// parts returns the names of what others are made of, each once.
func parts(n role.Network) []string {
	var names []string
	add := func(name string) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, l := range n.Links {
		if l.Bond != nil {
			for _, m := range l.Bond.Members {
				add(m)
			}
		}
		if l.VLAN != nil {
			add(l.VLAN.Link)
		}
	}
	return names
}

// file is a unit file that is being written.
type file struct{ strings.Builder }

func (f *file) section(name string) {
	if f.Len() > 0 {
		f.WriteByte('\n')
	}
	fmt.Fprintf(f, "[%s]\n", name)
}

func (f *file) set(key string, value any) { fmt.Fprintf(f, "%s=%v\n", key, value) }

// netdev returns the unit of an interface that networkd makes; "" of a card.
func netdev(l role.Link) string {
	var f file
	head := func(kind string) {
		f.section("NetDev")
		f.set("Name", l.Name)
		f.set("Kind", kind)
		if l.MTU > 0 {
			f.set("MTUBytes", l.MTU)
		}
	}
	switch {
	case l.Bond != nil:
		head("bond")
		f.section("Bond")
		f.set("Mode", l.Bond.Mode)
		f.set("MIIMonitorSec", "100ms") // without it a bond notices no dead link
		switch l.Bond.Mode {
		case "802.3ad":
			f.set("LACPTransmitRate", "fast")
			f.set("TransmitHashPolicy", "layer3+4")
		case "balance-xor":
			f.set("TransmitHashPolicy", "layer3+4")
		}
	case l.VLAN != nil:
		head("vlan")
		f.section("VLAN")
		f.set("Id", l.VLAN.ID)
	}
	return f.String()
}

// network returns the unit that configures an interface.
func network(n role.Network, l role.Link) string {
	var f file
	f.section("Match")
	if l.MAC != "" {
		// A bond takes the address of a card over, a VLAN has that of its card.
		f.set("PermanentMACAddress", l.MAC)
		f.set("Kind", "!*")
	} else {
		f.set("Name", l.Name)
	}
	bond, vlans, primary := stacked(n, l.Name)
	if l.MTU > 0 || bond != "" {
		f.section("Link")
		if l.MTU > 0 {
			f.set("MTUBytes", l.MTU)
		}
		if bond != "" {
			f.set("RequiredForOnline", "no")
		}
	}
	f.section("Network")
	dhcp := l.DHCP != nil && *l.DHCP || l.DHCP == nil && len(l.Addresses) == 0
	switch {
	case bond != "":
		f.set("Bond", bond)
		if primary {
			f.set("PrimarySlave", "yes")
		}
		f.set("LinkLocalAddressing", "no")
		return f.String()
	case l.DHCP == nil && len(l.Addresses) == 0 && len(vlans) > 0:
		// It only carries others.
		dhcp = false
		f.set("LinkLocalAddressing", "no")
		f.set("IPv6AcceptRA", "no")
	}
	f.set("DHCP", map[bool]string{true: "yes", false: "no"}[dhcp])
	if !dhcp && len(l.Addresses) > 0 {
		// What is configured is all there is.
		f.set("IPv6AcceptRA", "no")
	}
	f.set("LLMNR", "no")
	f.set("MulticastDNS", "no")
	for _, v := range vlans {
		f.set("VLAN", v)
	}
	for _, a := range l.Addresses {
		f.set("Address", a)
	}
	for _, g := range l.Gateways {
		f.set("Gateway", g)
	}
	for _, d := range l.DNS {
		f.set("DNS", d)
	}
	if len(l.Domains) > 0 {
		f.set("Domains", strings.Join(l.Domains, " "))
	}
	for _, r := range l.Routes {
		f.section("Route")
		f.set("Destination", r.To)
		if r.Via != "" {
			f.set("Gateway", r.Via)
		}
		if r.Metric > 0 {
			f.set("Metric", r.Metric)
		}
	}
	if dhcp {
		f.section("DHCPv4")
		f.set("UseMTU", map[bool]string{true: "yes", false: "no"}[l.MTU == 0])
		f.set("UseHostname", "no")
		f.set("UseDomains", "yes")
		f.section("DHCPv6")
		f.set("UseHostname", "no")
	}
	return f.String()
}

// stacked returns what is made of an interface.
func stacked(n role.Network, name string) (bond string, vlans []string, primary bool) {
	for _, l := range n.Links {
		if l.Bond != nil && slices.Contains(l.Bond.Members, name) {
			bond, primary = l.Name, l.Bond.Primary == name
		}
		if l.VLAN != nil && l.VLAN.Link == name {
			vlans = append(vlans, l.Name)
		}
	}
	return bond, vlans, primary
}
