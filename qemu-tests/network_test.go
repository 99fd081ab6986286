package qemutests

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/slipway-os/slipway/pkg/qemu"
	"github.com/slipway-os/slipway/qemu-tests/capture"
	"github.com/slipway-os/slipway/qemu-tests/ethernet"
)

// Where members of a network have their addresses: clear of the gateway's own.
// Those that DHCP gives are members' too.
const (
	members4 = "10.0.2.128/25"
	members6 = "fd00:51::1:0/112"
)

// network is a private network of machines. There is no way out of it, and
// the test alone has a way in.
type network struct {
	t       *testing.T
	eth     *ethernet.Switch
	gateway *ethernet.Gateway
	cards   int
	pcap    *os.File
	allowed capture.Allowed // what quiet lets pass
}

// newNetwork starts a network without machines. SLIPWAY_SEED decides which
// frames are lost where some are to be.
func newNetwork(t *testing.T) *network {
	t.Helper()
	n := &network{t: t, pcap: record(t, t.Name(), ".pcap"), allowed: host}
	n.allowed.Members = []netip.Prefix{netip.MustParsePrefix(members4), netip.MustParsePrefix(members6)}
	// Not t.TempDir: the paths of sockets must be short.
	dir, err := os.MkdirTemp("", "slipway-net-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	seed := number(t, "SLIPWAY_SEED", int(time.Now().UnixNano()&0xffffff))
	t.Logf("SLIPWAY_SEED=%d", seed)
	if n.eth, err = ethernet.New(dir, n.pcap, uint64(seed)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.close)
	socket, err := n.eth.QuietPort("gateway")
	if err != nil {
		t.Fatal(err)
	}
	if n.gateway, err = ethernet.StartGateway(t.Context(), socket); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.gateway.Close)
	return n
}

func (n *network) close() {
	if err := n.eth.Close(); err != nil {
		n.t.Errorf("the switch: %v", err)
	}
}

// machine adds a machine that has these addresses, the first of them of IPv4:
// by it the test finds the way in. The name is also that of its port. What a
// role says of the card goes before; more cards can be added to opts.NICs.
func (n *network) machine(arch, disk, name string, addresses ...string) *scene {
	n.t.Helper()
	s := newSceneNamed(n.t, n.t.Name()+"-"+name, arch, disk)
	card := n.card(name)
	s.opts.NICs = []qemu.NIC{card}
	var lines strings.Builder
	for _, a := range addresses {
		ip, err := netip.ParseAddr(a)
		if err != nil {
			n.t.Fatal(err)
		}
		bits := 64
		if ip.Is4() {
			bits = 24
		}
		fmt.Fprintf(&lines, "Address=%s\n", netip.PrefixFrom(ip, bits))
	}
	s.address = fmt.Sprintf("[Match]\nMACAddress=%s\n\n[Network]\nIPv6AcceptRA=no\nLLMNR=no\nMulticastDNS=no\n%s", card.MAC, lines.String())
	s.ssh, s.api = n.forward(addresses[0], 22), n.forward(addresses[0], 6443)
	return s
}

// card returns a network card with a cable to a port of its own.
func (n *network) card(name string) qemu.NIC {
	n.t.Helper()
	socket, err := n.eth.Port(name)
	if err != nil {
		n.t.Fatal(err)
	}
	n.cards++
	return qemu.NIC{Socket: socket, MAC: net.HardwareAddr{0x52, 0x54, 0, 0, byte(n.cards >> 8), byte(n.cards)}} // QEMU's own begin like this
}

// forward leads a port of the loopback to a TCP port of an IPv4 address, which
// may be one that wanders, and returns it. Ports other than host's have to be
// allowed if all is to be quiet.
func (n *network) forward(address string, to uint16) int {
	n.t.Helper()
	ip, err := netip.ParseAddr(address)
	if err != nil {
		n.t.Fatal(err)
	}
	ports, err := qemu.FreePorts(1)
	if err != nil {
		n.t.Fatal(err)
	}
	if err := n.gateway.Forward(ports[0], netip.AddrPortFrom(ip, to)); err != nil {
		n.t.Fatal(err)
	}
	return ports[0]
}

// cut cuts the cable of a machine, so that not even the test reaches it, or,
// of two names, only what passes between these two.
func (n *network) cut(names ...string) {
	n.t.Helper()
	n.fault(ethernet.Fault{Cut: true}, names...)
}

// mend takes away the fault of a machine's cable, or what was wrong between two.
func (n *network) mend(names ...string) {
	n.t.Helper()
	n.fault(ethernet.Fault{}, names...)
}

// fault gives the cable of a machine, or what lies between two, a fault.
func (n *network) fault(f ethernet.Fault, names ...string) {
	n.t.Helper()
	var err error
	switch len(names) {
	case 1:
		err = n.eth.Fault(names[0], f)
	case 2:
		err = n.eth.FaultBetween(names[0], names[1], f)
	default:
		err = fmt.Errorf("a fault of one machine or between two, not %q", names)
	}
	if err != nil {
		n.t.Fatal(err)
	}
}

// quiet checks that nothing was sent but among members, and to the test.
func (n *network) quiet(t *testing.T) {
	t.Helper()
	noForeign(t, n.pcap.Name(), n.allowed)
}

// TestPrivateNetwork joins two container hosts, and cuts what joins them.
func TestPrivateNetwork(t *testing.T) {
	if testing.Short() {
		t.Skip("boots two machines, for which `make test` has no time; `make qemu-test` does this")
	}
	arch := architecture()
	disk := baked(t, "host-"+arch)
	n := newNetwork(t)
	one := n.machine(arch, disk, "one", "10.0.2.130", "fd00:51::1:1").login().start()
	two := n.machine(arch, disk, "two", "10.0.2.131", "fd00:51::1:2").login().start()
	for _, m := range []*machine{one, two} {
		m.say("root verified")
		m.say("WAITING FOR A ROLE")
	}
	const yes, no = "reached", "not reached"
	// Both machines must have taken the address before one that does not answer means anything.
	reaches := func(t *testing.T, from *machine, to, want string) {
		t.Helper()
		attempts := map[string]int{yes: 60, no: 5}[want] // a second each
		got := from.in(t).run(fmt.Sprintf("for i in $(seq %d); do ping -n -c 1 -W 1 %s >/dev/null 2>&1 && echo %s && exit; done; echo %s", attempts, to, yes, no))
		if got != want {
			t.Errorf("%s: %s, want %s", to, got, want)
		}
	}
	both := func(t *testing.T, want string) {
		t.Helper()
		for _, to := range []string{"10.0.2.131", "fd00:51::1:2"} {
			reaches(t, one, to, want)
		}
	}
	t.Run("they reach each other", func(t *testing.T) {
		both(t, yes)
		reaches(t, two, "10.0.2.130", yes)
		reaches(t, two, "fd00:51::1:1", yes)
	})
	t.Run("a cut between them", func(t *testing.T) {
		n.cut("one", "two")
		both(t, no)
		reaches(t, two, "10.0.2.130", no)
		n.mend("one", "two")
		both(t, yes)
	})
	t.Run("a cut cable", func(t *testing.T) {
		n.cut("two")
		both(t, no)
		n.mend("two")
		both(t, yes)
		two.in(t).run("true")
	})
	t.Run("no way out", func(t *testing.T) {
		if routes := one.in(t).run("ip route show default; ip -6 route show default"); routes != "" {
			t.Errorf("the machine has a way out:\n%s", routes)
		}
	})
	one.cut()
	two.cut()
	t.Run("nothing but allowed packets", n.quiet)
}
