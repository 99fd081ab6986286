package cluster_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/cluster"
	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/role"
)

// head is the beginning of a description; what a test adds begins on line 4.
const head = "version: 1\nname: demo\ncluster: {endpoint: cp.example.net}\n"

const pair = head + "nodes:\n  - {name: cp1, role: control-plane}\n  - {name: w1, role: worker}\n"

// dual is a cluster of both families whose control planes share an address of
// each. Its nodes begin on line 6.
const dual = "version: 1\nname: demo\ncluster: {podSubnets: [10.244.0.0/16, 'fd00:10:244::/56'], serviceSubnets: [10.96.0.0/16, 'fd00:10:96::/112']}\ncontrolPlanes: {virtualIP: {addresses: [192.0.2.100, '2001:db8::100']}}\nnodes:\n"

// shared is a cluster whose control plane shares an address. More nodes begin
// on line 6.
const shared = "version: 1\nname: demo\ncontrolPlanes: {virtualIP: {addresses: [192.0.2.100]}}\nnodes:\n  - {name: cp1, role: control-plane, ip: 192.0.2.1}\n"

func TestBadClusters(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"empty", "", "c.yaml:1:1: version is missing (write version: 1)\nc.yaml:1:1: name is missing (the one that was given to builder cluster new --name)\nc.yaml:1:1: there are no nodes (nodes: [{name: cp1, role: control-plane}])"},
		{"version of the future", "version: 2\nnews: 1\n", "c.yaml:1:10: unknown version 2 (this program knows version 1)"},
		{"unknown field", pair + "nods: []\n", `c.yaml:7:1: unknown field "nods" (did you mean "nodes"?)`},
		{"no control plane", head + "nodes: [{name: w1, role: worker}]\n", "c.yaml:4:8: there is no control plane (give one of them role: control-plane)"},
		{"no endpoint", strings.Replace(pair, "{endpoint: cp.example.net}", "{}", 1), "c.yaml:3:10: cluster.endpoint must be given if there is more than one node (a name or address, with a port if it is not 6443, that leads to the control planes; or let them share one: virtualIP)"},
		{"other name", strings.Replace(pair, "{endpoint", "{name: other, endpoint", 1), `c.yaml:3:17: cluster.name is "other", but name is "demo" (leave it out)`},
		{"node without name and role", pair + "  - {ip: 192.0.2.1}\n", "c.yaml:7:5: nodes[2] has no name (name: cp1)\nc.yaml:7:5: nodes[2] has no role (one of control-plane, worker, etcd)"},
		{"unknown role", pair + "  - {name: w2, role: workr}\n", `c.yaml:7:22: unknown role "workr" (did you mean "worker"?)`},
		{"etcd member without an address", pair + "  - {name: e1, role: etcd}\n", "c.yaml:7:5: nodes[2] is an etcd member without an address: the others could not find it (give its ip)"},
		{"name twice", pair + "  - {name: cp1, role: worker}\n", "c.yaml:7:12: nodes[2] has the name of nodes[0], cp1 (give it another)"},
		{"address twice", strings.Replace(pair, "example.net", "example.net, podSubnets: ['fd01::/56'], serviceSubnets: ['fd02::/112']", 1) + "  - {name: a, role: worker, ip: 'fd00::1'}\n  - {name: b, role: worker, ip: 'fd00:0::1'}\n", "c.yaml:8:33: nodes[3] has the address of nodes[2], fd00::1 (give it another)"},
		{"MAC twice", pair + "  - {name: a, role: worker, select: {mac: '52:54:00:AA:00:01'}}\n  - {name: b, role: worker, select: {mac: 52-54-00-aa-00-01}}\n", "c.yaml:8:43: nodes[3] has the mac of nodes[2], 52:54:00:aa:00:01 (give it another)"},
		{"MAC that is none", pair + "  - {name: a, role: worker, select: {mac: abc}}\n", `c.yaml:7:43: nodes[2].select.mac: "abc" is not like 52:54:00:12:34:56 (as the machine itself has it)`},
		{"UUID that is none", pair + "  - {name: a, role: worker, select: {uuid: abc}}\n", `c.yaml:7:44: nodes[2].select.uuid: "abc" is not a UUID (as the machine itself has it)`},
		{"empty serial", pair + "  - {name: a, role: worker, select: {serial: ''}}\n", "c.yaml:7:46: nodes[2].select.serial: is empty (as the machine itself has it)"},
		{"field of the role's own", pair + "all: {init: {}}\n", "c.yaml:7:7: init cannot be given here (it follows from the list of nodes)"},
		{"cluster in a section", pair + "workers:\n  cluster: {}\n", "c.yaml:8:3: cluster cannot be given here (give it in the section cluster)"},
		{"field of a role that is none", pair + "workers:\n  kublet: {}\n", `c.yaml:8:3: unknown field "kublet" (did you mean "kubelet"?)`},
		{"node's name in a section", pair + "workers:\n  node: {name: x}\n", "c.yaml:8:16: node.name cannot be given here (give the node's own name, beside its role)"},

		{"shared address without the others'", pair + "controlPlanes: {virtualIP: {addresses: [192.0.2.100]}}\n", "c.yaml:5:5: nodes[0]: control planes that share a virtualIP must know each other's addresses (give its ip)"},
		{"some second addresses", dual + "  - {name: cp1, role: control-plane, ip: 192.0.2.1, secondIP: '2001:db8::1'}\n  - {name: cp2, role: control-plane, ip: 192.0.2.2}\n", "c.yaml:7:5: virtualIP.controlPlanes[1] has no secondIP, but cp1 has one (give that of all control planes, or of none)"},
		{"second address of the same family", dual + "  - {name: cp1, role: control-plane, ip: 192.0.2.1, secondIP: 192.0.2.2}\n", "c.yaml:6:63: node.secondIP is IPv4, as the first service subnet 10.96.0.0/16 (its address of the other family)"},
		{"second address on a cluster of one family", pair + "  - {name: w2, role: worker, secondIP: '2001:db8::1'}\n", "c.yaml:7:40: node.secondIP goes with a cluster of both families only (leave it out, or give podSubnets and serviceSubnets of both)"},
		{"second address twice", dual + "  - {name: cp1, role: control-plane, ip: 192.0.2.1, secondIP: '2001:db8::1'}\n  - {name: w1, role: worker, secondIP: '2001:db8::1'}\n", "c.yaml:7:40: nodes[1] has the address of nodes[0], 2001:db8::1 (give it another)"},
		{"second address of an etcd member", pair + "  - {name: e1, role: etcd, ip: 192.0.2.1, secondIP: '2001:db8::1'}\n", `c.yaml:7:53: nodes[2].secondIP does not go with role "etcd": etcd members have one address (leave it out)`},
		{"node's second address in a section", pair + "workers:\n  node: {secondIP: '2001:db8::1'}\n", "c.yaml:8:20: node.secondIP cannot be given here (give the node's own secondIP, beside its role)"},
		{"shared address that is none", strings.Replace(pair, "control-plane", "control-plane, ip: 192.0.2.1", 1) + "controlPlanes: {virtualIP: {addresses: [192.0.2.1]}}\n", "c.yaml:5:42: virtualIP.controlPlanes[0].ip: 192.0.2.1 is the shared address\nc.yaml:7:41: virtualIP.addresses[0]: 192.0.2.1 is the node's own (an address that nothing else has)"},

		// What the role's checks find is blamed on the line that said it.
		{"select that selects nothing", pair + "  - {name: a, role: worker, select: {}}\n", "c.yaml:7:37: nodes[2].select matches no machine (give its mac, serial, uuid or hostname, or leave select out)"},
		{"select without a value", pair + "  - {name: a, role: worker, select: }\n", "c.yaml:7:37: nodes[2].select matches no machine (give its mac, serial, uuid or hostname, or leave select out)"},
		{"worker at the shared address", shared + "  - {name: w1, role: worker, ip: 192.0.2.100}\n", "c.yaml:6:34: nodes[1] has the address that the control planes share, 192.0.2.100 (give it another)"},
		{"etcd member at the shared address", shared + "  - {name: e1, role: etcd, ip: 192.0.2.100}\n", "c.yaml:6:32: nodes[1] has the address that the control planes share, 192.0.2.100 (give it another)"},
		{"worker with an interface at the shared address", shared + "  - {name: w1, role: worker, with: {network: {links: [{name: a, addresses: [192.0.2.100/24]}]}}}\n", "c.yaml:6:77: nodes[1] has the address that the control planes share, 192.0.2.100 (give it another)"},
		{"the card of another", pair + "  - {name: a, role: worker, with: {network: {links: [{name: a, mac: '52:54:00:aa:00:01'}]}}}\n  - {name: b, role: worker, with: {network: {links: [{name: a, mac: '52:54:00:aa:00:01'}]}}}\n", "c.yaml:8:69: nodes[3] has the card of nodes[2], 52:54:00:aa:00:01 (give it another)"},
		{"one address for all workers", pair + "  - {name: a, role: worker}\nworkers: {network: {links: [{name: a, addresses: [192.0.2.11/24]}]}}\n", "c.yaml:8:51: nodes[2] has the address of nodes[1], 192.0.2.11 (give it another)"},
		{"an interface with the address of a node", pair + "  - {name: a, role: worker, ip: 192.0.2.9}\n  - {name: b, role: worker, with: {network: {links: [{name: a, addresses: [192.0.2.9/24]}]}}}\n", "c.yaml:8:76: nodes[3] has the address of nodes[2], 192.0.2.9 (give it another)"},
		{"a control plane's interface at the shared address", shared + "  - {name: cp2, role: control-plane, ip: 192.0.2.12, with: {network: {links: [{name: a, addresses: [192.0.2.100/24]}]}}}\n", "c.yaml:6:101: network.links[0].addresses[0]: 192.0.2.100 is the shared address (give the interface one of its own)"},
		{"endpoint that leads to a worker", strings.Replace(pair, "cp.example.net", "192.0.2.9", 1) + "  - {name: a, role: worker, ip: 192.0.2.9}\n", "c.yaml:3:21: cluster.endpoint is the address of a, which is none (an address that leads to the control planes)"},
		{"router of one control plane", shared + "  - {name: cp2, role: control-plane, ip: 192.0.2.12, with: {virtualIP: {routerID: 7}}}\n", "c.yaml:6:72: virtualIP of cp2 is not that of cp1: all control planes must say the same (give it in controlPlanes)"},
		{"MAC of nobody", pair + "  - {name: a, role: worker, select: {mac: 'ff:ff:ff:ff:ff:ff'}}\n", "c.yaml:7:43: nodes[2].select.mac: ff:ff:ff:ff:ff:ff is no card's own (as the machine itself has it)"},
		{"UUID of nobody", pair + "  - {name: a, role: worker, select: {uuid: 00000000-0000-0000-0000-000000000000}}\n", "c.yaml:7:44: nodes[2].select.uuid: 00000000-0000-0000-0000-000000000000 is what machines say that have none (as the machine itself has it)"},
		{"serial in other letters", pair + "  - {name: a, role: worker, select: {serial: abc}}\n  - {name: b, role: worker, select: {serial: ABC}}\n", "c.yaml:8:46: nodes[3] has the serial of nodes[2], ABC (give it another)"},
		{"encryption on one control plane", head + "nodes:\n  - {name: cp1, role: control-plane}\n  - {name: cp2, role: control-plane, with: {apiServer: {encryption: true}}}\n", "c.yaml:6:56: apiServer of cp2 is not that of cp1: all control planes must say the same (give it in controlPlanes)"},
		{"encryption on the first control plane", head + "nodes:\n  - {name: cp1, role: control-plane, with: {apiServer: {encryption: true}}}\n  - {name: w1, role: worker}\n  - {name: cp2, role: control-plane}\n", "c.yaml:7:5: apiServer of cp2 is not that of cp1: all control planes must say the same (give it in controlPlanes)"},
		{"manifests for workers", pair + "all: {manifests: []}\n", `c.yaml:7:18: manifests does not go with role "worker" (move it to controlPlanes)`},

		{"name of a cluster", strings.Replace(pair, "demo", "My_Demo", 1), `c.yaml:2:7: name: "My_Demo" is not a DNS label (write my-demo)`},
		{"name of a node", strings.Replace(pair, "w1", "W_1", 1), `c.yaml:6:12: node.name: "W_1" is not a name for a node (write w-1)`},
		{"address of a node", pair + "  - {name: w2, role: worker, ip: 10.96.0.7}\n", "c.yaml:7:34: node.ip 10.96.0.7 is inside the service subnet 10.96.0.0/12 (choose other serviceSubnets)"},
		{"endpoint in a subnet", strings.Replace(pair, "cp.example.net", "10.244.0.1", 1), "c.yaml:3:21: cluster.endpoint 10.244.0.1 is inside the pod subnet 10.244.0.0/16 (choose other podSubnets)"},
		{"what all nodes have is wrong once", pair + "all:\n  dns:\n    servers: [a, 192.0.2.53]\n", `c.yaml:9:15: dns.servers[0]: "a" is not an IP address (for example 192.0.2.53)`},
		{"unknown field inside", pair + "all:\n  node:\n    taint: []\n", `c.yaml:9:5: unknown field "taint" (did you mean "taints"?)`},
		{"wrong type inside", pair + "workers:\n  node:\n    labels: {a: 1}\n", `c.yaml:9:17: node.labels.a must be a string, not the number 1 (write "1", with the quotes)`},
		{"label of a node", pair + "  - name: w2\n    role: worker\n    with:\n      node: {labels: {'-': x}}\n", `c.yaml:10:28: node.labels: "-" is not the name of a label (for example example.net/zone)`},
		{"not for workers", pair + "all: {certSANs: [a]}\n", `c.yaml:7:17: certSANs does not go with role "worker" (move it to controlPlanes)`},
		{"several, in the order of the file", pair + "all: {dns: {servers: [a]}}\nworkers: {time: {servers: ['-']}}\n", "c.yaml:7:23: dns.servers[0]: \"a\" is not an IP address (for example 192.0.2.53)\nc.yaml:8:28: time.servers[0]: \"-\" is neither a host name nor an IP address (for example time.example.net)"},
		{"private key", pair + "all: '-----BEGIN OPENSSH PRIVATE KEY----- hunter2'\n", "c.yaml:7:6: a private key is in the wrong place (remove it, and take it for stolen)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := cluster.Parse("c.yaml", []byte(c.in))
			if err == nil {
				t.Fatal("accepted")
			}
			if err.Error() != c.want || diag.ExitCode(err) != diag.ExitInput {
				t.Errorf("got  %s\nwant %s", err, c.want)
			}
		})
	}
}

