package role_test

import (
	"testing"
)

func TestBadLinks(t *testing.T) {
	const links = head + "network:\n  links:\n"
	refused(t, links, []badRole{
		{"name too long", "    - {name: averylonginterface}\n", `r.yaml:6:14: network.links[0].name: "averylonginterface" is not a name for an interface (at most 15 letters, digits, hyphens, underscores and dots)`},
		{"no name", "    - {dhcp: true}\n", `r.yaml:6:7: network.links[0].name: "" is not a name for an interface (at most 15 letters, digits, hyphens, underscores and dots)`},
		{"name twice", "    - {name: a}\n    - {name: a}\n", `r.yaml:7:14: network.links[1].name: "a" is given twice`},
		{"hardware address", "    - {name: a, mac: 52-54}\n", `r.yaml:6:22: network.links[0].mac: "52-54" is not a hardware address (for example 52:54:00:12:34:56)`},
		{"hardware address twice", "    - {name: a, mac: '52:54:00:12:34:ab'}\n    - {name: b, mac: '52-54-00-12-34-AB'}\n", `r.yaml:7:22: network.links[1].mac: 52:54:00:12:34:ab is given twice`},
		{"address without a length", "    - {name: a, addresses: [192.0.2.10]}\n", `r.yaml:6:29: network.links[0].addresses[0]: "192.0.2.10" has no length (with the length of its network, for example 192.0.2.10/24)`},
		{"address of the network", "    - {name: a, addresses: [192.0.2.0/24]}\n", `r.yaml:6:29: network.links[0].addresses[0]: 192.0.2.0/24 is the address of the network itself (give the interface's own address in it)`},
		{"address twice", "    - {name: a, addresses: [192.0.2.1/24]}\n    - {name: b, addresses: [192.0.2.1/25]}\n", `r.yaml:7:29: network.links[1].addresses[0]: 192.0.2.1 is given twice`},
		{"address in the pod subnet", "    - {name: a, addresses: [10.244.1.1/16]}\n", `r.yaml:6:29: network.links[0].addresses[0] 10.244.1.1 is inside the pod subnet 10.244.0.0/16 (choose other podSubnets)`},
		{"address in the service subnet", "    - {name: a, addresses: [192.0.2.1/24, 10.96.0.9/24]}\n", `r.yaml:6:43: network.links[0].addresses[1] 10.96.0.9 is inside the service subnet 10.96.0.0/12 (choose other serviceSubnets)`},
		{"gateway elsewhere", "    - {name: a, addresses: [192.0.2.10/24], gateways: [198.51.100.1]}\n", `r.yaml:6:56: network.links[0].gateways[0]: 198.51.100.1 is in none of the interface's networks (give the interface an address of its network)`},
		{"two gateways", "    - {name: a, addresses: [192.0.2.10/24], gateways: [192.0.2.1, 192.0.2.2]}\n", `r.yaml:6:67: network.links[0].gateways[1]: 192.0.2.2 is a second IPv4 gateway (say with routes where else to go)`},
		{"route with host bits", "    - {name: a, routes: [{to: 10.1.0.0/8}]}\n", `r.yaml:6:31: network.links[0].routes[0].to: 10.1.0.0/8 has bits set beyond its mask (write 10.0.0.0/8)`},
		{"route of two families", "    - {name: a, routes: [{to: 10.0.0.0/8, via: 'fe80::1'}]}\n", `r.yaml:6:48: network.links[0].routes[0].via: fe80::1 and 10.0.0.0/8 are of different families`},
		{"mtu too small for IPv6", "    - {name: a, addresses: ['2001:db8::1/64'], mtu: 1000}\n", `r.yaml:6:53: network.links[0].mtu: 1000 is not possible (1280 to 65535)`},
		{"bond without members", "    - {name: a, bond: {}}\n", `r.yaml:6:23: network.links[0].bond has no members (name the cards)`},
		{"bond of itself", "    - {name: a, bond: {members: [a]}}\n", `r.yaml:6:34: network.links[0].bond.members[0]: "a" is made of itself`},
		{"unknown mode", "    - {name: a, bond: {members: [b], mode: lacp}}\n", `r.yaml:6:44: network.links[0].bond.mode: unknown mode "lacp" (known: active-backup, 802.3ad, balance-rr, balance-xor, broadcast, balance-tlb, balance-alb)`},
		{"primary that is no member", "    - {name: a, bond: {members: [b, c], primary: d}}\n", `r.yaml:6:50: network.links[0].bond.primary: "d" is no member (one of b, c)`},
		{"member of two bonds", "    - {name: a, bond: {members: [c]}}\n    - {name: b, bond: {members: [c]}}\n", `r.yaml:7:34: network.links[1].bond.members[0]: "c" is in a already`},
		{"member with an address", "    - {name: a, addresses: [192.0.2.1/24]}\n    - {name: b, bond: {members: [a]}}\n", `r.yaml:6:7: "a" is a member of b and has no addresses of its own (give the addresses to b)`},
		{"VLAN with an impossible tag", "    - {name: a, vlan: {id: 4095, link: b}}\n", `r.yaml:6:28: network.links[0].vlan.id: 4095 is not possible (1 to 4094)`},
		{"VLAN of nothing", "    - {name: a, vlan: {id: 1}}\n", `r.yaml:6:23: network.links[0].vlan.link: "" is not a name of an interface (one of network.links, or as Linux names the card)`},
		{"a tag twice", "    - {name: a, vlan: {id: 7, link: c}}\n    - {name: b, vlan: {id: 7, link: c}}\n", `r.yaml:7:28: network.links[1].vlan.id: a has the packets with tag 7 of c already (one interface for a tag)`},
		{"an interface of the node's own", "    - {name: cni0}\n", `r.yaml:6:14: network.links[0].name: "cni0" is an interface that the node itself makes (give it another)`},
		{"VLAN of a VLAN", "    - {name: a, vlan: {id: 1, link: b}}\n    - {name: b, vlan: {id: 2, link: c}}\n", `r.yaml:6:37: network.links[0].vlan.link: "b" is a VLAN itself (give the interface below it)`},
	})
}
