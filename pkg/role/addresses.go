package role

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

func family(ip netip.Addr) string {
	if ip.Is4() {
		return "IPv4"
	}
	return "IPv6"
}

func families(list []subnet) string {
	four, six := false, false
	for _, s := range list {
		four = four || s.Addr().Is4()
		six = six || s.Addr().Is6()
	}
	switch {
	case four && six:
		return "IPv4 and IPv6"
	case six:
		return "IPv6"
	}
	return "IPv4"
}

// special are the addresses that are no machine's, and what they are for.
func special() []struct{ network, use string } {
	return []struct{ network, use string }{
		{"0.0.0.0/8", "machines that have no address yet"},
		{"::/128", "machines that have no address yet"},
		{"127.0.0.0/8", loopback},
		{"::1/128", loopback},
		{"169.254.0.0/16", linkLocal},
		{"fe80::/10", linkLocal},
		{"224.0.0.0/4", "multicast"},
		{"ff00::/8", "multicast"},
		{"255.255.255.255/32", "all machines of a link"},
	}
}

const (
	loopback  = "talk of a node with itself"
	linkLocal = "addresses that are known on one link only"
)

// reserved says what a subnet is for that no cluster can use, or what holds a
// part of it.
func reserved(p netip.Prefix) string {
	for _, s := range special() {
		if p.Overlaps(netip.MustParsePrefix(s.network)) {
			return s.use
		}
	}
	return ""
}

// purpose is what an address is for that cannot be a machine's.
func purpose(ip netip.Addr) string { return reserved(netip.PrefixFrom(ip, ip.BitLen())) }

// usable reports whether other nodes may reach a node by an address.
func usable(ip netip.Addr) bool { return purpose(ip) == "" }

// assignable reports whether an interface may have an address, or another
// machine of its link: on the link alone more is possible.
func assignable(ip netip.Addr) bool { return usable(ip) || purpose(ip) == linkLocal }

// nobody reports whether a text is an address that no machine has.
func nobody(s string) bool {
	ip, err := parseAddr(s)
	return err == nil && !assignable(ip) && purpose(ip) != loopback
}

// endOf says whether an address stands for a network itself, or for all that is
// in it; "" if it can be a machine's.
func endOf(p netip.Prefix, ip netip.Addr) string {
	whole := p.Masked()
	switch {
	case p.Bits() >= p.Addr().BitLen()-1 || !whole.Contains(ip): // RFC 3021, RFC 6164
		return ""
	case ip == whole.Addr():
		return "the address of the network itself"
	case ip.Is4() && !whole.Contains(ip.Next()):
		return "the broadcast address of its network"
	}
	return ""
}

// parseAddr reads an address of a whole network: without a zone, and not an
// IPv4 address dressed up as IPv6.
func parseAddr(s string) (netip.Addr, error) {
	ip, err := netip.ParseAddr(s)
	if err == nil && (ip.Zone() != "" || ip.Is4In6()) {
		err = errors.New("has a zone, or is mapped")
	}
	return ip, err
}

// splitEndpoint reads host, host:port, an IPv6 address, [IPv6] or [IPv6]:port.
// The error continues "cluster.endpoint".
func splitEndpoint(s string) (host, port string, err error) {
	if strings.Contains(s, "://") || strings.ContainsAny(s, "/@") {
		return "", "", errors.New("must be a host or host:port, without https:// or a path")
	}
	host, port = s, defaultPort
	if _, err := netip.ParseAddr(s); err != nil {
		if inner, ok := strings.CutPrefix(s, "["); ok && strings.HasSuffix(inner, "]") {
			host = strings.TrimSuffix(inner, "]")
			if !strings.Contains(host, ":") {
				return "", "", fmt.Errorf("%q: only IPv6 addresses stand in brackets", s)
			}
		} else if strings.Contains(s, ":") {
			if host, port, err = net.SplitHostPort(s); err != nil || ok && !strings.Contains(host, ":") {
				return "", "", fmt.Errorf("%q is not a host or host:port", s)
			}
		}
	}
	if !isPort(port) {
		return "", "", fmt.Errorf("%q: the port must be a number from 1 to 65535", s)
	}
	if ip, err := parseAddr(host); err == nil {
		switch {
		case purpose(ip) == loopback:
			return "", "", fmt.Errorf("%q means every machine itself", s)
		case !usable(ip):
			return "", "", fmt.Errorf("%q: nobody can reach that address", s)
		}
		return ip.String(), port, nil
	}
	switch {
	case !isHost(host):
		return "", "", fmt.Errorf("%q is not a host or host:port", s)
	case isLocalhost(host):
		return "", "", fmt.Errorf("%q means every machine itself", s)
	}
	return host, port, nil
}

func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n != 0 && s[0] != '0' && s[0] != '+'
}

// isLocalhost tells the names that mean every machine itself (RFC 6761).
func isLocalhost(name string) bool {
	name = strings.ToLower(name)
	return name == "localhost" || name == "localhost.localdomain" || strings.HasSuffix(name, ".localhost")
}

// quiet parses subnets that are checked elsewhere.
func quiet(list []string) []subnet {
	var parsed []subnet
	for _, s := range list {
		if p, err := netip.ParsePrefix(s); err == nil {
			parsed = append(parsed, subnet{Prefix: p})
		}
	}
	return parsed
}