func parse(t testing.TB, text string) *cluster.Cluster {
	t.Helper()
	c, err := cluster.Parse("c.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestRolesAreMerged(t *testing.T) {
	c := parse(t, `version: 1
name: demo
cluster: {endpoint: cp.example.net, podSubnets: [10.1.0.0/16]} # a comment
all:
  dns: {servers: [192.0.2.53]}
  node: {labels: {example.net/a: "1", example.net/b: all}}
workers:
  dns: {servers: [192.0.2.54]}
  node: {labels: {example.net/b: workers, example.net/c: workers}}
nodes:
  - {name: cp1, role: control-plane, ip: 192.0.2.1}
  - name: w1
    role: worker
    with:
      node:
        labels: {example.net/c: "yes"}
`)
	const first = `version: 1
role: control-plane
init: {}
cluster:
  name: demo
  endpoint: cp.example.net
  podSubnets:
    - 10.1.0.0/16
node:
  name: cp1
  ip: 192.0.2.1
  labels:
    example.net/a: "1"
    example.net/b: all
dns:
  servers:
    - 192.0.2.53
`
	const second = `version: 1
role: worker
join: {}
cluster:
  name: demo
  endpoint: cp.example.net
  podSubnets:
    - 10.1.0.0/16
node:
  name: w1
  labels:
    example.net/a: "1"
    example.net/b: workers
    example.net/c: "yes"
dns:
  servers:
    - 192.0.2.54
`
	for i, want := range []string{first, second} {
		if got := string(c.Nodes[i].RoleFile); got != want {
			t.Errorf("got\n%swant\n%s", got, want)
		}
	}
}

func TestEtcdMembersAreKnownToControlPlanesOnly(t *testing.T) {
	c := parse(t, head+"nodes:\n  - {name: cp1, role: control-plane}\n  - {name: e1, role: etcd, ip: 192.0.2.21}\n  - {name: w1, role: worker}\n")
	for i, want := range []int{1, 1, 0} {
		r := c.Nodes[i].Role
		members := 0
		if r.Etcd != nil {
			members = len(r.Etcd.Members)
		}
		if members != want {
			t.Errorf("%s knows %d etcd members, want %d", r.Node.Name, members, want)
		}
	}
	if r := c.Nodes[1].Role; r.Init != nil || r.Join != nil || r.Etcd.Members[0] != (role.Member{Name: "e1", IP: "192.0.2.21"}) {
		t.Errorf("the member: %+v", r)
	}
}

func TestControlPlanesThatShareAnAddress(t *testing.T) {
	c := parse(t, `version: 1
name: demo
controlPlanes: {virtualIP: {addresses: [192.0.2.100]}}
nodes:
  - {name: cp1, role: control-plane, ip: 192.0.2.1}
  - {name: w1, role: worker}
  - {name: cp2, role: control-plane, ip: 192.0.2.2}
`)
	for i, planes := range []int{2, 0, 2} {
		r := c.Nodes[i].Role
		if r.Cluster.Endpoint != "192.0.2.100:6443" {
			t.Errorf("%s: endpoint %s", r.Node.Name, r.Cluster.Endpoint)
		}
		if planes == 0 && r.VirtualIP != nil || planes > 0 && len(r.VirtualIP.ControlPlanes) != planes {
			t.Errorf("%s: %+v", r.Node.Name, r.VirtualIP)
		}
	}
}

// The one that starts the cluster can ask the others whether it runs already.
func TestTheFirstControlPlaneKnowsTheOthers(t *testing.T) {
	c := parse(t, head+"nodes:\n  - {name: cp1, role: control-plane, ip: 192.0.2.1}\n  - {name: w1, role: worker, ip: 192.0.2.9}\n  - {name: cp2, role: control-plane}\n  - {name: cp3, role: control-plane, ip: 192.0.2.3}\n")
	if got := c.Nodes[0].Role.Init.Others; !slices.Equal(got, []string{"192.0.2.3"}) {
		t.Errorf("got %q", got)
	}
}

func TestControlPlanesOfBothFamiliesThatShareAnAddress(t *testing.T) {
	c := parse(t, dual+"  - {name: cp1, role: control-plane, ip: 192.0.2.1, secondIP: '2001:db8:0::1'}\n  - {name: w1, role: worker}\n  - {name: cp2, role: control-plane, ip: 192.0.2.2, secondIP: '2001:db8::2'}\n")
	want := []role.Plane{{Name: "cp1", IP: "192.0.2.1", SecondIP: "2001:db8::1"}, {Name: "cp2", IP: "192.0.2.2", SecondIP: "2001:db8::2"}}
	for n, i := range []int{0, 2} {
		r := c.Nodes[i].Role
		if !slices.Equal(r.VirtualIP.ControlPlanes, want) || r.Node.SecondIP != want[n].SecondIP {
			t.Errorf("%s: %+v, and of its own %q", r.Node.Name, r.VirtualIP, r.Node.SecondIP)
		}
	}
}

func TestWarnings(t *testing.T) {
	const three = "nodes:\n  - {name: a, role: control-plane}\n  - {name: b, role: control-plane}\n  - {name: c, role: control-plane}\n"
	for _, c := range []struct{ name, in, want string }{
		{"none", head + three, ""},
		{"two stacked control planes", head + strings.Replace(three, "control-plane}\n  - {name: c", "control-plane}\n  - {name: c", 1) + "  - {name: d, role: control-plane}\n", "c.yaml:5:3: 4 control planes, whose etcd stands the loss of no more of them than that of 3 (an odd number)"},
		{"two etcd members", head + three + "  - {name: e1, role: etcd, ip: 192.0.2.1}\n  - {name: e2, role: etcd, ip: 192.0.2.2}\n", "c.yaml:5:3: 2 etcd members stand the loss of no more of them than 1 (an odd number)"},
		{"documents that a node does not read", head + "nodes:\n  - {name: a, role: control-plane, with: {kubeadm: [{kind: JoinConfiguration}]}}\n  - {name: b, role: control-plane, with: {kubeadm: [{kind: InitConfiguration}]}}\n  - {name: c, role: control-plane, with: {kubeadm: [{kind: JoinConfiguration}]}}\n", "c.yaml:5:53: kubeadm[0]: a node that starts the cluster reads no JoinConfiguration\nc.yaml:6:53: kubeadm[0]: a node that joins a cluster reads no InitConfiguration"},
		{"documents that other nodes read", head + "controlPlanes: {kubeadm: [{kind: ClusterConfiguration}, {kind: InitConfiguration}, {kind: JoinConfiguration}]}\n" + three, ""},
		{"documents that no node reads", head + "controlPlanes: {kubeadm: [{kind: JoinConfiguration}]}\nnodes: [{name: a, role: control-plane}]\n", "c.yaml:4:27: kubeadm[0]: a node that starts the cluster reads no JoinConfiguration"},
		{"documents that no other node reads", head + "controlPlanes: {kubeadm: [{kind: InitConfiguration}]}\n" + strings.Replace(three, "a, role: control-plane", "a, role: control-plane, with: {kubeadm: []}", 1), ""},
		{"few pod addresses with a network of one's own", strings.Replace(head, "example.net", "example.net, podSubnets: [10.1.0.0/24], podNetwork: {backend: none}", 1) + three, "c.yaml:3:50: cluster.podSubnets[0]: 10.1.0.0/24 is enough for 1 node, but there are 3 (at least a /22)"},
		{"section of nobody", head + three + "workers: {kubelet: {maxPods: 9}}\n", `c.yaml:8:10: workers is given, but there is no node of role "worker"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, w := range parse(t, c.in).Warnings {
				got = append(got, w.Error())
			}
			if strings.Join(got, "\n") != c.want {
				t.Errorf("got  %s\nwant %s", strings.Join(got, "\n"), c.want)
			}
		})
	}
}

func TestExamples(t *testing.T) {
	files, err := filepath.Glob("../../docs/examples/*-cluster.yaml")
	if err != nil || len(files) < 2 {
		t.Fatalf("found %q: %v", files, err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		c, err := cluster.Parse(f, data)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, w := range c.Warnings {
			if !strings.Contains(w.Msg, "etcd") {
				t.Error(w)
			}
		}
	}
}

// Whoever adds a field says what it is for.
func TestSchemaDescribesAllFields(t *testing.T) {
	var walk func(path string, s map[string]any)
	walk = func(path string, s map[string]any) {
		properties, _ := s["properties"].(map[string]any)
		for name, p := range properties {
			p := p.(map[string]any)
			if p["description"] == nil {
				t.Errorf("%s%s has no description", path, name)
			}
			walk(path+name+".", p)
			if items, ok := p["items"].(map[string]any); ok {
				walk(path+name+"[].", items)
			}
		}
	}
	s := cluster.Schema()
	walk("", s)
	if _, err := json.Marshal(s); err != nil {
		t.Error(err)
	}
	all := s["properties"].(map[string]any)["all"].(map[string]any)["properties"].(map[string]any)
	if all["dns"] == nil || all["init"] != nil || all["cluster"] != nil {
		t.Errorf("the section all has %v", all)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(pair)
	f.Add(pair + "all: {dns: {servers: [a]}, node: {labels: {a: \"x\\ny\"}}}\nworkers: {kubelet: {a: [1, {b: ~}]}}\n")
	f.Add(head + "nodes:\n  - {name: cp1, role: control-plane}\n  - {name: e1, role: etcd, ip: 192.0.2.21, select: {mac: '52:54:00:00:00:01'}}\n  - name: w1\n    role: worker\n    with: {ssh: {authorizedKeys: [x]}}\n")
	f.Add("version: 1\nname: a\nall: &a {dns: {servers: [x, &b y, *b]}, node: , <<: *a, init: {}, 5: 6}\ncontrolPlanes: *a\nworkers: [*b]\nnodes:\n  - &c {name: a, role: control-plane, ip: [x]}\n  - *c\n  - {<<: *c, name: 5, rloe: worker}\n  - ~\n  - {name: e, role: etcd, ip: 192.0.2.1, secondIP: x, with: {node: {name: y}}}\n")
	f.Add(shared + "  - {name: cp2, role: control-plane, with: {virtualIP: , kubeadm: [{kind: InitConfiguration}]}}\nall: {virtualIP: {addresses: x}}\n")
	for _, name := range []string{"ha", "external-etcd"} {
		data, err := os.ReadFile("../../docs/examples/" + name + "-cluster.yaml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data))
	}
	f.Fuzz(func(t *testing.T, in string) {
		c, err := cluster.Parse("c.yaml", []byte(in))
		if err != nil {
			if diag.ExitCode(err) != diag.ExitInput || !strings.HasPrefix(err.Error(), "c.yaml:") {
				t.Errorf("status %d: %v", diag.ExitCode(err), err)
			}
			return
		}
		starts := 0
		for _, n := range c.Nodes {
			if n.Role.Init != nil {
				starts++
			}
			if n.Name == "" || n.Name != n.Role.Node.Name || strings.ContainsAny(n.Name, "/\\\n") {
				t.Errorf("a node of the name %q", n.Name)
			}
			// The node reads what was checked.
			if _, err := role.Parse("role.yaml", n.RoleFile); err != nil {
				t.Errorf("%v in %s", err, n.RoleFile)
			}
		}
		if starts != 1 {
			t.Errorf("%d nodes start the cluster", starts)
		}
	})
}

func TestReferenceIsUpToDate(t *testing.T) {
	page, err := os.ReadFile("../../docs/cluster-reference.md")
	if err != nil {
		t.Fatal(err)
	}
	if string(page) != cluster.Reference() {
		t.Error("docs/cluster-reference.md differs from what `builder cluster schema --output markdown` prints")
	}
}
