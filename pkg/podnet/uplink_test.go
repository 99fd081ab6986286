package podnet

import (
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
)

func addresses(list ...string) []netip.Addr {
	var out []netip.Addr
	for _, a := range list {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

func TestMTU(t *testing.T) {
	loopback := link{name: "lo", mtu: 65536, up: true, addresses: addresses("127.0.0.1")}
	pods := link{name: "cni0", mtu: 1200, up: true, addresses: addresses("10.244.0.1")}
	for _, c := range []struct {
		name  string
		links []link
		want  int
	}{
		{"none", nil, 1500},
		{"only what does not lead out", []link{loopback, pods}, 1500},
		{"an uplink", []link{loopback, pods, {"eth0", 1450, true, true, addresses("192.0.2.10")}}, 1450},
		{"jumbo frames", []link{{"eth0", 9000, true, true, addresses("192.0.2.10")}}, 9000},
		{"the smaller of two", []link{{"eth0", 9000, true, true, addresses("192.0.2.10")}, {"eth1", 1400, true, true, addresses("198.51.100.1")}}, 1400},
		{"one that is down does not count", []link{{"eth0", 9000, true, true, addresses("192.0.2.10")}, {"eth1", 1400, false, true, nil}}, 9000},
		{"one without an address does not count", []link{{"eth0", 9000, true, true, addresses("192.0.2.10")}, {"eth1", 1400, true, true, addresses("fe80::1")}}, 9000},
		{"no address yet", []link{{"eth0", 1450, true, true, nil}}, 1450},
		{"a port of a bridge that has the address", []link{{"eth0", 1450, true, true, nil}, {"br0", 1450, true, false, addresses("192.0.2.10")}}, 1450},
	} {
		if got := mtu(c.links); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func TestUplink(t *testing.T) {
	eth0 := link{"eth0", 1500, true, true, addresses("192.0.2.10", "fe80::1", "2001:db8::10")}
	eth1 := link{"eth1", 1500, true, true, addresses("198.51.100.1", "fd00::1")}
	for _, c := range []struct {
		name      string
		links     []link
		v6        bool
		preferred string
		want      string
	}{
		{"the default route's", []link{eth0, eth1}, false, "eth1", "198.51.100.1"},
		{"no default route: the first", []link{eth0, eth1}, false, "", "192.0.2.10"},
		{"IPv6, and not the link's own", []link{eth0, eth1}, true, "", "2001:db8::10"},
		{"IPv6, of the default route", []link{eth0, eth1}, true, "eth1", "fd00::1"},
		{"the default route's has none of the family", []link{eth0, {"eth1", 1500, true, true, addresses("198.51.100.1")}}, true, "eth1", "2001:db8::10"},
		{"a bridge with the default route", []link{{"eth0", 1500, true, true, nil}, {"br0", 1500, true, false, addresses("192.0.2.20")}}, false, "br0", "192.0.2.20"},
		{"pods' and loopback's addresses do not count", []link{{"lo", 65536, true, false, addresses("127.0.0.1", "::1")}, {"cni0", 1500, true, false, addresses("10.244.0.1")}}, false, "", ""},
		{"down", []link{{"eth0", 1500, false, true, addresses("192.0.2.10")}}, false, "eth0", ""},
		{"only a link-local address: no DHCP", []link{{"eth0", 1500, true, true, addresses("169.254.3.4")}}, false, "eth0", ""},
		{"none", nil, false, "eth0", ""},
	} {
		got, ok := uplink(c.links, c.v6, c.preferred)
		if ok != (c.want != "") || ok && got.String() != c.want {
			t.Errorf("%s: got %v, %v; want %q", c.name, got, ok, c.want)
		}
	}
}

const head4 = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"

func TestDefaultRoute4(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"empty", "", ""},
		{"only heads", head4, ""},
		{"one", head4 + "eth0\t00000000\t0202000A\t0003\t0\t0\t100\t00000000\t0\t0\t0\neth0\t0002000A\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n", "eth0"},
		{"none", head4 + "eth0\t0002000A\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n", ""},
		{"half of all addresses is not all", head4 + "tun0\t00000000\t00000000\t0001\t0\t0\t0\t00000080\t0\t0\t0\n", ""},
		{"the lower metric", head4 + "wlan0\t00000000\t0102000A\t0003\t0\t0\t600\t00000000\t0\t0\t0\neth0\t00000000\t0202000A\t0003\t0\t0\t100\t00000000\t0\t0\t0\n", "eth0"},
		{"unreachable", head4 + "*\t00000000\t00000000\t0200\t0\t0\t0\t00000000\t0\t0\t0\neth0\t00000000\t0202000A\t0003\t0\t0\t100\t00000000\t0\t0\t0\n", "eth0"},
		{"cut off", head4 + "eth0\t00000000\t0202", ""},
		{"not numbers", head4 + "eth0\t00000000\tx\tx\tx\tx\tx\t00000000\n", ""},
	} {
		if got := defaultRoute4(c.in); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestDefaultRoute6(t *testing.T) {
	zero := strings.Repeat("0", 32)
	gateway := "fe800000000000000000000000000001"
	line := func(to, length, metric, flags, iface string) string {
		return strings.Join([]string{to, length, zero, "00", gateway, metric, "00000001", "00000000", flags, iface}, " ") + "\n"
	}
	for _, c := range []struct{ name, in, want string }{
		{"empty", "", ""},
		{"one", line(zero, "00", "00000400", "00450003", "eth0"), "eth0"},
		{"only the kernel's own refusal", line(zero, "00", "ffffffff", "00200200", "lo"), ""},
		{"a subnet", line("20010db8"+zero[8:], "40", "00000100", "00000001", "eth0"), ""},
		{"half of all addresses is not all", line(zero, "01", "00000100", "00000001", "tun0"), ""},
		{"the lower metric", line(zero, "00", "00000400", "00000003", "eth1") + line(zero, "00", "00000100", "00000003", "eth0"), "eth0"},
		{"unreachable", line(zero, "00", "00000001", "00200200", "eth1"), ""},
		{"cut off", line(zero, "00", "00000400", "00000003", "eth0")[:100], ""},
		{"not hex", line("x"+zero[1:], "00", "00000400", "00000003", "eth0"), ""},
	} {
		if got := defaultRoute6(c.in); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

// This machine's own tables can be read, whatever they hold: an interface that
// is named there is one.
func TestThisMachine(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		name := defaultRoute(v6)
		if name == "" {
			continue
		}
		if _, err := net.InterfaceByName(name); err != nil {
			t.Errorf("default route by %q: %v", name, err)
		}
	}
	for _, l := range links() {
		for _, a := range l.addresses {
			if !HasAddress(a.String()) {
				t.Errorf("%s has no address %s", l.name, a)
			}
		}
	}
	if HasAddress("192.0.2.255") || HasAddress("nonsense") || HasAddress("") {
		t.Error("it has addresses that are nobody's")
	}
}

func FuzzDefaultRoute(f *testing.F) {
	for _, name := range []string{"/proc/net/route", "/proc/net/ipv6_route"} {
		if data, err := os.ReadFile(name); err == nil {
			f.Add(string(data))
		}
	}
	f.Add(head4 + "eth0\t00000000\t0202000A\t0003\t0\t0\t100\t00000000\t0\t0\t0\n")
	f.Add(strings.Repeat("0", 32) + " 00 " + strings.Repeat("0", 32) + " 00 " + strings.Repeat("0", 32) + " 00000400 00000001 00000000 00000003 eth0\n")
	f.Fuzz(func(t *testing.T, table string) {
		for _, name := range []string{defaultRoute4(table), defaultRoute6(table)} {
			if name != "" && (len(strings.Fields(name)) != 1 || !strings.Contains(table, name)) {
				t.Errorf("interface %q", name)
			}
		}
	})
}
