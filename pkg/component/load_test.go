package component

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/diag"
)

func TestBadComponents(t *testing.T) {
	const head = "version: v1.0.0\nprograms:\n"
	for _, c := range []struct{ name, yaml, mod, want string }{
		{"unknown field", "progams: []\n", "", `component.yaml:1:1: unknown field "progams" (did you mean "programs"?)`},
		{"wrong type", "version: 1\n", "", `component.yaml:1:10: version must be a string, not the number 1 (write "1", with the quotes)`},
		{"not YAML", "version: [\n", "", `component.yaml:1:11: not valid YAML: did not find expected node content`},
		{"no version", "programs: [{package: .}]\n", "", `component.yaml:1:1: no version (give version, or module to take it from go.mod)`},
		{"no programs", "version: v1.0.0\n", "", `component.yaml:1:1: no programs`},
		{"empty", "", "", "component.yaml:1:1: no version (give version, or module to take it from go.mod)\ncomponent.yaml:1:1: no programs"},
		{"version twice", "module: example.com/dep\nversion: v1.0.0\nprograms: [{package: .}]\n", "", `component.yaml:2:10: version given twice (remove it: module says which one of go.mod it is)`},
		{"unknown module", "module: example.com/nothing\nprograms: [{package: .}]\n", "", `component.yaml:1:9: go.mod does not require module "example.com/nothing"`},
		{"no package", head + "  - name: x\n", "", `component.yaml:3:5: "" is no package (an import path, or one that starts with "./")`},
		{"package that climbs", head + "  - package: ./../x\n", "", `component.yaml:3:14: "./../x" is no package (an import path, or one that starts with "./")`},
		{"flag in place of a package", head + "  - package: -toolexec=evil\n", "", `component.yaml:3:14: "-toolexec=evil" is no package (an import path, or one that starts with "./")`},
		{"one program twice", head + "  - package: .\n  - {package: ., paths: [a]}\n", "", `component.yaml:4:5: two programs of the name "greet"`},
		{"two programs of one name", head + "  - {package: ./a, name: x}\n  - {package: ./b, name: x}\n", "", `component.yaml:4:5: two programs of the name "x"`},
		{"two outputs of one name", head + "  - package: example.com/a/x/v2\n  - {package: example.com/b/x, name: y}\n", "", `component.yaml:4:5: two programs of the name "y"`},
		{"package and packages", head + "  - {name: x, package: ., packages: [example.com/dep/a, example.com/dep/b]}\n", "", `component.yaml:3:37: give package or packages, not both`},
		{"packages without a name", head + "  - packages: [example.com/dep/a, example.com/dep/b]\n", "", `component.yaml:3:5: "" is no name (a program of several packages needs one)`},
		{"packages with a path for a name", head + "  - {name: a/b, packages: [example.com/dep/a, example.com/dep/b]}\n", "", `component.yaml:3:5: "a/b" is no name (a program of several packages needs one)`},
		{"packages, but only one", head + "  - {name: x, packages: [example.com/dep/a]}\n", "", `component.yaml:3:25: a program of several packages has at least two`},
		{"packages of the main module", head + "  - {name: x, packages: [./a, example.com/dep/b]}\n", "", `component.yaml:3:26: "./a" is no package (an import path)`},
		{"packages of no module", head + "  - {name: x, packages: [example.com/dep/a, example.com/depot/b]}\n", "", `component.yaml:3:45: go.mod requires no module that has the package example.com/depot/b`},
		{"packages of one name", head + "  - {name: x, packages: [example.com/dep/a, example.com/dep/b/a/v2]}\n", "", `component.yaml:3:45: two packages of the name "a"`},
		{"package in two programs", head + "  - {name: x, packages: [example.com/dep/a, example.com/dep/b]}\n  - {name: y, packages: [example.com/dep/a, example.com/dep/c]}\n", "", "component.yaml:3:26: example.com/dep/a belongs to another program, too\ncomponent.yaml:4:26: example.com/dep/a belongs to another program, too"},
		{"package in two programs, alone in one", head + "  - package: example.com/dep/a\n  - {name: x, packages: [example.com/dep/a, example.com/dep/b]}\n", "", `component.yaml:4:26: example.com/dep/a belongs to another program, too`},
		{"path that none of the packages is called as", head + "  - {name: x, packages: [example.com/dep/a, example.com/dep/b], paths: [bin/a, bin/c]}\n", "", `component.yaml:3:80: no package is called "c" (the program runs the package that it is called as)`},
		{"absolute path", head + "  - {package: ., paths: [/usr/bin/x]}\n", "", `component.yaml:3:26: bad path "/usr/bin/x" (relative to the root, and each only once)`},
		{"path twice", head + "  - {package: ./a, paths: [bin/x]}\n  - {package: ./b, paths: [bin/x]}\n", "", `component.yaml:4:28: bad path "bin/x" (relative to the root, and each only once)`},
		{"quote in a stamp", head + "  - package: .\nstamps:\n  main.v: \"a'b\"\n", "", `component.yaml:5:11: quotes and line breaks cannot be stamped: "a'b"`},
		{"overlay that climbs", head + "  - package: .\nreplace:\n  - {module: example.com/dep, overlay: ../x}\n", "", `component.yaml:5:5: bad path "../x" (entry 0) (relative, inside the module)`},
		{"removal that climbs", head + "  - package: .\nreplace:\n  - {module: example.com/dep, overlay: x, remove: [a, /etc]}\n", "", `component.yaml:5:5: bad path "/etc" (entry 2) (relative, inside the module)`},
		{"module's file", head + "  - package: .\n", "modul x\n", `go.mod:1: unknown directive: modul`},
		{"module without a name", head + "  - package: .\n", "go 1.26\n", `go.mod has no module line`},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := sample()
			files["component.yaml"] = c.yaml
			if c.mod != "" {
				files["go.mod"] = c.mod
			}
			dir := write(t, "greet", files)
			_, err := Load(dir)
			if err == nil || diag.ExitCode(err) != diag.ExitInput {
				t.Fatalf("got %v (status %d)", err, diag.ExitCode(err))
			}
			got := strings.ReplaceAll(err.Error(), dir+"/", "")
			got = strings.TrimPrefix(got, `reading the modules of component "greet": `)
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
	dir := filepath.Join(t.TempDir(), "nothing")
	if _, err := Load(dir); err == nil || diag.ExitCode(err) != diag.ExitInput || !strings.HasPrefix(err.Error(), `unknown component "nothing"`) {
		t.Errorf("a component that is not there: %v", err)
	}
	files := sample()
	delete(files, "go.mod")
	if _, err := Load(write(t, "greet", files)); err == nil || diag.ExitCode(err) != diag.ExitInput || !strings.Contains(err.Error(), "go.mod") {
		t.Errorf("without go.mod: %v", err)
	}
}

func TestLoad(t *testing.T) {
	dir := write(t, "greet", sample())
	c, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if c.Name != "greet" || c.Dir != dir || c.Version != "v1.2.3" || c.local() {
		t.Errorf("got %+v", c)
	}
	if p := c.Programs[0]; p.Name != "greet" || !slices.Equal(p.Paths, []string{"usr/bin/greet"}) {
		t.Errorf("program %+v", p)
	}
	if got, want := c.flags(), "-s -w -buildid= -X 'main.version=v1.2.3'"; got != want {
		t.Errorf("the linker's flags are %s, not %s", got, want)
	}
	c.Version, c.Stamps = "v1.37.2-rc.1", map[string]string{"b": "${major}.${minor}", "a": "x ${version}"}
	if got, want := c.flags(), "-s -w -buildid= -X 'a=x v1.37.2-rc.1' -X 'b=1.37'"; got != want {
		t.Errorf("the linker's flags are %s, not %s", got, want)
	}
}

// What the repository pins can be read, all of it.
func TestTheRepositorysOwn(t *testing.T) {
	const dir = "../../profiles/components"
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) < 8 {
		t.Fatalf("%d components, %v", len(entries), err)
	}
	paths := map[string]string{}
	for _, e := range entries {
		c, err := Load(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Error(err)
			continue
		}
		for arch := range levels {
			if src, err := c.readSources(arch); err != nil || len(src) < 2 {
				t.Errorf("%s for %s: %d sources, %v", c.Name, arch, len(src), err)
			}
		}
		for _, p := range c.Programs {
			for _, at := range p.Paths {
				if other, ok := paths[at]; ok {
					t.Errorf("%s is both %s's and %s's", at, c.Name, other)
				}
				paths[at] = c.Name
			}
		}
	}
}

