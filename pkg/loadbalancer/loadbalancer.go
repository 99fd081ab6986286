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
    timeout connect 5s
    timeout check 10s
    # Watches are silent for long.
    timeout client 1h
    timeout server 1h
    timeout tunnel 1h

frontend api
`)
	fmt.Fprintf(&b, "    bind :::%s v4v6\n", port)
	b.WriteString(`    default_backend api

backend api
    option httpchk GET /readyz
    http-check expect status 200
    balance roundrobin
    # Who leaves takes its connections along, so that clients ask another.
`)
	fmt.Fprintf(&b, "    default-server check check-ssl verify required ca-file %s inter 3s fall 2 rise 1 on-marked-down shutdown-sessions\n", ca)
	for _, p := range v.ControlPlanes {
		fmt.Fprintf(&b, "    server %s %s\n", p.Name, net.JoinHostPort(p.IP, strconv.Itoa(apiPort)))
	}
	return []byte(b.String())
}

// Keepalived returns the configuration of keepalived (keepalived.conf(5)) for
// the control plane at an address of an interface.
func Keepalived(v role.VirtualIP, ip, link string) ([]byte, error) {
	rank := -1
	var peers []string
	for i, p := range v.ControlPlanes {
		if p.IP == ip {
			rank = i
			continue
		}
		peers = append(peers, p.IP)
	}
	if rank < 0 {
		return nil, fmt.Errorf("configuring the virtual address: this node's address %s is none of the control planes'", ip)
	}
	// VRRP carries one family; an address of the other moves along with it, so
	// that both are always at the same place.
	var carried, along []string
	for _, a := range v.Addresses {
		address, err := netip.ParseAddr(a)
		if err != nil {
			return nil, fmt.Errorf("configuring the virtual address %q: %w", a, err)
		}
		line := fmt.Sprintf("        %s/%d dev %s\n", address, address.BitLen(), link)
		if len(carried) == 0 || strings.Contains(a, ":") == strings.Contains(v.Addresses[0], ":") {
			carried = append(carried, line)
		} else {
			along = append(along, line)
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, `# Written by firstboot.
global_defs {
    router_id %s
    vrrp_garp_master_refresh 60
}

vrrp_track_process haproxy {
    process haproxy
    quorum 1
}

vrrp_instance api {
    # Whoever has the address keeps it: each move breaks connections.
    state BACKUP
    nopreempt
    interface %s
    virtual_router_id %d
    priority %d
    advert_int 1
    unicast_src_ip %s
`, v.ControlPlanes[rank].Name, link, v.RouterID, 200-rank, ip)
	if len(peers) > 0 {
		b.WriteString("    unicast_peer {\n")
		for _, p := range peers {
			fmt.Fprintf(&b, "        %s\n", p)
		}
		b.WriteString("    }\n")
	}
	fmt.Fprintf(&b, "    virtual_ipaddress {\n%s    }\n", strings.Join(carried, ""))
	if len(along) > 0 {
		fmt.Fprintf(&b, "    virtual_ipaddress_excluded {\n%s    }\n", strings.Join(along, ""))
	}
	b.WriteString("    track_process {\n        haproxy\n    }\n}\n")
	return []byte(b.String()), nil
}
