package cluster_test

import (
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/cluster"
)

// Whatever is wrong is said at once, and nothing that only follows from it.
func TestAllFindingsComeAtOnce(t *testing.T) {
	const nodes = "nodes:\n  - {name: cp1, role: control-plane, ip: 192.0.2.11}\n  - {name: w1, role: worker}\n"
	const known = "(known: apiServer, certSANs, dns, kubeProxy, kubeadm, kubelet, manifests, network, node, patches, proxy, ssh, time, virtualIP)"
	for _, c := range []struct{ name, in, want string }{
		{"version 0, a name that is none, a misspelt role", strings.Replace("version: 0\nname: Foo_Bar\ncluster: {endpoint: cp}\n"+nodes, "control-plane", "control-plan", 1),
			"c.yaml:1:10: version must be 1 (write version: 1)\nc.yaml:2:7: name: \"Foo_Bar\" is not a DNS label (write foo-bar)\nc.yaml:5:23: unknown role \"control-plan\" (did you mean \"control-plane\"?)"},
		{"the description's and the roles'", head + "all: {dns: {servers: [a]}}\n" + strings.Replace(nodes, "worker}", "worker, ip: 192.0.2.300, select: {mac: x}}", 1),
			"c.yaml:4:23: dns.servers[0]: \"a\" is not an IP address (for example 192.0.2.53)\nc.yaml:7:34: node.ip: \"192.0.2.300\" is not an IP address (for example 192.0.2.10)\nc.yaml:7:61: nodes[1].select.mac: \"x\" is not like 52:54:00:12:34:56 (as the machine itself has it)"},
		{"of the format and of the roles", head + "all: {dns: {servers: [a]}, foo.bar: 1}\nnodes:\n  - {name: cp1, role: control-plane, foo: 1}\n  - {name: w1, role: worker, With: {}}\n  - {name: 5, role: worker, ip: [a]}\n",
			"c.yaml:4:23: dns.servers[0]: \"a\" is not an IP address (for example 192.0.2.53)\nc.yaml:4:28: unknown field \"foo.bar\" " + known + "\nc.yaml:6:38: unknown field \"foo\" (known: ip, name, role, secondIP, select, with)\nc.yaml:7:30: unknown field \"With\" (did you mean \"with\"?)\nc.yaml:8:12: nodes[2].name must be a string, not the number 5 (write \"5\", with the quotes)\nc.yaml:8:33: nodes[2].ip must be a string, not a list"},
		{"fields that are misspelt", "vresion: 1\nnmae: demo\nendpoint: cp\n" + strings.Replace(nodes, "w1, role", "w1, rloe", 1),
			"c.yaml:1:1: unknown field \"vresion\" (did you mean \"version\"?)\nc.yaml:2:1: unknown field \"nmae\" (did you mean \"name\"?)\nc.yaml:3:1: unknown field \"endpoint\" (did you mean \"cluster.endpoint\"?)\nc.yaml:6:16: unknown field \"rloe\" (did you mean \"role\"?)"},
		{"values of other kinds", "version: x\nname: [demo]\ncluster: [x]\ncontrolPlanes: [cp1]\n" + nodes,
			"c.yaml:1:10: version must be a whole number, not \"x\"\nc.yaml:2:7: name must be a string, not a list\nc.yaml:3:10: cluster must be a mapping, not a list\nc.yaml:4:16: controlPlanes must be a mapping, not a list"},
		{"nodes that are none", head + "nodes: [cp1, {name: w1, role: worker}, ~]\n", "c.yaml:4:9: nodes[0] must be a mapping, not \"cp1\"\nc.yaml:4:40: nodes[2] is empty (remove it, or give it a value)"},
		{"nodes by their names", head + "nodes:\n  cp1: {role: control-plane}\n", "c.yaml:5:3: nodes must be a list, not a mapping"},
		{"no mapping", "- a\n", "c.yaml:1:1: the document must be a mapping, not a list"},
		{"a select with a field that is none", head + strings.Replace(nodes, "worker}", "worker, select: {foo: x}}", 1), "c.yaml:6:39: unknown field \"foo\" (known: hostname, mac, serial, uuid)"},
		{"anchors and aliases", head + "all: &a {dns: {servers: [x, &b 192.0.2.1]}}\ncontrolPlanes: *a\nworkers: {time: {servers: [*b, '-']}}\nnodes:\n  - &c {name: cp1, role: control-plane}\n  - *c\n  - {<<: *c, name: w1}\n  - {name: w2, role: worker}\n",
			"c.yaml:4:6: anchors and aliases are not allowed (write the value out)\nc.yaml:4:26: dns.servers[0]: \"x\" is not an IP address (for example 192.0.2.53)\nc.yaml:5:16: anchors and aliases are not allowed (write the value out)\nc.yaml:6:28: anchors and aliases are not allowed (write the value out)\nc.yaml:6:32: time.servers[1]: \"-\" is neither a host name nor an IP address (for example time.example.net)\nc.yaml:8:5: anchors and aliases are not allowed (write the value out)\nc.yaml:9:5: anchors and aliases are not allowed (write the value out)\nc.yaml:10:6: merge keys are not allowed (write the fields out)"},
		{"fields of the roles' own", head + "all:\n  init: {}\n  cluster:\n    foo: 1\n  node:\n    name: x\n    labels: {a: 1}\n  dns: {servers: [x]}\n" + nodes,
			"c.yaml:5:3: init cannot be given here (it follows from the list of nodes)\nc.yaml:6:3: cluster cannot be given here (give it in the section cluster)\nc.yaml:9:11: node.name cannot be given here (give the node's own name, beside its role)\nc.yaml:10:17: node.labels.a must be a string, not the number 1 (write \"1\", with the quotes)\nc.yaml:11:19: dns.servers[0]: \"x\" is not an IP address (for example 192.0.2.53)"},
		{"a subnet that is none and no endpoint", "version: 1\nname: demo\ncluster: {podSubnets: 10.0.0.0/8}\n" + nodes,
			"c.yaml:3:10: cluster.endpoint must be given if there is more than one node (a name or address, with a port if it is not 6443, that leads to the control planes; or let them share one: virtualIP)\nc.yaml:3:23: cluster.podSubnets must be a list, not \"10.0.0.0/8\""},
		{"control planes that cannot share, and more", head + "controlPlanes: {virtualIP: {addresses: [192.0.2.1]}, dns: {servers: [x]}}\nnodes:\n  - {name: cp1, role: control-plane, ip: [x]}\n  - {name: cp2, role: control-plane}\n  - {name: cp3, role: control-plane, ip: ''}\n",
			"c.yaml:4:70: dns.servers[0]: \"x\" is not an IP address (for example 192.0.2.53)\nc.yaml:6:42: nodes[0].ip must be a string, not a list\nc.yaml:7:5: nodes[1]: control planes that share a virtualIP must know each other's addresses (give its ip)\nc.yaml:8:42: nodes[2].ip is empty (leave it out, or give it a value)"},
		{"etcd members", head + nodes + "  - {name: e1, role: etcd, ip: 192.0.2.21, secondIP: 'fd00::1'}\n  - {name: e2, role: etcd}\n  - {name: e1, role: etcd, ip: 192.0.2.21}\n",
			"c.yaml:7:54: nodes[2].secondIP does not go with role \"etcd\": etcd members have one address (leave it out)\nc.yaml:8:5: nodes[3] is an etcd member without an address: the others could not find it (give its ip)\nc.yaml:9:12: nodes[4] has the name of nodes[2], e1 (give it another)\nc.yaml:9:32: nodes[4] has the address of nodes[2], 192.0.2.21 (give it another)"},
		{"names and addresses that others list", head + "controlPlanes: {virtualIP: {addresses: [192.0.2.1]}}\nnodes:\n  - {name: CP1, role: control-plane, ip: 10.244.0.1}\n  - {name: cp2, role: control-plane, ip: 192.0.2.300}\n  - {name: e1, role: etcd, ip: 10.96.0.1}\n",
			"c.yaml:6:12: node.name: \"CP1\" is not a name for a node (write cp1)\nc.yaml:6:42: node.ip 10.244.0.1 is inside the pod subnet 10.244.0.0/16 (choose other podSubnets)\nc.yaml:7:42: node.ip: \"192.0.2.300\" is not an IP address (for example 192.0.2.10)\nc.yaml:8:32: node.ip 10.96.0.1 is inside the service subnet 10.96.0.0/12 (choose other serviceSubnets)"},
		{"private keys", head + "nodes:\n  - {name: cp1, role: '-----BEGIN PRIVATE KEY-----', select: {hostname: ' -----BEGIN PRIVATE KEY-----'}}\n",
			"c.yaml:5:23: a private key is in the wrong place (remove it, and take it for stolen)\nc.yaml:5:73: a private key is in the wrong place (remove it, and take it for stolen)"},
		{"more values than can be", head + "all: {dns: {servers: [" + strings.Repeat("a,", 200_000) + "]}}\n" + nodes, "c.yaml:4:400007: more than 200000 values"},

		{"labels of etcd members", head + "all: {node: {labels: {a: b}}}\n" + nodes + "  - {name: e1, role: etcd, ip: 192.0.2.21}\n", "c.yaml:4:22: node.labels does not go with role \"etcd\" (move it to controlPlanes and workers)"},
		{"what only control planes say", head + "all: {virtualIP: {routerID: 5}}\n" + nodes + "  - {name: e1, role: etcd, ip: 192.0.2.21}\ncontrolPlanes: {virtualIP: {addresses: [192.0.2.1]}}\n", "c.yaml:4:18: virtualIP does not go with role \"worker\" (move it to controlPlanes)"},
		{"documents that workers do not read", head + "all: {kubeadm: [{kind: ClusterConfiguration}]}\n" + nodes + "  - {name: e1, role: etcd, ip: 192.0.2.21}\n", "c.yaml:4:24: kubeadm[0].kind: \"ClusterConfiguration\" cannot be given here (move it to controlPlanes and etcdMembers)"},
		{"documents that nobody reads", head + "all: {kubeadm: [{kind: KubeletConfiguration}]}\n" + nodes, "c.yaml:4:24: kubeadm[0].kind: \"KubeletConfiguration\" cannot be given here (give its fields in kubelet:)"},
		{"what no worker says", head + "workers: {virtualIP: {addresses: [192.0.2.1]}}\n" + nodes, "c.yaml:4:22: virtualIP does not go with role \"worker\" (leave it out)"},
		{"a section without a value in it", head + "controlPlanes: {virtualIP: }\n" + nodes, "c.yaml:4:28: virtualIP has no value (virtualIP: {addresses: […], controlPlanes: [{name: …, ip: …}]})"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := cluster.Parse("c.yaml", []byte(c.in))
			if err == nil {
				t.Fatal("accepted")
			}
			if err.Error() != c.want {
				t.Errorf("got\n%s\nwant\n%s", err, c.want)
			}
		})
	}
}

// What is left empty leaves the name and the address of a node.
func TestEmptyFieldsAreNotMerged(t *testing.T) {
	c := parse(t, head+"all:\n  node: # {labels: {a: b}}\nworkers: {node: {labels: {a: b}, taints: []}}\nnodes:\n  - {name: cp1, role: control-plane, ip: 192.0.2.11, with: {node: null}}\n  - {name: w1, role: worker, ip: 192.0.2.21, with: {node: {labels: }}}\n")
	for i, want := range []struct{ name, ip, label string }{{"cp1", "192.0.2.11", ""}, {"w1", "192.0.2.21", "b"}} {
		if n := c.Nodes[i].Role.Node; n.Name != want.name || n.IP != want.ip || n.Labels["a"] != want.label {
			t.Errorf("got %+v, want %+v", n, want)
		}
	}
}
