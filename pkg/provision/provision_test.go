package provision_test

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/coreos/ignition/v2/config/v3_6/types"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/provision"
	"github.com/slipway-os/slipway/pkg/role"
)

func read(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func config(t *testing.T, roleText string, opts []provision.Option, butane ...string) ([]byte, error) {
	t.Helper()
	r, err := role.Parse("role.yaml", []byte(roleText))
	if err != nil {
		t.Fatal(err)
	}
	var files []provision.ButaneFile
	for i, b := range butane {
		files = append(files, provision.ButaneFile{Name: string(rune('a'+i)) + ".bu", Data: []byte(b)})
	}
	return provision.Config(r, []byte(roleText), files, opts...)
}

func parsed(t *testing.T, data []byte) types.Config {
	t.Helper()
	var c types.Config
	if err := json.Unmarshal(data, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// content returns what a file of a config holds.
func content(t *testing.T, c types.Config, path string) string {
	t.Helper()
	for _, f := range c.Storage.Files {
		if f.Path != path {
			continue
		}
		kind, data, ok := strings.Cut(*f.Contents.Source, ",")
		if !ok {
			t.Fatalf("%s has the source %s", path, *f.Contents.Source)
		}
		if !strings.HasSuffix(kind, ";base64") {
			return data
		}
		text, err := base64.StdEncoding.DecodeString(data)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	t.Fatalf("no file %s", path)
	return ""
}

// The golden files are what
//
//	builder role ignition testdata/role.yaml [--butane testdata/user.bu]
//
// prints: look at the difference before writing them anew.
func TestGolden(t *testing.T) {
	text := string(read(t, "testdata/role.yaml"))
	for golden, butane := range map[string][]string{
		"testdata/role.ign": nil,
		"testdata/user.ign": {string(read(t, "testdata/user.bu"))},
	} {
		want := string(read(t, golden))
		for range 3 { // always the same
			got, err := config(t, text, nil, butane...)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != want {
				t.Errorf("%s: got\n%s", golden, got)
			}
		}
	}
}

func TestTheNodeGetsTheRoleAsItWasWritten(t *testing.T) {
	text := "# kept\nversion:   1\nrole: control-plane\ninit: {}\n"
	data, err := config(t, text, []provision.Option{provision.ExtraKeys("ssh-ed25519 AAAA run")})
	if err != nil {
		t.Fatal(err)
	}
	c := parsed(t, data)
	if got := content(t, c, role.File); got != text {
		t.Errorf("got %q", got)
	}
	if mode := *c.Storage.Files[0].Mode; mode != 0o600 {
		t.Errorf("mode %o: a role may hold secrets", mode)
	}
	if len(c.Storage.Files) != 1 {
		t.Errorf("files nobody asked for: %+v", c.Storage.Files)
	}
	if u := c.Passwd.Users; len(u) != 1 || u[0].Name != "root" || len(u[0].SSHAuthorizedKeys) != 1 {
		t.Errorf("users %+v", u)
	}
}

func TestWithoutKeysThereIsNoSSH(t *testing.T) {
	data, err := config(t, "version: 1\nrole: control-plane\ninit: {}\n", nil)
	if err != nil {
		t.Fatal(err)
	}
	if c := parsed(t, data); len(c.Passwd.Users) != 0 || len(c.Systemd.Units) != 0 {
		t.Errorf("got %s", data)
	}
}

func TestTheSameKeyTwiceIsOne(t *testing.T) {
	text := string(read(t, "testdata/role.yaml"))
	data, err := config(t, text, []provision.Option{provision.ExtraKeys("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICiBilQJgIpQJjZoqYM0AssojavVqv9msluZAZCZWyma admin@example.net\n")})
	if err != nil {
		t.Fatal(err)
	}
	if keys := parsed(t, data).Passwd.Users[0].SSHAuthorizedKeys; len(keys) != 1 {
		t.Errorf("keys %q", keys)
	}
}

func TestTheUsersFilesWinAndLaterOnesWinOverEarlier(t *testing.T) {
	file := func(text string) string {
		return "variant: fcos\nversion: 1.7.0\nstorage: {files: [{path: /etc/hostname, overwrite: true, contents: {inline: " + text + "}}]}\n"
	}
	data, err := config(t, string(read(t, "testdata/role.yaml")), nil, file("first"), file("second"))
	if err != nil {
		t.Fatal(err)
	}
	if got := content(t, parsed(t, data), "/etc/hostname"); got != "second" {
		t.Errorf("got %q", got)
	}
}

func TestBadButane(t *testing.T) {
	const fcos = "variant: fcos\nversion: 1.7.0\n"
	for _, c := range []struct{ name, in, want string }{
		{"not YAML", "variant: fcos\n\tversion: 1\n", `a.bu:2:1: not valid YAML: found a tab character that violates indentation`},
		{"second document", fcos + "---\n" + fcos, `a.bu:3:1: a second YAML document begins here (keep one document in a file)`},
		{"empty", "", `a.bu:1:1: variant is missing (variant: fcos, version: 1.7.0)`},
		{"no version", "variant: fcos\n", `a.bu:1:1: version is missing or not like 1.7.0 (variant: fcos, version: 1.7.0)`},
		{"unknown version", "variant: fcos\nversion: 1.9.0\n", `a.bu:2:10: unknown version 1.9.0 of variant "fcos" (variant: fcos, version: 1.7.0)`},
		{"too new for the node", "variant: fcos\nversion: 1.8.0-experimental\n", `a.bu:2:10: Ignition on the node cannot read what this version becomes (variant: fcos, version: 1.7.0)`},
		{"wrong type", fcos + "storage: {files: [{path: /etc/x, mode: hunter2}]}\n", `a.bu:3:1: cannot unmarshal !!str into int`},
		{"warning of Butane", fcos + "storage:\n  files:\n    - path: /etc/x\n      contentss: {inline: hunter2}\n", `a.bu:6:7: storage.files.0.contentss: unused key contentss`},
		{"warning of a mode", fcos + "storage: {files: [{path: /etc/x, mode: 644}]}\n", `a.bu:3:40: storage.files.0.mode: unreasonable mode would be reasonable if specified in octal; remember to add a leading zero`},
		{"warning of Ignition", fcos + "systemd: {units: [{name: a.service, enabled: true, contents: \"[Service]\\nExecStart=/bin/true\\n\"}]}\n", `a.bu:3:62: systemd.units.0.contents: unit "a.service" is enabled, but has no install section so enable does nothing`},
		{"error of Ignition", fcos + "storage: {files: [{path: etc/x}]}\n", `a.bu:3:26: storage.files.0.path: path not absolute`},
		{"local file", fcos + "storage: {files: [{path: /etc/x, contents: {local: x}}]}\n", `a.bu:3:52: storage.files.0.contents.local: local files are not supported (give the content with inline)`},
		{"role replaced", fcos + "storage: {files: [{path: /etc/slipway/role.yaml}]}\n", `a.bu:3:26: /etc/slipway/role.yaml is the role's own place (change the role itself)`},
		{"everything replaced", fcos + "ignition: {config: {replace: {source: 'https://example.net/x'}}}\n", `a.bu:3:30: ignition.config.replace would throw the role away (use ignition.config.merge)`},
		{"part of the read-only system", fcos + "storage: {files: [{path: /etc/x}, {path: /usr/lib/x}]}\n", `a.bu:3:42: storage.files: "/usr/lib/x" cannot be written`},
		{"kernel arguments", fcos + "kernel_arguments: {should_exist: [quiet]}\n", `a.bu:3:19: kernelArguments: the command line is part of the image; set kernel.commandLine in its profile`},
		{"program the image lacks", fcos + "storage:\n  filesystems: [{device: /dev/vdb, format: xfs}]\n", `a.bu:4:16: storage.filesystems, format xfs: this image has no mkfs.xfs; add its package to the profile's os.packages`},
		{"two at once, in order", fcos + "storage: {links: [{path: /etc/slipway/role.yaml, target: x, taget: y}], fliesystems: []}\n", "a.bu:3:26: /etc/slipway/role.yaml is the role's own place (change the role itself)\na.bu:3:61: storage.links.0.taget: unused key taget\na.bu:3:73: storage.fliesystems: unused key fliesystems"},
	} {
		t.Run(c.name, func(t *testing.T) {
			has := func(program string) bool { return program != "/usr/sbin/mkfs.xfs" }
			_, err := config(t, "version: 1\nrole: control-plane\ninit: {}\n", []provision.Option{provision.Programs(has)}, c.in)
			if err == nil {
				t.Fatal("accepted")
			}
			got := err.Error()
			if c.name == "part of the read-only system" { // goes on to list what is writable
				got, _, _ = strings.Cut(got, ": the system")
			}
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if strings.Contains(got, "hunter2") {
				t.Error("the message quotes a value")
			}
			if code := diag.ExitCode(err); code != diag.ExitInput {
				t.Errorf("exit status %d, want %d", code, diag.ExitInput)
			}
		})
	}
}

// Files that are right one by one may not go together.
func TestTheMergedConfigIsChecked(t *testing.T) {
	const fcos = "variant: fcos\nversion: 1.7.0\n"
	_, err := config(t, "version: 1\nrole: control-plane\ninit: {}\n", nil,
		fcos+"storage: {links: [{path: /etc/d, target: /var/d}]}\n",
		fcos+"storage: {files: [{path: /etc/d/x, contents: {inline: a}}]}\n")
	if err == nil {
		t.Fatal("accepted")
	}
	if got := err.Error(); !strings.HasPrefix(got, "checking the merged Ignition config: $.storage.files.") || diag.ExitCode(err) != diag.ExitInput {
		t.Errorf("got %s (status %d)", got, diag.ExitCode(err))
	}
}

func FuzzButane(f *testing.F) {
	f.Add("variant: fcos\nversion: 1.7.0\nstorage: {files: [{path: /usr/x}]}\n")
	f.Add("variant: r4e\nversion: 1.1.0\nsystemd: {units: [{name: a.service, mask: true}]}\n")
	f.Add("a: &a [1]\nvariant: flatcar\nversion: 1.1.0\nstorage: {links: [{path: /etc/x, target: y}], luks: *a}\n")
	const text = "version: 1\nrole: control-plane\ninit: {}\n"
	r, err := role.Parse("role.yaml", []byte(text))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, in string) {
		_, err := provision.Config(r, []byte(text), []provision.ButaneFile{{Name: "a.bu", Data: []byte(in)}})
		if err != nil && diag.ExitCode(err) != diag.ExitInput {
			t.Errorf("status %d: %v", diag.ExitCode(err), err)
		}
	})
}

func TestMoreFiles(t *testing.T) {
	data, err := config(t, "version: 1\nrole: control-plane\ninit: {}\n", []provision.Option{
		provision.Files(provision.File{Path: "/etc/kubernetes/pki/ca.key", Mode: 0o600, Data: []byte("x\n")}),
	})
	if err != nil {
		t.Fatal(err)
	}
	c := parsed(t, data)
	if got := content(t, c, "/etc/kubernetes/pki/ca.key"); got != "x\n" {
		t.Errorf("got %q", got)
	}
	if last := c.Storage.Files[len(c.Storage.Files)-1]; *last.Mode != 0o600 || !*last.Overwrite {
		t.Errorf("got %+v", last)
	}
}

// A proxy serves Ignition itself, which may fetch the rest of the config, and
// containerd; the cluster's own traffic stays away from it.
func TestProxy(t *testing.T) {
	data, err := config(t, "version: 1\nrole: control-plane\ninit: {}\nproxy: {http: 'http://proxy:3128', https: 'http://proxy:3128', no: [.example.net]}\n", nil)
	if err != nil {
		t.Fatal(err)
	}
	c := parsed(t, data)
	if p := c.Ignition.Proxy; p.HTTPSProxy == nil || *p.HTTPSProxy != "http://proxy:3128" || len(p.NoProxy) < 5 {
		t.Errorf("Ignition's proxy %+v", p)
	}
	want := "HTTP_PROXY=http://proxy:3128\nHTTPS_PROXY=http://proxy:3128\nNO_PROXY=.cluster.local,.example.net,.svc,10.244.0.0/16,10.96.0.0/12,127.0.0.0/8,::1,localhost\n"
	if got := content(t, c, "/etc/default/containerd"); got != want {
		t.Errorf("containerd's environment:\n%s\nwant\n%s", got, want)
	}
}

func TestNetworkFilesAreInTheConfig(t *testing.T) {
	data, err := config(t, "version: 1\nrole: control-plane\ninit: {}\nnetwork: {links: [{name: eth0, addresses: [192.0.2.10/24]}]}\n", nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := content(t, parsed(t, data), "/etc/systemd/network/10-role-eth0.network"); !strings.Contains(got, "Address=192.0.2.10/24\n") {
		t.Errorf("got %s", got)
	}
}
