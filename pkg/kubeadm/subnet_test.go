package kubeadm_test

import (
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/kubeadm"
	"github.com/slipway-os/slipway/pkg/role"
)

func TestFirstSubnets(t *testing.T) {
	args := func(name string) []map[string]any {
		return []map[string]any{{"kind": "ClusterConfiguration", "controllerManager": map[string]any{"extraArgs": []any{map[string]any{"name": name, "value": "x"}}}}}
	}
	for _, c := range []struct {
		name, pods, want string
		raw              []map[string]any
	}{
		{"IPv4", "10.244.0.0/16", "10.244.0.0/24", nil},
		{"both families, in the role's order", "fd00:10:244::/56 10.244.0.0/16", "fd00:10:244::/64 10.244.0.0/24", nil},
		{"host bits do not count", "10.244.7.9/16", "10.244.0.0/24", nil},
		{"one subnet for all", "10.244.0.0/24", "10.244.0.0/24", nil},
		{"too small for one node", "10.244.0.0/25", "", nil},
		{"other sizes", "10.244.0.0/16", "", args("node-cidr-mask-size")},
		{"other sizes of one family", "10.244.0.0/16", "", args("node-cidr-mask-size-ipv6")},
		{"nobody assigns any", "10.244.0.0/16", "", args("allocate-node-cidrs")},
		{"other arguments", "10.244.0.0/16", "10.244.0.0/24", args("v")},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &role.Role{Cluster: role.Cluster{PodSubnets: strings.Fields(c.pods)}, Kubeadm: c.raw}
			if got := strings.Join(kubeadm.FirstSubnets(r), " "); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
