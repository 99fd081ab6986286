package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/gpt"
	"github.com/slipway-os/slipway/pkg/manifest"
	"github.com/slipway-os/slipway/pkg/squashfs"
	"github.com/slipway-os/slipway/pkg/tree"
)

// builder runs the program in a directory with the given files and returns
// what it prints.
func builder(t *testing.T, files map[string]string, args ...string) (string, error) {
	t.Helper()
	t.Chdir(t.TempDir())
	for name, text := range files {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return again(t, args...)
}

func again(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	c := newRootCommand()
	c.SetOut(&out)
	c.SetErr(&out)
	c.SetArgs(args)
	err := c.ExecuteContext(t.Context())
	return out.String(), err
}

const goodRole = "version: 1\nrole: control-plane\ninit: {}\ncluster: {name: demo}\n"

// writeDisk writes the little of a disk that says what it is.
func writeDisk(t *testing.T, name string, m manifest.Image, files ...string) {
	t.Helper()
	b := tree.NewBuilder(0)
	about, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range append(files, manifest.ImagePath) {
		if err := b.Put(path, &tree.Node{Type: tree.File, Mode: 0o755, Content: tree.Bytes(about)}); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rootType, _, err := gpt.RootTypes("amd64")
	if err != nil {
		t.Fatal(err)
	}
	parts := []gpt.Partition{{Name: "root-a", Type: rootType, UUID: "11111111-2222-4333-8444-555555555555", Size: 4 << 20}}
	size := gpt.Layout(parts)
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	if err := gpt.Write(f, size, "11111111-2222-4333-8444-666666666666", parts); err != nil {
		t.Fatal(err)
	}
	if _, err := squashfs.Write(t.Context(), &offsetWriter{f, parts[0].Offset}, b.Tree(), squashfs.Options{}); err != nil {
		t.Fatal(err)
	}
}

type offsetWriter struct {
	f      *os.File
	offset int64
}

func (w *offsetWriter) WriteAt(p []byte, at int64) (int, error) { return w.f.WriteAt(p, w.offset+at) }

func TestRoleCheckSaysWhatTheNodeWillBe(t *testing.T) {
	out, err := builder(t, map[string]string{"r.yaml": goodRole, "a.bu": "variant: fcos\nversion: 1.7.0\n"}, "role", "check", "r.yaml", "--butane", "a.bu")
	if err != nil {
		t.Fatal(err)
	}
	if want := "r.yaml: fine: control-plane \"demo\", starts a new cluster\n"; out != want {
		t.Errorf("got  %swant %s", out, want)
	}
}

func TestRoleCommandsRefuse(t *testing.T) {
	files := map[string]string{
		"r.yaml":     goodRole,
		"bad.yaml":   "version: 1\nrole: control-plane\ninit: {}\nssh: {authorizedKeys: [hunter2]}\n",
		"a.bu":       "variant: fcos\nversion: 1.7.0\nstorage: {files: [{path: /etc/x, mode: 644}]}\n",
		"text.raw":   "no disk",
		"roles.yaml": "",
	}
	for _, c := range []struct{ args, want string }{
		{"role check bad.yaml", `bad.yaml:4:24: ssh.authorizedKeys[0] is not a public key that OpenSSH accepts (give a line as in a .pub file: ssh-ed25519 AAAA…)`},
		{"role ignition bad.yaml", `bad.yaml:4:24: ssh.authorizedKeys[0] is not a public key that OpenSSH accepts (give a line as in a .pub file: ssh-ed25519 AAAA…)`},
		{"role check none.yaml", `reading role: open none.yaml: no such file or directory`},
		{"role check r.yaml --butane none.bu", `reading Butane file: open none.bu: no such file or directory`},
		{"role check r.yaml --butane a.bu", `a.bu:3:40: storage.files.0.mode: unreasonable mode would be reasonable if specified in octal; remember to add a leading zero`},
		{"role check r.yaml --image text.raw", `opening image "text.raw": `},
		{"role check r.yaml --output yaml", `--output "yaml": text or json`},
		{"role check", `accepts 1 arg(s), received 0; see 'builder role check --help'`},
		{"role chekc r.yaml", `unknown command "chekc" for "builder role" (did you mean "check"?); see 'builder role --help'`},
	} {
		out, err := builder(t, files, strings.Fields(c.args)...)
		if err == nil {
			t.Errorf("%s: accepted", c.args)
			continue
		}
		if got := err.Error(); got != c.want && (!strings.HasSuffix(c.want, ": ") || !strings.HasPrefix(got, c.want)) {
			t.Errorf("%s:\ngot  %s\nwant %s", c.args, got, c.want)
		}
		if code := diag.ExitCode(err); code != diag.ExitInput {
			t.Errorf("%s: exit status %d, want %d", c.args, code, diag.ExitInput)
		}
		if out != "" {
			t.Errorf("%s: printed %q", c.args, out)
		}
	}
}

func TestRoleCheckAsJSON(t *testing.T) {
	out, err := builder(t, map[string]string{"r.yaml": "role: x\n"}, "role", "check", "r.yaml", "--output", "json")
	if diag.ExitCode(err) != diag.ExitInput {
		t.Errorf("exit status %d: %v", diag.ExitCode(err), err)
	}
	var v verdict
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		t.Fatal(err)
	}
	want := problem{File: "r.yaml", Line: 1, Column: 7, Message: `unknown role "x"`, Hint: "known: control-plane, worker, etcd"}
	if v.Fine || len(v.Problems) != 2 || v.Problems[1] != want {
		t.Errorf("got %+v", v)
	}
	out, err = builder(t, map[string]string{"r.yaml": goodRole}, "role", "check", "r.yaml", "--output", "json")
	if err != nil {
		t.Fatal(err)
	}
	v = verdict{}
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		t.Fatal(err)
	}
	if !v.Fine || v.Cluster != "demo" || v.Problems == nil || len(v.Problems) != 0 {
		t.Errorf("got %+v from %s", v, out)
	}
}

