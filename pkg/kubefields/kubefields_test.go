package kubefields_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/slipway-os/slipway/pkg/kubefields"
)

func TestCheck(t *testing.T) {
	for _, c := range []struct{ name, kind, document, want string }{
		{"right", "KubeletConfiguration", "{maxPods: 110, imageMinimumGCAge: 2m0s, featureGates: {NodeSwap: true}, evictionHard: {memory.available: 5%}, clusterDNS: [10.96.0.10], registerWithTaints: [{key: a, effect: NoSchedule}]}", ""},
		{"nothing given", "KubeletConfiguration", "{maxPods: null, authentication: null}", ""},
		{"inline fields", "KubeletConfiguration", "{apiVersion: kubelet.config.k8s.io/v1beta1, kind: KubeletConfiguration}", ""},
		{"whole number for a number", "KubeProxyConfiguration", "{clientConnection: {qps: 5}}", ""},
		{"fields of its own way to be written", "InitConfiguration", "{bootstrapTokens: [{token: abcdef.0123456789abcdef, ttl: 24h0m0s}]}", ""},
		{"any configuration of a plug-in", "AdmissionConfiguration", "{plugins: [{name: a, configuration: {b: [c]}}]}", ""},
		{"several, sorted", "KubeProxyConfiguration", "{zzzzzz: 1, mode: 1}", "mode: must be text (in quotes), not 1\nzzzzzz: is no field of KubeProxyConfiguration"},
		{"few fields are all named", "AdmissionConfiguration", "{rules: []}", "rules: is no field of AdmissionConfiguration (known: apiVersion, kind, plugins)"},
		{"no list", "KubeletConfiguration", "{clusterDNS: 10.96.0.10}", `clusterDNS: must be a list, not "10.96.0.10"`},
		{"no mapping", "KubeletConfiguration", "{featureGates: [A], authentication: true}", "authentication: must be a mapping, not true\nfeatureGates: must be a mapping, not a list"},
		{"value of a mapping", "KubeletConfiguration", "{featureGates: {A: 'yes'}}", `featureGates.A: must be true or false, not "yes"`},
		{"no duration", "KubeletConfiguration", "{imageMinimumGCAge: 120}", "imageMinimumGCAge: must be a duration as in 1h30m, not 120"},
		{"fraction", "KubeletConfiguration", "{maxPods: 1.5}", "maxPods: must be a whole number, not 1.5"},
		{"addresses to listen at", "KubeProxyConfiguration", "{bindAddress: '::', metricsBindAddress: 0.0.0.0, healthzBindAddress: '[::]:10256'}", ""},
		{"large numbers", "KubeletConfiguration", "{maxOpenFiles: 3000000000, maxPods: 3000000000}", "maxPods: must be 2147483647 or less, not 3000000000"},
		{"nothing that counts", "KubeletConfiguration", "{cgroupDriver: '', port: 0, address: '', shutdownGracePeriod: 0s, evictionHard: {}}", ""},
		{"choice that there is not", "KubeletConfiguration", "{cgroupDriver: systemdd, topologyManagerPolicy: numa, memorySwap: {swapBehavior: Unlimited}}", `cgroupDriver: must be systemd or cgroupfs, not "systemdd" (did you mean "systemd"?)
memorySwap.swapBehavior: must be NoSwap or LimitedSwap, not "Unlimited"
topologyManagerPolicy: must be none, best-effort, restricted or single-numa-node, not "numa"`},
		{"out of range", "KubeletConfiguration", "{imageGCHighThresholdPercent: 120, maxPods: -1, maxParallelImagePulls: 0, healthzPort: 70000}", `healthzPort: must be between 0 and 65535, not 70000
imageGCHighThresholdPercent: must be between 0 and 100, not 120
maxParallelImagePulls: must be 1 or more, not 0
maxPods: must be 0 or more, not -1`},
		{"too short, too long", "KubeletConfiguration", "{shutdownGracePeriod: 500ms, cpuCFSQuotaPeriod: 2s, containerLogMonitorInterval: 1s, imageMinimumGCAge: -1s}", `containerLogMonitorInterval: must be 3s or more, not 1s
cpuCFSQuotaPeriod: must be between 1ms and 1s, not 2s
imageMinimumGCAge: must not be less than nothing: -1s
shutdownGracePeriod: must be 0s, or 1s or more, not 500ms`},
		{"no address", "KubeletConfiguration", "{clusterDNS: [10.96.0.10, dns]}", `clusterDNS[1]: must be an IP address, not "dns"`},
		{"evictions", "KubeletConfiguration", "{evictionHard: {memory.available: 100Mi, nodefs.available: 5.5%}, evictionSoft: {pid.available: '100'}, evictionSoftGracePeriod: {pid.available: 1m30s}}", ""},
		{"signal that there is not", "KubeletConfiguration", "{evictionHard: {memory.avail: 5%, nodefs.available: lots}}", `evictionHard.memory.avail: is nothing that the kubelet evicts pods for (did you mean "memory.available"?)
evictionHard.nodefs.available: must be a percentage or a quantity as in 5% or 100Mi, not "lots"`},
		{"no time of grace", "KubeletConfiguration", "{evictionSoftGracePeriod: {memory.available: '90'}}", `evictionSoftGracePeriod.memory.available: must be a duration as in 1m30s, not "90"`},
		{"gates that there are not", "KubeletConfiguration", "{featureGates: {NodeSwop: true, Nonsense: true}}", "featureGates.NodeSwop: is no feature gate of kubernetes " + kubefields.Version() + ` (did you mean "NodeSwap"?)` + "\nfeatureGates.Nonsense: is no feature gate of kubernetes " + kubefields.Version()},
		{"gate that is settled", "KubeletConfiguration", "{featureGates: {NodeSwap: false}}", "featureGates.NodeSwap: cannot be false in " + kubefields.Version() + " (it is always true: leave it out)"},
		{"gates of the logs and the metrics", "KubeProxyConfiguration", "{featureGates: {LoggingAlphaOptions: true}}", ""},
		{"gate of another program", "ClusterConfiguration", "{featureGates: {NodeSwap: true}}", "featureGates.NodeSwap: is no feature gate of kubeadm " + kubefields.Version()},
		{"proxy", "KubeProxyConfiguration", "{mode: ipvsx, metricsBindAddress: '10249', nodePortAddresses: [primary, 192.0.2.0], conntrack: {min: -1}, iptables: {masqueradeBit: 32}}", `conntrack.min: must be 0 or more, not -1
iptables.masqueradeBit: must be between 0 and 31, not 32
metricsBindAddress: must be an IP address and a port as in 127.0.0.1:10249, not "10249"
mode: must be iptables, nftables or ipvs, not "ipvsx" (did you mean "ipvs"?)
nodePortAddresses[1]: must be a subnet as in 192.0.2.0/24, not "192.0.2.0" (or primary, localhost, all)`},
		{"unknown kind", "Pod", "{a: b}", ""},
		{"kubeadm", "ClusterConfiguration", "{kubernetesVersion: v1.37.2, encryptionAlgorithm: RSA-3072, certificateValidityPeriod: 24h, etcd: {local: {dataDir: /var/lib/etcd, serverCertSANs: ['*.example.net', 192.0.2.1]}}, apiServer: {extraArgs: [{name: v, value: '4'}, {name: a_b, value: ''}]}}", ""},
		{"what kubeadm refuses", "ClusterConfiguration", "{kubernetesVersion: banana, encryptionAlgorithm: RSA-1024, certificateValidityPeriod: -1h, caCertificateValidityPeriod: 0s, etcd: {local: {dataDir: relative/dir, peerCertSANs: [A B]}}}", `caCertificateValidityPeriod: must be 1s or more, not 0s
certificateValidityPeriod: must be 1s or more, not -1h0m0s
encryptionAlgorithm: must be ECDSA-P256, ECDSA-P384, RSA-2048, RSA-3072 or RSA-4096, not "RSA-1024" (did you mean "RSA-2048"?)
etcd.local.dataDir: must be an absolute path, not "relative/dir"
etcd.local.peerCertSANs[0]: must be a name or an IP address, not "A B"
kubernetesVersion: must be a version as in ` + kubefields.Version() + `, not "banana"`},
		{"flags", "ClusterConfiguration", "{scheduler: {extraArgs: [{name: --v, value: '4'}, {name: v=4, value: ''}, {value: x}, {name: v}, {name: a b, value: c}]}}", `scheduler.extraArgs[0].name: must be the name of a flag, without dashes before it, not "--v" (write v)
scheduler.extraArgs[1].name: must be the name of a flag, without dashes before it, not "v=4" (write {name: v, value: …})
scheduler.extraArgs[2].name: is missing
scheduler.extraArgs[3].value: is missing
scheduler.extraArgs[4].name: must be the name of a flag, without dashes before it, not "a b"`},
		{"volumes", "ClusterConfiguration", "{apiServer: {extraVolumes: [{name: a, hostPath: /a}, {name: b, hostPath: /b, mountPath: /b, pathType: Folder}]}}", `apiServer.extraVolumes[0].mountPath: is missing
apiServer.extraVolumes[1].pathType: must be DirectoryOrCreate, Directory, FileOrCreate, File, Socket, CharDevice or BlockDevice, not "Folder"`},
		{"tokens", "InitConfiguration", "{bootstrapTokens: [{token: abcdef.0123456789abcdef, ttl: 0s, usages: [signing, authentication], groups: ['system:bootstrappers:a']}, {token: abcdef.0123456789abcdef, expires: '2026-01-31T12:00:00Z'}, {token: null}], certificateKey: ''}", ""},
		{"what is no token is not repeated", "InitConfiguration", "{bootstrapTokens: [{token: hunter2, ttl: -1h, usages: [foo], groups: [bar], expires: yesterday}, {token: [hunter2]}], certificateKey: hunter2}", `bootstrapTokens[0].expires: must be a time as in 2026-01-31T12:00:00Z, in quotes, not "yesterday"
bootstrapTokens[0].groups[0]: must be a group as in system:bootstrappers:kubeadm:default-node-token, not "bar"
bootstrapTokens[0].token: is not a bootstrap token (six and sixteen characters of a-z and 0-9, as kubeadm token generate prints)
bootstrapTokens[0].ttl: must not be less than nothing: -1h0m0s
bootstrapTokens[0].usages[0]: must be signing or authentication, not "foo"
bootstrapTokens[1].token[0]: is not a bootstrap token (six and sixteen characters of a-z and 0-9, as kubeadm token generate prints)
certificateKey: is not a key (64 digits of 0-9 and a-f, as kubeadm certs certificate-key prints)`},
		{"tokens that contradict themselves", "InitConfiguration", "{bootstrapTokens: [{token: abcdef.0123456789abcdef, ttl: 1h, expires: '2026-01-31T12:00:00Z', usages: [signing]}]}", `bootstrapTokens[0].expires: does not go with ttl (leave one of them out)
bootstrapTokens[0].usages: lacks authentication, without which a token has no groups (add it)`},
		{"audit policy", "Policy", "{omitStages: [RequestReceived], rules: [{level: None, nonResourceURLs: ['/healthz*', '*']}, {level: RequestResponse, resources: [{group: '', resources: [secrets], resourceNames: [a]}, {group: apps}]}]}", ""},
		{"audit policy that no API server starts with", "Policy", "{omitStages: [Foo, ''], rules: [{level: Metadta}, {level: '', users: [a]}, {level: None, nonResourceURLs: [healthz, '/*/a', ''], resources: [{group: apps/v1}]}]}", `omitStages[0]: must be RequestReceived, ResponseStarted, ResponseComplete or Panic, not "Foo"
omitStages[1]: must be RequestReceived, ResponseStarted, ResponseComplete or Panic, not ""
rules[0].level: must be None, Metadata, Request or RequestResponse, not "Metadta" (did you mean "Metadata"?)
rules[1].level: is missing
rules[2].nonResourceURLs[0]: must be a path as in /healthz, with * at its end only, not "healthz"
rules[2].nonResourceURLs[1]: must be a path as in /healthz, with * at its end only, not "/*/a"
rules[2].nonResourceURLs[2]: must be a path as in /healthz, with * at its end only, not ""
rules[2].resources[0].group: must be a group as in apps or rbac.authorization.k8s.io, not "apps/v1" (write apps, without the version)`},
		{"audit rules of two kinds", "Policy", "{rules: [{level: None, nonResourceURLs: [/a], namespaces: [b]}, {level: None, resources: [{resourceNames: [a]}]}]}", `rules[0].nonResourceURLs: does not go with namespaces (make two rules of it)
rules[1].resources[0].resourceNames: goes with resources only`},
		{"a typo tells of nothing that is missing", "Policy", "{rules: [{levle: Metadata}]}", `rules[0].levle: is no field of PolicyRule (did you mean "level"?)`},
		{"plug-ins", "AdmissionConfiguration", "{plugins: [{name: PodSecurity}, {name: ''}, {name: EventRateLimit, path: a}, {}]}", "plugins[1].name: is missing\nplugins[3].name: is missing"},
		{"a plug-in twice", "AdmissionConfiguration", "{plugins: [{name: PodSecurity}, {name: PodSecurity}]}", `plugins[1].name: "PodSecurity" is given twice`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var document map[string]any
			if err := yaml.Unmarshal([]byte(c.document), &document); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, p := range kubefields.Check(c.kind, document) {
				line := p.Path + ": " + p.Text
				if p.Hint != "" {
					line += fmt.Sprintf(" (%s)", p.Hint)
				}
				got = append(got, line)
			}
			if strings.Join(got, "\n") != c.want {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), c.want)
			}
		})
	}
}

// The table must be of the Kubernetes that is baked: `go generate` makes it anew.
func TestVersion(t *testing.T) {
	mod, err := os.ReadFile("../../profiles/components/kubernetes/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	pinned := regexp.MustCompile(`k8s\.io/kubernetes (v\S+)`).FindSubmatch(mod)
	if pinned == nil || string(pinned[1]) != kubefields.Version() {
		t.Errorf("fields of %s, but pinned is %s", kubefields.Version(), pinned[1])
	}
}

// A rule of a field that is not there would never be asked.
func TestRulesAreOfFields(t *testing.T) {
	if unknown := kubefields.UnknownRules(); len(unknown) > 0 {
		t.Errorf("no such fields: %q", unknown)
	}
}

func FuzzCheck(f *testing.F) {
	f.Add("KubeletConfiguration", "{maxPods: 110, authentication: {x509: 1}}")
	f.Add("Policy", "{rules: [{resources: [{resources: a}]}]}")
	f.Fuzz(func(t *testing.T, kind, text string) {
		var document map[string]any
		if yaml.Unmarshal([]byte(text), &document) == nil {
			kubefields.Check(kind, document)
		}
	})
}
