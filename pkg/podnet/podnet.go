// Package podnet makes the network of the pods of one node: containerd's CNI
// configuration from the node's pod subnet, and masquerading for what leaves
// the cluster.
package podnet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/slipway-os/slipway/pkg/durable"
)

// Places of the files.
const (
	Template  = "/run/slipway/cni.template"
	generated = "/etc/cni/net.d/10-containerd-net.conflist" // by containerd, from the template
	bridge    = "cni0"
	services  = "slipway-svc"
)

// Prepare renders the template and removes what containerd made of it at an
// earlier boot: it would not be made again, and the subnet may have changed.
// It runs before containerd does.
func Prepare() error {
	if err := os.Remove(generated); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing the pod network of an earlier boot: %w", err)
	}
	text, err := render(mtu())
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(Template), 0o755); err != nil {
		return err
	}
	return durable.WriteFile(Template, text, 0o644)
}

// render returns the template. Its own fields are containerd's: pod subnets
// and routes.
func render(mtu int) ([]byte, error) {
	const ranges, routes = `"RANGES"`, `"ROUTES"`
	list := map[string]any{
		"cniVersion": "1.0.0",
		"name":       "slipway",
		"plugins": []any{
			map[string]any{
				"type": "bridge", "bridge": bridge, "isGateway": true, "hairpinMode": true, "ipMasq": false, "mtu": mtu,
				"ipam": map[string]any{
					"type": "host-local", "ranges": "RANGES", "routes": "ROUTES",
					// No pod outlives a boot, nor does its address.
					"dataDir": "/run/cni/networks",
				},
			},
			map[string]any{"type": "portmap", "capabilities": map[string]bool{"portMappings": true}, "snat": true},
		},
	}
	data, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return nil, err
	}
	text := strings.Replace(string(data), ranges, `[{{range $i, $r := .PodCIDRRanges}}{{if $i}}, {{end}}[{"subnet": "{{$r}}"}]{{end}}]`, 1)
	text = strings.Replace(text, routes, `[{{range $i, $r := .Routes}}{{if $i}}, {{end}}{"dst": "{{$r}}"}{{end}}]`, 1)
	return []byte(text + "\n"), nil
}

// mtu returns the smallest MTU of the uplinks, so that a pod's packets fit
// wherever they go.
func mtu() int {
	best := 0
	interfaces, err := net.Interfaces()
	if err != nil {
		return 1500
	}
	for _, i := range interfaces {
		if physical(i) && i.Flags&net.FlagUp != 0 && (best == 0 || i.MTU < best) {
			best = i.MTU
		}
	}
	if best == 0 {
		return 1500
	}
	return best
}

// physical says whether an interface leads out of the machine.
func physical(i net.Interface) bool {
	if i.Flags&net.FlagLoopback != 0 {
		return false
	}
	// A card, a bond, a VLAN.
	for _, sign := range []string{"/sys/class/net/" + i.Name + "/device", "/sys/class/net/" + i.Name + "/bonding", "/proc/net/vlan/" + i.Name} {
		if _, err := os.Stat(sign); err == nil {
			return true
		}
	}
	return false
}

// Uplink returns the machine's own address of a family: that of the interface
// with the default route, else the first global one of a physical interface.
func Uplink(v6 bool) (netip.Addr, bool) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return netip.Addr{}, false
	}
	preferred := defaultRoute(v6)
	var found netip.Addr
	for _, i := range interfaces {
		if !physical(i) || i.Flags&net.FlagUp == 0 {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addrs {
			prefix, err := netip.ParsePrefix(a.String())
			if err != nil {
				continue
			}
			addr := prefix.Addr().Unmap()
			if addr.Is6() != v6 || !addr.IsGlobalUnicast() {
				continue
			}
			if i.Name == preferred {
				return addr, true
			}
			if !found.IsValid() {
				found = addr
			}
		}
	}
	return found, found.IsValid()
}

