package kubeadm_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/kubeadm"
	"github.com/slipway-os/slipway/pkg/role"
)

func TestPatches(t *testing.T) {
	const (
		restarts = "kubeletconfiguration000+merge.yaml"
		etcd     = "etcd000+strategic.yaml"
		server   = "kube-apiserver000+strategic.yaml"
		dns      = "corednsdeployment000+strategic.yaml"
		sched    = "kube-scheduler000+strategic.yaml"
		external = "etcd: {members: [{name: e1, ip: 192.0.2.21}]}\n"
	)
	for _, c := range []struct {
		name, role string
		files      []string
	}{
		{"a control plane with an etcd of its own", "role: control-plane\ninit: {}\n", []string{dns, etcd, server, sched, restarts}},
		{"one whose etcd is elsewhere", "role: control-plane\ninit: {}\n" + external, []string{dns, server, sched, restarts}},
		{"a member of that", "role: etcd\nnode: {name: e1}\n" + external, []string{etcd}},
		{
			"a control plane that joins", "role: control-plane\njoin: {}\ncluster: {endpoint: 192.0.2.10}\n",
			[]string{etcd, server, sched, restarts},
		},
		{"a worker", "role: worker\njoin: {}\ncluster: {endpoint: 192.0.2.10}\n", nil},
		{"a worker whose kubelet differs", "role: worker\njoin: {}\ncluster: {endpoint: 192.0.2.10}\nkubelet: {maxPods: 50}\n", []string{"kubeletconfiguration001+merge.yaml"}},
		{
			"the user's come last", "role: control-plane\ninit: {}\npatches: [{target: etcd, type: merge, patch: {spec: {priority: 1}}}]\n",
			[]string{dns, etcd, "etcd002+merge.yaml", server, sched, restarts},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := role.Parse("role.yaml", []byte("version: 1\n"+c.role))
			if err != nil {
				t.Fatal(err)
			}
			files, err := kubeadm.Patches(r)
			if err != nil {
				t.Fatal(err)
			}
			if got := slices.Sorted(maps.Keys(files)); !slices.Equal(got, c.files) {
				t.Errorf("got %q, want %q", got, c.files)
			}
			if text, given := files[etcd]; given && !strings.Contains(string(text), "cpu: 300m") {
				t.Errorf("%s: %s", etcd, text)
			}
		})
	}
}
