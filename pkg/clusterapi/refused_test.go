package clusterapi_test

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/clusterapi"
	"github.com/slipway-os/slipway/pkg/diag"
)

type refusal struct{ name, data, want string }

func refused(t *testing.T, m clusterapi.Machine, cases []refusal) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := clusterapi.Translate("u", []byte(c.data), m)
			switch {
			case err == nil:
				t.Fatal("not refused")
			case err.Error() != c.want:
				t.Errorf("got  %s\nwant %s", err, c.want)
			case diag.ExitCode(err) != diag.ExitInput:
				t.Errorf("exit status %d", diag.ExitCode(err))
			}
		})
	}
}

func TestRefusedCloudConfigs(t *testing.T) {
	in := func(join string) string { return workerWith("", join, "") }
	file := func(entry string) string { return workerWith("- "+entry+"\n", "", "") }
	refused(t, machine(), []refusal{
		{"a script", "#!/bin/sh\nkubeadm join\n", "u:1:1: a script, which is for cloud-init to run, and there is none on this system (let the bootstrap provider's user data reach the machine as it is)"},
		{"several parts", "MIME-Version: 1.0\nContent-Type: multipart/mixed\n", "u:1:1: user data of several parts, which is for cloud-init to run, and there is none on this system (let the bootstrap provider's user data reach the machine as it is)"},
		{"more than any platform takes", "#cloud-config\n" + strings.Repeat("#", 4<<20), "u: larger than 4 MiB"},
		{"damaged gzip", "\x1f\x8b\x08", "u: damaged gzip: unexpected EOF"},
		{"nothing of kubeadm", "#cloud-config\nhostname: a\n", "u:1:1: it holds no configuration of kubeadm (let Cluster API's kubeadm bootstrap provider make it, or give /etc/slipway/role.yaml)"},
		{"not YAML", "#cloud-config\n\ta: b\n", "u:2:1: not valid YAML: found character that cannot start any token (indent with spaces, not tabs)"},

		// cloud-init
		{"a module that is not there", worker("packages: [jq]\n"), `u:16:1: unknown field "packages" (known: bootcmd, hostname, ntp, runcmd, users, write_files)`},
		{"a disk to be partitioned", worker("disk_setup: {/dev/sdb: {layout: true}}\n"), `u:16:1: unknown field "disk_setup" (known: bootcmd, hostname, ntp, runcmd, users, write_files)`},
		{"a path nobody can write", file("{path: /usr/bin/x, content: a}"), `u:4:10: "/usr/bin/x" cannot be written: the system is read-only but for /etc, /var, /home, /root, /srv, /opt, /usr/local`},
		{"a path that no boot keeps", file("{path: /tmp/x, content: a}"), `u:4:10: "/tmp/x" cannot be written: the system is read-only but for /etc, /var, /home, /root, /srv, /opt, /usr/local`},
		{"a relative path", file("{path: etc/x, content: a}"), `u:4:10: "etc/x" is not an absolute path`},
		{"an unknown encoding", file("{path: /etc/x, content: a, encoding: rot13}"), `u:4:27: write_files[0]: unknown encoding "rot13" (known: base64, gzip+base64)`},
		{"base64 that is none", file("{path: /etc/x, content: secret!, encoding: b64}"), `u:4:27: write_files[0]: its content is not base64`},
		{"gzip that is none", file("{path: /etc/x, content: c2VjcmV0, encoding: gzip+base64}"), `u:4:27: write_files[0]: damaged gzip`},
		{"a mode that is none", file("{path: /etc/x, content: a, permissions: rw}"), `u:4:43: write_files[0].permissions: "rw" is not a mode (as in '0640')`},
		{"kubeadm's configuration twice", strings.Replace(worker(""), "write_files:\n", "write_files:\n- {path: /run/kubeadm/kubeadm-join-config.yaml, content: a}\n", 1), `u:5:11: /run/kubeadm/kubeadm-join-config.yaml is given twice (put both into one)`},
		{"a user without a name", worker("users: [{shell: /bin/sh}]\n"), `u:16:9: users[0] has no name`},
		{"a user that is a path", worker("users: [{name: ../a, sudo: x}]\n"), `u:16:16: users[0]: "../a" is not a name for a user (lower-case letters, digits, hyphens and underscores)`},
		{"the image's user, of which there is none", worker("users: [default]\n"), `u:16:9: users[0] must be a mapping, not "default"`},
		{"an inactive user", worker("users: [{name: a, inactive: true}]\n"), `u:16:29: users[0]: inactive users are not made (leave the user out)`},
		{"no servers of the time", worker("ntp: {enabled: true}\n"), `u:16:6: ntp names no servers (name some, or leave it out)`},
		{"a server of the time that is none", worker("ntp: {servers: ['a b']}\n"), `u:16:17: time.servers[0]: "a b" is neither a host name nor an IP address (for example time.example.net)`},

		// commands
		{"no kubeadm", strings.Replace(worker(""), "kubeadm join", "true", 1), `u:15:3: runcmd does not run kubeadm as Cluster API's bootstrap provider does (it is a line kubeadm init --config …, or join)`},
		{"a flag of kubeadm's", strings.Replace(worker(""), "config.yaml  &&", "config.yaml --v 5 --skip-phases=addon &&", 1), `u:15:5: kubeadm's flag --skip-phases cannot be given here`},
		{"a command that edits kubeadm's configuration", worker("  - sed -i s/a/b/ /run/kubeadm/kubeadm-join-config.yaml\n"), `u:16:5: a command wants to see /run/kubeadm/kubeadm-join-config.yaml, which became a role before any command runs (say it in the KubeadmConfig, or in /etc/slipway/role.yaml)`},
		{"a command that is none", worker("  - {a: b}\n"), `u:16:5: runcmd[1] must be a command: a string, or a list of strings`},

		// Jinja
		{"a name nobody knows", worker("hostname: '{{ ds.meta_data.rack }}'\n"), `u:16:12: the machine does not know its ds.meta_data.rack (see docs/cluster-api.md for where it is looked for)`},
		{"a value that would be more than one", worker("hostname: '{{ ds.meta_data.strange }}'\n"), `u:16:12: the machine's ds.meta_data.strange is not a plain word`},
		{"a filter", worker("hostname: '{{ ds.meta_data.hostname | upper }}'\n"), `u:16:12: {{ ds.meta_data.hostname | upper }} is not understood here ({{ ds.meta_data.NAME }} is understood)`},
		{"a statement", worker("# {% if true %}\n"), `u:16:3: of Jinja, only names are understood here ({{ ds.meta_data.NAME }} is understood, and {% raw %})`},
		{"an expression without end", worker("# {{ ds.meta_data.hostname\n"), `u:16:3: {{ has no end`},

		// kubeadm's documents: the places are those of the user data
		{"another kubeadm", strings.Replace(worker(""), "v1beta4", "v1beta3", 1), `u:7:7: JoinConfiguration: its apiVersion is kubeadm.k8s.io/v1beta3, but this Kubernetes reads kubeadm.k8s.io/v1beta4 (is the Machine's version of Kubernetes that of the image?)`},
		{"not kubeadm's", strings.Replace(worker(""), "kind: JoinConfiguration", "kind: Deployment", 1), `u:7:7: not a document that kubeadm reads (ClusterConfiguration, InitConfiguration, JoinConfiguration, KubeletConfiguration, KubeProxyConfiguration)`},
		{"no YAML in it", in("        a: [b\n"), `u:14:9: not valid YAML: did not find expected ',' or ']'`},
		{"a key twice", in("      kind: JoinConfiguration\n"), `u:14:7: field "kind" is given twice`},
		{"joins and starts", in("      ---\n      apiVersion: kubeadm.k8s.io/v1beta4\n      kind: InitConfiguration\n      skipPhases: [preflight]\n"), `u:7:7: JoinConfiguration does not go with InitConfiguration or ClusterConfiguration (a node either starts a cluster or joins one)`},
		{"another runtime", in("      nodeRegistration: {criSocket: unix:///run/crio/crio.sock}\n"), `u:14:37: JoinConfiguration.nodeRegistration.criSocket cannot be given here (leave it out: it is part of the image)`},
		{"images that are pulled", in("      nodeRegistration: {imagePullPolicy: Always}\n"), `u:14:43: JoinConfiguration.nodeRegistration.imagePullPolicy cannot be given here (leave it out: nothing is downloaded at first boot)`},
		{"a name that is none", in("      nodeRegistration: {name: Node_1}\n"), `u:14:32: node.name: "Node_1" is not a name for a node (write node-1)`},
		{"a label that a kubelet may not set", in("      nodeRegistration: {kubeletExtraArgs: [{name: node-labels, value: node-role.kubernetes.io/worker=}]}\n"), `u:14:72: node.labels: the kubelet may not set "node-role.kubernetes.io/worker" on its own node (set it with kubectl label)`},
		{"flags of an earlier kubeadm", in("      nodeRegistration: {kubeletExtraArgs: {v: \"2\"}}\n"), `u:14:45: nodeRegistration.kubeletExtraArgs must be a list of names and values (- {name: v, value: "2"})` + "\n" + `u:14:48: nodeRegistration.kubeletExtraArgs must be a list of names and values (- {name: v, value: "2"})`},
		{"discovery by a file and otherwise", strings.Replace(worker(""), "        bootstrapToken:\n", "        tlsBootstrapToken: abcdef.0123456789abcdef\n        file: {kubeConfigPath: /etc/discovery.conf}\n        bootstrapToken:\n", 1), `u:13:11: JoinConfiguration.discovery.bootstrapToken cannot be given here (a node finds its cluster one way)`},
		{"discovery by a file that is not there", strings.Replace(worker(""), "        bootstrapToken:\n", "        file: {kubeConfig: {server: x}}\n        bootstrapToken:\n", 1), `u:10:15: JoinConfiguration.discovery.file cannot be given here (write it with files, and say where with kubeConfigPath)`},
		{"a token that is none, and is not told", strings.Replace(worker(""), "abcdef.0123456789abcdef", "my-secret", 1), `u:13:18: join.token is not a bootstrap token (six and sixteen characters of a-z and 0-9, as kubeadm token create prints)`},
		{"any authority", in("          unsafeSkipCAVerification: true\n"), `u:14:37: JoinConfiguration.discovery.bootstrapToken.unsafeSkipCAVerification cannot be given here (give caCertHashes)`},
		{"phases to leave out", in("      skipPhases: [preflight, kubelet-start]\n"), `u:14:31: JoinConfiguration.skipPhases: "kubelet-start" cannot be left out (only preflight can be left out)`},
		{"another port", in("      controlPlane: {localAPIEndpoint: {bindPort: 443}}\n"), `u:14:51: JoinConfiguration.controlPlane.localAPIEndpoint.bindPort cannot be given here (leave it out)`},
		{"patches that nobody gave", in("      patches: {directory: /etc/patches}\n"), `u:14:28: patches.directory: no files are given there (write them with files)`},
		{"a patch of nothing", workerWith("- {path: /etc/patches/x.yaml, content: \"a: b\"}\n", "      patches: {directory: /etc/patches}\n", ""), `u:4:10: /etc/patches/x.yaml is not a patch that kubeadm reads (TARGET[SUFFIX][+TYPE].yaml, with one patch)`},
		{"a role of the user's that is wrong", file(`{path: /etc/slipway/role.yaml, content: "cluster: {podNetwork: {backend: vxlam}}"}`), `u: /etc/slipway/role.yaml:1:33: cluster.podNetwork.backend: unknown backend "vxlam" (did you mean "vxlan"?)`},
	})
}

