package main

import (
	"os"
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/manifest"
)

// What is read is never written over, by whatever name.
func TestOutputsThatAreInputs(t *testing.T) {
	files := map[string]string{"c.yaml": goodCluster, "r.yaml": goodRole, "a.bu": "variant: fcos\nversion: 1.7.0\n"}
	if _, err := builder(t, files, "cluster", "new", "--name", "demo", "--out", "s.yaml"); err != nil {
		t.Fatal(err)
	}
	writeDisk(t, "disk.raw", manifest.Image{Roles: []string{"control-plane"}})
	for _, dir := range []string{"o", "signed", "same"} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for link, file := range map[string]string{"o2": "o", "soft": "s.yaml", "same/cp1.ign": "../c.yaml", "same/index.json": "../s.yaml"} {
		if err := os.Symlink(file, link); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link("s.yaml", "hard"); err != nil {
		t.Fatal(err)
	}
	before := contents(t)
	const render = "cluster render c.yaml --secrets s.yaml "
	for _, c := range []struct{ name, args, want string }{
		{"kubeconfig over the secrets", render + "--out o --admin s.yaml", `--admin s.yaml: would be written over s.yaml, which is read; name another`},
		{"by another name", render + "--out o --admin ./o/../s.yaml", `--admin ./o/../s.yaml: would be written over s.yaml, which is read; name another`},
		{"by a symbolic link", render + "--out o --admin soft", `--admin soft: would be written over s.yaml, which is read; name another`},
		{"by a hard link", render + "--out o --admin hard", `--admin hard: would be written over s.yaml, which is read; name another`},
		{"in a dry run", render + "--out o --admin s.yaml --dry-run", `--admin s.yaml: would be written over s.yaml, which is read; name another`},
		{"kubeconfig over the description", render + "--out o --admin c.yaml", `--admin c.yaml: would be written over c.yaml, which is read; name another`},
		{"kubeconfig over Butane", render + "--out o --butane a.bu --admin a.bu", `--admin a.bu: would be written over a.bu, which is read; name another`},
		{"kubeconfig in place of a config", render + "--out o --admin o/cp1.ign", `--admin o/cp1.ign: lies in o; name another, outside of it`},
		{"kubeconfig among the configs", render + "--out o2 --admin o/sub/admin.conf", `--admin o/sub/admin.conf: lies in o2; name another, outside of it`},
		{"kubeconfig in a directory that is to be made", render + "--out new --admin new", `--admin new: lies in new; name another, outside of it`},
		{"kubeconfig among certificates", render + "--out o --signed signed --admin signed/a", `--admin signed/a: lies in signed; name another, outside of it`},
		{"kubeconfig in place of a directory", render + "--out o --admin signed", `--admin signed: is a directory; name another`},
		{"kubeconfig in place of a device", render + "--out o --admin /dev/null", `--admin /dev/null: is no ordinary file; name another`},
		{"configs over inputs", render + "--out same", "--out same/index.json: would be written over s.yaml, which is read; name another\n--out same/cp1.ign: would be written over c.yaml, which is read; name another"},
		{"configs in place of a file", render + "--out r.yaml", `--out r.yaml: is a file; name another`},
		{"config over the role", "role ignition r.yaml -o r.yaml", `--out r.yaml: would be written over r.yaml, which is read; name another`},
		{"config over Butane", "role ignition r.yaml --butane a.bu -o a.bu", `--out a.bu: would be written over a.bu, which is read; name another`},
		{"config over the image", "role ignition r.yaml --image disk.raw -o disk.raw", `--out disk.raw: would be written over disk.raw, which is read; name another`},
		{"config in place of a directory", "role ignition r.yaml -o signed", `--out signed: is a directory; name another`},
		{"secrets in place of a directory", "cluster new --name demo --out signed", `--out signed: is a directory; name another`},
		{"certificates that are not there", render + "--out o --signed nope", `reading the certificates that were signed elsewhere: open nope: no such file or directory`},
	} {
		_, err := again(t, strings.Fields(c.args)...)
		if err == nil || err.Error() != c.want || diag.ExitCode(err) != diag.ExitInput {
			t.Errorf("%s:\ngot  %v (status %d)\nwant %s", c.name, err, diag.ExitCode(err), c.want)
		}
	}
	if after := contents(t); after != before {
		t.Errorf("before %q, after %q", before, after)
	}
}

// contents lists what the working directory holds, and what is in its files.
func contents(t *testing.T) string {
	t.Helper()
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, e := range entries {
		all.WriteString(e.Name() + "\n")
		if info, err := os.Stat(e.Name()); err != nil || info.IsDir() {
			continue
		}
		all.WriteString(sumOf(t, e.Name()))
	}
	return all.String()
}

// Nothing keeps a file from being written again, or beside what is read.
func TestOutputsThatMayBeWritten(t *testing.T) {
	if _, err := builder(t, map[string]string{"c.yaml": goodCluster, "r.yaml": goodRole}, "cluster", "new", "--name", "demo", "--out", "s.yaml"); err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{
		"cluster render c.yaml --secrets s.yaml --out configs --admin admin.conf",
		"cluster render c.yaml --secrets s.yaml --out configs --admin admin.conf",
		"cluster render c.yaml --secrets s.yaml --out .",
		"role ignition r.yaml -o r.ign",
		"role ignition r.yaml -o r.ign",
	} {
		if _, err := again(t, strings.Fields(args)...); err != nil {
			t.Errorf("%s: %v", args, err)
		}
	}
}

func TestAnIdentityThatNothingNeeds(t *testing.T) {
	if _, err := builder(t, map[string]string{"c.yaml": goodCluster}, "cluster", "new", "--name", "demo", "--out", "s.yaml"); err != nil {
		t.Fatal(err)
	}
	out, err := again(t, "cluster", "render", "c.yaml", "--secrets", "s.yaml", "--out", "o", "--identity", "key.txt")
	if want := "warning: s.yaml: not encrypted; --identity is not needed\n"; err != nil || !strings.HasPrefix(out, want) {
		t.Errorf("got %s%v, want %s", out, err, want)
	}
}
