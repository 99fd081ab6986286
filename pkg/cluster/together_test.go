package cluster_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/cluster"
	"github.com/slipway-os/slipway/pkg/diag"
)

// at is a cluster with an endpoint; its nodes begin on line 5.
func at(endpoint string) string {
	return "version: 1\nname: demo\ncluster: {endpoint: '" + endpoint + "'}\nnodes:\n"
}

// Each node may be right, and the cluster could not come up all the same.
func TestNodesThatDoNotGoTogether(t *testing.T) {
	const (
		cp1   = "  - {name: cp1, role: control-plane, ip: 192.0.2.11}\n"
		cp2   = "  - {name: cp2, role: control-plane, ip: 192.0.2.12}\n"
		w1    = "  - {name: w1, role: worker}\n"
		wired = "  - {name: w1, role: worker, with: {network: {links: [{name: a, addresses: [192.0.2.20/24, 192.0.2.21/24]}]}}}\n"
		three = "nodes:\n" + cp1 + w1 + "  - {name: w2, role: worker}\n  - {name: e1, role: etcd, ip: 192.0.2.31}\n"
	)
	pods := func(subnets string) string {
		return "version: 1\nname: demo\ncluster:\n  endpoint: cp.example.net\n  podSubnets: [" + subnets + "]\n  serviceSubnets: [10.96.0.0/16, 'fd00:10:96::/112']\n"
	}
	for _, c := range []struct{ name, in, want string }{
		{"endpoint at the first control plane", at("192.0.2.11") + cp1 + cp2, ""},
		{"endpoint at its usual port", at("192.0.2.11:6443") + cp1 + cp2, ""},
		{"endpoint at the port of a balancer", at("192.0.2.9:8443") + cp1 + cp2, ""},
		{"endpoint at the second control plane", at("192.0.2.12") + cp1 + cp2, "c.yaml:3:21: cluster.endpoint is the address of cp2, but cp1 starts the cluster (the address of cp1, or one that leads to all control planes)"},
		{"endpoint at its interface", at("192.0.2.13") + cp1 + strings.Replace(cp2, "}", ", with: {network: {links: [{name: a, addresses: [192.0.2.13/24]}]}}}", 1), "c.yaml:3:21: cluster.endpoint is the address of cp2, but cp1 starts the cluster (the address of cp1, or one that leads to all control planes)"},
		{"endpoint at the interface of a worker", at("192.0.2.21") + cp1 + wired, "c.yaml:3:21: cluster.endpoint is the address of w1, which is none (an address that leads to the control planes)"},
		{"endpoint at an etcd member", at("192.0.2.31") + cp1 + "  - {name: e1, role: etcd, ip: 192.0.2.31}\n", "c.yaml:3:21: cluster.endpoint is the address of e1, which is none (an address that leads to the control planes)"},
		{"endpoint at the shared address and another port", shared + w1 + "cluster: {endpoint: '192.0.2.100:8443'}\n", ""},

		{"few pod addresses", pods("10.1.0.0/24, 'fd00:1::/56'") + three, "c.yaml:5:16: cluster.podSubnets[0]: 10.1.0.0/24 is enough for 1 node, but there are 3 (at least a /22)"},
		{"few pod addresses of the other family", pods("10.1.0.0/22, 'fd00:1::/63'") + three, "c.yaml:5:29: cluster.podSubnets[1]: fd00:1::/63 is enough for 2 nodes, but there are 3 (at least a /62)"},
		{"enough pod addresses", pods("10.1.0.0/22, 'fd00:1::/62'") + three, ""},
		{"pod addresses shared otherwise", pods("10.1.0.0/24, 'fd00:1::/56'") + "controlPlanes: {kubeadm: [{kind: ClusterConfiguration, controllerManager: {extraArgs: [{name: node-cidr-mask-size-ipv4, value: '26'}]}}]}\n" + three, ""},
		{"few pod addresses, by smaller shares", pods("10.1.0.0/24, 'fd00:1::/56'") + "controlPlanes: {kubeadm: [{kind: ClusterConfiguration, controllerManager: {extraArgs: [{name: node-cidr-mask-size-ipv4, value: '25'}]}}]}\n" + three, "c.yaml:5:16: cluster.podSubnets[0]: 10.1.0.0/24 is enough for 2 nodes, but there are 3 (at least a /23)"},
		{"pod addresses of one family shared otherwise", "version: 1\nname: demo\ncluster: {endpoint: cp.example.net, podSubnets: [10.1.0.0/24]}\n" + "controlPlanes: {kubeadm: [{kind: ClusterConfiguration, controllerManager: {extraArgs: [{name: node-cidr-mask-size, value: '26'}]}}]}\n" + three, ""},
		{"pod addresses not shared", pods("10.1.0.0/24, 'fd00:1::/56'") + "controlPlanes: {kubeadm: [{kind: ClusterConfiguration, controllerManager: {extraArgs: [{name: allocate-node-cidrs, value: 'false'}]}}]}\n" + three, ""},
		{"pod addresses shared as usual", pods("10.1.0.0/24, 'fd00:1::/56'") + "controlPlanes: {kubeadm: [{kind: ClusterConfiguration, controllerManager: {extraArgs: [{name: v, value: '2'}]}}]}\n" + three, "c.yaml:5:16: cluster.podSubnets[0]: 10.1.0.0/24 is enough for 1 node, but there are 3 (at least a /22)"},
		{"few pod addresses by default", at("cp.example.net") + cp1 + many(256), "c.yaml:3:10: cluster.podSubnets[0]: 10.244.0.0/16 is enough for 256 nodes, but there are 257 (at least a /15)"},

		{"shared address at a worker's gateway", shared + "  - {name: w1, role: worker, with: {network: {links: [{name: a, addresses: [192.0.2.21/24], gateways: [192.0.2.100]}]}}}\n", "c.yaml:6:104: gateway 192.0.2.100 is the address that the control planes share (let them share one that nothing else has)"},
		{"shared address at the gateway of all workers, once", shared + w1 + "  - {name: w2, role: worker}\nworkers: {network: {links: [{name: a, dhcp: true, gateways: [192.0.2.100]}]}}\n", "c.yaml:8:62: gateway 192.0.2.100 is the address that the control planes share (let them share one that nothing else has)"},

		{"the second interface of another", at("cp.example.net") + strings.Replace(cp1, "}", ", with: {network: {links: [{name: a, addresses: [192.0.2.1/24]}, {name: b, addresses: [192.0.2.21/24]}]}}}", 1) + wired, "c.yaml:6:92: nodes[1] has the address of nodes[0], 192.0.2.21 (give it another)"},
		{"the card that another is selected by", at("cp.example.net") + strings.Replace(cp1, "}", ", select: {mac: '52:54:00:aa:00:01'}}", 1) + strings.Replace(wired, "name: a,", "name: a, mac: '52-54-00-AA-00-01',", 1), "c.yaml:6:70: nodes[1] has the card that nodes[0] is selected by, 52:54:00:aa:00:01 (one of them means another machine)"},
		{"the card that it is selected by", at("cp.example.net") + cp1 + strings.Replace(wired, "role: worker,", "role: worker, select: {mac: '52:54:00:aa:00:01'},", 1) + "workers: {network: {links: [{name: a, mac: '52:54:00:aa:00:01'}]}}\n", ""},

		{"the host name of all", at("cp.example.net") + strings.Replace(cp1, "}", ", select: {serial: A, hostname: localhost}}", 1) + strings.Replace(w1, "}", ", select: {serial: B, hostname: localhost}}", 1), ""},
		{"the host name of another, which says more", at("cp.example.net") + strings.Replace(cp1, "}", ", select: {serial: A, hostname: localhost}}", 1) + strings.Replace(w1, "}", ", select: {hostname: LocalHost}}", 1), "c.yaml:6:49: nodes[1] has the hostname of nodes[0], LocalHost (give it another)"},
		{"the same machine, said twice", at("cp.example.net") + strings.Replace(cp1, "}", ", select: {serial: A, hostname: b}}", 1) + strings.Replace(w1, "}", ", select: {serial: a, hostname: B}}", 1), "c.yaml:6:47: nodes[1] has the serial of nodes[0], a (give it another)"},
		{"different things of two machines", at("cp.example.net") + strings.Replace(cp1, "}", ", select: {serial: A}}", 1) + strings.Replace(w1, "}", ", select: {hostname: A}}", 1), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := cluster.Parse("c.yaml", []byte(c.in))
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != c.want || err != nil && diag.ExitCode(err) != diag.ExitInput {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// many are workers.
func many(n int) string {
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, "  - {name: w%d, role: worker}\n", i)
	}
	return text.String()
}

// Behind its own address the API server has the usual port.
func TestEndpointAtAnotherPort(t *testing.T) {
	_, err := cluster.Parse("c.yaml", []byte(at("192.0.2.11:8443")+"  - {name: cp1, role: control-plane, ip: 192.0.2.11}\n  - {name: w1, role: worker}\n"))
	if err == nil || !strings.HasPrefix(err.Error(), "c.yaml:3:21: cluster.endpoint ") || !strings.HasSuffix(err.Error(), " 6443 (leave the port out)") {
		t.Errorf("got %v", err)
	}
}
