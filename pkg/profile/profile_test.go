package profile_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/diag"
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
		{"unknown field", map[string]string{"p": complete + "packges: [a]\n"}, `profiles/p.yaml:10:1: unknown field "packges"`},
		{"unknown profile", map[string]string{"pp": complete}, `unknown profile "p" (did you mean "pp"?)`},
		{"unknown parent", map[string]string{"p": "extends: [nodes]\n", "node": ""}, `profiles/p.yaml:1:11: unknown profile "nodes" (did you mean "node"?)`},
		{"extends cycle", map[string]string{"p": "extends: [q]\n", "q": "extends: [p]\n"}, `profiles/q.yaml:1:11: profiles extend one another in a circle: p -> q -> p (remove one of these from extends)`},
		{"extends itself", map[string]string{"p": "extends: [p]\n"}, `profiles/p.yaml:1:11: profiles extend one another in a circle: p -> p (remove one of these from extends)`},
		{"unknown architecture", with("amd64", "x86_64"), `profiles/p.yaml:1:15: unknown architecture "x86_64" (known: amd64, arm64, ppc64le, s390x)`},
		{"no architecture", with("architecture: amd64\n", ""), `profiles/p.yaml:1:1: architecture is missing (this profile can only be extended; ` + "`builder profiles` lists those that can be built)"},
		{"missing overlay", with("[base]", "[base, bsae]"), `profiles/p.yaml:8:18: unknown overlays "bsae" (did you mean "base"?)`},
		{"missing component", with("[pause]", "[puase]"), `profiles/p.yaml:6:14: unknown components "puase" (did you mean "pause"?)`},
		{"missing image set", with("images: control-plane", "images: controlplane"), `profiles/p.yaml:7:9: unknown images "controlplane" (did you mean "control-plane"?)`},
		{"wrong type", with("[bash]", "bash"), `profiles/p.yaml:3:31: os.packages must be a list, not "bash"`},
		{"bad size", with("1GiB", "1GB"), `profiles/p.yaml:9:28: disk.root: "1GB" is not a size such as "512MiB" or "1GiB"`},
		{"odd size", with("1GiB", "100KiB"), `profiles/p.yaml:9:28: disk.root must be a whole number of MiB above zero, not "100KiB" (for example 512MiB)`},
		{"version without v", with("v1.37.2", "1.37.2"), `profiles/p.yaml:5:23: "1.37.2" is not a version (for example v1.37.2)`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := project(t, c.files).Load("p")
			if err == nil {
				t.Fatal("accepted")
			}
			if got, _, _ := strings.Cut(err.Error(), "\n"); got != c.want && !(c.name == "unknown field" && strings.HasPrefix(got, c.want)) {
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
