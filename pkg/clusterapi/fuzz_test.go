package clusterapi_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/clusterapi"
	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/role"
)

// check lets whatever was not refused be read by those who read it next.
func check(t *testing.T, data string) {
	m := machine()
	m.Image = nil
	tr, err := clusterapi.Translate("u", []byte(data), m)
	if err != nil {
		if !errors.Is(err, clusterapi.ErrForeign) && diag.ExitCode(err) != diag.ExitInput {
			t.Errorf("not bad input: %v", err)
		}
		return
	}
	if _, err := role.Parse("role.yaml", tr.RoleFile); err != nil {
		t.Errorf("the node would refuse it: %v\n%s", err, tr.RoleFile)
	}
}

func FuzzCloudConfig(f *testing.F) {
	for _, name := range []string{"init.cloud-config", "join-control-plane.cloud-config", "join-worker.cloud-config"} {
		f.Add(read(f, name))
	}
	f.Add(worker("users: [{name: a, groups: [b], sudo: [c]}]\nntp: {pools: [d]}\nbootcmd: [[e, 1]]\n"))
	f.Add("## template: jinja\n#cloud-config\nhostname: {% raw %}{{ a }}{% endraw %}{{ v1.local_hostname }}\n")
	f.Add(workerWith("- {path: /etc/slipway/role.yaml, content: \"node: {ip: 192.0.2.7}\"}\n", "      nodeRegistration: {taints: [{key: a, effect: NoSchedule}]}\n", ""))
	f.Fuzz(func(t *testing.T, data string) { check(t, data) })
}

func FuzzIgnition2(f *testing.F) {
	for _, name := range []string{"init.ign2.json", "join-control-plane.ign2.json", "join-worker.ign2.json"} {
		f.Add(read(f, name))
	}
	f.Add(`{"ignition":{"version":"2.3.0"},"storage":{"files":[{"path":"/etc/slipway/role.yaml","contents":{"source":"data:,version:%201%0Arole:%20worker%0Ajoin:%20{}"}}]}}`)
	f.Add(`{"ignition":{"version":"2.3.0","config":{"append":[{"source":"https://x"}]}},"networkd":{"units":[{"name":"a","contents":"b"}]}}`)
	f.Fuzz(func(t *testing.T, data string) {
		if strings.HasPrefix(strings.TrimSpace(data), "{") {
			check(t, data)
		}
	})
}

// The documents of kubeadm are somebody else's to write, too.
func FuzzKubeadm(f *testing.F) {
	init := read(f, "init.cloud-config")
	_, documents, _ := strings.Cut(init, "kubeadm.yaml\n")
	documents, _, _ = strings.Cut(documents[strings.Index(documents, "---"):], "-   path:")
	f.Add(strings.ReplaceAll(documents, "\n      ", "\n"))
	f.Add("apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\ncontrolPlane: {}\ndiscovery: {tlsBootstrapToken: a}\n---\napiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nmaxPods: 5\n")
	f.Add("kind: ClusterConfiguration\napiVersion: kubeadm.k8s.io/v1beta4\napiServer: []\nnetworking: a\netcd: {local: {imageTag: []}}\n")
	f.Fuzz(func(t *testing.T, documents string) {
		check(t, "#cloud-config\nwrite_files:\n- path: /etc/k.yaml\n  content: |2\n    "+strings.ReplaceAll(documents, "\n", "\n    ")+"\nruncmd: [kubeadm init --config /etc/k.yaml]\n")
	})
}
