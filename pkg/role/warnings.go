package role

import (
	"net/netip"
	"slices"

	"github.com/slipway-os/slipway/pkg/diag"
)

// Warnings are what can be done, but should be known, in the order of the file.
func (r *Role) Warnings() []*diag.Error {
	c := &checker{doc: r.doc}
	if r.Etcd != nil {
		if n := len(r.Etcd.Members); n%2 == 0 {
			c.errorf("etcd.members", "an odd number", "%d etcd members stand the loss of no more of them than %d", n, n-1)
		}
	}
	if r.VirtualIP != nil && r.Etcd == nil {
		if n := len(r.VirtualIP.ControlPlanes); n%2 == 0 {
			c.errorf("virtualIP.controlPlanes", "an odd number", "%d control planes, whose etcd stands the loss of no more of them than that of %d", n, n-1)
		}
	}
	r.warnUnread(c)
	r.warnFlags(c)
	r.warnSubnets(c)
	r.warnLinks(c)
	c.sort()
	return c.problems
}

// warnUnread tells what others read, but not this node.
func (r *Role) warnUnread(c *checker) {
	unread := map[string]bool{"JoinConfiguration": r.Init != nil, "InitConfiguration": r.Join != nil, "ClusterConfiguration": r.Join != nil}
	for i, d := range r.Kubeadm {
		if kind, _ := d["kind"].(string); unread[kind] {
			does := map[bool]string{true: "starts the cluster", false: "joins a cluster"}[r.Init != nil]
			c.errorf(at("kubeadm", i), "", "%s: a node that %s reads no %s", at("kubeadm", i), does, kind)
		}
	}
	const counts = "what the control plane says counts that starts the cluster"
	for _, f := range []struct {
		name  string
		given bool
	}{{"certSANs", len(r.CertSANs) > 0}, {"kubeProxy", len(r.KubeProxy) > 0}, {"manifests", len(r.Manifests) > 0}} {
		if f.given && r.Join != nil {
			c.errorf(f.name, counts, "a node that joins a cluster reads no %s", f.name)
		}
	}
	for i, p := range r.Patches {
		path := at("patches", i) + ".target"
		switch {
		case p.Target == "corednsdeployment" && r.Join != nil:
			c.errorf(path, counts, "%s: a node that joins a cluster sets up no CoreDNS", path)
		case p.Target == "etcd" && r.Role == ControlPlane && r.Etcd != nil:
			c.errorf(path, "the etcd members have roles of their own", "%s: a control plane with etcd.members runs no etcd", path)
		}
	}
}

// warnFlags tells flags that are given twice: some programs take several values
// like that.
func (r *Role) warnFlags(c *checker) {
	for i, d := range r.Kubeadm {
		kind, _ := d["kind"].(string)
		for _, list := range flagLists(kind) {
			all := flags(at("kubeadm", i), d, list)
			for j, f := range all {
				if !manyValued(f.name) && slices.ContainsFunc(all[:j], func(o rawFlag) bool { return o.name == f.name }) {
					c.errorf(f.path, "", "%s: %s is given twice: the last counts, unless it takes several values", f.path, f.name)
				}
			}
		}
	}
}

// warnSubnets tells subnets whose packets not everybody passes on.
func (r *Role) warnSubnets(c *checker) {
	future := netip.MustParsePrefix("240.0.0.0/4")
	for _, l := range []struct {
		path string
		list []string
	}{{"cluster.podSubnets", r.Cluster.PodSubnets}, {"cluster.serviceSubnets", r.Cluster.ServiceSubnets}} {
		for i, s := range l.list {
			if p, err := netip.ParsePrefix(s); err == nil && p.Overlaps(future) {
				c.errorf(at(l.path, i), "", "%s: %s is kept for future use: Linux takes it, but Windows and many routers do not", at(l.path, i), s)
			}
		}
	}
}

// warnLinks tells what the interfaces that are described do not fit. Others may
// have what is missing.
func (r *Role) warnLinks(c *checker) {
	links := r.Network.Links
	var networks []netip.Prefix
	gateways, dynamic := map[string]string{}, len(links) == 0
	for i, l := range links {
		path := at("network.links", i)
		dynamic = dynamic || r.Network.asksDHCP(l)
		for _, a := range l.Addresses {
			if p, err := netip.ParsePrefix(a); err == nil {
				networks = append(networks, p)
			}
		}
		for j, g := range l.Gateways {
			ip, err := netip.ParseAddr(g)
			if err != nil {
				continue
			}
			where, of := at(path+".gateways", j), family(ip)
			if other := gateways[of]; other != "" {
				c.errorf(where, "keep one, and say with routes where else to go", "%s: %s has an %s gateway, too", where, other, of)
			}
			gateways[of] = path
		}
	}
	if dynamic {
		return
	}
	for _, own := range []struct{ path, ip string }{{"node.ip", r.Node.IP}, {"node.secondIP", r.Node.SecondIP}} {
		ip, err := netip.ParseAddr(own.ip)
		if err == nil && !slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Addr() == ip }) {
			c.errorf(own.path, "", "%s: none of network.links has %s", own.path, ip)
		}
	}
	if r.VirtualIP == nil {
		return
	}
	for i, a := range r.VirtualIP.Addresses {
		path := at("virtualIP.addresses", i)
		ip, err := netip.ParseAddr(a)
		if err == nil && !slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(ip) }) {
			c.errorf(path, "one of the control planes' network, so that it can move", "%s: %s is in the network of none of network.links", path, ip)
		}
	}
}
