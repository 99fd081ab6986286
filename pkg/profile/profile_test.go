package profile_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/document"
	"github.com/slipway-os/slipway/pkg/profile"
)

const complete = `architecture: amd64
roles: [control-plane]
os: {suite: trixie, packages: [bash]}
kernel: {package: linux-image-cloud-amd64}
kubernetes: {version: v1.37.2, imageRepository: slipway.local}
components: [pause]
images: control-plane
overlays: [base]
disk: {boot: 512MiB, root: 1GiB, verity: 16MiB, state: 256MiB}
`

// project writes profiles into a project directory and makes it the working
// directory, so that messages show short names.
func project(t *testing.T, profiles map[string]string) profile.Dir {
	t.Helper()
	root := t.TempDir()
	for _, d := range []string{"profiles/components/pause", "overlays/base", "images/sets"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	files := map[string]string{"images/sets/control-plane.yaml": ""}
	for name, text := range profiles {
		files["profiles/"+name+".yaml"] = text
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(root)
	return profile.Dir{Root: root}
}

func TestBadProfiles(t *testing.T) {
	with := func(old, new string) map[string]string {
		return map[string]string{"p": strings.Replace(complete, old, new, 1)}
	}
	for _, c := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"unknown field", map[string]string{"p": complete + "overlay: [a]\n"}, `profiles/p.yaml:10:1: unknown field "overlay" (did you mean "overlays"?)`},
		{"unknown field of a part", with("packages", "packges"), `profiles/p.yaml:3:21: unknown field "packges" (did you mean "packages"?)`},
		{"key given twice", map[string]string{"p": complete + "images: other\n"}, `profiles/p.yaml:10:1: field "images" is given twice`},
		{"empty element of a list", with("[base]", "[base, ~]"), `profiles/p.yaml:8:18: overlays[1] is empty (remove it, or give it a value)`},
		{"not YAML", map[string]string{"p": "os: {suite: trixie\n"}, `profiles/p.yaml:1:19: not valid YAML: did not find expected ',' or '}'`},
		{"wrong in a parent", map[string]string{"p": "extends: [q]\n", "q": "disk: 3\n"}, `profiles/q.yaml:1:7: disk must be a mapping, not the number 3`},
		{"unknown path for a parent", map[string]string{"p": "extends:\n  - ../site.yaml\n"}, `profiles/p.yaml:2:5: reading profile "../site.yaml": there is no file site.yaml`},
		{"a circle by paths", map[string]string{"p": "extends: [./q.yaml]\n", "q": "extends: [../profiles/p.yaml]\n"}, `profiles/q.yaml:1:11: profiles extend one another in a circle: p -> q -> p (remove one of these from extends)`},
		{"missing keyring", with("suite: trixie", "suite: trixie, keyring: keys/site.gpg"), `profiles/p.yaml:3:30: reading keyring "keys/site.gpg": there is no file profiles/keys/site.gpg (the path is relative to this file)`},
		{"bad mirror", with("suite: trixie", "suite: trixie, mirror: mirror.example"), `profiles/p.yaml:3:29: os.mirror: "mirror.example" is not an http, https or file address (for example http://mirror.example/debian)`},
		{"bad security mirror", with("suite: trixie", "suite: trixie, securityMirror: 'ftp://m'"), `profiles/p.yaml:3:37: os.securityMirror: "ftp://m" is not an http, https or file address (for example http://mirror.example/debian)`},
		{"unknown role", with("[control-plane]", "[worker, controlplane]"), `profiles/p.yaml:2:17: unknown role "controlplane" (did you mean "control-plane"?)`},
		{"number for a string", with("suite: trixie", "suite: 13"), `profiles/p.yaml:3:13: os.suite must be a string, not the number 13 (write "13", with the quotes)`},
		{"unknown profile", map[string]string{"pp": complete}, `unknown profile "p" (` + "`builder profiles` lists them)"},
		{"unknown parent", map[string]string{"p": "extends: [nodes]\n", "node": ""}, `profiles/p.yaml:1:11: unknown profile "nodes" (did you mean "node"?)`},
		{"extends cycle", map[string]string{"p": "extends: [q]\n", "q": "extends: [p]\n"}, `profiles/q.yaml:1:11: profiles extend one another in a circle: p -> q -> p (remove one of these from extends)`},
		{"extends itself", map[string]string{"p": "extends: [p]\n"}, `profiles/p.yaml:1:11: profiles extend one another in a circle: p -> p (remove one of these from extends)`},
		{"unknown architecture", with("amd64", "x86_64"), `profiles/p.yaml:1:15: unknown architecture "x86_64" (known: amd64, arm64, ppc64le, s390x)`},
		{"no architecture", with("architecture: amd64\n", ""), `profiles/p.yaml:1:1: architecture is missing (this profile can only be extended; ` + "`builder profiles` lists those that can be built)"},
		{"missing overlay", with("[base]", "[base, bsae]"), `profiles/p.yaml:8:18: unknown overlay "bsae" (did you mean "base"?)`},
		{"missing component", with("[pause]", "[puase]"), `profiles/p.yaml:6:14: unknown component "puase" (did you mean "pause"?)`},
		{"missing image set", with("images: control-plane", "images: controlplane"), `profiles/p.yaml:7:9: unknown image set "controlplane" (did you mean "control-plane"?)`},
		{"wrong type", with("[bash]", "bash"), `profiles/p.yaml:3:31: os.packages must be a list, not "bash"`},
		{"bad size", with("1GiB", "1GB"), `profiles/p.yaml:9:28: disk.root: "1GB" is not a size such as "512MiB" or "1GiB"`},
		{"odd size", with("1GiB", "100KiB"), `profiles/p.yaml:9:28: disk.root must be a whole number of MiB from 1MiB to 1TiB, not "100KiB" (for example 512MiB)`},
		{"state too small", with("256MiB", "8MiB"), `profiles/p.yaml:9:56: disk.state must be a whole number of MiB from 16MiB to 1TiB, not "8MiB" (for example 512MiB)`},
		{"no size at all", with("boot: 512MiB, ", ""), `profiles/p.yaml:1:1: disk.boot must be a whole number of MiB from 1MiB to 1TiB, not "0" (for example 512MiB)`},
		{"huge size", with("1GiB", "4000000TiB"), `profiles/p.yaml:9:28: disk.root must be a whole number of MiB from 1MiB to 1TiB, not "4000000TiB" (for example 512MiB)`},
		{"waiver that is no glob", with("linux-image-cloud-amd64", "linux-image-cloud-amd64, firmware: {waive: [a, 'b[']}"), `profiles/p.yaml:4:66: kernel.firmware.waive: "b[": syntax error in pattern (for example qed/*.bin)`},
		{"firmware by its full path", with("linux-image-cloud-amd64", "linux-image-cloud-amd64, firmware: {keep: [/usr/lib/firmware/a]}"), `profiles/p.yaml:4:62: kernel.firmware.keep: "/usr/lib/firmware/a": not a path below usr/lib/firmware (for example qed/*.bin)`},
		{"upstream's registry", with("slipway.local", "registry.k8s.io"), `profiles/p.yaml:5:49: kubernetes.imageRepository: "registry.k8s.io" is the registry of Kubernetes itself: images made here are not the ones that bear its name (a name of your own, for example slipway.local)`},
		{"place in upstream's registry", with("slipway.local", "'Registry.k8s.io:443/own'"), `profiles/p.yaml:5:49: kubernetes.imageRepository: "Registry.k8s.io:443/own" is the registry of Kubernetes itself: images made here are not the ones that bear its name (a name of your own, for example slipway.local)`},
		{"version without v", with("v1.37.2", "1.37.2"), `profiles/p.yaml:5:23: "1.37.2" is not a version (for example v1.37.2)`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := project(t, c.files).Load("p")
			if err == nil {
				t.Fatal("accepted")
			}
			if got, _, _ := strings.Cut(err.Error(), "\n"); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if code := diag.ExitCode(err); code != diag.ExitInput {
				t.Errorf("exit status %d, want %d", code, diag.ExitInput)
			}
		})
	}
}

