package ethernet_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/slipway-os/slipway/qemu-tests/ethernet"
)

// TestGateway takes the part of a machine: it asks for a lease, is called on
// from the loopback, and calls out in vain.
func TestGateway(t *testing.T) {
	s := newSwitch(t, io.Discard)
	quiet, err := s.QuietPort("gateway")
	if err != nil {
		t.Fatal(err)
	}
	socket, err := s.Port("machine")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	g, err := ethernet.StartGateway(ctx, quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	m := plug(t, socket, 1)
	m.conn.SetDeadline(time.Now().Add(4 * patience))

	own, leased := net.IP{10, 0, 2, 150}, net.IP{10, 0, 2, 200}
	mac := net.HardwareAddr(hardware(1))
	discover := &layers.DHCPv4{
		Operation: layers.DHCPOpRequest, HardwareType: layers.LinkTypeEthernet, Xid: 7, ClientHWAddr: mac,
		Options: layers.DHCPOptions{layers.NewDHCPOption(layers.DHCPOptMessageType, []byte{byte(layers.DHCPMsgTypeDiscover)})},
	}
	udp := &layers.UDP{SrcPort: 68, DstPort: 67}
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: net.IPv4zero, DstIP: net.IPv4bcast}
	udp.SetNetworkLayerForChecksum(ip)
	offered := make(chan struct{})
	go func() { // until the switch knows the machine, its frames go nowhere
		for {
			if _, err := m.conn.Write(packet(t, mac, net.HardwareAddr(hardware(broadcast)), layers.EthernetTypeIPv4, ip, udp, discover)); err != nil {
				return
			}
			select {
			case <-offered:
				return
			case <-ctx.Done():
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()
	p := m.expect("an offer", func(p gopacket.Packet) bool { return p.Layer(layers.LayerTypeDHCPv4) != nil })
	close(offered)
	offer := p.Layer(layers.LayerTypeDHCPv4).(*layers.DHCPv4)
	if !offer.YourClientIP.Equal(leased) {
		t.Errorf("it offers %s", offer.YourClientIP)
	}
	for _, o := range offer.Options {
		if o.Type == layers.DHCPOptRouter || o.Type == layers.DHCPOptDNS {
			t.Errorf("it offers %s", o)
		}
	}

	port := freePort(t)
	to := netip.MustParseAddrPort("10.0.2.150:22")
	if err := g.Forward(port, to); err != nil {
		t.Fatal(err)
	}
	if err := g.Forward(port, to); err == nil {
		t.Error("the same port was forwarded twice")
	}
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p = m.expect("the question who has the address", func(p gopacket.Packet) bool {
		arp, ok := p.Layer(layers.LayerTypeARP).(*layers.ARP)
		return ok && arp.Operation == layers.ARPRequest && net.IP(arp.DstProtAddress).Equal(own)
	})
	asked := p.Layer(layers.LayerTypeARP).(*layers.ARP)
	gateway := net.HardwareAddr(asked.SourceHwAddress)
	answer := &layers.ARP{
		AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4, Operation: layers.ARPReply,
		SourceHwAddress: mac, SourceProtAddress: own, DstHwAddress: gateway, DstProtAddress: asked.SourceProtAddress,
	}
	if _, err := m.conn.Write(packet(t, mac, gateway, layers.EthernetTypeARP, answer)); err != nil {
		t.Fatal(err)
	}
	p = m.expect("a connection", func(p gopacket.Packet) bool { return p.Layer(layers.LayerTypeTCP) != nil })
	call, from := p.Layer(layers.LayerTypeTCP).(*layers.TCP), p.NetworkLayer().NetworkFlow()
	if got := from.String(); got != "10.0.2.2->10.0.2.150" || !call.SYN || call.DstPort != 22 {
		t.Errorf("%s, port %d, SYN %v", got, call.DstPort, call.SYN)
	}

	// Out it is not led, not even to this machine itself.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	out := &layers.TCP{SrcPort: 4000, DstPort: layers.TCPPort(l.Addr().(*net.TCPAddr).Port), Seq: 1, SYN: true, Window: 1000}
	ip = &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP, SrcIP: own, DstIP: net.IP{10, 0, 2, 2}}
	out.SetNetworkLayerForChecksum(ip)
	if _, err := m.conn.Write(packet(t, mac, gateway, layers.EthernetTypeIPv4, ip, out)); err != nil {
		t.Fatal(err)
	}
	p = m.expect("an answer", func(p gopacket.Packet) bool {
		tcp, ok := p.Layer(layers.LayerTypeTCP).(*layers.TCP)
		return ok && tcp.DstPort == out.SrcPort
	})
	if answer := p.Layer(layers.LayerTypeTCP).(*layers.TCP); !answer.RST {
		t.Error("a call out was taken")
	}
}

// expect returns the first packet that is as wanted.
func (m *machine) expect(what string, wanted func(gopacket.Packet) bool) gopacket.Packet {
	m.t.Helper()
	for {
		var length [4]byte
		_, err := io.ReadFull(m.conn, length[:])
		data := make([]byte, binary.BigEndian.Uint32(length[:]))
		if err == nil {
			_, err = io.ReadFull(m.conn, data)
		}
		if err != nil {
			m.t.Fatalf("waiting for %s: %v", what, err)
		}
		if p := gopacket.NewPacket(data, layers.LayerTypeEthernet, gopacket.Default); wanted(p) {
			return p
		}
	}
}

func packet(t *testing.T, from, to net.HardwareAddr, kind layers.EthernetType, above ...gopacket.SerializableLayer) []byte {
	t.Helper()
	buf := gopacket.NewSerializeBuffer()
	options := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	ethernet := &layers.Ethernet{SrcMAC: from, DstMAC: to, EthernetType: kind}
	if err := gopacket.SerializeLayers(buf, options, append([]gopacket.SerializableLayer{ethernet}, above...)...); err != nil {
		t.Error(err)
	}
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(buf.Bytes()))), buf.Bytes()...)
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
