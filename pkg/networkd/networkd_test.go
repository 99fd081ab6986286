package networkd_test

import (
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/networkd"
	"github.com/slipway-os/slipway/pkg/role"
)

func TestFiles(t *testing.T) {
	for _, c := range []struct{ name, links, want string }{
		{"nothing said", "", ""},
		{"static", `
    - {name: eth0, addresses: [192.0.2.10/24, '2001:db8::10/64'], gateways: [192.0.2.1, 'fe80::1'], dns: [192.0.2.53], domains: [example.net, lab], mtu: 9000, routes: [{to: 10.0.0.0/8, via: 192.0.2.254, metric: 50}]}`, `
== 10-role-eth0.network
[Match]
Name=eth0

[Link]
MTUBytes=9000

[Network]
DHCP=no
IPv6AcceptRA=no
LLMNR=no
MulticastDNS=no
Address=192.0.2.10/24
Address=2001:db8::10/64
Gateway=192.0.2.1
Gateway=fe80::1
DNS=192.0.2.53
Domains=example.net lab

[Route]
Destination=10.0.0.0/8
Gateway=192.0.2.254
Metric=50
`},
		{"a card by its address, with DHCP and a larger MTU", `
    - {name: lan, mac: '52:54:00:12:34:56', mtu: 9000}`, `
== 10-role-lan.network
[Match]
PermanentMACAddress=52:54:00:12:34:56
Kind=!*

[Link]
MTUBytes=9000

[Network]
DHCP=yes
LLMNR=no
MulticastDNS=no

[DHCPv4]
UseMTU=no
UseHostname=no
UseDomains=yes

[DHCPv6]
UseHostname=no
`},
		{"a VLAN over a bond of two cards, one by its address", `
    - {name: a, mac: '52:54:00:12:34:01'}
    - {name: bond0, bond: {members: [a, eth1], primary: a}}
    - {name: vlan10, vlan: {id: 10, link: bond0}, addresses: [192.0.2.10/24]}`, `
== 10-role-a.network
[Match]
PermanentMACAddress=52:54:00:12:34:01
Kind=!*

[Link]
RequiredForOnline=no

[Network]
Bond=bond0
PrimarySlave=yes
LinkLocalAddressing=no
== 10-role-bond0.netdev
[NetDev]
Name=bond0
Kind=bond

[Bond]
Mode=active-backup
MIIMonitorSec=100ms
== 10-role-bond0.network
[Match]
Name=bond0

[Network]
LinkLocalAddressing=no
IPv6AcceptRA=no
DHCP=no
LLMNR=no
MulticastDNS=no
VLAN=vlan10
== 10-role-vlan10.netdev
[NetDev]
Name=vlan10
Kind=vlan

[VLAN]
Id=10
== 10-role-vlan10.network
[Match]
Name=vlan10

[Network]
DHCP=no
IPv6AcceptRA=no
LLMNR=no
MulticastDNS=no
Address=192.0.2.10/24
== 10-role-eth1.network
[Match]
Name=eth1

[Link]
RequiredForOnline=no

[Network]
Bond=bond0
LinkLocalAddressing=no
`},
		{"LACP", `
    - {name: bond0, mtu: 9000, bond: {members: [eth0], mode: 802.3ad}, dhcp: true, addresses: [192.0.2.10/24]}`, `
== 10-role-bond0.netdev
[NetDev]
Name=bond0
Kind=bond
MTUBytes=9000

[Bond]
Mode=802.3ad
MIIMonitorSec=100ms
LACPTransmitRate=fast
TransmitHashPolicy=layer3+4
== 10-role-bond0.network
[Match]
Name=bond0

[Link]
MTUBytes=9000

[Network]
DHCP=yes
LLMNR=no
MulticastDNS=no
Address=192.0.2.10/24

[DHCPv4]
UseMTU=no
UseHostname=no
UseDomains=yes

[DHCPv6]
UseHostname=no
== 10-role-eth0.network
[Match]
Name=eth0

[Link]
RequiredForOnline=no

[Network]
Bond=bond0
LinkLocalAddressing=no
`},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := "version: 1\nrole: control-plane\ninit: {}\n"
			if c.links != "" {
				text += "network:\n  links:" + c.links + "\n"
			}
			r, err := role.Parse("r.yaml", []byte(text))
			if err != nil {
				t.Fatal(err)
			}
			var got strings.Builder
			for _, f := range networkd.Files(r.Network) {
				got.WriteString("\n== " + f.Name + "\n" + strings.TrimSuffix(f.Content, "\n"))
			}
			if g := got.String(); strings.TrimSpace(g) != strings.TrimSpace(c.want) {
				t.Errorf("got%s\nwant%s", g, c.want)
			}
		})
	}
}