// HasAddress says whether an interface of this machine has an address.
func HasAddress(ip string) bool {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return true // who knows
	}
	return slices.ContainsFunc(addrs, func(a net.Addr) bool {
		prefix, err := netip.ParsePrefix(a.String())
		return err == nil && prefix.Addr().Unmap().String() == ip
	})
}

// defaultRoute returns the interface of the default route, from procfs
// (Linux, net/ipv4/fib_trie.c and net/ipv6/route.c print these tables).
func defaultRoute(v6 bool) string {
	if v6 {
		data, _ := os.ReadFile("/proc/net/ipv6_route")
		for _, line := range strings.Split(string(data), "\n") {
			if f := strings.Fields(line); len(f) == 10 && strings.Trim(f[0], "0") == "" && f[1] == "00" && f[9] != "lo" {
				return f[9]
			}
		}
		return ""
	}
	data, _ := os.ReadFile("/proc/net/route")
	for _, line := range strings.Split(string(data), "\n") {
		if f := strings.Fields(line); len(f) > 7 && f[1] == "00000000" && f[7] == "00000000" {
			return f[0]
		}
	}
	return ""
}

// Apply sets up what the kernel does for pods of these subnets; calling it
// again changes nothing.
func Apply(ctx context.Context, podSubnets, serviceSubnets []string) error {
	if err := run(ctx, rules(podSubnets, serviceSubnets), "/usr/sbin/nft", "-f", "-"); err != nil {
		return fmt.Errorf("setting up masquerading: %w", err)
	}
	return routeServices(ctx, serviceSubnets)
}

// rules masquerades what leaves for addresses outside the cluster's pods, and
// answers what is on its way to a service that kube-proxy does not know of
// yet: without an answer a client waits for half a minute before it tries
// again. Nothing else is filtered, for only such packets are led to the
// interface for services.
func rules(podSubnets, serviceSubnets []string) string {
	family := func(subnet string) string {
		if strings.Contains(subnet, ":") {
			return "ip6"
		}
		return "ip"
	}
	var b strings.Builder
	b.WriteString("table inet slipway\ndelete table inet slipway\ntable inet slipway {\n  chain postrouting {\n    type nat hook postrouting priority srcnat + 10; policy accept;\n")
	for _, s := range podSubnets {
		fmt.Fprintf(&b, "    %[1]s saddr %[2]s %[1]s daddr != %[2]s oifname != \"%[3]s\" masquerade\n", family(s), s, bridge)
	}
	b.WriteString("  }\n")
	for _, hook := range []string{"output", "forward"} {
		fmt.Fprintf(&b, "  chain unserved-%[1]s {\n    type filter hook %[1]s priority filter + 10; policy accept;\n", hook)
		for _, s := range serviceSubnets {
			fmt.Fprintf(&b, "    oifname \"%[1]s\" %[2]s daddr %[3]s meta l4proto tcp reject with tcp reset\n", services, family(s), s)
			fmt.Fprintf(&b, "    oifname \"%[1]s\" %[2]s daddr %[3]s reject\n", services, family(s), s)
		}
		b.WriteString("  }\n")
	}
	b.WriteString("}\n")
	return b.String()
}

// routeServices gives the host a route to service addresses. On a machine
// without a default route the kernel would refuse to send to them before
// kube-proxy's rules could say where they really lead.
func routeServices(ctx context.Context, subnets []string) error {
	const ip = "/usr/sbin/ip"
	if _, err := net.InterfaceByName(services); err != nil {
		if err := run(ctx, "", ip, "link", "add", services, "type", "dummy"); err != nil {
			return fmt.Errorf("adding interface %s: %w", services, err)
		}
	}
	if err := run(ctx, "", ip, "link", "set", services, "up"); err != nil {
		return fmt.Errorf("starting interface %s: %w", services, err)
	}
	for _, s := range subnets {
		if err := run(ctx, "", ip, "route", "replace", s, "dev", services, "metric", "4096"); err != nil {
			return fmt.Errorf("adding a route to the services %s: %w", s, err)
		}
	}
	return nil
}

func run(ctx context.Context, input, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(name), err, strings.TrimSpace(string(out)))
	}
	return nil
}