func TestRoleWarnings(t *testing.T) {
	const want = "r.yaml:3:17: 2 etcd members stand the loss of no more of them than 1 (an odd number)"
	files := map[string]string{"r.yaml": "version: 1\nrole: etcd\netcd: {members: [{name: e1, ip: 192.0.2.1}, {name: e2, ip: 192.0.2.2}]}\n"}
	out, err := builder(t, files, "role", "check", "r.yaml")
	if err != nil || !strings.HasPrefix(out, "warning: "+want+"\nr.yaml: fine: ") {
		t.Errorf("got %q, %v", out, err)
	}
	out, err = again(t, "role", "check", "r.yaml", "--output", "json")
	var v verdict
	if err != nil || json.Unmarshal([]byte(out), &v) != nil || !v.Fine || len(v.Warnings) != 1 || v.Warnings[0].Line != 3 {
		t.Errorf("got %s, %v", out, err)
	}
}

func TestRoleCheckWithAnImage(t *testing.T) {
	const butane = "variant: fcos\nversion: 1.7.0\nstorage:\n  filesystems: [{device: /dev/vdb, format: xfs}]\n"
	files := map[string]string{"r.yaml": goodRole, "old.yaml": "version: 1\nrole: control-plane\ninit: {}\ncluster: {kubernetesVersion: v1.36.0}\n", "a.bu": butane}
	if _, err := builder(t, files, "role", "schema"); err != nil {
		t.Fatal(err)
	}
	m := manifest.Image{Profile: "cp", Architecture: "amd64", KubernetesVersion: "v1.37.2", Roles: []string{"control-plane"}}
	writeDisk(t, "bare.raw", m)
	writeDisk(t, "xfs.raw", m, "usr/sbin/mkfs.xfs")
	m.Roles = []string{"worker"}
	writeDisk(t, "worker.raw", m)

	out, err := again(t, "role", "check", "r.yaml", "--image", "xfs.raw", "--butane", "a.bu")
	if want := "r.yaml: fine: control-plane \"demo\", starts a new cluster; fits xfs.raw (cp, amd64, Kubernetes v1.37.2)\n"; err != nil || out != want {
		t.Errorf("got  %s%v\nwant %s", out, err, want)
	}
	for args, want := range map[string]string{
		"r.yaml --image bare.raw --butane a.bu":   `a.bu:4:16: storage.filesystems, format xfs: this image has no mkfs.xfs; add its package to the profile's os.packages`,
		"r.yaml --image worker.raw":               `r.yaml:2:7: an image of profile "cp" cannot be a control-plane (it can be: worker)`,
		"old.yaml --image xfs.raw --butane a.bu":  `old.yaml:4:30: cluster.kubernetesVersion is v1.36.0, but the image has v1.37.2 (bake another image, or leave this out)`,
		"old.yaml --image bare.raw --butane a.bu": "old.yaml:4:30: cluster.kubernetesVersion is v1.36.0, but the image has v1.37.2 (bake another image, or leave this out)\na.bu:4:16: storage.filesystems, format xfs: this image has no mkfs.xfs; add its package to the profile's os.packages",
	} {
		_, err := again(t, append([]string{"role", "check"}, strings.Fields(args)...)...)
		if err == nil || err.Error() != want || diag.ExitCode(err) != diag.ExitInput {
			t.Errorf("%s:\ngot  %v (status %d)\nwant %s", args, err, diag.ExitCode(err), want)
		}
	}
	if got, err := readImage("bare.raw"); err != nil || got.Profile != "cp" {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := imageKernel("bare.raw"); diag.ExitCode(err) != diag.ExitInput {
		t.Errorf("kernel of a disk without one: %v", err)
	}
}

func TestRoleIgnitionIsItsOwnersAlone(t *testing.T) {
	stdout, err := builder(t, map[string]string{"r.yaml": goodRole}, "role", "ignition", "r.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := again(t, "role", "ignition", "r.yaml", "-o", "config.ign"); err != nil || out != "" {
		t.Fatalf("printed %q: %v", out, err)
	}
	private(t, "config.ign")
	data, err := os.ReadFile("config.ign")
	if err != nil {
		t.Fatal(err)
	}
	if string(data) != stdout || !json.Valid(data) || bytes.Count(data, []byte("\n")) != 1 {
		t.Errorf("the file has %q, standard output %q", data, stdout)
	}
}

func private(t *testing.T, name string) {
	t.Helper()
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("%s has mode %o", name, info.Mode().Perm())
	}
}

func TestRoleConfigAddsTheKeyOfTheRun(t *testing.T) {
	if _, err := builder(t, map[string]string{"r.yaml": goodRole}, "role", "check", "r.yaml"); err != nil {
		t.Fatal(err)
	}
	f := runFlags{role: "r.yaml", dir: t.TempDir()}
	m := manifest.Image{KubernetesVersion: "v1.37.2", Roles: []string{"control-plane"}}
	name, err := roleConfig(f, m, "ssh-ed25519 AAAA run\n")
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(f.dir, "config.ign"); name != want {
		t.Errorf("wrote %s, want %s", name, want)
	}
	private(t, name)
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(data, []byte(`"sshAuthorizedKeys":["ssh-ed25519 AAAA run"]`)) || !bytes.Contains(data, []byte(`{"enabled":true,"name":"ssh.service"}`)) {
		t.Errorf("got %s", data)
	}
	m.Roles = nil
	if _, err := roleConfig(f, m, ""); diag.ExitCode(err) != diag.ExitInput {
		t.Errorf("an image that takes no role: %v", err)
	}
}
