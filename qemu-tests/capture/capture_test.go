package capture_test

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/slipway-os/slipway/qemu-tests/capture"
)

func TestForeign(t *testing.T) {
	node, peer := net.IP{10, 0, 2, 15}, net.IP{10, 0, 2, 2}
	udp := func(dst net.IP, from, to layers.UDPPort) []gopacket.SerializableLayer {
		return []gopacket.SerializableLayer{&layers.IPv4{Version: 4, IHL: 5, Protocol: layers.IPProtocolUDP, SrcIP: node, DstIP: dst}, &layers.UDP{SrcPort: from, DstPort: to}}
	}
	tcp := func(src, dst net.IP, from, to layers.TCPPort) []gopacket.SerializableLayer {
		return []gopacket.SerializableLayer{&layers.IPv4{Version: 4, IHL: 5, Protocol: layers.IPProtocolTCP, SrcIP: src, DstIP: dst}, &layers.TCP{SrcPort: from, DstPort: to}}
	}
	member, other := net.IP{10, 0, 2, 130}, net.IP{10, 0, 2, 131}
	ping := func(src, dst net.IP) []gopacket.SerializableLayer {
		return []gopacket.SerializableLayer{&layers.IPv4{Version: 4, IHL: 5, Protocol: layers.IPProtocolICMPv4, SrcIP: src, DstIP: dst}, &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(layers.ICMPv4TypeEchoRequest, 0)}}
	}
	ping6 := func(src, dst string) []gopacket.SerializableLayer {
		ip := &layers.IPv6{Version: 6, NextHeader: layers.IPProtocolICMPv6, SrcIP: net.ParseIP(src), DstIP: net.ParseIP(dst)}
		icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(layers.ICMPv6TypeEchoRequest, 0)}
		if err := icmp.SetNetworkLayerForChecksum(ip); err != nil {
			t.Fatal(err)
		}
		return []gopacket.SerializableLayer{ip, icmp}
	}
	for _, c := range []struct {
		name    string
		packet  []gopacket.SerializableLayer
		foreign bool
	}{
		{"DHCP", udp(net.IP{255, 255, 255, 255}, 68, 67), false},
		{"a DNS query", udp(net.IP{10, 0, 2, 3}, 40000, 53), true},
		{"LLMNR", udp(net.IP{224, 0, 0, 252}, 5355, 5355), true},
		{"a time query", udp(net.IP{192, 0, 2, 1}, 123, 123), true},
		{"the tester calls the API", tcp(peer, node, 50000, 6443), false},
		{"the API answers the tester", tcp(node, peer, 6443, 50000), false},
		{"the node calls a registry", tcp(node, net.IP{192, 0, 2, 1}, 50000, 443), true},
		{"the node calls the tester", tcp(node, peer, 50000, 6443), true},
		{"a member calls another", tcp(member, other, 50000, 2379), false},
		{"a member pings another", ping(member, other), false},
		{"a member pings another over IPv6", ping6("fd00:51::1:1", "fd00:51::1:2"), false},
		{"the tester calls a member", tcp(peer, member, 50000, 22), false},
		{"a member calls the tester", tcp(member, peer, 50000, 80), true},
		{"a member pings the tester", ping(member, peer), true},
		{"a member pings a resolver", ping(member, net.IP{10, 0, 2, 3}), true},
		{"one that is no member pings one", ping(node, member), true},
		{"a member pings the world over IPv6", ping6("fd00:51::1:1", "2001:db8::1"), true},
		{"a member's gossip to a group", ping(member, net.IP{224, 0, 0, 18}), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "x.pcap")
			f, err := os.Create(file)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			w := pcapgo.NewWriter(f)
			if err := w.WriteFileHeader(65536, layers.LinkTypeEthernet); err != nil {
				t.Fatal(err)
			}
			buf := gopacket.NewSerializeBuffer()
			ethernet := &layers.Ethernet{SrcMAC: make(net.HardwareAddr, 6), DstMAC: make(net.HardwareAddr, 6), EthernetType: layers.EthernetTypeIPv4}
			if c.packet[0].LayerType() == layers.LayerTypeIPv6 {
				ethernet.EthernetType = layers.EthernetTypeIPv6
			}
			if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true}, append([]gopacket.SerializableLayer{ethernet}, c.packet...)...); err != nil {
				t.Fatal(err)
			}
			if err := w.WritePacket(gopacket.CaptureInfo{Timestamp: time.Unix(0, 0), CaptureLength: len(buf.Bytes()), Length: len(buf.Bytes())}, buf.Bytes()); err != nil {
				t.Fatal(err)
			}
			foreign, n, err := capture.Foreign(file, capture.Allowed{
				Peer: netip.MustParseAddr("10.0.2.2"), Ports: []uint16{22, 6443},
				Members: []netip.Prefix{netip.MustParsePrefix("10.0.2.128/25"), netip.MustParsePrefix("fd00:51::/64")},
			})
			if err != nil || n != 1 || (len(foreign) == 1) != c.foreign {
				t.Errorf("foreign %q of %d, %v", foreign, n, err)
			}
		})
	}
}
