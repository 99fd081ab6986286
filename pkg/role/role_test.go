package role_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/document"
	"github.com/slipway-os/slipway/pkg/manifest"
	"github.com/slipway-os/slipway/pkg/role"
)

const (
	ed25519Key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICiBilQJgIpQJjZoqYM0AssojavVqv9msluZAZCZWyma admin@example.net"
	ecdsaKey   = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBI3yDJl5u43MeTEG6/HrOHhsoqa3qI6aNWHMNBrxgavqNV+qUex2udHiLHc0ZiTVOSnaXuXhnHBkHzEF2An8ogQ= x"
)

// head is the least a role can be; what a test adds begins on line 4. To
// worker and etcd something has to be added.
const (
	head   = "version: 1\nrole: control-plane\ninit: {}\n"
	worker = "version: 1\nrole: worker\n"
	etcd   = "version: 1\nrole: etcd\n"
	caHash = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
)

func TestBadRoles(t *testing.T) {
	refused(t, "", []badRole{
		{"not YAML", head + "cluster:\n\tname: a\n", `r.yaml:5:1: not valid YAML: found character that cannot start any token (indent with spaces, not tabs)`},
		{"key given twice", head + "role: worker\n", `r.yaml:4:1: field "role" is given twice`},
		{"empty file", "", "r.yaml:1:1: version is missing (write version: 1)\nr.yaml:1:1: role is missing (one of control-plane, worker, etcd)"},
		{"unknown field", head + "cluster: {nmae: a}\n", `r.yaml:4:11: unknown field "nmae" (did you mean "name"?)`},
		{"version of the future, nothing else matters", "version: 2\nrole: [x]\nnews: 1\n", `r.yaml:1:10: unknown version 2 (this program knows version 1)`},
		{"version in quotes", strings.Replace(head, "1", `"1"`, 1), `r.yaml:1:10: version must be a whole number, not "1"`},
		{"no version", "role: control-plane\ninit: {}\n", `r.yaml:1:1: version is missing (write version: 1)`},
		{"unknown role", "version: 1\nrole: controlplane\ninit: {}\n", `r.yaml:2:7: unknown role "controlplane" (did you mean "control-plane"?)`},
		{"foreign role", "version: 1\nrole: x\ninit: {}\n", `r.yaml:2:7: unknown role "x" (known: control-plane, worker, etcd)`},
		{"neither init nor join", "version: 1\nrole: control-plane\n", `r.yaml:1:1: init or join is missing (write init: {} to start a new cluster on this node, or join: {} to join one)`},
		{"init without a value", "version: 1\nrole: control-plane\ninit:\n", `r.yaml:3:6: init has no value (write init: {})`},
		{"init with a field", "version: 1\nrole: control-plane\ninit: {x: 1}\n", `r.yaml:3:8: unknown field "x" (known: others)`},
		{"another control plane of no address", "version: 1\nrole: control-plane\ninit: {others: [192.0.2.2, cp3]}\n", `r.yaml:3:28: init.others[1]: "cp3" is not an IP address (for example 192.0.2.11)`},
		{"another control plane given twice", "version: 1\nrole: control-plane\ninit: {others: [192.0.2.2, 192.0.2.2]}\n", `r.yaml:3:28: init.others[1]: 192.0.2.2 is given twice`},
		{"init and join", head + "join: {}\n", `r.yaml:4:7: join does not go with init (a node either starts a cluster or joins one)`},
		{"join without a value", worker + "join:\n", `r.yaml:3:6: join has no value (write join: {}, if its credentials lie on the node, or give a token)`},
		{"worker that starts a cluster", worker + "init: {}\n", `r.yaml:3:7: init does not go with role "worker" (only a control-plane starts a cluster; write join: {})`},
		{"worker that does not join", worker, `r.yaml:1:1: join is missing (write join: {}, if its credentials lie on the node, or give a token)`},
		{"a worker that knows half of the subnets", worker + "join: {}\ncluster: {podSubnets: []}\n", `r.yaml:4:23: only one of cluster.podSubnets and cluster.serviceSubnets is empty (write [] for both, to take those that the cluster has, or give both)`},
		{"token alone", worker + "join: {token: abcdef.0123456789abcdef}\n", "r.yaml:3:15: join.token alone does not tell which cluster is meant (give join.caCertHashes; firstboot status on a control plane says it)\nr.yaml:3:15: join.token does not say where the API server is (give cluster.endpoint)"},
		{"token that is none", worker + "cluster: {endpoint: cp}\njoin: {token: ABCDEF.0123456789abcdef, caCertHashes: ['" + caHash + "']}\n", `r.yaml:4:15: join.token is not a bootstrap token (six and sixteen characters of a-z and 0-9, as kubeadm token create prints)`},
		{"digest without what it is of", worker + "cluster: {endpoint: cp}\njoin: {token: abcdef.0123456789abcdef, caCertHashes: ['" + caHash[7:] + "']}\n", `r.yaml:4:55: join.caCertHashes[0] is not the digest of a CA (sha256: and 64 digits of 0-9 and a-f)`},
		{"digest without a token", worker + "join: {caCertHashes: ['" + caHash + "']}\n", `r.yaml:3:22: join.caCertHashes goes with join.token only (give the token, or leave both out)`},
		{"token and a file that says more", worker + "join: {token: abcdef.0123456789abcdef, discoveryFile: /etc/slipway/discovery.conf, caCertHashes: ['" + caHash + "']}\n", `r.yaml:3:55: join.discoveryFile does not go with join.caCertHashes: it holds the CA itself (leave one of them out)`},
		{"discovery file without a token", worker + "join: {discoveryFile: /etc/slipway/discovery.conf}\n", `r.yaml:3:23: join.discoveryFile goes with join.token only (give the token; a kubeconfig with credentials of its own lies in /etc/slipway/join.conf)`},
		{"discovery file from the network", worker + "join: {token: abcdef.0123456789abcdef, discoveryFile: 'https://cp/discovery.conf'}\n", `r.yaml:3:55: join.discoveryFile: "https://cp/discovery.conf" is not an absolute path (for example /etc/slipway/discovery.conf)`},
		{"certificate key that is none", "version: 1\nrole: control-plane\ncluster: {endpoint: cp}\njoin: {token: abcdef.0123456789abcdef, caCertHashes: ['" + caHash + "'], certificateKey: secret}\n", `r.yaml:4:147: join.certificateKey is not a key (64 digits of 0-9 and a-f, as kubeadm init phase upload-certs prints)`},
		{"worker with the key of everything", worker + "cluster: {endpoint: cp}\njoin: {token: abcdef.0123456789abcdef, caCertHashes: ['" + caHash + "'], certificateKey: '" + caHash[7:] + "'}\n", `r.yaml:4:147: join.certificateKey does not go with role "worker": it opens the keys of the whole cluster (leave it out)`},
		{"worker with names for the API server", worker + "join: {}\ncertSANs: [a]\n", `r.yaml:4:11: certSANs does not go with role "worker" (leave it out)`},
		{"worker with kubeadm's words for another", worker + "join: {}\nkubeadm: [{kind: ClusterConfiguration}]\n", `r.yaml:4:18: kubeadm[0].kind: "ClusterConfiguration" cannot be given here (JoinConfiguration)`},
		{"worker that names etcd members", worker + "join: {}\netcd: {members: [{name: e1, ip: 192.0.2.11}]}\n", `r.yaml:4:7: etcd does not go with role "worker" (leave it out)`},
		{"etcd that joins", etcd + "join: {}\netcd: {members: [{name: e1, ip: 192.0.2.11}]}\n", `r.yaml:3:7: join does not go with role "etcd": etcd members find each other by etcd.members (leave it out)`},
		{"etcd without members", etcd, `r.yaml:1:1: etcd is missing (etcd: {members: [{name: …, ip: …}]} names all of them)`},
		{"etcd with no members", etcd + "etcd: {members: []}\n", `r.yaml:3:7: etcd names no members (etcd: {members: [{name: …, ip: …}]} names all of them)`},
		{"etcd member twice", etcd + "etcd: {members: [{name: e1, ip: 192.0.2.11}, {name: e1, ip: 192.0.2.11}]}\n", "r.yaml:3:53: etcd.members[1].name: \"e1\" is given twice\nr.yaml:3:61: etcd.members[1].ip: 192.0.2.11 is given twice"},
		{"etcd member without an address", etcd + "etcd: {members: [{name: e1}]}\n", `r.yaml:3:18: etcd.members[0].ip: "" is not an IP address (for example 192.0.2.11)`},
		{"etcd member nobody can reach", etcd + "etcd: {members: [{name: e1, ip: 127.0.0.1}]}\n", `r.yaml:3:33: etcd.members[0].ip: 127.0.0.1 cannot be a node's address (an address that other nodes reach it by)`},
		{"etcd node that is no member", etcd + "etcd: {members: [{name: e1, ip: 192.0.2.11}]}\nnode: {name: e2}\n", `r.yaml:4:14: node.name: "e2" is none of the etcd members (name it in etcd.members)`},
		{"etcd node at another address", etcd + "etcd: {members: [{name: e1, ip: 192.0.2.11}]}\nnode: {name: e1, ip: 192.0.2.12}\n", `r.yaml:4:22: node.ip is 192.0.2.12, but etcd.members[0].ip is 192.0.2.11 (the same address in both places)`},
		{"etcd node at an address of none", etcd + "etcd: {members: [{name: e1, ip: 192.0.2.11}]}\nnode: {ip: 192.0.2.12}\n", `r.yaml:4:12: node.ip: 192.0.2.12 is none of the etcd members' (give it in etcd.members)`},
		{"control plane that would be its own etcd", head + "etcd: {members: [{name: e1, ip: 192.0.2.11}]}\nnode: {ip: 192.0.2.11}\n", `r.yaml:4:33: etcd.members[0].ip: 192.0.2.11 is this node's own, which is no etcd member (leave etcd out to have it on the control planes)`},
		{"etcd node with a taint", etcd + "etcd: {members: [{name: e1, ip: 192.0.2.11}]}\nnode: {name: e1, taints: []}\n", `r.yaml:4:26: node.taints does not go with role "etcd" (leave it out)`},

		{"cluster name", head + "cluster: {name: My_Cluster}\n", `r.yaml:4:17: cluster.name: "My_Cluster" is not a DNS label (write my-cluster)`},
		{"domain", head + "cluster: {dnsDomain: cluster..local}\n", `r.yaml:4:22: cluster.dnsDomain: "cluster..local" is not a domain (lower-case letters, digits, hyphens and dots)`},
		{"version without v", head + "cluster: {kubernetesVersion: 1.37.2}\n", `r.yaml:4:30: cluster.kubernetesVersion: "1.37.2" is not a version (write v1.37.2)`},
		{"version that is a number", head + "cluster: {kubernetesVersion: 1.37}\n", `r.yaml:4:30: cluster.kubernetesVersion must be a string, not the number 1.37 (write "1.37", with the quotes)`},
		{"empty version", head + "cluster: {kubernetesVersion: ''}\n", `r.yaml:4:30: cluster.kubernetesVersion is empty (leave it out, or give it a value)`},

		{"empty endpoint", head + "cluster: {endpoint: ''}\n", `r.yaml:4:21: cluster.endpoint is empty (leave it out for the node's own address)`},
		{"endpoint without a value", head + "cluster:\n  endpoint:\n", `r.yaml:5:12: cluster.endpoint is empty (leave it out for the node's own address)`},
		{"endpoint as a URL", head + "cluster: {endpoint: 'https://cp:6443'}\n", `r.yaml:4:21: cluster.endpoint must be a host or host:port, without https:// or a path (for example cp.example.net:6443)`},
		{"endpoint with a port too high", head + "cluster: {endpoint: 'cp:65536'}\n", `r.yaml:4:21: cluster.endpoint "cp:65536": the port must be a number from 1 to 65535 (for example cp.example.net:6443)`},
		{"endpoint with an empty port", head + "cluster: {endpoint: 'cp:'}\n", `r.yaml:4:21: cluster.endpoint "cp:": the port must be a number from 1 to 65535 (for example cp.example.net:6443)`},
		{"endpoint with half an address", head + "cluster: {endpoint: 10.0.2.300}\n", `r.yaml:4:21: cluster.endpoint "10.0.2.300" is not a host or host:port (for example cp.example.net:6443)`},
		{"endpoint of nobody", head + "cluster: {endpoint: '0.0.0.0:6443'}\n", `r.yaml:4:21: cluster.endpoint "0.0.0.0:6443": nobody can reach that address (for example cp.example.net:6443)`},
		{"endpoint inside the cluster", head + "cluster: {endpoint: 10.96.0.9}\n", `r.yaml:4:21: cluster.endpoint 10.96.0.9 is inside the service subnet 10.96.0.0/12 (choose other serviceSubnets)`},

		{"no mask", head + "cluster: {podSubnets: [10.244.0.0]}\n", `r.yaml:4:24: cluster.podSubnets[0]: "10.244.0.0" is not a subnet (for example 10.244.0.0/16)`},
		{"host bits", head + "cluster: {serviceSubnets: [10.96.1.0/16]}\n", `r.yaml:4:28: cluster.serviceSubnets[0]: 10.96.1.0/16 has bits set beyond its mask (write 10.96.0.0/16)`},
		{"two of a family", head + "cluster: {podSubnets: [10.1.0.0/16, 10.2.0.0/16]}\n", `r.yaml:4:37: cluster.podSubnets[1]: 10.2.0.0/16 is a second IPv4 subnet (give at most one IPv4 and one IPv6 subnet)`},
		{"no subnets", head + "cluster: {podSubnets: []}\n", `r.yaml:4:23: cluster.podSubnets is empty (leave it out for the default)`},
		{"pods and services overlap", head + "cluster: {podSubnets: [10.96.0.0/16], serviceSubnets: [10.96.128.0/20]}\n", `r.yaml:4:24: pod subnet 10.96.0.0/16 and service subnet 10.96.128.0/20 overlap (choose another for one of them)`},
		{"services overlap the default pods", head + "cluster: {serviceSubnets: [10.244.0.0/24]}\n", `r.yaml:4:28: pod subnet 10.244.0.0/16 and service subnet 10.244.0.0/24 overlap (choose another for one of them)`},
		{"families differ", head + "cluster: {serviceSubnets: ['fd00::/112']}\n", `r.yaml:4:27: pod subnets are IPv4, but service subnets are IPv6 (give podSubnets and serviceSubnets of the same families)`},
		{"one is dual", head + "cluster: {podSubnets: [10.1.0.0/16, 'fd00:1::/56']}\n", `r.yaml:4:23: pod subnets are IPv4 and IPv6, but service subnets are IPv4 (give podSubnets and serviceSubnets of the same families)`},
		{"pods in the loopback network", head + "cluster: {podSubnets: [127.10.0.0/16]}\n", `r.yaml:4:24: cluster.podSubnets[0]: 127.10.0.0/16 is for talk of a node with itself (for example 10.244.0.0/16)`},
		{"services in the loopback network", head + "cluster: {serviceSubnets: [127.0.0.0/20]}\n", `r.yaml:4:28: cluster.serviceSubnets[0]: 127.0.0.0/20 is for talk of a node with itself (for example 10.96.0.0/16)`},
		{"pods on one link", head + "cluster: {podSubnets: [169.254.0.0/16]}\n", `r.yaml:4:24: cluster.podSubnets[0]: 169.254.0.0/16 is for addresses that are known on one link only (for example 10.244.0.0/16)`},
		{"IPv6 pods on one link", head + "cluster: {podSubnets: ['fe80::/56'], serviceSubnets: ['fd00::/112']}\n", `r.yaml:4:24: cluster.podSubnets[0]: fe80::/56 is for addresses that are known on one link only (for example fd00:10:244::/56)`},
		{"multicast pods", head + "cluster: {podSubnets: [224.0.0.0/16]}\n", `r.yaml:4:24: cluster.podSubnets[0]: 224.0.0.0/16 is for multicast (for example 10.244.0.0/16)`},
		{"IPv6 multicast services", head + "cluster: {podSubnets: ['fd00::/56'], serviceSubnets: ['ff02::/112']}\n", `r.yaml:4:55: cluster.serviceSubnets[0]: ff02::/112 is for multicast (for example fd00:10:96::/112)`},
		{"too many services", head + "cluster: {serviceSubnets: [11.0.0.0/8]}\n", `r.yaml:4:28: cluster.serviceSubnets[0]: 11.0.0.0/8 is too large for services (at most a /12)`},
		{"too few services", head + "cluster: {serviceSubnets: [10.96.0.0/29]}\n", `r.yaml:4:28: cluster.serviceSubnets[0]: 10.96.0.0/29 is too small for services (at least a /28)`},
		{"too few pods", head + "cluster: {podSubnets: [10.1.0.0/25]}\n", `r.yaml:4:24: cluster.podSubnets[0]: 10.1.0.0/25 is too small: each node takes a /24 of it (at least a /24)`},

		{"node name", head + "node: {name: CP_1}\n", `r.yaml:4:14: node.name: "CP_1" is not a name for a node (write cp-1)`},
		{"node name with an end", head + "node: {name: cp1.}\n", `r.yaml:4:14: node.name: "cp1." is not a name for a node (lower-case letters, digits, hyphens and dots)`},
		{"node name too long", head + "node: {name: " + strings.Repeat("a", 32) + "." + strings.Repeat("a", 31) + "}\n", `r.yaml:4:14: node.name is too long (at most 63 characters)`},
		{"no address", head + "node: {ip: ten}\n", `r.yaml:4:12: node.ip: "ten" is not an IP address (for example 192.0.2.10)`},
		{"loopback", head + "node: {ip: 127.0.0.1}\n", `r.yaml:4:12: node.ip: 127.0.0.1 cannot be a node's address (an address that other nodes reach it by)`},
		{"address in the pod subnet", head + "node: {ip: 10.244.3.4}\n", `r.yaml:4:12: node.ip 10.244.3.4 is inside the pod subnet 10.244.0.0/16 (choose other podSubnets)`},
		{"address in the service subnet", head + "node: {ip: 10.100.0.1}\n", `r.yaml:4:12: node.ip 10.100.0.1 is inside the service subnet 10.96.0.0/12 (choose other serviceSubnets)`},
		{"address of the other family", head + "node: {ip: '2001:db8::1'}\n", `r.yaml:4:12: node.ip is IPv6, but the first service subnet is 10.96.0.0/12 (the API server's address is of the family of the first service subnet)`},
		{"label name", head + "node:\n  labels:\n    a b: c\n", `r.yaml:6:10: node.labels: "a b" is not the name of a label (for example example.net/zone)`},
		{"label value", head + "node: {labels: {a: 'b c'}}\n", `r.yaml:4:20: node.labels.a: "b c" is not the value of a label (at most 63 letters, digits, hyphens, underscores and dots, a letter or digit at both ends)`},
		{"label value that is a boolean", head + "node: {labels: {a: true}}\n", `r.yaml:4:20: node.labels.a must be a string, not true (write "true", with the quotes)`},
		{"label that stops the kubelet", head + "node: {labels: {node-role.kubernetes.io/infra: ''}}\n", `r.yaml:4:48: node.labels: the kubelet may not set "node-role.kubernetes.io/infra" on its own node (set it with kubectl label)`},
		{"taint", head + "node: {taints: [a=b]}\n", `r.yaml:4:17: node.taints[0]: "a=b" is not a taint such as key=value:NoSchedule`},
		{"taint's effect", head + "node: {taints: ['a=b:NoSchedul']}\n", `r.yaml:4:17: node.taints[0]: unknown effect "NoSchedul" of a taint (did you mean "NoSchedule"?)`},
		{"taint twice", head + "node: {taints: ['a=b:NoExecute', 'a:NoExecute']}\n", `r.yaml:4:34: node.taints[1]: a:NoExecute is given twice`},
		{"taints without a value", head + "node:\n  taints:\n", `r.yaml:5:10: node.taints has no value (write [] for no taint, or leave it out for the role's own)`},

		{"certificate name", head + "certSANs: ['a b']\n", `r.yaml:4:12: certSANs[0]: "a b" is neither a host name nor an IP address (for example api.example.net or 192.0.2.10)`},
		{"certificate name twice", head + "certSANs: [a.example, 10.0.0.1, A.example]\n", `r.yaml:4:33: certSANs[2]: "A.example" is given twice`},
		{"certificate address twice", head + "certSANs: ['fd00::1', 'fd00:0::1']\n", `r.yaml:4:23: certSANs[1]: "fd00:0::1" is given twice`},

		{"time without quotes", head + "kubelet: {x: 2026-01-01}\n", `r.yaml:4:14: kubelet.x must not be a date (write "2026-01-01", with the quotes)`},
		{"kind of the kubelet's", head + "kubelet: {kind: KubeProxyConfiguration}\n", `r.yaml:4:17: kubelet.kind must be KubeletConfiguration (leave it out)`},
		{"infinite", head + "kubeProxy: {conntrack: {min: .inf}}\n", `r.yaml:4:30: kubeProxy.conntrack.min must be a finite number, not .inf`},
		{"keys that are numbers", head + "kubelet: {featureGates: {1: true}}\n", `r.yaml:4:26: a field's name must be a string, not the number 1 (write "1", with the quotes)`},
		{"kubeadm without a kind", head + "kubeadm:\n  - apiServer: {}\n", `r.yaml:5:5: kubeadm[0].kind is missing (ClusterConfiguration or InitConfiguration or JoinConfiguration)`},
		{"kubelet among kubeadm", head + "kubeadm:\n  - kind: KubeletConfiguration\n", `r.yaml:5:11: kubeadm[0].kind: "KubeletConfiguration" cannot be given here (give its fields in kubelet:)`},
		{"kubeadm twice", head + "kubeadm: [{kind: InitConfiguration}, {kind: InitConfiguration}]\n", `r.yaml:4:45: kubeadm[1].kind: InitConfiguration is given twice (put both into one)`},
		{"kubeadm's word for what the role says", head + "kubeadm:\n  - kind: ClusterConfiguration\n    networking: {podSubnet: 10.1.0.0/16}\n", `r.yaml:6:29: kubeadm[0].networking.podSubnet cannot be given here (say it with cluster.podSubnets)`},
		{"an image of etcd that nobody baked", head + "kubeadm:\n  - kind: ClusterConfiguration\n    etcd: {local: {imageTag: v1}}\n", `r.yaml:6:30: kubeadm[0].etcd.local.imageTag cannot be given here (leave it out: it is part of the image)`},
		{"phases that are left out", head + "kubeadm:\n  - kind: InitConfiguration\n    skipPhases: [addon/kube-proxy]\n", `r.yaml:6:17: kubeadm[0].skipPhases cannot be given here (say it with proxy or dns of ClusterConfiguration, disabled: true)`},
		{"kubeadm's word for the node's name", head + "kubeadm:\n  - kind: InitConfiguration\n    nodeRegistration: {name: x}\n", `r.yaml:6:30: kubeadm[0].nodeRegistration.name cannot be given here (say it with node.name)`},
		{"kubeadm about what the image settles", head + "kubeadm:\n  - kind: InitConfiguration\n    nodeRegistration: {criSocket: x}\n", `r.yaml:6:35: kubeadm[0].nodeRegistration.criSocket cannot be given here (leave it out: it is part of the image)`},
		{"kubeadm of another group", head + "kubeadm: [{kind: InitConfiguration, apiVersion: v1}]\n", `r.yaml:4:49: kubeadm[0].apiVersion must be kubeadm.k8s.io/v1beta4 (leave it out)`},
		{"kubeadm of an older version", head + "kubeadm: [{kind: InitConfiguration, apiVersion: kubeadm.k8s.io/v1beta3}]\n", `r.yaml:4:49: kubeadm[0].apiVersion must be kubeadm.k8s.io/v1beta4 (leave it out)`},
		{"typo for the kubelet", head + "kubelet: {maxPod: 5}\n", `r.yaml:4:19: kubelet.maxPod is no field of KubeletConfiguration (did you mean "maxPods"?)`},
		{"typo in depth", head + "kubelet: {authentication: {anonymus: {enabled: false}}}\n", `r.yaml:4:38: kubelet.authentication.anonymus is no field of KubeletAuthentication (did you mean "anonymous"?)`},
		{"text for a number", head + "kubelet: {maxPods: many}\n", `r.yaml:4:20: kubelet.maxPods must be a whole number, not "many"`},
		{"what the image settles", head + "kubelet: {containerRuntimeEndpoint: 'unix:///x'}\n", `r.yaml:4:37: kubelet.containerRuntimeEndpoint cannot be given here (leave it out: it is part of the image)`},
		{"typo for kube-proxy", head + "kubeProxy: {moed: nftables}\n", `r.yaml:4:19: kubeProxy.moed is no field of KubeProxyConfiguration (did you mean "mode"?)`},
		{"typo for kubeadm", head + "kubeadm: [{kind: ClusterConfiguration, apiServre: {}}]\n", `r.yaml:4:51: kubeadm[0].apiServre is no field of ClusterConfiguration (did you mean "apiServer"?)`},
		{"typo in an audit policy", head + "apiServer: {auditPolicy: {rules: [{levle: Metadata}]}}\n", `r.yaml:4:43: apiServer.auditPolicy.rules[0].levle is no field of PolicyRule (did you mean "level"?)`},
		{"typo in an admission configuration", head + "apiServer: {admission: {plugins: [{nam: PodSecurity}]}}\n", `r.yaml:4:41: apiServer.admission.plugins[0].nam is no field of AdmissionPluginConfiguration (known: configuration, name, path)`},

		{"backend of the pod network", head + "cluster: {podNetwork: {backend: vxlam}}\n", `r.yaml:4:33: cluster.podNetwork.backend: unknown backend "vxlam" (did you mean "vxlan"?)`},
		{"foreign backend", head + "cluster: {podNetwork: {backend: ''}}\n", `r.yaml:4:33: cluster.podNetwork.backend: unknown backend "" (known: vxlan, host-gw, none)`},
		{"manifest without a kind", head + "manifests:\n  - {apiVersion: v1, metadata: {name: a}}\n", `r.yaml:5:5: manifests[0] has no kind`},
		{"manifest without a name", head + "manifests:\n  - |\n    kind: Namespace\n    apiVersion: v1\n    metadata: {generateName: a}\n", `r.yaml:5:5: manifests[0], object 1, has no metadata.name`},
		{"manifest that is a list", head + "manifests:\n  - [a]\n", `r.yaml:5:5: manifests[0] must be an object, or a text with YAML documents`},
		{"manifest that is no YAML", head + "manifests:\n  - \"a: [\"\n", `r.yaml:5:5: manifests[0] is not valid YAML: line 1: did not find expected node content`},
		{"manifest of words", head + "manifests:\n  - |\n    # nothing\n    ---\n    hunter2\n", `r.yaml:5:5: manifests[0] holds a document (1) that is no object, or has a field twice`},

		{"manifests of a worker", worker + "join: {}\nmanifests: []\n", `r.yaml:4:12: manifests does not go with role "worker" (give them to the control plane that starts the cluster: it applies them)`},
		{"manifests of an etcd member", etcd + "etcd: {members: [{name: e1, ip: 192.0.2.11}]}\nmanifests: [{kind: Namespace, apiVersion: v1, metadata: {name: a}}]\n", `r.yaml:4:12: manifests does not go with role "etcd" (give them to the control plane that starts the cluster: it applies them)`},

		{"time server", head + "time: {servers: ['a b']}\n", `r.yaml:4:18: time.servers[0]: "a b" is neither a host name nor an IP address (for example time.example.net)`},
		{"resolver by name", head + "dns: {servers: [dns.example]}\n", `r.yaml:4:17: dns.servers[0]: "dns.example" is not an IP address (for example 192.0.2.53)`},
		{"resolver with a zone", head + "dns: {servers: ['fe80::1%eth0']}\n", `r.yaml:4:17: dns.servers[0]: "fe80::1%eth0" is not an IP address (for example 192.0.2.53)`},

		{"several at once, in the order of the file", "version: 1\nrole: x\nfoo: 1\ninit: {}\nnode: {ip: x}\n", "r.yaml:2:7: unknown role \"x\" (known: control-plane, worker, etcd)\nr.yaml:3:1: unknown field \"foo\" (known: apiServer, certSANs, cluster, dns, etcd, init, join, kubeProxy, kubeadm, kubelet, manifests, network, node, patches, proxy, role, ssh, time, version, virtualIP)\nr.yaml:5:12: node.ip: \"x\" is not an IP address (for example 192.0.2.10)"},
	})
}

