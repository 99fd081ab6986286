package role_test

import (
	"testing"
)

func TestBadVirtualIPs(t *testing.T) {
	const planes = "controlPlanes: [{name: cp1, ip: 192.0.2.11}]"
	refused(t, head, []badRole{
		{"no value", "virtualIP:\n", `r.yaml:4:11: virtualIP has no value (virtualIP: {addresses: […], controlPlanes: [{name: …, ip: …}]})`},
		{"no address", "virtualIP: {" + planes + "}\n", `r.yaml:4:12: virtualIP has no address (give virtualIP.addresses)`},
		{"no control planes", "virtualIP: {addresses: [192.0.2.100]}\n", `r.yaml:4:12: virtualIP has no control planes (name all control planes in virtualIP.controlPlanes)`},
		{"no address at all", "virtualIP: {addresses: [vip], " + planes + "}\n", `r.yaml:4:25: virtualIP.addresses[0]: "vip" is not an IP address (for example 192.0.2.100)`},
		{"two of a family", "virtualIP: {addresses: [192.0.2.100, 192.0.2.101], " + planes + "}\n", `r.yaml:4:38: virtualIP.addresses[1]: 192.0.2.101 is a second IPv4 address (give at most one of each family)`},
		{"inside the pod subnet", "virtualIP: {addresses: [10.244.0.5], " + planes + "}\n", `r.yaml:4:25: virtualIP.addresses[0] 10.244.0.5 is inside the pod subnet 10.244.0.0/16 (choose other podSubnets)`},
		{"a control plane's own", "virtualIP: {addresses: [192.0.2.11], " + planes + "}\n", `r.yaml:4:70: virtualIP.controlPlanes[0].ip: 192.0.2.11 is the shared address`},
		{"identifier", "virtualIP: {addresses: [192.0.2.100], routerID: 256, " + planes + "}\n", `r.yaml:4:49: virtualIP.routerID: 256 is not possible (1 to 255)`},
		{"a node that is none of them", "virtualIP: {addresses: [192.0.2.100], " + planes + "}\nnode: {name: cp2}\n", `r.yaml:5:14: node.name: "cp2" is none of the control planes (name it in virtualIP.controlPlanes)`},
		{"another node's address", "virtualIP: {addresses: [192.0.2.100], " + planes + "}\nnode: {name: cp1, ip: 192.0.2.12}\n", `r.yaml:5:23: node.ip is 192.0.2.12, but virtualIP.controlPlanes[0].ip is 192.0.2.11 (the same address in both places)`},
		{"address that no control plane asks by", "virtualIP: {addresses: ['2001:db8::100'], " + planes + "}\n", `r.yaml:4:24: virtualIP.addresses: the control planes cannot ask each other by the family of 2001:db8::100 (share one of the family of their own addresses)`},
		{"control planes of two families", "virtualIP: {addresses: [192.0.2.100], controlPlanes: [{name: cp1, ip: 192.0.2.11}, {name: cp2, ip: '2001:db8::12'}]}\n", `r.yaml:4:100: virtualIP.controlPlanes[1].ip: 2001:db8::12 is of another family than 192.0.2.11 (give all an ip of one family; that of the other is their secondIP)`},
		{"some second addresses", "virtualIP: {addresses: [192.0.2.100], controlPlanes: [{name: cp1, ip: 192.0.2.11}, {name: cp2, ip: 192.0.2.12, secondIP: '2001:db8::12'}]}\n", `r.yaml:4:122: virtualIP.controlPlanes[1] has a secondIP, but cp1 has none (give that of all control planes, or of none)`},
		{"second address that is shared", "virtualIP: {addresses: [192.0.2.100, '2001:db8::11'], controlPlanes: [{name: cp1, ip: 192.0.2.11, secondIP: '2001:db8::11'}]}\n", `r.yaml:4:109: virtualIP.controlPlanes[0].secondIP: 2001:db8::11 is the shared address`},
		{"second address that is none", "virtualIP: {addresses: [192.0.2.100], controlPlanes: [{name: cp1, ip: 192.0.2.11, secondIP: x}]}\n", `r.yaml:4:93: virtualIP.controlPlanes[0].secondIP: "x" is not an IP address (for example 192.0.2.11)`},
		{"endpoint elsewhere", "virtualIP: {addresses: [192.0.2.100], " + planes + "}\ncluster: {endpoint: 192.0.2.11}\n", `r.yaml:5:21: cluster.endpoint 192.0.2.11 is not the virtual IP (give the shared address, or a name that leads there)`},
		{"endpoint at the kubelet's port", "virtualIP: {addresses: [192.0.2.100], " + planes + "}\ncluster: {endpoint: '192.0.2.100:10250'}\n", `r.yaml:5:21: cluster.endpoint: the kubelet listens on port 10250 (leave the port out)`},
		{"endpoint at etcd's port", "virtualIP: {addresses: [192.0.2.100], " + planes + "}\ncluster: {endpoint: 'cp:2379'}\n", `r.yaml:5:21: cluster.endpoint: etcd listens on port 2379 (leave the port out)`},
		{"an interface's own", "virtualIP: {addresses: [192.0.2.12], " + planes + "}\nnetwork: {links: [{name: a, addresses: [192.0.2.12/24]}]}\n", `r.yaml:5:41: network.links[0].addresses[0]: 192.0.2.12 is the shared address (give the interface one of its own)`},
		{"the gateway's", "virtualIP: {addresses: [192.0.2.1], " + planes + "}\nnetwork: {links: [{name: a, addresses: [192.0.2.11/24], gateways: [192.0.2.1]}]}\n", `r.yaml:4:25: virtualIP.addresses[0]: 192.0.2.1 is the gateway of network.links[0] (an address that nothing else has)`},
		{"everybody's", "virtualIP: {addresses: [192.0.2.255], " + planes + "}\nnetwork: {links: [{name: a, addresses: [192.0.2.11/24]}]}\n", `r.yaml:4:25: virtualIP.addresses[0]: 192.0.2.255 is the broadcast address of its network (an address that nothing else has)`},
		{"an address that is none of theirs", "virtualIP: {addresses: [192.0.2.100], " + planes + "}\nnode: {ip: 192.0.2.12}\n", `r.yaml:5:12: node.ip: 192.0.2.12 is none of the control planes' (give it in virtualIP.controlPlanes)`},
		{"endpoint at the servers' own port", "virtualIP: {addresses: [192.0.2.100], " + planes + "}\ncluster: {endpoint: 'cp:6444'}\n", `r.yaml:5:21: cluster.endpoint: the API servers themselves listen on port 6444 (leave the port out)`},
	})
}

func TestVirtualIPIsTheEndpoint(t *testing.T) {
	r := parse(t, "virtualIP: {addresses: ['2001:db8::100', 192.0.2.100], controlPlanes: [{name: cp1, ip: 192.0.2.11}]}\n")
	if r.Cluster.Endpoint != "[2001:db8::100]:6443" || r.APIPort() != 6444 || r.VirtualIP.RouterID != 51 {
		t.Errorf("endpoint %s, API port %d, identifier %d", r.Cluster.Endpoint, r.APIPort(), r.VirtualIP.RouterID)
	}
}
