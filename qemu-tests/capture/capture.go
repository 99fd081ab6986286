// Package capture reads what a machine's network card sent and received, and
// finds packets that a node without a way out has no reason to send.
package capture

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// Allowed says what may be in a capture besides DHCP, ARP, neighbour
// discovery and multicast membership reports.
type Allowed struct {
	Peer    netip.Addr     // the one that calls on nodes from outside
	Ports   []uint16       // the nodes' TCP ports it calls on
	Members []netip.Prefix // who may send to each other whatever they like; not the peer
}

// Foreign returns a line for each packet in a pcap file that is not allowed,
// and the number of packets read.
func Foreign(file string, a Allowed) (foreign []string, packets int, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	r, err := pcapgo.NewReader(f)
	if err != nil {
		return nil, 0, fmt.Errorf("reading capture %q: %w", file, err)
	}
	for {
		data, _, err := r.ReadPacketData()
		// A machine that was cut off leaves half a packet at the end.
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return foreign, packets, nil
		}
		if err != nil {
			return foreign, packets, fmt.Errorf("reading capture %q: %w", file, err)
		}
		packets++
		p := gopacket.NewPacket(data, layers.LayerTypeEthernet, gopacket.NoCopy)
		if !a.allows(p) {
			foreign = append(foreign, describe(p))
		}
	}
}

func (a Allowed) allows(p gopacket.Packet) bool {
	if p.Layer(layers.LayerTypeARP) != nil || p.Layer(layers.LayerTypeIGMP) != nil || a.between(p) {
		return true
	}
	if icmp, ok := p.Layer(layers.LayerTypeICMPv6).(*layers.ICMPv6); ok {
		switch icmp.TypeCode.Type() {
		case layers.ICMPv6TypeRouterSolicitation, layers.ICMPv6TypeRouterAdvertisement,
			layers.ICMPv6TypeNeighborSolicitation, layers.ICMPv6TypeNeighborAdvertisement,
			layers.ICMPv6TypeMLDv1MulticastListenerReportMessage, layers.ICMPv6TypeMLDv1MulticastListenerDoneMessage,
			layers.ICMPv6TypeMLDv1MulticastListenerQueryMessage, layers.ICMPv6TypeMLDv2MulticastListenerReportMessageV2:
			return true
		}
		return false
	}
	if udp, ok := p.Layer(layers.LayerTypeUDP).(*layers.UDP); ok {
		switch [2]layers.UDPPort{udp.SrcPort, udp.DstPort} {
		case [2]layers.UDPPort{68, 67}, [2]layers.UDPPort{67, 68}, [2]layers.UDPPort{546, 547}, [2]layers.UDPPort{547, 546}:
			return true
		}
		return false
	}
	if tcp, ok := p.Layer(layers.LayerTypeTCP).(*layers.TCP); ok {
		src, dst := addresses(p)
		return src.IsValid() && (src == a.Peer && slices.Contains(a.Ports, uint16(tcp.DstPort)) ||
			dst == a.Peer && slices.Contains(a.Ports, uint16(tcp.SrcPort)))
	}
	return false
}

// between says whether a packet goes from one member to another.
func (a Allowed) between(p gopacket.Packet) bool {
	src, dst := addresses(p)
	member := func(of netip.Addr) bool {
		return of != a.Peer && slices.ContainsFunc(a.Members, func(m netip.Prefix) bool { return m.Contains(of) })
	}
	return member(src) && member(dst)
}

// addresses returns whom a packet is from, and to; zero if it is not of IP.
func addresses(p gopacket.Packet) (src, dst netip.Addr) {
	n := p.NetworkLayer()
	if n == nil {
		return src, dst
	}
	from, to := n.NetworkFlow().Endpoints()
	src, _ = netip.AddrFromSlice(from.Raw())
	dst, _ = netip.AddrFromSlice(to.Raw())
	return src, dst
}

func describe(p gopacket.Packet) string {
	s := ""
	for _, l := range p.Layers() {
		s += l.LayerType().String() + " "
	}
	if n := p.NetworkLayer(); n != nil {
		s += n.NetworkFlow().String() + " "
	}
	if t := p.TransportLayer(); t != nil {
		s += t.TransportFlow().String()
	}
	if dns, ok := p.Layer(layers.LayerTypeDNS).(*layers.DNS); ok {
		for _, q := range dns.Questions {
			s += fmt.Sprintf(" %s %s", q.Type, q.Name)
		}
	}
	return s
}
