package cluster_test

import (
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/cluster"
	"github.com/slipway-os/slipway/pkg/diag"
)

// at is a cluster with an endpoint; its nodes begin on line 5.
func at(endpoint string) string {
	return "version: 1\nname: demo\ncluster: {endpoint: '" + endpoint + "'}\nnodes:\n"
}

// Each node may be right, and the cluster could not come up all the same.
func TestNodesThatDoNotGoTogether(t *testing.T) {
	const (
		cp1   = "  - {name: cp1, role: control-plane, ip: 192.0.2.11}\n"
		w1    = "  - {name: w1, role: worker}\n"
		wired = "  - {name: w1, role: worker, with: {network: {links: [{name: a, addresses: [192.0.2.20/24, 192.0.2.21/24]}]}}}\n"
	)
	for _, c := range []struct{ name, in, want string }{
		{"the second interface of another", at("cp.example.net") + strings.Replace(cp1, "}", ", with: {network: {links: [{name: a, addresses: [192.0.2.1/24]}, {name: b, addresses: [192.0.2.21/24]}]}}}", 1) + wired, "c.yaml:6:92: nodes[1] has the address of nodes[0], 192.0.2.21 (give it another)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := cluster.Parse("c.yaml", []byte(c.in))
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != c.want || err != nil && diag.ExitCode(err) != diag.ExitInput {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}
