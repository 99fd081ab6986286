// Command flanneld brings the packets of pods to other nodes. It is made of
// flannel's own packages: its watcher of nodes, and of its backends vxlan and
// host-gw.
//
// Upstream's own main package brings every other backend and etcd's client, and
// sets up packet filters by running nft and iptables, which are not for it to
// do here. And its flags cannot say what is known of a node: both of the
// addresses that it registers with.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/flannel-io/flannel/pkg/backend"
	"github.com/flannel-io/flannel/pkg/backend/hostgw"
	"github.com/flannel-io/flannel/pkg/backend/vxlan"
	"github.com/flannel-io/flannel/pkg/subnet"
	"github.com/flannel-io/flannel/pkg/subnet/kube"
	"github.com/flannel-io/flannel/pkg/version"
)

const (
	configFile  = "/etc/kube-flannel/net-conf.json"
	annotations = "flannel.alpha.coreos.com"
	// What the nodes' addresses are given in, comma-separated, the first the
	// node's own (Kubernetes, downward API: status.hostIPs).
	addressesVariable = "HOST_IPS"
	// A packet in VXLAN over IPv6 is so much longer than over IPv4, which is
	// what the backend allows for, whatever the family.
	extraOverhead = 20
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil && ctx.Err() == nil {
		fmt.Fprintf(os.Stderr, "flanneld %s: %v\n", version.Version, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	addresses, err := parseAddresses(os.Getenv(addressesVariable))
	if err != nil {
		return fmt.Errorf("reading %s: %w", addressesVariable, err)
	}
	file, err := reduce(configFile, addresses)
	if err != nil {
		return fmt.Errorf("reading the network's configuration: %w", err)
	}
	// The node's name is in NODE_NAME, the API server's address where every
	// pod has it.
	nodes, err := kube.NewSubnetManager(ctx, "", "", annotations, file, true)
	if err != nil {
		return fmt.Errorf("watching nodes: %w", err)
	}
	config, err := nodes.GetNetworkConfig(ctx)
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	network, err := register(ctx, &wg, nodes, config, addresses)
	if err != nil {
		return err
	}
	wg.Go(func() { network.Run(ctx) })
	// Tells that the node's network is there.
	if err := nodes.CompleteLease(ctx, network.Lease(), &wg); err != nil {
		return fmt.Errorf("telling that the network is up: %w", err)
	}
	wg.Wait()
	return ctx.Err()
}

// register sets up the node's end of the network. It tries again where that
// fails: after a start, the node may have to wait for its address or for its
// subnet of pods, and the kubelet starts what ends ever more seldom.
func register(ctx context.Context, wg *sync.WaitGroup, nodes subnet.Manager, config *subnet.Config, a addresses) (backend.Network, error) {
	try := func() (backend.Network, error) {
		uplink, err := findUplink(a, config)
		if err != nil {
			return nil, err
		}
		made, err := newBackend(config.BackendType, nodes, uplink)
		if err != nil {
			return nil, err
		}
		network, err := made.RegisterNetwork(ctx, wg, config)
		if err == nil {
			fmt.Printf("flanneld %s: %s over %s, with addresses %v\n", version.Version, config.BackendType, uplink.IfaceName, a)
		}
		return network, err
	}
	for said := ""; ; {
		network, err := try()
		if err == nil {
			return network, nil
		}
		if said != err.Error() {
			said = err.Error()
			fmt.Fprintf(os.Stderr, "setting up %s: %s; trying again\n", config.BackendType, said)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(2 * time.Second):
		}
	}
}

func newBackend(kind string, nodes subnet.Manager, uplink *backend.ExternalInterface) (backend.Backend, error) {
	switch kind {
	case "vxlan":
		return vxlan.New(nodes, uplink)
	case "host-gw":
		return hostgw.New(nodes, uplink)
	}
	return nil, fmt.Errorf("unknown backend %q: this program has vxlan and host-gw", kind)
}

// addresses are a node's, one of each family at most.
type addresses struct{ v4, v6 net.IP }

func (a addresses) String() string {
	var all []string
	for _, ip := range []net.IP{a.v4, a.v6} {
		if ip != nil {
			all = append(all, ip.String())
		}
	}
	return strings.Join(all, ", ")
}

// parseAddresses takes the first of each family.
func parseAddresses(list string) (addresses, error) {
	var a addresses
	for _, s := range strings.Split(list, ",") {
		ip := net.ParseIP(strings.TrimSpace(s))
		switch four := ip.To4(); {
		case ip == nil:
			return a, fmt.Errorf("%q is not an IP address", s)
		case four != nil && a.v4 == nil:
			a.v4 = four
		case four == nil && a.v6 == nil:
			a.v6 = ip
		}
	}
	return a, nil
}

// reduce writes a configuration without the families that the node has no
// address of, and returns the file. A node of one family in a cluster of both
// has at least that.
func reduce(file string, a addresses) (string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	parsed, err := subnet.ParseConfig(string(data))
	if err != nil {
		return "", fmt.Errorf("%s: %w", file, err)
	}
	four, six := parsed.EnableIPv4 && a.v4 != nil, parsed.EnableIPv6 && a.v6 != nil
	if !four && !six {
		return "", fmt.Errorf("the node's addresses (%s) are of no family of its pods", a)
	}
	if four == parsed.EnableIPv4 && six == parsed.EnableIPv6 {
		return file, nil
	}
	fmt.Fprintf(os.Stderr, "the node has addresses of one family only (%s): pods of the other reach no other node\n", a)
	var fields map[string]any
	if err := json.Unmarshal(data, &fields); err != nil {
		return "", err
	}
	fields["EnableIPv4"], fields["EnableIPv6"] = four, six
	if data, err = json.Marshal(fields); err != nil {
		return "", err
	}
	out, err := os.CreateTemp("", "net-conf-*.json")
	if err != nil {
		return "", err
	}
	_, err = out.Write(data)
	return out.Name(), errors.Join(err, out.Close())
}

// findUplink returns the interface that has the node's addresses of the
// families that are used: never another of its addresses, which may be one that
// moves between nodes.
func findUplink(a addresses, config *subnet.Config) (*backend.ExternalInterface, error) {
	uplink := &backend.ExternalInterface{}
	for _, f := range []struct {
		used             bool
		ip               net.IP
		address, outside *net.IP
	}{
		{config.EnableIPv4, a.v4, &uplink.IfaceAddr, &uplink.ExtAddr},
		{config.EnableIPv6, a.v6, &uplink.IfaceV6Addr, &uplink.ExtV6Addr},
	} {
		if !f.used {
			continue
		}
		found, err := interfaceOf(f.ip)
		if err != nil {
			return nil, err
		}
		if uplink.Iface != nil && uplink.Iface.Index != found.Index {
			return nil, fmt.Errorf("the node's addresses (%s) are on two interfaces, %s and %s; give it both on one", a, uplink.Iface.Name, found.Name)
		}
		uplink.Iface, uplink.IfaceName = found, found.Name
		*f.address, *f.outside = f.ip, f.ip
	}
	if config.EnableIPv6 && config.BackendType == "vxlan" {
		uplink.Iface.MTU -= extraOverhead
	}
	return uplink, nil
}

func interfaceOf(ip net.IP) (*net.Interface, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("listing interfaces: %w", err)
	}
	for _, i := range all {
		has, err := i.Addrs()
		if err != nil {
			continue // it is gone
		}
		if slices.ContainsFunc(has, func(a net.Addr) bool {
			prefix, ok := a.(*net.IPNet)
			return ok && prefix.IP.Equal(ip)
		}) {
			return &i, nil
		}
	}
	return nil, fmt.Errorf("no interface has the node's address %s", ip)
}
