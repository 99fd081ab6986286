package main

import (
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/diag"
)

// A file of another kind is told as such, in one line.
func TestFilesOfAnotherKind(t *testing.T) {
	files := map[string]string{"c.yaml": goodCluster, "r.yaml": goodRole, "typo.yaml": goodRole + "nodes: []\n"}
	if _, err := builder(t, files, "cluster", "new", "--name", "demo", "--out", "s.yaml"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ args, want string }{
		{"role check c.yaml", `c.yaml: this is a description of a cluster, not a role (builder cluster check c.yaml)`},
		{"role ignition c.yaml", `c.yaml: this is a description of a cluster, not a role (builder cluster check c.yaml)`},
		{"role check s.yaml", `s.yaml: this is the secrets of a cluster, not a role (builder cluster render CLUSTER --secrets s.yaml)`},
		{"role check typo.yaml", `typo.yaml:5:1: unknown field "nodes" (did you mean "node"?)`},
		{"cluster check r.yaml", `r.yaml: this is a role, not a description of a cluster (builder role check r.yaml)`},
		{"cluster render c.yaml --secrets c.yaml --out o", `c.yaml: this is a description of a cluster, not the secrets of a cluster (builder cluster check c.yaml)`},
		{"cluster render c.yaml --secrets r.yaml --out o", `r.yaml: this is a role, not the secrets of a cluster (builder role check r.yaml)`},
		{"inspect ls disk.raw", `the image comes first: builder inspect IMAGE ls; see 'builder inspect --help'`},
		{"inspect cat", `the image comes first: builder inspect IMAGE cat; see 'builder inspect --help'`},
	} {
		_, err := again(t, strings.Fields(c.args)...)
		if err == nil || err.Error() != c.want || diag.ExitCode(err) != diag.ExitInput {
			t.Errorf("%s:\ngot  %v (status %d)\nwant %s", c.args, err, diag.ExitCode(err), c.want)
		}
	}
}

func TestFieldsThatBelongElsewhere(t *testing.T) {
	_, err := builder(t, map[string]string{"r.yaml": goodRole + "kubernetesVersion: v1.37.2\n"}, "role", "check", "r.yaml")
	if want := `r.yaml:5:1: unknown field "kubernetesVersion" (did you mean "cluster.kubernetesVersion"?)`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
