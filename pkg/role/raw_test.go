package role_test

import (
	"testing"
)

func TestBadRawDocuments(t *testing.T) {
	const start, plane = "kubeadm: [{kind: InitConfiguration, ", "kubeadm: [{kind: ClusterConfiguration, "
	kubelet := func(arg string) string {
		return start + "nodeRegistration: {kubeletExtraArgs: [" + arg + "]}}]\nnode: {name: cp1, ip: 192.0.2.10}\n"
	}
	refused(t, head, []badRole{
		{"nothing is to be done", start + "dryRun: true}]\n", `r.yaml:4:45: kubeadm[0].dryRun cannot be given here (leave it out: the node would stay as it is)`},
		{"services by a flag", plane + "apiServer: {extraArgs: [{name: service-cluster-ip-range, value: 10.0.0.0/16}]}}]\n", `r.yaml:4:64: kubeadm[0].apiServer.extraArgs[0]: service-cluster-ip-range cannot be given here (say it with cluster.serviceSubnets)`},
		{"pods by a flag", plane + "controllerManager: {extraArgs: [{name: cluster_cidr, value: 10.0.0.0/16}]}}]\n", `r.yaml:4:72: kubeadm[0].controllerManager.extraArgs[0]: cluster-cidr cannot be given here (say it with cluster.podSubnets)`},
		{"the API server's port", plane + "apiServer: {extraArgs: [{name: secure-port, value: '6443'}]}}]\n", `r.yaml:4:64: kubeadm[0].apiServer.extraArgs[0]: secure-port cannot be given here (leave it out: it is part of the image)`},
		{"two audit policies", plane + "apiServer: {extraArgs: [{name: audit-policy-file, value: /etc/a}]}}]\napiServer: {auditPolicy: {rules: [{level: None}]}}\n", `r.yaml:4:64: kubeadm[0].apiServer.extraArgs[0]: audit-policy-file cannot be given here (say it with apiServer.auditPolicy)`},
		{"etcd's data out of its volume", plane + "etcd: {local: {extraArgs: [{name: data-dir, value: /var/lib/a}]}}}]\n", `r.yaml:4:67: kubeadm[0].etcd.local.extraArgs[0]: data-dir cannot be given here (say it with etcd.local.dataDir)`},
		{"etcd's members", plane + "etcd: {local: {extraArgs: [{name: initial-cluster-state, value: new}]}}}]\n", `r.yaml:4:67: kubeadm[0].etcd.local.extraArgs[0]: initial-cluster-state cannot be given here (leave it out: the node finds out who is a member)`},
		{"the node's address by a flag", kubelet("{name: node-ip, value: 198.51.100.1}"), `r.yaml:4:75: kubeadm[0].nodeRegistration.kubeletExtraArgs[0]: node-ip cannot be given here (say it with node.ip)`},
		{"labels by a flag", kubelet("{name: node-labels, value: a=b}"), `r.yaml:4:75: kubeadm[0].nodeRegistration.kubeletExtraArgs[0]: node-labels cannot be given here (say it with node.labels)`},
		{"the node's name by a flag", kubelet("{name: hostname-override, value: cp2}"), `r.yaml:4:75: kubeadm[0].nodeRegistration.kubeletExtraArgs[0]: hostname-override cannot be given here (say it with node.name)`},
		{"a node that stays out", kubelet("{name: register-node, value: 'false'}"), `r.yaml:4:75: kubeadm[0].nodeRegistration.kubeletExtraArgs[0]: register-node cannot be given here (leave it out: a node that does not register is never Ready)`},
		{"a flag twice", kubelet("{name: v, value: '4'}, {name: v, value: '4'}"), `r.yaml:4:98: kubeadm[0].nodeRegistration.kubeletExtraArgs[1]: v is given twice`},
		{"a flag with its dashes", kubelet("{name: --v, value: '4'}"), `r.yaml:4:82: kubeadm[0].nodeRegistration.kubeletExtraArgs[0].name must be the name of a flag, without dashes before it, not "--v" (write v)`},
		{"a flag without a name", kubelet("{value: '4'}"), `r.yaml:4:75: kubeadm[0].nodeRegistration.kubeletExtraArgs[0].name is missing`},
		{"a token that is not repeated", start + "bootstrapTokens: [{token: hunter2}]}]\n", `r.yaml:4:63: kubeadm[0].bootstrapTokens[0].token is not a bootstrap token (six and sixteen characters of a-z and 0-9, as kubeadm token generate prints)`},
		{"another domain for pods", "kubelet: {clusterDomain: other.local}\n", `r.yaml:4:26: kubelet.clusterDomain is other.local, but cluster.dnsDomain is cluster.local (say it with cluster.dnsDomain)`},
		{"a kubelet that registers nothing", "kubelet: {registerNode: false}\n", `r.yaml:4:25: kubelet.registerNode: a node that does not register is never Ready (leave it out)`},
		{"taints of the kubelet's", "kubelet: {registerWithTaints: [{key: a, effect: NoSchedule}]}\n", `r.yaml:4:31: kubelet.registerWithTaints cannot be given here (say it with node.taints)`},
		{"another driver than containerd's", "kubelet: {cgroupDriver: cgroupfs}\n", `r.yaml:4:25: kubelet.cgroupDriver must be systemd, as containerd's is (leave it out)`},
		{"other pods for kube-proxy", "kubeProxy: {clusterCIDR: 10.0.0.0/16}\n", `r.yaml:4:26: kubeProxy.clusterCIDR is 10.0.0.0/16, but cluster.podSubnets is 10.244.0.0/16 (say it with cluster.podSubnets)`},
		{"one name for every kube-proxy", "kubeProxy: {hostnameOverride: a}\n", `r.yaml:4:31: kubeProxy.hostnameOverride cannot be given here (leave it out: each node has its own)`},
		{"an audit policy without rules", "apiServer: {auditPolicy: {rules: []}}\n", `r.yaml:4:26: apiServer.auditPolicy has no rules (for example rules: [{level: Metadata}])`},
		{"a plug-in without a name", "apiServer: {admission: {plugins: [{path: a}]}}\n", `r.yaml:4:35: apiServer.admission.plugins[0].name is missing`},
	})
	refused(t, worker+"join: {}\n", []badRole{
		{"a worker that would be a control plane", "kubeadm: [{kind: JoinConfiguration, controlPlane: {}}]\n", `r.yaml:4:51: kubeadm[0].controlPlane does not go with role "worker" (leave it out, or write role: control-plane)`},
		{"nothing is to be done there", "kubeadm: [{kind: JoinConfiguration, dryRun: true}]\n", `r.yaml:4:45: kubeadm[0].dryRun cannot be given here (leave it out: the node would stay as it is)`},
	})
}

