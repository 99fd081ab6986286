package cluster

import (
	"net/netip"
	"reflect"

	"github.com/slipway-os/slipway/pkg/role"
)

// together checks that the nodes, each of whose roles is right, go together.
func (c *checker) together() {
	var first *Node // control plane
	taken := map[string]bool{}
	for i, n := range c.cluster.Nodes {
		if n.Role.Role != role.ControlPlane {
			continue
		}
		if first == nil {
			first = n
		}
		if v := n.Role.VirtualIP; v != nil {
			for _, ip := range v.Addresses {
				taken[ip] = true
			}
		}
		if !reflect.DeepEqual(n.Role.APIServer, first.Role.APIServer) {
			path := at(i)
			if own := path + ".with.apiServer"; c.doc.Has(own) {
				path = own
			}
			c.errorf(path, "give it in controlPlanes", "apiServer of %s is not that of %s: all control planes must say the same", n.Name, first.Name)
		}
	}
	for i, n := range c.cluster.Nodes {
		if n.Role.Role != role.ControlPlane {
			c.apart(i, n.Role, taken)
		}
	}
}

// apart refuses an address of a node that the control planes share.
func (c *checker) apart(i int, r *role.Role, taken map[string]bool) {
	refuse := func(path, ip string) {
		if taken[ip] {
			c.errorf(path, "give it another", "%s has the address that the control planes share, %s", at(i), ip)
		}
	}
	refuse(at(i)+".ip", r.Node.IP)
	refuse(at(i)+".secondIP", r.Node.SecondIP)
	for _, l := range r.Network.Links {
		for _, a := range l.Addresses {
			if p, err := netip.ParsePrefix(a); err == nil {
				refuse(at(i)+".with.network", p.Addr().String())
			}
		}
	}
}
