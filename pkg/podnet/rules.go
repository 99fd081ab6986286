package podnet

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/slipway-os/slipway/pkg/role"
)

// Apply sets up what the kernel does for the cluster's pods and services;
// calling it again changes nothing. Without a pod network of ours it is for
// services only.
func Apply(ctx context.Context, cluster role.Cluster) error {
	pods := cluster.PodSubnets
	if cluster.PodNetwork.Backend == role.NoNetwork {
		pods = nil
	}
	if err := run(ctx, rules(pods, cluster.ServiceSubnets), "/usr/sbin/nft", "-f", "-"); err != nil {
		return fmt.Errorf("setting up masquerading: %w", err)
	}
	return routeServices(ctx, cluster.ServiceSubnets)
}

// rules masquerades what leaves for addresses outside the cluster's pods, and
// answers what is on its way to a service that kube-proxy does not know of
// yet: without an answer a client waits for half a minute before it tries
// again. Nothing else is filtered, for only such packets are led to the
// interface for services.
func rules(podSubnets, serviceSubnets []string) string {
	family := func(subnet string) string {
		if isV6(subnet) {
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