// What a raw document says that is so anyway, and what the role cannot say.
func TestGoodRawDocuments(t *testing.T) {
	for name, text := range map[string]string{
		"flags of the same values": "kubeadm:\n  - {kind: ClusterConfiguration, apiServer: {extraArgs: [{name: service-cluster-ip-range, value: 10.96.0.0/12}]}, controllerManager: {extraArgs: [{name: cluster-name, value: kubernetes}, {name: allocate-node-cidrs, value: 'false'}]}}\n" +
			"  - {kind: InitConfiguration, nodeRegistration: {kubeletExtraArgs: [{name: node-ip, value: 192.0.2.10}, {name: hostname-override, value: cp1}, {name: cloud-provider, value: external}]}}\nnode: {name: cp1, ip: 192.0.2.10}\n",
		"an audit policy that a config lays down": "kubeadm: [{kind: ClusterConfiguration, apiServer: {extraArgs: [{name: audit-policy-file, value: /etc/a}], extraVolumes: [{name: a, hostPath: /etc/a, mountPath: /etc/a, pathType: File}]}}]\n",
		"several issuers":                         "kubeadm: [{kind: ClusterConfiguration, apiServer: {extraArgs: [{name: service-account-issuer, value: 'https://a'}, {name: service-account-issuer, value: 'https://b'}]}}]\n",
		"etcd elsewhere":                          "kubeadm: [{kind: ClusterConfiguration, etcd: {local: {dataDir: /var/lib/etcd2, extraArgs: [{name: wal-dir, value: /var/lib/wal}, {name: listen-metrics-urls, value: 'http://0.0.0.0:2381'}]}}}]\n",
		"fields of the same values":               "cluster: {podSubnets: [10.1.0.0/16, 'fd00:1::/56'], serviceSubnets: [10.96.0.0/16, 'fd00:2::/112'], dnsDomain: a.b}\nkubelet: {clusterDomain: a.b, registerNode: true, cgroupDriver: systemd}\nkubeProxy: {clusterCIDR: '10.1.0.0/16, fd00:1:0::/56'}\n",
		"a token":                                 "kubeadm: [{kind: InitConfiguration, bootstrapTokens: [{token: abcdef.0123456789abcdef, ttl: 0s}]}]\n",
	} {
		t.Run(name, func(t *testing.T) { parse(t, text) })
	}
}