func TestRefusedControlPlanes(t *testing.T) {
	init := read(t, "init.cloud-config")
	with := func(old, changed string) string {
		t.Helper()
		if !strings.Contains(init, old) {
			t.Fatalf("there is no %q", old)
		}
		return strings.Replace(init, old, changed, 1)
	}
	refused(t, machine(), []refusal{
		{"another version of Kubernetes", with("v1.37.2", "v1.36.1"), `u:120:26: cluster.kubernetesVersion is v1.36.1, but the image has v1.37.2 (bake another image, or leave this out)`},
		{"images of others", with("kind: ClusterConfiguration", "kind: ClusterConfiguration\n      imageRepository: registry.example.net"), `u:120:24: kubeadm[0].imageRepository is not the image's, which is slipway.local (leave it out: nothing is downloaded at first boot)`},
		{"another etcd", with("etcd: {}", "etcd: {external: {endpoints: [https://192.0.2.7:2379]}}"), `u:118:24: ClusterConfiguration.etcd.external cannot be given here (etcd on the control planes, or a role of its own for each member)`},
		{"another image of CoreDNS", with("dns: {}", "dns: {imageTag: v9}"), `u:117:23: ClusterConfiguration.dns.imageTag cannot be given here (leave it out: nothing is downloaded at first boot)`},
		{"subnets that are none", with("podSubnet: 192.168.0.0/16", "podSubnet: 192.168.0.0/16,many"), `u:123:20: cluster.podSubnets[1]: "many" is not a subnet (for example 10.244.0.0/16)`},
		{"phases to leave out", with("- addon/kube-proxy", "- upload-config"), `u:147:9: InitConfiguration.skipPhases: "upload-config" cannot be left out (preflight, addon, addon/kube-proxy and addon/coredns can be left out)`},
	})
	m := machine()
	m.Image.Roles = []string{"worker"}
	m.Has = func(program string) bool { return program != "/usr/bin/sudo" }
	refused(t, m, []refusal{
		{"no sudo", init, `u:170:11: users[0].sudo: this image has no sudo (add its package to the profile's os.packages, or let root log in)`},
		{"an image of workers", with("    sudo: ALL=(ALL) NOPASSWD:ALL\n", ""), `u:129:7: an image of profile "test" cannot be a control-plane (it can be: worker)`},
	})
}

