package role

import (
	"fmt"
	"slices"
	"strings"
)

// ownedFlag is a flag of a program that a raw kubeadm document may not give, or
// only as it is anyway.
type ownedFlag struct {
	owned  // field is the list that it would be in
	name   string
	same   func(*Role) string // what it is anyway; nil if it is not to be given at all
	beside bool               // it may be given where the role does not say it
}

// ownedFlags are the flags that the role has fields for, or that the image or the
// node settles. What they say would be followed by one program only.
func ownedFlags() []ownedFlag {
	const cluster, server, manager, etcd = "ClusterConfiguration", "apiServer.extraArgs", "controllerManager.extraArgs", "etcd.local.extraArgs"
	is := func(s string) func(*Role) string { return func(*Role) string { return s } }
	name := func(r *Role) string { return r.Node.Name }
	services := func(r *Role) string { return strings.Join(r.Cluster.ServiceSubnets, ",") }
	pods := func(r *Role) string { return strings.Join(r.Cluster.PodSubnets, ",") }
	const members = "the node finds out who is a member"
	all := []ownedFlag{
		{owned{cluster, server, "node.ip", ""}, "advertise-address", func(r *Role) string { return r.Node.IP }, false},
		{owned{cluster, server, "cluster.serviceSubnets", ""}, "service-cluster-ip-range", services, false},
		{owned{cluster, server, "", ""}, "secure-port", nil, false},
		{owned{cluster, server, "apiServer.admission", ""}, "admission-control-config-file", nil, true},
		{owned{cluster, server, "apiServer.auditPolicy", ""}, "audit-policy-file", nil, true},
		{owned{cluster, server, "apiServer.encryption", ""}, "encryption-provider-config", nil, true},
		{owned{cluster, server, "etcd.members", ""}, "etcd-servers", nil, true},
		{owned{cluster, manager, "cluster.podSubnets", ""}, "cluster-cidr", pods, false},
		{owned{cluster, manager, "cluster.name", ""}, "cluster-name", func(r *Role) string { return r.Cluster.Name }, false},
		{owned{cluster, manager, "cluster.serviceSubnets", ""}, "service-cluster-ip-range", services, false},
		{owned{cluster, etcd, "etcd.local.dataDir", ""}, "data-dir", nil, false},
		{owned{cluster, etcd, "", members}, "initial-cluster", nil, false},
		{owned{cluster, etcd, "", members}, "initial-cluster-state", nil, false},
		{owned{cluster, etcd, "node.name", ""}, "name", name, false},
	}
	for _, kind := range []string{"InitConfiguration", "JoinConfiguration"} {
		const list = "nodeRegistration.kubeletExtraArgs"
		all = append(all,
			ownedFlag{owned{kind, list, "", ""}, "bootstrap-kubeconfig", nil, false},
			ownedFlag{owned{kind, list, "", ""}, "cgroup-driver", is("systemd"), false},
			ownedFlag{owned{kind, list, "cluster.dnsDomain", ""}, "cluster-domain", func(r *Role) string { return r.Cluster.DNSDomain }, false},
			ownedFlag{owned{kind, list, "", ""}, "config", nil, false},
			ownedFlag{owned{kind, list, "", ""}, "container-runtime-endpoint", nil, false},
			ownedFlag{owned{kind, list, "node.name", ""}, "hostname-override", name, false},
			ownedFlag{owned{kind, list, "", ""}, "kubeconfig", nil, false},
			ownedFlag{owned{kind, list, "node.ip", ""}, "node-ip", func(r *Role) string { return r.Node.IP }, false},
			ownedFlag{owned{kind, list, "node.labels", ""}, "node-labels", nil, false},
			ownedFlag{owned{kind, list, "", ""}, "pod-manifest-path", nil, false},
			ownedFlag{owned{kind, list, "", "a node that does not register is never Ready"}, "register-node", is("true"), false},
			ownedFlag{owned{kind, list, "node.taints", ""}, "register-with-taints", nil, false},
		)
	}
	return all
}

// flagLists are where a raw kubeadm document has flags of programs.
func flagLists(kind string) []string {
	if kind == "ClusterConfiguration" {
		return []string{"apiServer.extraArgs", "controllerManager.extraArgs", "scheduler.extraArgs", "etcd.local.extraArgs"}
	}
	return []string{"nodeRegistration.kubeletExtraArgs"}
}

// rawFlag is a flag that a raw kubeadm document gives.
type rawFlag struct {
	name, value string
	path        string
}

// flags are those of a list; what is none is left out.
func flags(path string, document map[string]any, list string) []rawFlag {
	names := strings.Split(list, ".")
	for _, outer := range names[:len(names)-1] {
		document, _ = document[outer].(map[string]any)
	}
	args, _ := document[names[len(names)-1]].([]any)
	var all []rawFlag
	for i, a := range args {
		arg, _ := a.(map[string]any)
		name, _ := arg["name"].(string)
		value, _ := arg["value"].(string)
		if name != "" {
			// The programs themselves take one for the other.
			all = append(all, rawFlag{strings.ReplaceAll(name, "_", "-"), value, fmt.Sprintf("%s.%s[%d]", path, list, i)})
		}
	}
	return all
}

// checkFlags checks the flags that a raw kubeadm document gives.
func (r *Role) checkFlags(c *checker, path, kind string, document map[string]any) {
	for _, list := range flagLists(kind) {
		all := flags(path, document, list)
		for i, f := range all {
			if slices.ContainsFunc(all[:i], func(o rawFlag) bool { return o.name == f.name && o.value == f.value }) {
				c.errorf(f.path, "", "%s: %s is given twice", f.path, f.name)
			}
			for _, own := range ownedFlags() {
				if own.kind != kind || own.field != list || own.name != f.name || own.beside && !c.doc.Has(own.instead) {
					continue
				}
				if own.same == nil || own.same(r) != f.value {
					c.errorf(f.path, own.hint(), "%s: %s cannot be given here", f.path, f.name)
				}
			}
		}
	}
}

// clusterFlag is what a raw ClusterConfiguration gives a flag of a component, and
// where; "" if it does not.
func (r *Role) clusterFlag(component, name string) (value, path string) {
	for i, d := range r.Kubeadm {
		if d["kind"] != "ClusterConfiguration" {
			continue
		}
		for _, f := range flags(at("kubeadm", i), d, component+".extraArgs") {
			if f.name == name { // the last one counts
				value, path = f.value, f.path
			}
		}
	}
	return value, path
}

// manyValued tells flags that are given once for each of their values.
func manyValued(name string) bool {
	return slices.Contains([]string{"feature-gates", "oidc-required-claim", "runtime-config", "service-account-issuer", "service-account-key-file", "tls-sni-cert-key"}, name)
}