func FuzzLoad(f *testing.F) {
	files := sample()
	f.Add(files["component.yaml"], files["go.mod"])
	f.Add("version: v1\nsource: ../..\nprograms:\n  - {package: ./a/b, name: c, paths: [d, e]}\ntags: [f]\n", "module x/v2\n")
	f.Add("module: a.b/c\nprograms: [{package: a.b/c/v3/cmd}]\nstamps: {a: '${major}', b: \"\"}\n", "module y\nrequire (\n\ta.b/c v3.0.0+incompatible\n)\nreplace a.b/c => ../c\n")
	f.Add("module: a.b/c\nprograms: [{name: d, packages: [a.b/c/e, a.b/c/f/v2], paths: [e, x/f]}]\n", "module y\nrequire a.b/c v1.0.0\n")
	dir := write(f, "greet", files)
	f.Fuzz(func(t *testing.T, yaml, mod string) {
		for p, text := range map[string]string{"component.yaml": yaml, "go.mod": mod} {
			if err := os.WriteFile(filepath.Join(dir, p), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		c, err := Load(dir)
		if err != nil {
			if diag.ExitCode(err) != diag.ExitInput {
				t.Errorf("status %d: %v", diag.ExitCode(err), err)
			}
			return
		}
		for _, p := range c.Programs {
			if name := c.output(p); name == "" || name == "." || strings.ContainsAny(name, "/\x00") {
				t.Errorf("program %+v is compiled to %q", p, name)
			}
			if strings.HasPrefix(p.Package, "-") {
				t.Errorf("package %q is a flag", p.Package)
			}
		}
	})
}
