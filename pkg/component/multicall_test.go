package component

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/diag"
)

// tools is a module of two programs. One consists of several files and calls
// its own main; the other has init functions and a major version. Tests and
// the files of other systems belong to neither.
func tools() map[string]string {
	return map[string]string{
		"go.mod":                  "module example.com/dep\n\ngo 1.26\n",
		"version/version.go":      "package version\n\nvar Version = \"unknown\"\n",
		"cmd/upper/main.go":       "// Command upper.\n\n/* package main */ package /* here */ main // upper\n\nimport (\n\t\"io\"\n\t\"os\"\n\t\"strings\"\n)\n\nvar multicall, p0 = loud(\"upper\"), true\n\nfunc main() {\n\tif p0 {\n\t\tp0 = false\n\t\tmain()\n\t\treturn\n\t}\n\tif len(os.Args) > 1 {\n\t\tpanic(os.Args[1])\n\t}\n\tin, _ := io.ReadAll(os.Stdin)\n\tos.Stdout.WriteString(multicall + \" \" + strings.ToUpper(string(in)) + \" \" + loud(tag))\n}\n",
		"cmd/upper/loud.go":       "package main\n\nfunc loud(s string) string { return s + \"!\" } // no line break at the end",
		"cmd/upper/a_linux.go":    "package main\n\nconst tag = \"linux\"\n",
		"cmd/upper/a_windows.go":  "package main\n\nconst tag = \"windows\"\n",
		"cmd/upper/a_wanted.go":   "//go:build wanted\n\npackage main\n\nvar _ = tag\n",
		"cmd/upper/gen.go":        "//go:build ignore\n\npackage generator\n",
		"cmd/upper/main_test.go":  "package main\n\nfunc main() {}\n",
		"cmd/upper/upper_test.go": "package main_test\n\nthis is not compiled\n",
		"cmd/count/v2/main.go":    "package main\n\nimport (\n\t\"fmt\"\n\t\"os\"\n\n\t\"example.com/dep/version\"\n)\n\nvar said []string\n\nfunc init() { said = append(said, \"first\") }\n\nfunc main() {\n\tfmt.Println(said, os.Args[1:], version.Version)\n\tos.Exit(7)\n}\n",
		"cmd/count/v2/more.go":    "package main\n\nfunc init() { said = append(said, \"second\") }\n",
	}
}

// toolbox is a component that makes one program of them.
func toolbox(sums string) map[string]string {
	files := greet(sums)
	files["component.yaml"] = "module: example.com/dep\nprograms:\n  - name: toolbox\n    packages: [example.com/dep/cmd/upper, example.com/dep/cmd/count/v2]\n    paths: [usr/bin/upper, usr/bin/count]\nstamps: {example.com/dep/version.Version: '${version}'}\n"
	delete(files, "main.go")
	return files
}

// A program of several packages runs the one that it is called as, as if that
// had been compiled alone.
func TestMulticall(t *testing.T) {
	b := newBuilder(t)
	files := toolbox(proxy(t, tools()))
	r, err := b.Build(t.Context(), load(t, files), runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Files) != 1 || r.Files[0].Name != "toolbox" || !slices.Equal(r.Files[0].Paths, []string{"usr/bin/upper", "usr/bin/count"}) {
		t.Fatalf("got %+v", r.Files)
	}
	// The module is that of its version and sum, though a copy was compiled.
	if len(r.Modules) != 1 || r.Modules[0].Version != "v1.2.3" || !strings.HasPrefix(r.Modules[0].Sum, "h1:") {
		t.Errorf("modules %+v", r.Modules)
	}
	file := program(t, r.Files[0])
	for _, c := range []struct {
		name           string
		args           []string
		stdout, stderr string
		status         int
	}{
		{"upper", []string{"/usr/bin/upper"}, "upper! INPUT linux!", "", 0},
		{"count", []string{"count", "a", "b"}, "[first second] [a b] v1.2.3\n", "", 7},
		{"another name", []string{"/usr/bin/toolbox", "upper"}, "", "toolbox: call this program as upper or count\n", 2},
		{"no name", []string{""}, "", ".: call this program as upper or count\n", 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd := exec.Command(file)
			cmd.Args = c.args
			cmd.Stdin = strings.NewReader("input")
			var stdout, stderr bytes.Buffer
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			if err := cmd.Run(); cmd.ProcessState == nil {
				t.Fatal(err)
			}
			if stdout.String() != c.stdout || stderr.String() != c.stderr || cmd.ProcessState.ExitCode() != c.status {
				t.Errorf("it says %q and %q, status %d", &stdout, &stderr, cmd.ProcessState.ExitCode())
			}
		})
	}
	// A trace names upstream's file and line, and no place of this machine.
	cmd := exec.Command(file, "reason")
	cmd.Args[0] = "upper"
	trace, _ := cmd.CombinedOutput()
	if !bytes.Contains(trace, []byte("\texample.com/dep@v1.2.3/cmd/upper/main.go:20 ")) {
		t.Errorf("it panics with\n%s", trace)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(data, []byte(b.store.Dir())) {
		t.Errorf("it contains %s", b.store.Dir())
	}
	// Elsewhere it has the same bytes.
	again, err := newBuilder(t).Build(t.Context(), load(t, files), runtime.GOARCH)
	if err != nil || again.Cached || again.Files[0].Content.Digest() != r.Files[0].Content.Digest() {
		t.Errorf("compiled anew: %+v, %v", again, err)
	}
}

