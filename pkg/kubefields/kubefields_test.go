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
		{"right", "KubeletConfiguration", "{maxPods: 110, imageMinimumGCAge: 2m0s, featureGates: {A: true}, evictionHard: {memory.available: 5%}, clusterDNS: [10.96.0.10], registerWithTaints: [{key: a, effect: NoSchedule}]}", ""},
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
		{"unknown kind", "Pod", "{a: b}", ""},
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