func TestExtendingJoinsListsAndReplacesValues(t *testing.T) {
	d := project(t, map[string]string{
		"base": complete,
		"p":    "extends: [base]\narchitecture: arm64\nos: {packages: [dash, bash]}\ndisk: {state: 2GiB}\n",
	})
	p, err := d.Load("p")
	if err != nil {
		t.Fatal(err)
	}
	if p.Architecture != "arm64" || p.Disk.State != 2<<30 || p.Disk.Root != 1<<30 {
		t.Errorf("architecture %s, disk %+v", p.Architecture, p.Disk)
	}
	if want := []string{"bash", "dash"}; !slices.Equal(p.OS.Packages, want) {
		t.Errorf("packages %q, want %q", p.OS.Packages, want)
	}
	if got, want := p.Origin("os.packages", "dash").String(), "profiles/p.yaml:3:17"; got != want {
		t.Errorf("dash comes from %s, want %s", got, want)
	}
}

// A file that several others extend is merged once, where it comes first.
func TestWhatSeveralExtendIsMergedOnce(t *testing.T) {
	d := project(t, map[string]string{
		"base": complete,
		"a":    "extends: [base]\nos: {suite: forky}\n",
		"b":    "extends: [base]\nos: {packages: [dash]}\n",
		"p":    "extends: [a, b]\n",
	})
	p, err := d.Load("p")
	if err != nil {
		t.Fatal(err)
	}
	if p.OS.Suite != "forky" || !slices.Equal(p.OS.Packages, []string{"bash", "dash"}) {
		t.Errorf("suite %q, packages %q", p.OS.Suite, p.OS.Packages)
	}
}

