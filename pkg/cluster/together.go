package cluster

import (
	"net/netip"
	"reflect"

	"github.com/slipway-os/slipway/pkg/kubeadm"
	"github.com/slipway-os/slipway/pkg/role"
)

// together checks that the nodes, each of whose roles is right, go together.
func (c *checker) together() {
	var first *Node // control plane
	for i, n := range c.cluster.Nodes {
		if n.Role.Role != role.ControlPlane {
			continue
		}
		if first == nil {
			first = n
		}
		for _, f := range []struct {
			name      string
			own, that any
		}{
			{"apiServer", n.Role.APIServer, first.Role.APIServer},
			{"virtualIP", n.Role.VirtualIP, first.Role.VirtualIP},
		} {
			if !reflect.DeepEqual(f.own, f.that) {
				c.errorf(c.said(i, f.name), "give it in controlPlanes", "%s of %s is not that of %s: all control planes must say the same", f.name, n.Name, first.Name)
			}
		}
	}
	c.addresses(first)
}

// said is where a field of a node's role is said; the node, if that is nowhere.
func (c *checker) said(i int, field string) string {
	for _, section := range []string{at(i) + ".with", shared()[c.cluster.Nodes[i].Role.Role], "all"} {
		if path := section + "." + field; c.doc.Has(path) {
			return path
		}
	}
	return at(i)
}

// addresses refuses addresses, of nodes and of their cards, that two nodes
// have, and those that the control planes share, or lead to them, on any node.
func (c *checker) addresses(first *Node) {
	const shared = "the control planes share"
	owners, cards := map[string]string{}, map[string]string{}
	if first != nil && first.Role.VirtualIP != nil {
		for _, ip := range first.Role.VirtualIP.Addresses {
			owners[ip] = shared
		}
	}
	for i, n := range c.cluster.Nodes {
		claim := func(path, ip string) {
			if ip == "" {
				return
			}
			switch owner := owners[ip]; owner {
			case "", at(i):
				owners[ip] = at(i)
			case shared:
				c.errorf(path, differ, "%s has the address that the control planes share, %s", at(i), ip)
			default:
				c.errorf(path, differ, "%s has the address of %s, %s", at(i), owner, ip)
			}
		}
		claim(at(i)+".ip", n.Role.Node.IP)
		claim(at(i)+".secondIP", n.Role.Node.SecondIP)
		for _, l := range n.Role.Network.Links {
			path := c.said(i, "network")
			for _, a := range l.Addresses {
				if p, err := netip.ParsePrefix(a); err == nil {
					claim(path, p.Addr().String())
				}
			}
			if owner := cards[l.MAC]; l.MAC != "" && owner != "" && owner != at(i) {
				c.errorf(path, differ, "%s has the card of %s, %s", at(i), owner, l.MAC)
			} else if l.MAC != "" {
				cards[l.MAC] = at(i)
			}
		}
		host, _ := kubeadm.SplitEndpoint(n.Role.Cluster.Endpoint)
		if n.Role.Role != role.ControlPlane && host != "" && owners[host] != shared && (host == n.Role.Node.IP || host == n.Role.Node.SecondIP) {
			c.errorf("cluster.endpoint", "an address that leads to the control planes", "cluster.endpoint is the address of %s, which is none", n.Name)
		}
	}
}
