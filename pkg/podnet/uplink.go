package podnet

import (
	"encoding/hex"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
)

// link is a network interface.
type link struct {
	name      string
	mtu       int
	up        bool
	physical  bool // leads out of the machine
	addresses []netip.Addr
}

// links returns the interfaces that the machine has now.
func links() []link {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil
	}
	var all []link
	for _, i := range interfaces {
		l := link{name: i.Name, mtu: i.MTU, up: i.Flags&net.FlagUp != 0, physical: i.Flags&net.FlagLoopback == 0 && physical(i.Name)}
		addrs, err := i.Addrs()
		if err != nil {
			continue // it is gone
		}
		for _, a := range addrs {
			if prefix, err := netip.ParsePrefix(a.String()); err == nil {
				l.addresses = append(l.addresses, prefix.Addr().Unmap())
			}
		}
		all = append(all, l)
	}
	return all
}

// physical says whether an interface leads out of the machine: a card, a
// bond, a VLAN.
func physical(name string) bool {
	for _, sign := range []string{"/sys/class/net/" + name + "/device", "/sys/class/net/" + name + "/bonding", "/proc/net/vlan/" + name} {
		if _, err := os.Stat(sign); err == nil {
			return true
		}
	}
	return false
}

// mtu returns the smallest MTU of the uplinks, so that a pod's packets fit
// wherever they go: those with an address, else any that are up.
func mtu(all []link) int {
	for _, counts := range []func(link) bool{
		func(l link) bool { return slices.ContainsFunc(l.addresses, netip.Addr.IsGlobalUnicast) },
		func(link) bool { return true },
	} {
		best := 0
		for _, l := range all {
			if l.physical && l.up && l.mtu > 0 && counts(l) && (best == 0 || l.mtu < best) {
				best = l.mtu
			}
		}
		if best > 0 {
			return best
		}
	}
	return 1500
}

// Uplink returns the machine's own address of a family: that of the interface
// with the default route, else the first global one of a physical interface.
func Uplink(v6 bool) (netip.Addr, bool) { return uplink(links(), v6, defaultRoute(v6)) }

func uplink(all []link, v6 bool, preferred string) (netip.Addr, bool) {
	var found netip.Addr
	for _, l := range all {
		if !l.up || !l.physical && l.name != preferred {
			continue
		}
		for _, a := range l.addresses {
			if a.Is6() != v6 || !a.IsGlobalUnicast() {
				continue
			}
			if l.name == preferred {
				return a, true
			}
			if !found.IsValid() {
				found = a
			}
		}
	}
	return found, found.IsValid()
}

// LinkOf returns the name of the interface that has an address; "" if none has.
func LinkOf(ip string) string {
	wanted, err := netip.ParseAddr(ip)
	if err != nil {
		return ""
	}
	for _, l := range links() {
		if slices.Contains(l.addresses, wanted.Unmap()) {
			return l.name
		}
	}
	return ""
}

// HasAddress says whether an interface of this machine has an address.
func HasAddress(ip string) bool { return LinkOf(ip) != "" }

// defaultRoute returns the interface of the default route of a family.
func defaultRoute(v6 bool) string {
	if v6 {
		data, _ := os.ReadFile("/proc/net/ipv6_route")
		return defaultRoute6(string(data))
	}
	data, _ := os.ReadFile("/proc/net/route")
	return defaultRoute4(string(data))
}

// Flags of routes (Linux, include/uapi/linux/route.h).
const (
	routeUp     = 1
	routeReject = 0x200
)

// defaultRoute4 reads /proc/net/route (Linux, net/ipv4/fib_trie.c): a line of
// heads, then interface, destination, gateway, flags, two counters, metric,
// mask, …; the metric is decimal, the rest hex.
func defaultRoute4(table string) string {
	best, metric := "", uint64(0)
	for _, line := range strings.Split(table, "\n") {
		f := strings.Fields(line)
		if len(f) < 8 || f[1] != "00000000" || f[7] != "00000000" || f[0] == "lo" || f[0] == "*" {
			continue
		}
		flags, flagsErr := strconv.ParseUint(f[3], 16, 32)
		m, err := strconv.ParseUint(f[6], 10, 32)
		if err == nil && flagsErr == nil && flags&routeUp != 0 && flags&routeReject == 0 && (best == "" || m < metric) {
			best, metric = f[0], m
		}
	}
	return best
}

// defaultRoute6 reads /proc/net/ipv6_route (Linux, net/ipv6/ip6_fib.c):
// destination and its length, source and its length, gateway, metric, two
// counters, flags, interface; all but the last hex.
func defaultRoute6(table string) string {
	best, metric := "", uint64(0)
	for _, line := range strings.Split(table, "\n") {
		f := strings.Fields(line)
		if len(f) != 10 || f[1] != "00" || f[9] == "lo" {
			continue
		}
		if to, err := hex.DecodeString(f[0]); err != nil || len(to) != 16 || slices.ContainsFunc(to, func(b byte) bool { return b != 0 }) {
			continue
		}
		flags, flagsErr := strconv.ParseUint(f[8], 16, 32)
		m, err := strconv.ParseUint(f[5], 16, 32)
		if err == nil && flagsErr == nil && flags&routeUp != 0 && flags&routeReject == 0 && (best == "" || m < metric) {
			best, metric = f[9], m
		}
	}
	return best
}
