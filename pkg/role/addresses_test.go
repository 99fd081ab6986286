package role_test

import (
	"testing"

	"github.com/slipway-os/slipway/pkg/role"
)

func TestAddressesOfNobody(t *testing.T) {
	const ip6 = "cluster: {podSubnets: ['fd00:10:244::/56'], serviceSubnets: ['fd00:10:96::/112']}\n"
	refused(t, head, []badRole{
		{"link-local", "node: {ip: 169.254.10.1}\n", `r.yaml:4:12: node.ip: 169.254.10.1 cannot be a node's address (an address that other nodes reach it by)`},
		{"link-local of IPv6", ip6 + "node: {ip: 'fe80::1'}\n", `r.yaml:5:12: node.ip: fe80::1 cannot be a node's address (an address that other nodes reach it by)`},
		{"everybody", "node: {ip: 255.255.255.255}\n", `r.yaml:4:12: node.ip: 255.255.255.255 cannot be a node's address (an address that other nodes reach it by)`},
		{"no address yet", "node: {ip: 0.1.2.3}\n", `r.yaml:4:12: node.ip: 0.1.2.3 cannot be a node's address (an address that other nodes reach it by)`},
		{"pods without addresses", "cluster: {podSubnets: [0.0.0.0/8]}\n", `r.yaml:4:24: cluster.podSubnets[0]: 0.0.0.0/8 is for machines that have no address yet (for example 10.244.0.0/16)`},
		{"pods that are everybody", "cluster: {podSubnets: [255.0.0.0/8]}\n", `r.yaml:4:24: cluster.podSubnets[0]: 255.0.0.0/8 is for all machines of a link (for example 10.244.0.0/16)`},
		{"services around the loopback address", "cluster: {podSubnets: ['fd00:10:244::/56'], serviceSubnets: ['::/112']}\n", `r.yaml:4:62: cluster.serviceSubnets[0]: ::/112 is for machines that have no address yet (for example fd00:10:96::/112)`},
		{"etcd member inside the cluster", "etcd: {members: [{name: e1, ip: 10.244.0.5}]}\n", `r.yaml:4:33: etcd.members[0].ip 10.244.0.5 is inside the pod subnet 10.244.0.0/16 (choose other podSubnets)`},
		{"etcd member on a link", "etcd: {members: [{name: e1, ip: 169.254.1.1}]}\n", `r.yaml:4:33: etcd.members[0].ip: 169.254.1.1 cannot be a node's address (an address that other nodes reach it by)`},
		{"control plane inside the cluster", "virtualIP: {addresses: [192.0.2.100], controlPlanes: [{name: cp1, ip: 10.96.0.11}]}\n", `r.yaml:4:71: virtualIP.controlPlanes[0].ip 10.96.0.11 is inside the service subnet 10.96.0.0/12 (choose other serviceSubnets)`},
		{"shared on a link", "virtualIP: {addresses: [169.254.1.1], controlPlanes: [{name: cp1, ip: 192.0.2.11}]}\n", `r.yaml:4:25: virtualIP.addresses[0]: 169.254.1.1 cannot be shared (an address of the control planes' network that nothing else has)`},
		{"resolver that is nobody", "dns: {servers: [0.0.0.0]}\n", `r.yaml:4:17: dns.servers[0]: 0.0.0.0 is for machines that have no address yet (for example 192.0.2.53)`},
		{"resolver twice", "dns: {servers: [192.0.2.53, '2001:db8::53', '2001:db8:0::53']}\n", `r.yaml:4:45: dns.servers[2]: 2001:db8::53 is given twice`},
		{"resolver inside the cluster", "dns: {servers: [10.96.0.10]}\n", `r.yaml:4:17: dns.servers[0]: 10.96.0.10 is inside the cluster's own subnet 10.96.0.0/12 (a resolver outside the cluster: the cluster's own asks that)`},
		{"resolver that would ask itself", "dns: {servers: [127.0.0.53]}\n", `r.yaml:4:17: dns.servers[0]: 127.0.0.53 is the node's own resolver (whom that is to ask)`},
		{"time server that is nobody", "time: {servers: [224.0.0.1]}\n", `r.yaml:4:18: time.servers[0]: nobody can answer at 224.0.0.1 (for example time.example.net)`},
		{"time server twice", "time: {servers: [a.example, A.example]}\n", `r.yaml:4:29: time.servers[1]: "A.example" is given twice`},
	})
	for name, text := range map[string]string{
		"a resolver of the user's own":       "dns: {servers: [127.0.0.1]}\n",
		"a resolver of the link":             "dns: {servers: [169.254.169.253]}\n",
		"addresses kept for the future":      "cluster: {podSubnets: [240.0.0.0/8]}\n",
		"a link-local address of a link":     "network: {links: [{name: a, addresses: ['fe80::5/64', 169.254.1.2/16, 192.0.2.1/24], gateways: ['fe80::1']}]}\n",
		"the ends of a network of two":       "network: {links: [{name: a, addresses: [192.0.2.0/31], gateways: [192.0.2.1]}]}\n",
		"all of an IPv6 network's addresses": "network: {links: [{name: a, addresses: ['2001:db8::ffff:ffff:ffff:ffff/64'], gateways: ['2001:db8::']}]}\n",
	} {
		t.Run(name, func(t *testing.T) { parse(t, text) })
	}
}