func TestProfilesMergedOverAnother(t *testing.T) {
	d := project(t, map[string]string{
		"p":    complete,
		"base": "os: {packages: [dash]}\n",
		"site": "extends: [base]\nos: {suite: forky}\ndisk: {state: 2GiB}\n",
		"more": "disk: {state: 3GiB}\n",
	})
	p, err := d.Load("p", "site", "more")
	if err != nil {
		t.Fatal(err)
	}
	if p.Name != "p" || p.OS.Suite != "forky" || p.Disk.State != 3<<30 || !slices.Equal(p.OS.Packages, []string{"bash", "dash"}) {
		t.Errorf("name %s, os %+v, state %s", p.Name, p.OS, p.Disk.State)
	}
}

// Paths in a profile are as seen from its own directory, wherever one builds.
func TestPathsAreRelativeToTheirFile(t *testing.T) {
	d := project(t, map[string]string{"base": complete})
	site := filepath.Join(d.Root, "site")
	for name, text := range map[string]string{
		"clusters/cp.yaml":     "extends: [../common/mirror.yaml, amd64.yaml]\n",
		"clusters/amd64.yaml":  "extends: [base]\narchitecture: amd64\n",
		"common/mirror.yaml":   "os: {mirror: 'http://mirror.example/debian', keyring: keys/site.gpg}\n",
		"common/keys/site.gpg": "",
	} {
		file := filepath.Join(site, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{d.Root, site, filepath.Join(site, "clusters"), "/"} {
		t.Chdir(dir)
		name, err := filepath.Rel(dir, filepath.Join(site, "clusters", "cp.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		p, err := d.Load("./" + name)
		if err != nil {
			t.Errorf("in %s: %v", dir, err)
			continue
		}
		if p.Name != "cp" || p.OS.Mirror != "http://mirror.example/debian" || p.Disk.Root != 1<<30 {
			t.Errorf("in %s: %+v", dir, p)
		}
		if _, err := os.Stat(p.KeyringFile()); err != nil {
			t.Errorf("in %s: %v", dir, err)
		}
		if want := strings.TrimSuffix(name, ".yaml") + ".lock"; filepath.Clean(d.LockFile("./"+name)) != want {
			t.Errorf("in %s: the lock is %s, want %s", dir, d.LockFile(name), want)
		}
	}
	if got, want := d.LockFile("base"), filepath.Join(d.Root, "profiles", "base.lock"); got != want {
		t.Errorf("the lock is %s, want %s", got, want)
	}
}

// Each field takes part in merging: none is forgotten when a field is added.
func TestEveryFieldIsMerged(t *testing.T) {
	d := project(t, nil)
	// A value for every field there is, by the schema.
	text, err := json.Marshal(fill(document.Schema("", profile.Profile{})))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(d.Root, "profiles", "full.yaml"), text, 0o644); err != nil {
		t.Fatal(err)
	}
	p, err := d.Read("full")
	if err != nil {
		t.Fatal(err)
	}
	v := reflect.ValueOf(*p)
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.IsExported() && f.Name != "Extends" {
			unset(t, f.Name, v.Field(i))
		}
	}
}

// fill returns a value for every property of a schema.
func fill(schema map[string]any) any {
	switch schema["type"] {
	case "object":
		m := map[string]any{}
		properties, _ := schema["properties"].(map[string]any)
		for name, s := range properties {
			if name != "extends" {
				m[name] = fill(s.(map[string]any))
			}
		}
		return m
	case "array":
		return []any{fill(schema["items"].(map[string]any))}
	case "boolean":
		return true
	case "integer", "number":
		return 1
	}
	return "16MiB" // a size, too
}

// unset complains about fields that have no value.
func unset(t *testing.T, path string, v reflect.Value) {
	t.Helper()
	if v.Kind() == reflect.Struct {
		for i := range v.NumField() {
			unset(t, path+"."+v.Type().Field(i).Name, v.Field(i))
		}
		return
	}
	if v.IsZero() {
		t.Errorf("%s got lost", path)
	}
}

// The project's own profiles, those that say what they are for, can be built.
func TestOwnProfiles(t *testing.T) {
	d := profile.Dir{Root: "../.."}
	names, err := d.Names()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		p, err := d.Read(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if p.Architecture == "" || p.Images == "" {
			continue
		}
		if _, err := d.Load(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzSize(f *testing.F) {
	f.Add("512MiB")
	f.Add("99999999999TiB")
	f.Fuzz(func(t *testing.T, in string) {
		var s profile.Size
		if s.UnmarshalText([]byte(in)) == nil && s < 0 {
			t.Errorf("%q is negative: %d", in, s)
		}
	})
}
