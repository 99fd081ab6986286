package role

import "github.com/slipway-os/slipway/pkg/diag"

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
	unread := map[string]bool{"JoinConfiguration": r.Init != nil, "InitConfiguration": r.Join != nil, "ClusterConfiguration": r.Join != nil}
	for i, d := range r.Kubeadm {
		if kind, _ := d["kind"].(string); unread[kind] {
			does := map[bool]string{true: "starts the cluster", false: "joins a cluster"}[r.Init != nil]
			c.errorf(at("kubeadm", i), "", "%s: a node that %s reads no %s", at("kubeadm", i), does, kind)
		}
	}
	c.sort()
	return c.problems
}
