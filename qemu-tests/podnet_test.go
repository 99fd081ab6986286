package qemutests

import (
	"net/http"
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/kubeapi"
)

// otherNode is a node as flannel describes it to the others. It is no Linux, so
// that nothing is put on it.
const otherNode = `{"apiVersion":"v1","kind":"Node","metadata":{"name":"other","annotations":{
	"flannel.alpha.coreos.com/backend-data":"{\"VNI\":4096,\"VtepMAC\":\"4a:5c:00:00:00:07\"}","flannel.alpha.coreos.com/backend-type":"vxlan",
	"flannel.alpha.coreos.com/kube-subnet-manager":"true","flannel.alpha.coreos.com/public-ip":"10.0.2.77"}},
	"spec":{"podCIDR":"10.244.7.0/24","podCIDRs":["10.244.7.0/24"]}}`

// spans checks that the node sends the packets of its pods to the pods of
// another node: wrapped, to the address that node registered with, and as they
// are.
func spans(t *testing.T, m *machine, api *kubeapi.Client) {
	m = m.in(t)
	const nodes = "/api/v1/nodes"
	if _, err := api.Send(m.ctx, http.MethodPost, nodes, "application/json", strings.NewReader(otherNode)); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if _, err := api.Send(m.ctx, http.MethodDelete, nodes+"/other", "", nil); err != nil {
			t.Error(err)
		}
	}()
	for m.run("ip route show 10.244.7.0/24; true") == "" {
		wait(t, m.ctx)
	}
	for command, want := range map[string][]string{
		"ip route show 10.244.7.0/24":                      {"via 10.244.7.0 dev flannel.4096 onlink"},
		"ip -d link show flannel.4096":                     {"mtu 1450", "vxlan id 4096", "local 10.0.2.15", "dstport 4789"},
		"bridge fdb show dev flannel.4096":                 {"4a:5c:00:00:00:07 dst 10.0.2.77"},
		"ip neighbour show dev flannel.4096":               {"10.244.7.0 lladdr 4a:5c:00:00:00:07 PERMANENT"},
		"ip link show cni0":                                {"mtu 1450"},
		"ip route show 10.244.0.0/24":                      {"dev cni0"},
		"ip route get 10.244.7.9 from 10.244.0.9 iif cni0": {"dev flannel.4096"},
		"nft list chain inet slipway postrouting":          {"ip saddr 10.244.0.0/16 ip daddr != 10.244.0.0/16"},
	} {
		got := m.run(command)
		for _, words := range want {
			if !strings.Contains(strings.Join(strings.Fields(got), " "), words) {
				t.Errorf("%s: not %q:\n%s", command, words, got)
			}
		}
	}
	logs := m.run("kubectl --kubeconfig /etc/kubernetes/admin.conf -n kube-system logs daemonset/flannel")
	t.Logf("flannel says:\n%s", logs)
	if !strings.Contains(logs, "with addresses 10.0.2.15") {
		t.Error("it does not use the address that the node registered with")
	}
}
