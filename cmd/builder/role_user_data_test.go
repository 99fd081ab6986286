package main

import (
	"os"
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/manifest"
	"github.com/slipway-os/slipway/pkg/role"
)

func TestRoleFromUserData(t *testing.T) {
	data, err := os.ReadFile("../../pkg/clusterapi/testdata/join-worker.cloud-config")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{"user-data": string(data), "config.ign": `{"ignition": {"version": "3.4.0"}}`}
	const named = "--metadata=local_hostname=worker-1"
	out, err := builder(t, files, "role", "from-user-data", "user-data", named)
	if err != nil {
		t.Fatal(err)
	}
	text, config, two := strings.Cut(out, "---\n")
	if !two || !strings.HasPrefix(config, "{\n") || !strings.Contains(config, role.File) {
		t.Errorf("config: %.200s", config)
	}
	if r, err := role.Parse("out", []byte(text)); err != nil || r.Role != role.Worker || r.Node.Name != "worker-1" {
		t.Errorf("role: %v, %s", err, text)
	}
	if only, err := again(t, "role", "from-user-data", "user-data", named, "--output=role"); err != nil || only != text {
		t.Errorf("role alone: %v, %s", err, only)
	}
	if only, err := again(t, "role", "from-user-data", "user-data", named, "--output=ignition"); err != nil || !strings.HasPrefix(only, `{"ignition"`) {
		t.Errorf("config alone: %v, %.100s", err, only)
	}
	writeDisk(t, "cp.raw", manifest.Image{Profile: "cp", Roles: []string{role.ControlPlane}})
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"a name that is not given", []string{"user-data"}, "user-data:32:16: the machine does not know its ds.meta_data.local_hostname (see docs/cluster-api.md for where it is looked for)"},
		{"an image that cannot", []string{"user-data", named, "--image=cp.raw"}, `user-data:19:7: an image of profile "cp" cannot be a worker (it can be: control-plane)`},
		{"a config of today", []string{"config.ign"}, "config.ign: neither a cloud-config nor an Ignition config of specification 2.3 (Ignition configs of specification 3 need no translation)"},
		{"no file", []string{"none"}, "reading the user data: open none: no such file or directory"},
		{"metadata that is none", []string{"user-data", "--metadata=a"}, `--metadata "a": not NAME=VALUE`},
		{"an unknown output", []string{"user-data", "--output=xml"}, `--output "xml": role, ignition or both`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := again(t, append([]string{"role", "from-user-data"}, c.args...)...)
			if err == nil || !strings.HasPrefix(err.Error(), c.want) || diag.ExitCode(err) != diag.ExitInput {
				t.Errorf("got %v", err)
			}
		})
	}
}