// badRole is a role that must be refused, and in which words.
type badRole struct{ name, in, want string }

// refused checks that roles, each after the same beginning, are refused as the
// user's to mend.
func refused(t *testing.T, begin string, roles []badRole) {
	t.Helper()
	for _, c := range roles {
		t.Run(c.name, func(t *testing.T) {
			_, err := role.Parse("r.yaml", []byte(begin+c.in))
			if err == nil {
				t.Fatal("accepted")
			}
			if err.Error() != c.want {
				t.Errorf("got  %s\nwant %s", err, c.want)
			}
			if code := diag.ExitCode(err); code != diag.ExitInput {
				t.Errorf("exit status %d, want %d", code, diag.ExitInput)
			}
		})
	}
}

// What was pasted where a public key belongs is not repeated in messages.
func TestKeysAreCheckedAndNotRepeated(t *testing.T) {
	const (
		badKey  = ` (give a line as in a .pub file: ssh-ed25519 AAAA…)`
		option  = ` has an option before the key that sshd does not know, and would be ignored (known: agent-forwarding, cert-authority, command=, environment=, expiry-time=, from=, no-agent-forwarding, no-port-forwarding, no-pty, no-touch-required, no-user-rc, no-X11-forwarding, no-verify-required, permitlisten=, permitopen=, port-forwarding, principals=, pty, restrict, touch-required, tunnel=, user-rc, verify-required, X11-forwarding)`
		private = ` (give the public key, the line in the .pub file, and take this one for stolen)`
	)
	for _, c := range []struct{ name, keys, want string }{
		{"private key", "['-----BEGIN OPENSSH PRIVATE KEY-----\\nb3BlbnNzaC1rZXkt']", `r.yaml:4:24: ssh.authorizedKeys[0] is a private key` + private},
		{"private key over several lines", "[-----BEGIN OPENSSH PRIVATE KEY-----\n  b3BlbnNzaC1rZXkt]", `r.yaml:4:24: ssh.authorizedKeys[0] is a private key` + private},
		{"private key instead of a list", "'-----BEGIN RSA PRIVATE KEY----- b3BlbnNzaC1rZXkt'", `r.yaml:4:23: a private key is in the wrong place (remove it, and take it for stolen)`},
		{"password", "[hunter2]", `r.yaml:4:24: ssh.authorizedKeys[0] is not a public key that OpenSSH accepts` + badKey},
		{"old type", "[ssh-dss AAAAB3NzaC1kc3M=]", `r.yaml:4:24: ssh.authorizedKeys[0] is not a public key that OpenSSH accepts` + badKey},
		{"cut off", "['" + ed25519Key[:50] + "==']", `r.yaml:4:24: ssh.authorizedKeys[0] has a damaged key after its type: it is cut off or of another type` + badKey},
		{"not base64", "[ssh-ed25519 hunter2]", `r.yaml:4:24: ssh.authorizedKeys[0] has a damaged key after its type: it is not base64` + badKey},
		{"type of another key", "['" + strings.Replace(ed25519Key, "ssh-ed25519", "ssh-rsa", 1) + "']", `r.yaml:4:24: ssh.authorizedKeys[0] has a damaged key after its type: it is cut off or of another type` + badKey},
		{"two lines", "[\"" + ed25519Key + `\n` + ecdsaKey + "\"]", `r.yaml:4:24: ssh.authorizedKeys[0] is more than one line` + badKey},
		{"a name before the key", "['admin " + ed25519Key + "']", `r.yaml:4:24: ssh.authorizedKeys[0]` + option},
		{"an option without its value", "['command " + ed25519Key + "']", `r.yaml:4:24: ssh.authorizedKeys[0]` + option},
		{"an option without quotes", "['no-pty,from=192.0.2.1 " + ed25519Key + "']", `r.yaml:4:24: ssh.authorizedKeys[0]` + option},
		{"a comma too many", "['no-pty, " + ed25519Key + "']", `r.yaml:4:24: ssh.authorizedKeys[0]` + option},
		{"type alone", "[ssh-ed25519]", `r.yaml:4:24: ssh.authorizedKeys[0] has no key after its type` + badKey},
		{"empty", "['']", `r.yaml:4:24: ssh.authorizedKeys[0] is empty` + badKey},
		{"twice", "['" + ed25519Key + "', '" + strings.TrimSuffix(ed25519Key, "admin@example.net") + "']", `r.yaml:4:126: ssh.authorizedKeys[1] is given twice`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := role.Parse("r.yaml", []byte(head+"ssh: {authorizedKeys: "+c.keys+"}\n"))
			if err == nil {
				t.Fatal("accepted")
			}
			if err.Error() != c.want {
				t.Errorf("got  %s\nwant %s", err, c.want)
			}
		})
	}
}

