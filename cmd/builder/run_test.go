package main

import (
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/manifest"
)

// What a run cannot be is refused before anything is booted.
func TestRunRefuses(t *testing.T) {
	files := map[string]string{"r.yaml": goodRole, "a.bu": "variant: fcos\nversion: 1.7.0\n", "file": "x", "c.ign": "{}"}
	if _, err := builder(t, files, "role", "check", "r.yaml"); err != nil {
		t.Fatal(err)
	}
	foreign := map[string]string{"amd64": "arm64"}[runtime.GOARCH]
	if foreign == "" {
		foreign = "amd64"
	}
	writeDisk(t, "disk.raw", manifest.Image{Profile: "cp", Architecture: runtime.GOARCH, Roles: []string{"control-plane"}})
	writeDisk(t, "foreign.raw", manifest.Image{Profile: "cp", Architecture: foreign, Roles: []string{"control-plane"}})
	if err := os.Mkdir("node", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("node/config.ign", []byte(goodRole), 0o644); err != nil {
		t.Fatal(err)
	}
	image := sumOf(t, "disk.raw")
	for _, c := range []struct{ args, want string }{
		{"disk.raw --accelerator xen", `--accelerator "xen": kvm or tcg; without it, builder finds out`},
		{"foreign.raw --accelerator kvm", `--accelerator kvm: the image is for ` + foreign + `, and this machine is ` + runtime.GOARCH + `; leave it out`},
		{"disk.raw --butane a.bu", `--butane a.bu: it is merged over a role; give one with --role`},
		{"disk.raw --butane a.bu --ignition c.ign", `--butane a.bu: it is merged over a role; give one with --role`},
		{"disk.raw --role r.yaml --ignition c.ign", `--role and --ignition: give one of them`},
		{"disk.raw --until ready", `--until ready needs --role: without one the machine has nothing to become`},
		{"disk.raw --until now", `--until "now": ready or off`},
		{"disk.raw --memory 10", `--memory 10: at least 512 (MiB)`},
		{"disk.raw --cpus 0", `--cpus 0: 1 to 240`},
		{"disk.raw --cpus 1000", `--cpus 1000: 1 to 240`},
		{"disk.raw --timeout -5m", `--timeout -5m0s: more than nothing, for example 30m`},
		{"disk.raw --timeout 0", `--timeout 0s: more than nothing, for example 30m`},
		{"disk.raw --ignition nope", `reading the Ignition config: open nope: no such file or directory`},
		{"disk.raw --ignition node", `reading the Ignition config: read node: is a directory`},
		{"disk.raw --ignition r.yaml", `r.yaml: not an Ignition config: it is no JSON ('builder role ignition' makes one of a role; --role takes the role itself)`},
		{"disk.raw --dir file", `--dir file: is a file; name another`},
		{"disk.raw --dir node --role node/config.ign", `--dir node/config.ign: would be written over node/config.ign, which is read; name another`},
		{"disk.raw --capture disk.raw", `--capture disk.raw: would be written over disk.raw, which is read; name another`},
		{"disk.raw --capture node", `--capture node: is a directory; name another`},
	} {
		out, err := again(t, append([]string{"run"}, strings.Fields(c.args)...)...)
		if err == nil || err.Error() != c.want || out != "" || diag.ExitCode(err) != diag.ExitInput {
			t.Errorf("%s:\ngot  %s%v (status %d)\nwant %s", c.args, out, err, diag.ExitCode(err), c.want)
		}
	}
	if sumOf(t, "disk.raw") != image {
		t.Error("the image was written to")
	}
}
