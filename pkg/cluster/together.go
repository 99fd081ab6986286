package cluster

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strconv"

	"github.com/slipway-os/slipway/pkg/kubeadm"
	"github.com/slipway-os/slipway/pkg/role"
)

// together checks that the nodes whose roles are right go together.
func (c *checker) together(f *file, first int) {
	var planes []*Node
	for _, n := range c.cluster.Nodes {
		if n.Role.Role == role.ControlPlane {
			planes = append(planes, n)
		}
	}
	var shared []string
	if len(planes) > 0 && planes[0].Role.VirtualIP != nil {
		shared = planes[0].Role.VirtualIP.Addresses
	}
	for _, n := range planes {
		that := planes[0].Role
		for _, f := range []struct {
			name      string
			own, that any
		}{
			{"apiServer", n.Role.APIServer, that.APIServer},
			{"virtualIP", n.Role.VirtualIP, that.VirtualIP},
		} {
			if !reflect.DeepEqual(f.own, f.that) {
				c.errorf(c.said(n, f.name), "give it in controlPlanes", "%s of %s is not that of %s: all control planes must say the same", f.name, n.Name, planes[0].Name)
			}
		}
	}
	c.endpoint(c.addresses(shared), f.Nodes[first].Name, at(first))
	c.cards()
	if len(planes) > 0 && planes[0].at == at(first) {
		c.capacity(f, planes[0].Role)
	}
}

// said is where a field of a node's role is said; the node, if that is nowhere.
func (c *checker) said(n *Node, field string) string {
	for _, section := range []string{n.at + ".with", shared()[n.Role.Role], "all"} {
		if path := section + "." + field; c.doc.Has(path) {
			return path
		}
	}
	return n.at
}

// link is where a link of a node's role is said.
func (c *checker) link(n *Node, i int) string {
	return fmt.Sprintf("%s[%d]", c.said(n, "network.links"), i)
}

// addresses refuses addresses, of nodes and of their links, that two nodes
// have, and those that the control planes share, or lead to them, on any node.
// It returns whose they are.
func (c *checker) addresses(shared []string) map[string]*Node {
	owners := map[string]*Node{}
	for _, n := range c.cluster.Nodes {
		claim := func(path, ip string) {
			switch owner := owners[ip]; {
			case ip == "":
			case slices.Contains(shared, ip):
				c.errorf(path, differ, "%s has the address that the control planes share, %s", n.at, ip)
			case owner != nil && owner != n:
				c.errorf(path, differ, "%s has the address of %s, %s", n.at, owner.at, ip)
			default:
				owners[ip] = n
			}
		}
		claim(n.at+".ip", n.Role.Node.IP)
		claim(n.at+".secondIP", n.Role.Node.SecondIP)
		for i, l := range n.Role.Network.Links {
			for j, a := range l.Addresses {
				if p, err := netip.ParsePrefix(a); err == nil {
					claim(fmt.Sprintf("%s.addresses[%d]", c.link(n, i), j), p.Addr().String())
				}
			}
			for j, g := range l.Gateways {
				if ip, err := netip.ParseAddr(g); err == nil && slices.Contains(shared, ip.String()) {
					c.errorf(fmt.Sprintf("%s.gateways[%d]", c.link(n, i), j), "let them share one that nothing else has", "gateway %s is the address that the control planes share", ip)
				}
			}
		}
	}
	return owners
}

// cards refuses a network adapter that two nodes have, by what their roles or
// their selects say.
func (c *checker) cards() {
	owners, selected := map[string]*Node{}, map[string]*Node{}
	for _, n := range c.cluster.Nodes {
		selected[n.Select.MAC] = n
	}
	for _, n := range c.cluster.Nodes {
		for i, l := range n.Role.Network.Links {
			path := c.link(n, i) + ".mac"
			switch owner, other := owners[l.MAC], selected[l.MAC]; {
			case l.MAC == "":
			case owner != nil && owner != n:
				c.errorf(path, differ, "%s has the card of %s, %s", n.at, owner.at, l.MAC)
			case other != nil && n.Select.MAC != l.MAC:
				c.errorf(path, "one of them means another machine", "%s has the card that %s is selected by, %s", n.at, other.at, l.MAC)
			default:
				owners[l.MAC] = n
			}
		}
	}
}

// endpoint refuses one that leads to a node where the API server of the first
// control plane is not: nodes would wait there for a cluster that cannot start.
func (c *checker) endpoint(owners map[string]*Node, first, where string) {
	if len(c.cluster.Nodes) == 0 {
		return
	}
	host, port := kubeadm.SplitEndpoint(c.cluster.Nodes[0].Role.Cluster.Endpoint)
	switch owner := owners[host]; {
	case owner == nil:
	case owner.Role.Role != role.ControlPlane:
		c.errorf("cluster.endpoint", "an address that leads to the control planes", "cluster.endpoint is the address of %s, which is none", owner.Name)
	case owner.at != where:
		c.errorf("cluster.endpoint", "the address of "+first+", or one that leads to all control planes", "cluster.endpoint is the address of %s, but %s starts the cluster", owner.Name, first)
	case port != strconv.Itoa(owner.Role.APIPort()):
		c.errorf("cluster.endpoint", "leave the port out", "cluster.endpoint has port %s, but the API server of %s listens on port %d", port, first, owner.Role.APIPort())
	}
}
