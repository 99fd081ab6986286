// Package loadbalancer writes the configuration of HAProxy and keepalived, by
// which the control planes of a cluster share one address without outside help:
// keepalived gives the virtual address to one of them, whose HAProxy passes
// connections on to the API servers that are ready.
package loadbalancer

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/slipway-os/slipway/pkg/role"
)

// Places of the files on a control plane.
const (
	HAProxyFile    = "/etc/haproxy/haproxy.cfg"
	KeepalivedFile = "/etc/keepalived/keepalived.conf"
)

// HAProxy returns the configuration of HAProxy (HAProxy, "Configuration
// Manual") that serves an endpoint's port and passes connections on to the API
// servers' as they are: only those have the certificate, which the authority in
// the file ca has signed.
func HAProxy(v role.VirtualIP, port string, apiPort int, ca string) []byte {
	var b strings.Builder
	b.WriteString(`# Written by firstboot.
global
    log stdout format raw daemon notice
    user haproxy
    group haproxy
    maxconn 20000

defaults
    log global
    mode tcp
    option dontlognull
    timeout connect 3s
    timeout check 10s
    option redispatch 1
    # Silent connections to a machine that is gone end, too.
    option srvtcpka
    srvtcpka-idle 10s
    srvtcpka-intvl 5s
    srvtcpka-cnt 3
    # Watches are silent for long.
    timeout client 1h
    timeout server 1h
    timeout tunnel 1h

frontend api
`)
	fmt.Fprintf(&b, "    bind :::%s v4v6\n", port)
	b.WriteString(`    # Where none is ready, as while etcd's disks stall, all are asked all the
    # same: refusing would keep out even who comes to mend it.
    use_backend all if ! { nbsrv(api) gt 0 }
    default_backend api

backend api
    option httpchk GET /readyz
    http-check expect status 200
    balance roundrobin
`)
	// One that is not ready for a moment keeps its connections: ended all at once,
	// they would come back as a storm. Those to a machine that is gone end because
	// nobody acknowledges what is sent (tcp-ut), or answers keepalives. Each check
	// is a handshake of TLS: they are seldom while all is well, and quick once a
	// check or a connection fails.
	fmt.Fprintf(&b, "    default-server check check-ssl verify required ca-file %s inter 5s fastinter 1s downinter 3s fall 2 rise 1 observe layer4 error-limit 1 on-error fastinter tcp-ut 20s\n", ca)
	servers := func() {
		for _, p := range v.ControlPlanes {
			fmt.Fprintf(&b, "    server %s %s\n", p.Name, net.JoinHostPort(p.IP, strconv.Itoa(apiPort)))
		}
	}
	servers()
	b.WriteString("\nbackend all\n    balance roundrobin\n    default-server tcp-ut 20s\n")
	servers()
	return []byte(b.String())
}

// Keepalived returns the configuration of keepalived (keepalived.conf(5)) for
// the control plane at an address. linkOf names the interface that has an
// address, or is "".
//
// VRRP (RFC 9568) speaks of addresses of one family among addresses of that
// family. So there is an instance for each, and both are always at the same
// place: who has the address leaves it only with both, and another takes it only
// if it hears of neither. An address of a family that the control planes have no
// addresses of moves along with the other.
func Keepalived(v role.VirtualIP, ip string, linkOf func(ip string) string) ([]byte, error) {
	rank, err := v.Rank(ip)
	if err != nil {
		return nil, err
	}
	instances, err := instances(v, rank, linkOf)
	if err != nil {
		return nil, fmt.Errorf("configuring the virtual address: %w", err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `# Written by firstboot.
global_defs {
    router_id %s
    vrrp_garp_master_refresh 60
    # A busy machine stays heard; the limit that comes with it, 10 ms of work at a
    # stretch, ends keepalived on a slow one.
    vrrp_rt_priority 1
    vrrp_rlimit_rttime 1000000
}

vrrp_track_process haproxy {
    process haproxy
    quorum 1
}
`, v.ControlPlanes[rank].Name)
	if len(instances) > 1 {
		b.WriteString("\nvrrp_sync_group api {\n    group {\n")
		for _, i := range instances {
			fmt.Fprintf(&b, "        %s\n", i.name)
		}
		b.WriteString("    }\n}\n")
	}
	for _, i := range instances {
		i.write(&b, v.RouterID, 200-rank)
	}
	return []byte(b.String()), nil
}

// instance is what speaks VRRP by one family.
type instance struct {
	name, ip, link string
	peers          []string
	carried, along []string // addresses: of its family, and of the other
}

// instances returns those of the families that the control planes can ask each
// other by, the first address's first.
func instances(v role.VirtualIP, rank int, linkOf func(ip string) string) ([]*instance, error) {
	var all []*instance
	var along []string
	for _, a := range v.Addresses {
		address, err := netip.ParseAddr(a)
		if err != nil {
			return nil, err
		}
		text := netip.PrefixFrom(address, address.BitLen()).String()
		own := v.ControlPlanes[rank].IPOf(address.Is6())
		if own == "" {
			along = append(along, text)
			continue
		}
		i := &instance{name: "api-ipv4", ip: own, link: linkOf(own), carried: []string{text}}
		if address.Is6() {
			i.name = "api-ipv6"
		}
		if i.link == "" {
			return nil, fmt.Errorf("no interface has this node's own address %s", own)
		}
		for n, p := range v.ControlPlanes {
			if n != rank {
				i.peers = append(i.peers, p.IPOf(address.Is6()))
			}
		}
		all = append(all, i)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("the control planes have no addresses of the family of %s", v.Addresses[0])
	}
	all[0].along = along
	return all, nil
}

func (i *instance) write(b *strings.Builder, router, priority int) {
	fmt.Fprintf(b, `
vrrp_instance %s {
    # Whoever has the address keeps it: each move breaks connections.
    state BACKUP
    nopreempt
    interface %s
    virtual_router_id %d
    priority %d
    advert_int 1
`, i.name, i.link, router, priority)
	if len(i.peers) > 0 { // else keepalived complains of it
		fmt.Fprintf(b, "    unicast_src_ip %s\n", i.ip)
	}
	i.block(b, "unicast_peer", i.peers, "")
	i.block(b, "virtual_ipaddress", i.carried, " dev "+i.link)
	i.block(b, "virtual_ipaddress_excluded", i.along, " dev "+i.link)
	b.WriteString("    track_process {\n        haproxy\n    }\n}\n")
}

func (i *instance) block(b *strings.Builder, name string, lines []string, with string) {
	if len(lines) == 0 {
		return
	}
	fmt.Fprintf(b, "    %s {\n", name)
	for _, l := range lines {
		fmt.Fprintf(b, "        %s%s\n", l, with)
	}
	b.WriteString("    }\n")
}
