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
		{"broadcast address", "    - {name: a, addresses: [192.0.2.255/24]}\n", `r.yaml:6:29: network.links[0].addresses[0]: 192.0.2.255/24 is the broadcast address of its network (give the interface's own address in it)`},
		{"gateway that is the node", "    - {name: a, addresses: [192.0.2.10/24], gateways: [192.0.2.10]}\n", `r.yaml:6:56: network.links[0].gateways[0]: 192.0.2.10 is the interface's own address (the address of the machine that leads on)`},
		{"gateway that is a network", "    - {name: a, addresses: [192.0.2.10/24], gateways: [192.0.2.0]}\n", `r.yaml:6:56: network.links[0].gateways[0]: 192.0.2.0 is the address of the network itself (the address of the machine that leads on)`},
		{"gateway that is everybody", "    - {name: a, gateways: [127.0.0.1]}\n", `r.yaml:6:28: network.links[0].gateways[0]: 127.0.0.1 is for talk of a node with itself (the address of the machine that leads on)`},
		{"gateway without any address", "    - {name: a, dhcp: false, gateways: [192.0.2.1]}\n", `r.yaml:6:41: network.links[0].gateways[0]: 192.0.2.1 is in none of the interface's networks (give the interface an address of its network)`},
		{"gateway of what carries VLANs", "    - {name: a, gateways: [192.0.2.1]}\n    - {name: b, vlan: {id: 1, link: a}}\n", `r.yaml:6:28: network.links[0].gateways[0]: 192.0.2.1 is in none of the interface's networks (give the interface an address of its network)`},
		{"route by nobody", "    - {name: a, routes: [{to: 10.0.0.0/8, via: 224.0.0.1}]}\n", `r.yaml:6:48: network.links[0].routes[0].via: 224.0.0.1 is for multicast (the address of the machine that leads on)`},
		{"route twice", "    - {name: a, routes: [{to: 10.0.0.0/8, via: 192.0.2.1}, {to: 10.0.0.0/8, via: 192.0.2.2}]}\n", `r.yaml:6:65: network.links[0].routes[1].to: there is a route to 10.0.0.0/8 already (another metric for the one that is to wait)`},
		{"route of the gateway's", "    - {name: a, gateways: [192.0.2.1], routes: [{to: 0.0.0.0/0, via: 192.0.2.2}]}\n", `r.yaml:6:54: network.links[0].routes[0].to: there is a route to 0.0.0.0/0 already (another metric for the one that is to wait)`},
		{"route to the pods", "    - {name: a, routes: [{to: 10.244.0.0/16, via: 192.0.2.1}]}\n", `r.yaml:6:31: network.links[0].routes[0].to: 10.244.0.0/16 is of the cluster's own subnet 10.244.0.0/16 (leave it out: the nodes know the way)`},
		{"metric too large", "    - {name: a, routes: [{to: 10.0.0.0/8, metric: 4294967296}]}\n", `r.yaml:6:51: network.links[0].routes[0].metric: 4294967296 is not possible (0 to 4294967295)`},
		{"resolver that is nobody", "    - {name: a, dns: [255.255.255.255]}\n", `r.yaml:6:23: network.links[0].dns[0]: 255.255.255.255 is for all machines of a link (for example 192.0.2.53)`},
		{"hardware address of nobody", "    - {name: a, mac: '00:00:00:00:00:00'}\n", `r.yaml:6:22: network.links[0].mac: 00:00:00:00:00:00 is no card's own (as the machine itself has it)`},
		{"hardware address of many", "    - {name: a, mac: '01:00:5e:00:00:01'}\n", `r.yaml:6:22: network.links[0].mac: 01:00:5e:00:00:01 is no card's own (as the machine itself has it)`},
		{"every interface", "    - {name: default}\n", `r.yaml:6:14: network.links[0].name: "default" means every interface to Linux (give it another)`},
		{"bond of the node's own", "    - {name: a, bond: {members: [lo, eth0]}}\n", `r.yaml:6:34: network.links[0].bond.members[0]: "lo" is an interface that the node itself makes (name cards)`},
		{"primary of a bond without", "    - {name: a, bond: {members: [b, c], mode: 802.3ad, primary: b}}\n", `r.yaml:6:65: network.links[0].bond.primary goes with active-backup, balance-tlb, balance-alb only (leave it out)`},
		{"member that leads somewhere", "    - {name: a, routes: [{to: 10.0.0.0/8, via: 192.0.2.1}], dns: [192.0.2.53], domains: [a.example]}\n    - {name: b, bond: {members: [a]}}\n", "r.yaml:6:25: \"a\" is a member of b and has no routes of its own (give that to b)\nr.yaml:6:66: \"a\" is a member of b and has no resolvers of its own (give that to b)\nr.yaml:6:89: \"a\" is a member of b and has no domains of its own (give that to b)"},
		{"member with larger packets", "    - {name: a, mtu: 9000}\n    - {name: b, bond: {members: [a]}}\n", `r.yaml:6:22: "a" is a member of b and has no mtu of its own (give that to b)`},
		{"VLAN of a member", "    - {name: v, vlan: {id: 5, link: a}}\n    - {name: b, bond: {members: [a]}}\n", `r.yaml:6:37: network.links[0].vlan.link: "a" is a member of b (make it of b)`},
		{"VLAN with larger packets than its card", "    - {name: a, mtu: 1500}\n    - {name: v, vlan: {id: 5, link: a}, mtu: 9000}\n", `r.yaml:7:46: network.links[1].mtu: 9000 is more than a has (at most 1500, or give a a larger one)`},
		{"VLAN of a VLAN", "    - {name: a, vlan: {id: 1, link: b}}\n    - {name: b, vlan: {id: 2, link: c}}\n", `r.yaml:6:37: network.links[0].vlan.link: "b" is a VLAN itself (give the interface below it)`},
	})
}

func TestGoodLinks(t *testing.T) {
	for name, links := range map[string]string{
		"a primary member":               "{name: a, bond: {members: [b, c], mode: balance-alb, primary: b}}",
		"a member as the bond":           "{name: b, mtu: 9000}, {name: a, mtu: 9000, bond: {members: [b]}}",
		"two ways":                       "{name: a, routes: [{to: 10.0.0.0/8, via: 192.0.2.1}, {to: 10.0.0.0/8, via: 192.0.2.2, metric: 50}]}",
		"around the pods":                "{name: a, routes: [{to: 10.0.0.0/8, via: 192.0.2.1}]}",
		"a card of InfiniBand":           "{name: ib, mac: '00:00:00:00:fe:80:00:00:00:00:00:00:02:00:5e:10:00:00:00:01'}",
		"a gateway that routers tell of": "{name: a, dhcp: false, gateways: ['2001:db8::1']}",
	} {
		t.Run(name, func(t *testing.T) { parse(t, "network: {links: ["+links+"]}\n") })
	}
	// Who brings a network brings the routes.
	parse(t, "cluster: {podNetwork: {backend: none}}\nnetwork: {links: [{name: a, routes: [{to: 10.244.1.0/24, via: 192.0.2.12}]}]}\n")
}
