package role_test

import (
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/role"
)

func TestWarnings(t *testing.T) {
	const counts = " (what the control plane says counts that starts the cluster)"
	const members = "etcd: {members: [{name: e1, ip: 192.0.2.1}, {name: e2, ip: 192.0.2.2}]}\n"
	for _, c := range []struct{ name, in, want string }{
		{"none", head, ""},
		{"three etcd members", etcd + strings.Replace(members, "]", ", {name: e3, ip: 192.0.2.3}]", 1), ""},
		{"two etcd members", etcd + members, "r.yaml:3:17: 2 etcd members stand the loss of no more of them than 1 (an odd number)"},
		{"two etcd members of a control plane", head + members, "r.yaml:4:17: 2 etcd members stand the loss of no more of them than 1 (an odd number)"},
		{"two control planes that share an address", head + "virtualIP: {addresses: [192.0.2.9], controlPlanes: [{name: a, ip: 192.0.2.1}, {name: b, ip: 192.0.2.2}]}\n", "r.yaml:4:52: 2 control planes, whose etcd stands the loss of no more of them than that of 1 (an odd number)"},
		{"a document for who joins", head + "kubeadm:\n  - kind: ClusterConfiguration\n  - kind: JoinConfiguration\n", "r.yaml:6:5: kubeadm[1]: a node that starts the cluster reads no JoinConfiguration"},
		{"documents for who starts a cluster", strings.Replace(head, "init", "join", 1) + "kubeadm: [{kind: ClusterConfiguration}, {kind: InitConfiguration}]\n", "r.yaml:4:11: kubeadm[0]: a node that joins a cluster reads no ClusterConfiguration\nr.yaml:4:41: kubeadm[1]: a node that joins a cluster reads no InitConfiguration"},
		{"what a control plane that joins does not read", strings.Replace(head, "init", "join", 1) + "manifests: [{apiVersion: v1, kind: Namespace, metadata: {name: x}}]\nkubeProxy: {mode: nftables}\ncertSANs: [a.example]\npatches: [{target: corednsdeployment, patch: {}}]\napiServer: {auditPolicy: {rules: [{level: None}]}}\nkubelet: {maxPods: 50}\n", "r.yaml:4:12: a node that joins a cluster reads no manifests" + counts + "\nr.yaml:5:12: a node that joins a cluster reads no kubeProxy" + counts + "\nr.yaml:6:11: a node that joins a cluster reads no certSANs" + counts + "\nr.yaml:7:20: patches[0].target: a node that joins a cluster sets up no CoreDNS" + counts},
		{"a patch of etcd elsewhere", head + "etcd: {members: [{name: e1, ip: 192.0.2.1}]}\npatches: [{target: etcd, patch: {}}]\n", "r.yaml:5:20: patches[0].target: a control plane with etcd.members runs no etcd (the etcd members have roles of their own)"},
		{"a flag with two values", head + "kubeadm: [{kind: ClusterConfiguration, scheduler: {extraArgs: [{name: v, value: '4'}, {name: v, value: '5'}]}}]\n", "r.yaml:4:87: kubeadm[0].scheduler.extraArgs[1]: v is given twice: the last counts, unless it takes several values"},
		{"a flag of many values", head + "kubeadm: [{kind: ClusterConfiguration, apiServer: {extraArgs: [{name: service-account-issuer, value: 'https://a'}, {name: service-account-issuer, value: 'https://b'}]}}]\n", ""},
		{"subnets that Windows does not take", head + "cluster: {podSubnets: [240.0.0.0/8]}\n", "r.yaml:4:24: cluster.podSubnets[0]: 240.0.0.0/8 is kept for future use: Linux takes it, but Windows and many routers do not"},
		{"two gateways", head + "network: {links: [{name: a, addresses: [192.0.2.11/24], gateways: [192.0.2.1, 'fe80::1']}, {name: b, addresses: [198.51.100.5/24], gateways: [198.51.100.1]}]}\n", "r.yaml:4:143: network.links[1].gateways[0]: network.links[0] has an IPv4 gateway, too (keep one, and say with routes where else to go)"},
		{"an address that no interface has", head + "network: {links: [{name: a, addresses: [192.0.2.11/24]}]}\nnode: {ip: 192.0.2.10}\n", "r.yaml:5:12: node.ip: none of network.links has 192.0.2.10"},
		{"an address that DHCP may give", head + "network: {links: [{name: a, addresses: [192.0.2.11/24]}, {name: b}]}\nnode: {ip: 192.0.2.10}\n", ""},
		{"a bond that has the address", head + "network: {links: [{name: a}, {name: b}, {name: c, bond: {members: [a, b]}}, {name: v, vlan: {id: 5, link: c}, addresses: [192.0.2.11/24]}]}\nnode: {ip: 192.0.2.11}\n", ""},
		{"a shared address of another network", head + "network: {links: [{name: a, addresses: [192.0.2.11/24]}]}\nnode: {ip: 192.0.2.11}\nvirtualIP: {addresses: [203.0.113.5], controlPlanes: [{name: cp1, ip: 192.0.2.11}]}\n", "r.yaml:6:25: virtualIP.addresses[0]: 203.0.113.5 is in the network of none of network.links (one of the control planes' network, so that it can move)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := role.Parse("r.yaml", []byte(c.in))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, w := range r.Warnings() {
				got = append(got, w.Error())
			}
			if strings.Join(got, "\n") != c.want {
				t.Errorf("got  %s\nwant %s", strings.Join(got, "\n"), c.want)
			}
		})
	}
}