func TestGoodKeys(t *testing.T) {
	for _, line := range []string{ed25519Key, ecdsaKey, `Restrict,no-x11-forwarding,expiry-time="20300101Z" ` + ed25519Key, `from="10.0.0.0/8,fd00::/8",command="echo \"a b\"" ` + ed25519Key, "  " + ed25519Key + "  "} {
		r, err := role.Parse("r.yaml", []byte(head+"ssh:\n  authorizedKeys:\n    - '"+line+"'\n"))
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		if got := r.SSH.AuthorizedKeys[0]; got != strings.TrimSpace(line) {
			t.Errorf("got %q", got)
		}
	}
}

func parse(t *testing.T, text string) *role.Role {
	t.Helper()
	r, err := role.Parse("r.yaml", []byte(head+text))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestDefaults(t *testing.T) {
	r := parse(t, "")
	if r.Cluster.Name != "kubernetes" || r.Cluster.DNSDomain != "cluster.local" || r.Cluster.Endpoint != "" {
		t.Errorf("cluster %+v", r.Cluster)
	}
	if r.Cluster.PodNetwork.Backend != role.VXLAN {
		t.Errorf("pod network %+v", r.Cluster.PodNetwork)
	}
	if !slices.Equal(r.Cluster.PodSubnets, []string{"10.244.0.0/16"}) || !slices.Equal(r.Cluster.ServiceSubnets, []string{"10.96.0.0/12"}) {
		t.Errorf("subnets %q, %q", r.Cluster.PodSubnets, r.Cluster.ServiceSubnets)
	}
}

// Manifests are read as Kubernetes does: dates and keys are strings.
func TestManifests(t *testing.T) {
	r := parse(t, `manifests:
  - apiVersion: v1
    kind: Namespace
    metadata: {name: a}
  - |
    # two in a text, and one in a list
    apiVersion: v1
    kind: ConfigMap
    metadata: {name: b, namespace: a}
    data: {day: 2026-01-01, 8080: "x"}
    ---
    ---
    apiVersion: v1
    kind: List
    items:
      - {apiVersion: v1, kind: Secret, metadata: {name: c}}
`)
	got, err := json.Marshal(r.ManifestObjects())
	if err != nil {
		t.Fatal(err)
	}
	const want = `[{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"a"}},` +
		`{"apiVersion":"v1","data":{"8080":"x","day":"2026-01-01"},"kind":"ConfigMap","metadata":{"name":"b","namespace":"a"}},` +
		`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"c"}}]`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestImageMustBringThePodNetwork(t *testing.T) {
	m := manifest.Image{Profile: "p", Roles: []string{"control-plane"}, Images: []string{"slipway.local/flannel:v0.28.10"}}
	if err := parse(t, "").CheckImage(m); err != nil {
		t.Error(err)
	}
	m.Images = []string{"slipway.local/etcd:3.7.0-0"}
	if err := parse(t, "cluster: {podNetwork: {backend: none}}\n").CheckImage(m); err != nil {
		t.Error(err)
	}
	err := parse(t, "cluster: {podNetwork: {backend: host-gw}}\n").CheckImage(m)
	const want = `r.yaml:4:33: the image of profile "p" lacks the container image flannel, which pods' packets need to reach other nodes (write none and bring a network of your own, or bake an image with it)`
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestNoTaintsDifferFromTheRolesOwn(t *testing.T) {
	if r := parse(t, ""); r.Node.Taints != nil {
		t.Errorf("left out: %v", r.Node.Taints)
	}
	if r := parse(t, "node: {taints: []}\n"); r.Node.Taints == nil || len(r.Node.Taints) != 0 {
		t.Errorf("none: %#v", r.Node.Taints)
	}
	r := parse(t, "node: {taints: ['a/b=c:NoExecute', 'd:NoSchedule']}\n")
	want := []role.Taint{{Key: "a/b", Value: "c", Effect: "NoExecute"}, {Key: "d", Effect: "NoSchedule"}}
	if !slices.Equal(r.Node.Taints, want) {
		t.Errorf("got %v, want %v", r.Node.Taints, want)
	}
	if s := r.Node.Taints[0].String() + " " + r.Node.Taints[1].String(); s != "a/b=c:NoExecute d:NoSchedule" {
		t.Errorf("printed %s", s)
	}
}

func TestEndpoints(t *testing.T) {
	for in, want := range map[string]string{
		"cp":              "cp:6443",
		"cp:443":          "cp:443",
		"10.0.2.15":       "10.0.2.15:6443",
		"FD00:0::1":       "[fd00::1]:6443",
		"[fd00::1]":       "[fd00::1]:6443",
		"[fd00::1]:443":   "[fd00::1]:443",
		"cp.example.net.": "",
		"[cp]":            "",
		"[cp]:443":        "",
		"cp:06443":        "",
		"fd00::1%eth0":    "",
	} {
		r, err := role.Parse("r.yaml", []byte(head+"cluster: {endpoint: '"+in+"'}\n"))
		switch {
		case want == "" && err == nil:
			t.Errorf("%s: accepted as %s", in, r.Cluster.Endpoint)
		case want != "" && err != nil:
			t.Errorf("%s: %v", in, err)
		case err == nil && r.Cluster.Endpoint != want:
			t.Errorf("%s: got %s, want %s", in, r.Cluster.Endpoint, want)
		}
	}
}

func TestImageMustFitTheRole(t *testing.T) {
	m := manifest.Image{Profile: "p", KubernetesVersion: "v1.37.2", ImageRepository: "slipway.local", Roles: []string{"control-plane"}}
	for _, c := range []struct{ name, text, want string }{
		{"says nothing", "", ""},
		{"same version", "cluster: {kubernetesVersion: v1.37.2}\n", ""},
		{"other version", "cluster: {kubernetesVersion: v1.36.0}\n", `r.yaml:4:30: cluster.kubernetesVersion is v1.36.0, but the image has v1.37.2 (bake another image, or leave this out)`},
		{"other version by kubeadm", "kubeadm: [{kind: ClusterConfiguration, kubernetesVersion: v1.36.0}]\n", `r.yaml:4:59: kubeadm[0].kubernetesVersion is not the image's, which is v1.37.2 (leave it out: nothing is downloaded at first boot)`},
		{"other repository by kubeadm", "kubeadm: [{kind: ClusterConfiguration, imageRepository: example.net}]\n", `r.yaml:4:57: kubeadm[0].imageRepository is not the image's, which is slipway.local (leave it out: nothing is downloaded at first boot)`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := ""
			if err := parse(t, c.text).CheckImage(m); err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
	m.Roles = []string{"worker", "etcd"}
	err := parse(t, "").CheckImage(m)
	if want := `r.yaml:2:7: an image of profile "p" cannot be a control-plane (it can be: worker, etcd)`; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestExamples(t *testing.T) {
	files, err := filepath.Glob("../../docs/examples/*.yaml")
	if err != nil || len(files) < 2 {
		t.Fatalf("found %q: %v", files, err)
	}
	for _, f := range files {
		if strings.HasSuffix(f, "-cluster.yaml") {
			continue // whole clusters, for builder cluster
		}
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := role.Parse(f, data); err != nil {
			t.Error(err)
		}
	}
}

// Whoever adds a field says what it is for.
func TestSchemaDescribesAllFields(t *testing.T) {
	var walk func(path string, s map[string]any)
	walk = func(path string, s map[string]any) {
		properties, _ := s["properties"].(map[string]any)
		for name, p := range properties {
			if p.(map[string]any)["description"] == nil {
				t.Errorf("%s%s has no description", path, name)
			}
			walk(path+name+".", p.(map[string]any))
		}
	}
	walk("", role.Schema())
}

func TestReferenceIsUpToDate(t *testing.T) {
	page, err := os.ReadFile("../../docs/role.md")
	if err != nil {
		t.Fatal(err)
	}
	if string(page) != role.Reference() {
		t.Error("docs/role.md differs from what `builder role schema --output markdown` prints")
	}
}

// The node's own small program reads roles too: what this package needs, that
// needs.
func TestDependenciesStaySmall(t *testing.T) {
	// On a new machine go downloads modules first, and says so on the other output.
	out, err := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", ".").Output()
	if err != nil {
		t.Fatalf("listing dependencies: %v", err)
	}
	const own = "github.com/slipway-os/slipway/pkg/"
	allowed := []string{own + "role", own + "document", own + "diag", own + "manifest", own + "kubefields", "github.com/google/uuid", "go.yaml.in/yaml/v3"}
	for _, d := range strings.Fields(string(out)) {
		if !slices.Contains(allowed, d) {
			t.Errorf("depends on %s", d)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(head)
	f.Add(worker + "join: {token: abcdef.0123456789abcdef, caCertHashes: ['" + caHash + "']}\ncluster: {endpoint: cp}\n")
	f.Add(etcd + "etcd: {members: [{name: e1, ip: 192.0.2.11}]}\n")
	f.Add(head + "cluster: {endpoint: '[::1]:1', podSubnets: [10.1.0.0/16, 'fd00::/56'], serviceSubnets: [::/0]}\nnode: {taints: [a=b:NoExecute], labels: {a/b: c}}\n")
	f.Add(head + "ssh: {authorizedKeys: ['from=\"a b\" " + ed25519Key + "']}\ncertSANs: ['*.a', 10.0.0.1]\n")
	f.Add(head + "kubeadm: [{kind: ClusterConfiguration, a: {1: {2: .nan}}}]\nkubelet: {a: 2026-01-01}\n")
	f.Add(head + "manifests: [{kind: a}, \"a: &b [*b]\\n---\\n1: 2026-01-01\", 'kind: List\\nitems: [1]']\ncluster: {podNetwork: {backend: none}}\n")
	f.Fuzz(func(t *testing.T, in string) {
		r, err := role.Parse("r.yaml", []byte(in))
		if err != nil {
			// Input that is wrong is the user's to mend, never a fault of the program.
			if diag.ExitCode(err) != diag.ExitInput {
				t.Errorf("status %d: %v", diag.ExitCode(err), err)
			}
			return
		}
		if (r.Init != nil) == (r.Join != nil) != (r.Role == role.Etcd) || r.Init != nil && r.Role != role.ControlPlane || (r.Role == role.Etcd) && r.Etcd == nil || r.Cluster.Name == "" || len(r.Cluster.PodSubnets) == 0 {
			t.Errorf("accepted %+v", r)
		}
		for _, k := range r.SSH.AuthorizedKeys {
			if strings.ContainsAny(k, "\n\r") {
				t.Errorf("key of several lines: %q", k)
			}
		}
		r.CheckImage(manifest.Image{})
		if _, err := document.Parse("r.yaml", []byte(in)); err != nil {
			t.Errorf("accepted what is no document: %v", err)
		}
	})
}

// Each field of kubeadm's documents is said with a field of roles that there is,
// or with the document itself.
func TestEveryFieldOfKubeadmIsListed(t *testing.T) {
	known := map[string]bool{"kubeadm": true, "join": true}
	for _, f := range document.Reference(role.Role{}) {
		known[f.Path] = true
	}
	_, list, _ := strings.Cut(role.Reference(), "## Every field of kubeadm\n")
	rows := 0
	for _, line := range strings.Split(list, "\n") {
		columns := strings.Split(strings.Trim(line, "| "), " | ")
		if len(columns) != 4 || !strings.HasSuffix(columns[0], "Configuration") {
			continue
		}
		rows++
		with := strings.Trim(columns[3], "`")
		if !known[with] && !strings.HasPrefix(with, "nothing") && !strings.HasPrefix(with, "proxy or dns") {
			t.Errorf("%s %s is said with %q, which is no field", columns[0], columns[1], with)
		}
	}
	if rows < 80 {
		t.Errorf("only %d fields are listed", rows)
	}
}
