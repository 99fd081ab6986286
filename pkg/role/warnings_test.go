package role_test

import (
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/role"
)

func TestWarnings(t *testing.T) {
	const members = "etcd: {members: [{name: e1, ip: 192.0.2.1}, {name: e2, ip: 192.0.2.2}]}\n"
	for _, c := range []struct{ name, in, want string }{
		{"none", head, ""},
		{"three etcd members", etcd + strings.Replace(members, "]", ", {name: e3, ip: 192.0.2.3}]", 1), ""},
		{"two etcd members", etcd + members, "r.yaml:3:17: 2 etcd members stand the loss of no more of them than 1 (an odd number)"},
		{"two etcd members of a control plane", head + members, "r.yaml:4:17: 2 etcd members stand the loss of no more of them than 1 (an odd number)"},
		{"two control planes that share an address", head + "virtualIP: {addresses: [192.0.2.9], controlPlanes: [{name: a, ip: 192.0.2.1}, {name: b, ip: 192.0.2.2}]}\n", "r.yaml:4:52: 2 control planes, whose etcd stands the loss of no more of them than that of 1 (an odd number)"},
		{"a document for who joins", head + "kubeadm:\n  - kind: ClusterConfiguration\n  - kind: JoinConfiguration\n", "r.yaml:6:5: kubeadm[1]: a node that starts the cluster reads no JoinConfiguration"},
		{"documents for who starts a cluster", strings.Replace(head, "init", "join", 1) + "kubeadm: [{kind: ClusterConfiguration}, {kind: InitConfiguration}]\n", "r.yaml:4:11: kubeadm[0]: a node that joins a cluster reads no ClusterConfiguration\nr.yaml:4:41: kubeadm[1]: a node that joins a cluster reads no InitConfiguration"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := role.Parse("r.yaml", []byte(c.in))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, w := range r.Warnings() {
				got = append(got, w.Error())
			}
			if strings.Join(got, "\n") != c.want {
				t.Errorf("got  %s\nwant %s", strings.Join(got, "\n"), c.want)
			}
		})
	}
}