func TestBadEndpoints(t *testing.T) {
	const token = "join: {token: abcdef.0123456789abcdef, caCertHashes: ['" + caHash + "']}\n"
	refused(t, "", []badRole{
		{"everybody by name", head + "cluster: {endpoint: LocalHost}\n", `r.yaml:4:21: cluster.endpoint "LocalHost" means every machine itself (for example cp.example.net:6443)`},
		{"everybody by another name", head + "cluster: {endpoint: 'cp.localhost:6443'}\n", `r.yaml:4:21: cluster.endpoint "cp.localhost:6443" means every machine itself (for example cp.example.net:6443)`},
		{"everybody by address", head + "cluster: {endpoint: '[::1]:6443'}\n", `r.yaml:4:21: cluster.endpoint "[::1]:6443" means every machine itself (for example cp.example.net:6443)`},
		{"on one link", head + "cluster: {endpoint: 169.254.1.1}\n", `r.yaml:4:21: cluster.endpoint "169.254.1.1": nobody can reach that address (for example cp.example.net:6443)`},
		{"another port of the node's", head + "cluster: {endpoint: '192.0.2.10:8443'}\nnode: {ip: 192.0.2.10}\n", `r.yaml:4:21: cluster.endpoint 192.0.2.10 is this node's own, where the API server listens on port 6443 (leave the port out)`},
		{"another port of an interface's", head + "cluster: {endpoint: '192.0.2.10:8443'}\nnetwork: {links: [{name: a, addresses: [192.0.2.10/24]}]}\n", `r.yaml:4:21: cluster.endpoint 192.0.2.10 is this node's own, where the API server listens on port 6443 (leave the port out)`},
		{"a node that would join itself", worker + token + "cluster: {endpoint: 192.0.2.10}\nnode: {ip: 192.0.2.10}\n", `r.yaml:4:21: cluster.endpoint 192.0.2.10 is this node's own, where nobody answers before it has joined (an address that leads to the control planes that run)`},
	})
	for name, text := range map[string]string{
		"the node's own port":      "cluster: {endpoint: 192.0.2.10}\nnode: {ip: 192.0.2.10}\n",
		"any port of a name":       "cluster: {endpoint: 'cp.example.net:8443'}\nnode: {ip: 192.0.2.10}\n",
		"any port of another host": "cluster: {endpoint: '192.0.2.9:8443'}\nnode: {ip: 192.0.2.10}\n",
		"any port that is shared":  "cluster: {endpoint: '192.0.2.9:8443'}\nvirtualIP: {addresses: [192.0.2.9], controlPlanes: [{name: cp1, ip: 192.0.2.10}]}\n",
	} {
		t.Run(name, func(t *testing.T) { parse(t, text) })
	}
}

// How large a node's share of the pods' addresses is, a flag may say.
func TestSharesOfPodSubnets(t *testing.T) {
	flags := func(args string) string {
		return "kubeadm: [{kind: ClusterConfiguration, controllerManager: {extraArgs: [" + args + "]}}]\ncluster: {podSubnets: [10.1.0.0/25]}\n"
	}
	refused(t, head, []badRole{
		{"a document that says nothing of it", "kubeadm: [{kind: InitConfiguration}]\ncluster: {podSubnets: [10.244.0.0/28]}\n", `r.yaml:5:24: cluster.podSubnets[0]: 10.244.0.0/28 is too small: each node takes a /24 of it (at least a /24)`},
		{"another share", flags("{name: node-cidr-mask-size-ipv4, value: '23'}"), `r.yaml:5:24: cluster.podSubnets[0]: 10.1.0.0/25 is too small: each node takes a /23 of it (at least a /23)`},
		{"a share of the other family", flags("{name: node-cidr-mask-size-ipv6, value: '26'}"), `r.yaml:5:24: cluster.podSubnets[0]: 10.1.0.0/25 is too small: each node takes a /24 of it (at least a /24)`},
		{"a share that is none", flags("{name: node-cidr-mask-size-ipv4, value: all}"), `r.yaml:4:112: kubeadm[0].controllerManager.extraArgs[0]: node-cidr-mask-size-ipv4 cannot be "all" (1 to 32)`},
		{"too large a subnet", "cluster: {podSubnets: [10.0.0.0/7], serviceSubnets: [192.168.0.0/16]}\n", `r.yaml:4:24: cluster.podSubnets[0]: 10.0.0.0/7 is too large (at most a /8)`},
	})
	for name, text := range map[string]string{
		"a smaller share":    head + flags("{name: node-cidr-mask-size-ipv4, value: '26'}"),
		"no shares":          head + flags("{name: allocate-node-cidrs, value: 'false'}"),
		"those of a cluster": worker + "join: {}\ncluster: {podSubnets: [10.1.0.0/25]}\n",
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := role.Parse("r.yaml", []byte(text)); err != nil {
				t.Error(err)
			}
		})
	}
}
