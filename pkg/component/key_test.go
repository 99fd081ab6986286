package component

import (
	"os"
	"path/filepath"
	"testing"
)

// component writes the files of a component below a new profiles/components/,
// and returns its directory.
func write(t testing.TB, name string, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "profiles", "components", name)
	for p, text := range files {
		file := filepath.Join(dir, p)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// sample is a component of one program, with everything that can determine it.
func sample() map[string]string {
	return map[string]string{
		"component.yaml":    "module: example.com/dep\nprograms:\n  - package: .\n    paths: [usr/bin/greet]\nstamps: {main.version: '${version}'}\nreplace:\n  - {module: example.com/dep, remove: [old.go], overlay: _overlay}\n",
		"go.mod":            "module example.com/greet\n\ngo 1.26\n\nrequire example.com/dep v1.2.3\n",
		"go.sum":            "example.com/dep v1.2.3 h1:x=\n",
		"main.go":           "package main\n\nvar version string\n\nfunc main() { print(version) }\n",
		"sub/sub.go":        "package sub\n",
		"sub/data.txt":      "embedded\n",
		"_overlay/new.go":   "package dep\n",
		"main_test.go":      "package main\n",
		"testdata/x":        "x\n",
		"sub/sub_test.go":   "package sub\n",
		"sub/testdata/more": "y\n",
	}
}

func keyOf(t *testing.T, files map[string]string, toolchain, arch string) string {
	t.Helper()
	c, err := Load(write(t, "greet", files))
	if err != nil {
		t.Fatal(err)
	}
	src, err := c.readSources(arch)
	if err != nil {
		t.Fatal(err)
	}
	return c.key(toolchain, arch, src)
}

// What is compiled is remembered by all that determines it.
func TestEveryInputChangesTheKey(t *testing.T) {
	const toolchain = "go1.26.1"
	seen := map[string]string{keyOf(t, sample(), toolchain, "amd64"): "nothing"}
	note := func(what, key string) {
		if other, ok := seen[key]; ok {
			t.Errorf("%s: the key is that of %s", what, other)
		}
		seen[key] = what
	}
	for name, text := range sample() {
		switch filepath.Base(name) {
		case "main_test.go", "sub_test.go", "x", "more":
			continue
		}
		files := sample()
		files[name] = text + "\n"
		if name == "go.sum" {
			files[name] = text + "example.com/other v1.0.0 h1:y=\n"
		}
		note("changing "+name, keyOf(t, files, toolchain, "amd64"))
	}
	files := sample()
	files["more.go"] = "package main\n"
	note("a new file", keyOf(t, files, toolchain, "amd64"))
	files = sample()
	delete(files, "sub/sub.go")
	note("a file less", keyOf(t, files, toolchain, "amd64"))
	files = sample()
	files["sub/sub2.go"] = files["sub/sub.go"]
	delete(files, "sub/sub.go")
	note("another name", keyOf(t, files, toolchain, "amd64"))
	note("another toolchain", keyOf(t, sample(), "go1.26.2", "amd64"))
	for arch := range levels {
		if arch != "amd64" {
			note(arch, keyOf(t, sample(), toolchain, arch))
		}
	}
}

// And by nothing else: not by where it lies, nor by tests and their data, nor
// by what the user's environment says.
func TestNothingElseChangesTheKey(t *testing.T) {
	want := keyOf(t, sample(), "go1.26.1", "amd64")
	for name, change := range map[string]func(files map[string]string){
		"another directory": func(map[string]string) {},
		"tests": func(files map[string]string) {
			files["main_test.go"], files["sub/testdata/more"] = "package main_test\n", "z\n"
			delete(files, "testdata/x")
		},
		"environment": func(map[string]string) {
			for _, v := range []string{"GOPROXY", "GOFLAGS", "GOPATH", "GOAMD64", "CGO_ENABLED", "TMPDIR", "GOEXPERIMENT"} {
				t.Setenv(v, "other")
			}
			t.Setenv("TMPDIR", t.TempDir())
		},
	} {
		files := sample()
		change(files)
		if got := keyOf(t, files, "go1.26.1", "amd64"); got != want {
			t.Errorf("%s: another key", name)
		}
	}
}

// Of this repository's own programs the packages that they import count, and
// what these embed.
func TestTheSourcesOfOwnPrograms(t *testing.T) {
	files := map[string]string{
		"profiles/components/own/component.yaml": "version: v0.1.0\nsource: ../../..\nprograms:\n  - package: ./cmd/own\n",
		"go.mod":                                 "module example.com/own\n\ngo 1.26\n",
		"go.sum":                                 "",
		"cmd/own/main.go":                        "package main\n\nimport _ \"example.com/own/pkg/a\"\n\nfunc main() {}\n",
		"cmd/own/main_test.go":                   "package main\n\nimport _ \"example.com/own/pkg/c\"\n",
		"cmd/other/main.go":                      "package main\n\nfunc main() {}\n",
		"pkg/a/a.go":                             "package a\n\nimport (\n\t_ \"embed\"\n\n\t_ \"example.com/own/pkg/b\"\n)\n\n//go:embed data/*.txt schema\nvar x embed.FS\n",
		"pkg/a/a_s390x.go":                       "package a\n\nimport _ \"example.com/own/pkg/c\"\n",
		"pkg/a/a_windows.go":                     "package a\n",
		"pkg/a/data/x.txt":                       "x",
		"pkg/a/data/x.md":                        "x",
		"pkg/a/schema/deep/y":                    "y",
		"pkg/b/b.go":                             "package b\n",
		"pkg/b/b_amd64.s":                        "",
		"pkg/c/c.go":                             "package c\n",
		"profiles/components/x/x.go":             "package x\n",
	}
	root := filepath.Dir(filepath.Dir(filepath.Dir(write(t, "unused", map[string]string{"x": ""}))))
	for p, text := range files {
		file := filepath.Join(root, p)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c, err := Load(filepath.Join(root, "profiles/components/own"))
	if err != nil {
		t.Fatal(err)
	}
	for arch, want := range map[string][]string{
		"amd64": {"go.mod", "go.sum", "component.yaml", "cmd/own/main.go", "pkg/a/a.go", "pkg/a/data/x.txt", "pkg/a/schema/deep/y", "pkg/b/b.go", "pkg/b/b_amd64.s"},
		"s390x": {"go.mod", "go.sum", "component.yaml", "cmd/own/main.go", "pkg/a/a.go", "pkg/a/a_s390x.go", "pkg/a/data/x.txt", "pkg/a/schema/deep/y", "pkg/b/b.go", "pkg/c/c.go"},
	} {
		src, err := c.readSources(arch)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range want {
			if _, ok := src[p]; !ok {
				t.Errorf("%s: without %s", arch, p)
			}
		}
		if len(src) != len(want) {
			t.Errorf("%s: %d files, not %d", arch, len(src), len(want))
		}
	}
}
