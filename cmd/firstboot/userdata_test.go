package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/clusterapi"
	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/manifest"
	"github.com/slipway-os/slipway/pkg/role"
)

func TestUserData(t *testing.T) {
	data, err := os.ReadFile("../../pkg/clusterapi/testdata/join-worker.ign2.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, data, takes, config, refused string }{
		{"what it becomes", string(data), role.Worker, `{"ignition":{"version":"3.`, ""},
		{"refused", string(data), role.Etcd, "", `user-data: /etc/kubeadm.yml:2:1: an image of profile "p" cannot be a worker (it can be: etcd)`},
		{"nothing that it knows", `{"ignition":{"version":"3.4.0"}}`, role.Worker, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := clusterapi.Machine{
				Metadata: func() (map[string]string, error) { return nil, nil },
				Image:    &manifest.Image{Profile: "p", Roles: []string{c.takes}}, Has: func(string) bool { return true },
			}
			var out bytes.Buffer
			refused := ""
			err := translate(strings.NewReader(c.data), &out, m, func(why string) error { refused = why; return nil })
			if refused != c.refused || diag.ExitCode(err) != map[bool]int{true: 0, false: diag.ExitInput}[refused == ""] {
				t.Errorf("refused: %q, %v", refused, err)
			}
			if got := out.String(); !strings.HasPrefix(got, c.config) || (got == "") != (c.config == "") {
				t.Errorf("config: %.100s", got)
			}
		})
	}
}