// edit changes an Ignition config. Without spaces all of it is one line.
func edit(t *testing.T, name string, change func(config map[string]any)) string {
	t.Helper()
	var c map[string]any
	if err := json.Unmarshal([]byte(read(t, name)), &c); err != nil {
		t.Fatal(err)
	}
	change(c)
	data, err := json.MarshalIndent(c, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestRefusedIgnition(t *testing.T) {
	const name = "join-worker.ign2.json"
	add := func(section, list string, what any) string {
		return edit(t, name, func(c map[string]any) {
			s := c[section].(map[string]any)
			old, _ := s[list].([]any)
			s[list] = append([]any{what}, old...)
		})
	}
	script := func(text string) string {
		return edit(t, name, func(c map[string]any) {
			for _, f := range c["storage"].(map[string]any)["files"].([]any) {
				if f := f.(map[string]any); f["path"] == "/etc/kubeadm.sh" {
					f["contents"] = map[string]any{"source": "data:," + url.PathEscape(text)}
				}
			}
		})
	}
	type object = map[string]any
	inline := object{"source": "data:,a"}
	const join = "kubeadm join --config /etc/kubeadm.yml \nmkdir -p /run/cluster-api && echo success > /run/cluster-api/bootstrap-success.complete\nmv /etc/kubeadm.yml /tmp/\n"
	refused(t, machine(), []refusal{
		{"another version", edit(t, name, func(c map[string]any) { c["ignition"] = object{"version": "2.4.0"} }), `u:3:14: unknown version "2.4.0" of the specification (2.3.0)`},
		{"replaced by another", edit(t, name, func(c map[string]any) {
			c["ignition"] = object{"version": "2.3.0", "config": object{"replace": object{"source": "https://x"}}}
		}), `u:4:15: ignition.config.replace would throw the rest away (use ignition.config.append)`},
		{"a field of later times", add("storage", "luks", object{}), `u:33:3: unknown field "luks" (known: directories, disks, files, filesystems, links, raid)`},
		{"sectors", add("storage", "disks", object{"device": "/dev/sdb", "partitions": []any{object{"size": 2048}}}), `u:18:7: unknown field "size" (known: guid, label, number, shouldExist, sizeMiB, startMiB, typeGuid, wipePartitionEntry)`},
		{"a file elsewhere", add("storage", "files", object{"path": "/etc/x", "filesystem": "data", "contents": inline}), `u:18:19: storage.files[0].filesystem: only root is known (let a unit mount it, and use the path)`},
		{"a path nobody can write", add("storage", "files", object{"path": "/usr/x", "contents": inline}), `u:18:13: "/usr/x" cannot be written: the system is read-only but for /etc, /var, /home, /root, /srv, /opt, /usr/local`},
		{"a directory nobody can make", add("storage", "directories", object{"path": "/x"}), `u:15:13: "/x" cannot be written: the system is read-only but for /etc, /var, /home, /root, /srv, /opt, /usr/local`},
		{"a damaged file", add("storage", "files", object{"path": "/etc/x", "contents": object{"source": "data:;base64,???"}}), `u:16:16: storage.files[0]: its content is damaged`},
		{"kubeadm's configuration elsewhere", add("storage", "files", object{"path": "/etc/kubeadm.yml", "contents": object{"source": "https://x"}}), `u:18:13: /etc/kubeadm.yml lies elsewhere (write it inline)`},
		{"a unit of one's own in kubeadm's place", add("systemd", "units", object{"name": "kubeadm.service", "contents": "[Service]\nExecStart=/bin/true\n"}), `u:37:17: kubeadm.service is not the one that Cluster API's bootstrap provider writes (leave it to the bootstrap provider)`},
		{"metadata that nobody fetches", add("systemd", "units", object{"name": "kubeadm.service", "dropins": []any{object{"name": "a.conf", "contents": "[Unit]\nRequires=coreos-metadata.service\n"}}}), `u:37:16: kubeadm.service, drop-in "a.conf": nothing on this system asks the platform for metadata (leave it out, and name what the node cannot know)`},
		{"a script of one's own", script("#!/bin/bash\nset -e\nkubeadm join\n"), `u: /etc/kubeadm.sh:1:1: /etc/kubeadm.sh is not the one that Cluster API's bootstrap provider writes (leave it to the bootstrap provider)`},
		{"a flag of kubeadm's", script("#!/bin/bash\nset -e\n" + strings.Replace(join, ".yml \n", ".yml --dry-run\n", 1)), `u: /etc/kubeadm.sh:3:1: kubeadm's flag --dry-run cannot be given here`},
		{"a command that edits kubeadm's configuration", script("#!/bin/bash\nset -e\n\nenvsubst < /etc/kubeadm.yml > /etc/kubeadm.yml.tmp\n" + join), `u: /etc/kubeadm.sh:4:1: a command wants to see /etc/kubeadm.yml, which became a role before any command runs (say it in the KubeadmConfig, or in /etc/slipway/role.yaml)`},
		{"kubeadm's configuration is wrong", strings.Replace(read(t, name), "kind%3A%20JoinConfiguration", "kind%3A%20Joined", 1), `u: /etc/kubeadm.yml:2:1: not a document that kubeadm reads (ClusterConfiguration, InitConfiguration, JoinConfiguration, KubeletConfiguration, KubeProxyConfiguration)`},
	})
}