// Files of ours may be laid over the module all the same, and other programs
// be compiled of it.
func TestMulticallOfAnOverlaidModule(t *testing.T) {
	files := toolbox(proxy(t, tools()))
	files["component.yaml"] += "replace:\n  - {module: example.com/dep, remove: [cmd/upper/loud.go], overlay: _overlay}\n"
	files["component.yaml"] = strings.Replace(files["component.yaml"], "programs:\n", "programs:\n  - package: .\n", 1)
	files["_overlay/cmd/upper/quiet.go"] = "package main\n\nfunc loud(s string) string { return s }\n"
	delete(files, "_overlay/new.go")
	files["main.go"] = "package main\n\nimport \"example.com/dep/version\"\n\nfunc main() { print(version.Version) }\n"
	r, err := newBuilder(t).Build(t.Context(), load(t, files), runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	toolbox, err := r.File("toolbox")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program(t, toolbox))
	cmd.Args[0] = "upper"
	if out, err := cmd.Output(); err != nil || string(out) != "upper  linux" {
		t.Errorf("it says %q, %v", out, err)
	}
}

func TestMulticallFailures(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(module, files map[string]string)
		want   string
		status int
	}{
		{"package that is no program", func(module, files map[string]string) {
			files["component.yaml"] = strings.ReplaceAll(files["component.yaml"], "cmd/upper", "version")
			files["component.yaml"] = strings.ReplaceAll(files["component.yaml"], "usr/bin/upper", "usr/bin/version")
		}, "component.yaml:4:16: example.com/dep/version: it is no main package but version", diag.ExitInput},
		{"package that does not exist", func(module, files map[string]string) {
			files["component.yaml"] = strings.ReplaceAll(files["component.yaml"], "cmd/count", "cmd/none/count")
		}, "component.yaml:4:43: example.com/dep/cmd/none/count/v2: there is no such package", diag.ExitInput},
		{"directory of no Go file for Linux", func(module, files map[string]string) {
			for _, name := range []string{"main.go", "loud.go", "a_linux.go"} {
				delete(module, "cmd/upper/"+name)
			}
		}, "component.yaml:4:16: example.com/dep/cmd/upper: it has no Go files that are compiled", diag.ExitInput},
		{"package that does not compile", func(module, files map[string]string) { module["cmd/upper/loud.go"] = "package main\n" },
			"compiling greet: replaced0/cmd/upper/main.go:11:21: undefined: loud", diag.ExitDependency},
	} {
		t.Run(c.name, func(t *testing.T) {
			module := tools()
			files := toolbox("")
			c.change(module, files)
			files["go.sum"] = proxy(t, module)
			b := newBuilder(t)
			component := load(t, files)
			_, err := b.Build(t.Context(), component, runtime.GOARCH)
			if err == nil {
				t.Fatal("compiled")
			}
			got := strings.TrimPrefix(err.Error(), component.Dir+"/")
			if !strings.HasPrefix(got, c.want) || strings.Contains(got, "\n") || diag.ExitCode(err) != c.status {
				t.Errorf("got  %s (status %d)\nwant %s", got, diag.ExitCode(err), c.want)
			}
			if left, _ := filepath.Glob(filepath.Join(b.store.Dir(), "tmp", "*")); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}

// What is generated counts like the files that are there.
func TestTheGeneratedMainIsASource(t *testing.T) {
	c := load(t, toolbox(""))
	src, err := c.readSources("amd64")
	if err != nil {
		t.Fatal(err)
	}
	const name = "multicall/toolbox/main.go"
	if src[name] == nil {
		t.Fatalf("there is no %s", name)
	}
	before := c.key("go1.26.1", "amd64", src)
	src[name] = append(src[name], '\n')
	if c.key("go1.26.1", "amd64", src) == before {
		t.Error("another one has the same key")
	}
}
