package component

import (
	"archive/zip"
	"bytes"
	"context"
	"debug/buildinfo"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/mod/sumdb/dirhash"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/store"
	"github.com/slipway-os/slipway/pkg/tree"
)

func newBuilder(t testing.TB) *Builder {
	t.Helper()
	s, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return NewBuilder(s)
}

// dep is a module that the sample component requires.
func dep() map[string]string {
	return map[string]string{
		"go.mod":     "module example.com/dep\n\ngo 1.26\n",
		"dep.go":     "package dep\n\nfunc Greeting() string { return prefix + \"greets\" }\n",
		"old.go":     "package dep\n\nconst prefix = \"upstream \"\n",
		"sub/sub.go": "package sub\n",
	}
}

// proxy makes a module proxy of directories that serves dep v1.2.3, points go
// at it alone, and returns the lines of go.sum. Modules lie in the builder's
// own store: no test touches the user's module cache.
func proxy(t *testing.T, files map[string]string) (sums string) {
	t.Helper()
	const module, version = "example.com/dep", "v1.2.3"
	root := t.TempDir()
	dir := filepath.Join(root, module, "@v")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	w := zip.NewWriter(&archive)
	for name, text := range files {
		f, err := w.Create(module + "@" + version + "/" + name)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(f, text)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string]string{
		version + ".info": `{"Version":"` + version + `"}`, version + ".mod": files["go.mod"], version + ".zip": archive.String(), "list": version + "\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	zipSum, err := dirhash.HashZip(filepath.Join(dir, version+".zip"), dirhash.Hash1)
	if err != nil {
		t.Fatal(err)
	}
	modSum, err := dirhash.Hash1([]string{"go.mod"}, func(string) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(files["go.mod"])), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOPROXY", "file://"+root)
	t.Setenv("GONOPROXY", "none")
	t.Setenv("GOSUMDB", "off")
	t.Setenv("GOPRIVATE", "")
	t.Setenv("GOMODCACHE", os.DevNull+"/none") // cannot be used, so that the store's own is
	return fmt.Sprintf("%s %s %s\n%s %s/go.mod %s\n", module, version, zipSum, module, version, modSum)
}

// greet is a component that is compiled from the sample's module.
func greet(sums string) map[string]string {
	return map[string]string{
		"component.yaml":       "module: example.com/dep\nprograms:\n  - package: .\n    paths: [usr/bin/greet]\nstamps: {main.version: '${version}'}\n",
		"go.mod":               "module example.com/greet\n\ngo 1.26\n\nrequire example.com/dep v1.2.3\n",
		"go.sum":               sums,
		"main.go":              "package main\n\nimport (\n\t\"os\"\n\n\t\"example.com/dep\"\n)\n\nvar version string\n\nfunc main() { os.Stdout.WriteString(dep.Greeting() + \" \" + version) }\n",
		"_overlay/new.go":      "package dep\n\nconst prefix = \"overlay \"\n",
		"_overlay/new_test.go": "package dep\n\nthis is not compiled\n",
	}
}

func load(t testing.TB, files map[string]string) Component {
	t.Helper()
	c, err := Load(write(t, "greet", files))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// run writes a program to a file and runs it.
func run(t *testing.T, f File) string {
	t.Helper()
	out, err := exec.Command(program(t, f)).Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func program(t *testing.T, f File) string {
	t.Helper()
	data, err := tree.ReadAll(f.Content, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), f.Name)
	if err := os.WriteFile(file, data, 0o755); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestCompile(t *testing.T) {
	sums := proxy(t, dep())
	b := newBuilder(t)
	var mu sync.Mutex
	var activities []string
	b.Progress = func(component, activity string) {
		mu.Lock()
		defer mu.Unlock()
		activities = append(activities, component+": "+activity)
	}
	c := load(t, greet(sums))
	r, err := b.Build(t.Context(), c, runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	if r.Name != "greet" || r.Version != "v1.2.3" || r.Cached || len(r.Files) != 1 || r.Files[0].Mode != 0o755 {
		t.Errorf("got %+v", r)
	}
	if got, want := run(t, r.Files[0]), "upstream greets v1.2.3"; got != want {
		t.Errorf("it says %q, not %q", got, want)
	}
	if len(r.Modules) != 1 || r.Modules[0].Path != "example.com/dep" || r.Modules[0].Version != "v1.2.3" || r.Modules[0].Sum != strings.Fields(sums)[2] {
		t.Errorf("modules %+v", r.Modules)
	}
	if all := strings.Join(activities, "\n"); !strings.Contains(all, "greet: downloading example.com/dep v1.2.3") {
		t.Errorf("it told\n%s", all)
	}
	again, err := b.Build(t.Context(), c, runtime.GOARCH)
	if err != nil || !again.Cached || again.Files[0].Content.Digest() != r.Files[0].Content.Digest() {
		t.Errorf("a second time: %+v, %v", again, err)
	}
	// What the store lost is made anew, to the same bytes.
	if err := os.Remove(b.store.BlobPath(r.Files[0].Content.Digest())); err != nil {
		t.Fatal(err)
	}
	b.Offline = true
	anew, err := b.Build(t.Context(), c, runtime.GOARCH)
	if err != nil || anew.Cached || anew.Files[0].Content.Digest() != r.Files[0].Content.Digest() {
		t.Errorf("after a loss: %+v, %v", anew, err)
	}
	if left, _ := filepath.Glob(filepath.Join(b.store.Dir(), "tmp", "*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestOverlaidModules(t *testing.T) {
	files := greet(proxy(t, dep()))
	files["component.yaml"] += "replace:\n  - {module: example.com/dep, remove: [old.go, sub], overlay: _overlay}\n"
	b := newBuilder(t)
	r, err := b.Build(t.Context(), load(t, files), runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := run(t, r.Files[0]), "overlay greets v1.2.3"; got != want {
		t.Errorf("it says %q, not %q", got, want)
	}
	// It is still the module of that version and sum, as the lock has it.
	if len(r.Modules) != 1 || r.Modules[0].Version != "v1.2.3" || !strings.HasPrefix(r.Modules[0].Sum, "h1:") {
		t.Errorf("modules %+v", r.Modules)
	}
	for name, c := range map[string]struct{ yaml, want string }{
		"nothing to remove": {"replace:\n  - {module: example.com/dep, remove: [new.go], overlay: _overlay}\n", "component.yaml:7:40: example.com/dep v1.2.3 has no new.go"},
		"another module":    {"replace:\n  - {module: example.com/other, overlay: _overlay}\n", `component.yaml:7:14: go.mod does not require module "example.com/other"`},
	} {
		files["component.yaml"] = greet("")["component.yaml"] + c.yaml
		_, err := b.Build(t.Context(), load(t, files), runtime.GOARCH)
		if err == nil || !strings.HasSuffix(err.Error(), c.want) || diag.ExitCode(err) != diag.ExitInput {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Every failure is one line that says what to do; what the compiler said of
// it comes along.
func TestFailures(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(t *testing.T, files map[string]string, b *Builder)
		want   string
		status int
	}{
		{"program that does not compile", func(_ *testing.T, f map[string]string, _ *Builder) {
			f["main.go"] += "\nvar _ int = \"x\"\nvar _ int = 1.5\n"
		}, "compiling greet: ./main.go:13:13: cannot use \"x\" (untyped string constant) as int value in variable declaration (all of it: STORE/logs/greet.log)", diag.ExitDependency},
		{"module version that does not exist", func(_ *testing.T, f map[string]string, _ *Builder) {
			f["go.mod"] = strings.ReplaceAll(f["go.mod"], "v1.2.3", "v1.2.4")
			f["go.sum"] = strings.ReplaceAll(f["go.sum"], "v1.2.3", "v1.2.4")
		}, "compiling greet: there is no module example.com/dep@v1.2.4: ", diag.ExitDependency},
		{"checksum mismatch", func(_ *testing.T, f map[string]string, _ *Builder) {
			f["go.sum"] = strings.Replace(f["go.sum"], "h1:", "h1:AAAA", 1)[:len("example.com/dep v1.2.3 h1:")] + "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n" + strings.SplitAfter(f["go.sum"], "\n")[1]
		}, "compiling greet: checksum mismatch of module example.com/dep@v1.2.3: ", diag.ExitDependency},
		{"go.sum that lacks a module", func(_ *testing.T, f map[string]string, _ *Builder) { f["go.sum"] = "" },
			"compiling greet: go.sum is incomplete: ", diag.ExitInput},
		{"go.sum that lacks a module which is overlaid", func(_ *testing.T, f map[string]string, _ *Builder) {
			f["go.sum"] = ""
			f["component.yaml"] += "replace:\n  - {module: example.com/dep, overlay: _overlay}\n"
		}, "compiling greet: go.sum is incomplete: ", diag.ExitInput},
		{"go.mod that lacks a module", func(_ *testing.T, f map[string]string, _ *Builder) {
			f["main.go"] = "package main\n\nimport _ \"example.com/more\"\n\nfunc main() {}\n"
		}, "compiling greet: go.mod is incomplete: ", diag.ExitInput},
		{"offline, and a module is not there", func(_ *testing.T, _ map[string]string, b *Builder) { b.Offline = true },
			"compiling greet: a module is not in the module cache, and downloads are forbidden: ", diag.ExitDependency},
		{"proxy that nobody reaches", func(t *testing.T, _ map[string]string, _ *Builder) { t.Setenv("GOPROXY", "http://127.0.0.1:9") },
			"compiling greet: no connection to the module proxy: ", diag.ExitDependency},
		{"go that is too old", func(_ *testing.T, f map[string]string, _ *Builder) {
			f["go.mod"] = strings.Replace(f["go.mod"], "go 1.26", "go 1.999", 1)
		}, "compiling greet: the go command is too old: 1.999 is wanted: ", diag.ExitDependency},
		{"no go at all", func(t *testing.T, _ map[string]string, _ *Builder) { t.Setenv("PATH", t.TempDir()) },
			"no go command in PATH, which compiles the components; install Go 1.26 or later", diag.ExitDependency},
		{"not a program", func(_ *testing.T, f map[string]string, _ *Builder) { f["main.go"] = "package other\n" },
			"compiling greet: ", diag.ExitDependency},
	} {
		t.Run(c.name, func(t *testing.T) {
			files, b := greet(proxy(t, dep())), newBuilder(t)
			c.change(t, files, b)
			_, err := b.Build(t.Context(), load(t, files), runtime.GOARCH)
			if err == nil {
				t.Fatal("compiled")
			}
			got := strings.ReplaceAll(err.Error(), b.store.Dir(), "STORE")
			if !strings.HasPrefix(got, c.want) || strings.Contains(got, "\n") || diag.ExitCode(err) != c.status {
				t.Errorf("got  %s (status %d)\nwant %s", got, diag.ExitCode(err), c.want)
			}
			if left, _ := filepath.Glob(filepath.Join(b.store.Dir(), "tmp", "*")); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
			if records, _ := filepath.Glob(filepath.Join(b.store.Dir(), "records", "*")); len(records) > 0 {
				t.Errorf("remembered: %q", records)
			}
		})
	}
	b := newBuilder(t)
	_, err := b.Build(t.Context(), load(t, greet("")), "mips")
	if want := `compiling greet: unknown architecture "mips" (known: amd64, arm64, ppc64le, s390x)`; err == nil || err.Error() != want || diag.ExitCode(err) != diag.ExitInput {
		t.Errorf("got %v", err)
	}
}

// What go prints comes in pieces, in lines of any length.
func TestWhatGoSays(t *testing.T) {
	var got []string
	w := &lineWriter{report: func(line string) {
		what, ok := activity(line)
		got = append(got, fmt.Sprintf("%.60s %v", what+line, ok))
	}}
	for _, piece := range []string{"go: downloading a.b/c ", "v1.0.0\nk8s.io/api/core/v1\n\n# a.b/c\nx.go:1:2: ", "undefined: y", "\n", strings.Repeat("l", maxLine), "more\nlast"} {
		if n, err := io.WriteString(w, piece); n != len(piece) || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
	}
	w.flush()
	want := []string{
		"downloading a.b/c v1.0.0go: downloading a.b/c v1.0.0 true",
		"compiling k8s.io/api/core/v1k8s.io/api/core/v1 true",
		"# a.b/c false", "x.go:1:2: undefined: y false",
		"compiling " + strings.Repeat("l", 50) + " true", "compiling lastlast true",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Two builds at once on one store do the work once.
func TestTwoAtOnce(t *testing.T) {
	files := greet(proxy(t, dep()))
	s, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	c := load(t, files)
	cached := make(chan bool, 3)
	for range cap(cached) {
		go func() {
			r, err := NewBuilder(s).Build(t.Context(), c, runtime.GOARCH)
			if err != nil {
				t.Error(err)
			}
			cached <- r.Cached
		}()
	}
	compiled := 0
	for range cap(cached) {
		if !<-cached {
			compiled++
		}
	}
	if compiled != 1 {
		t.Errorf("compiled %d times", compiled)
	}
}

// pause is the smallest of the real components.
func pause(t *testing.T) Component {
	t.Helper()
	c, err := Load("../../profiles/components/pause")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A program that is compiled is static and stripped, and does not tell where.
func TestWhatIsCompiled(t *testing.T) {
	b := newBuilder(t)
	for _, arch := range []string{runtime.GOARCH, "s390x"} {
		r, err := b.Build(t.Context(), pause(t), arch)
		if err != nil {
			t.Fatal(err)
		}
		file := program(t, r.Files[0])
		f, err := elf.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for _, p := range f.Progs {
			if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
				t.Errorf("%s: it is linked dynamically", arch)
			}
		}
		for _, s := range f.Sections {
			if s.Name == ".symtab" || strings.Contains(s.Name, "debug") || s.Name == ".note.go.buildid" && s.Size > 16 {
				t.Errorf("%s: section %s has %d bytes", arch, s.Name, s.Size)
			}
		}
		if want := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64, "ppc64le": elf.EM_PPC64, "s390x": elf.EM_S390}[arch]; f.Machine != want {
			t.Errorf("%s: it is for %v", arch, f.Machine)
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		here, err := os.Getwd()
		if err != nil {
			t.Fatal(err)
		}
		home, _ := os.UserHomeDir()
		root, err := exec.Command("go", "env", "GOROOT").Output()
		if err != nil {
			t.Fatal(err)
		}
		for _, place := range []string{here, filepath.Dir(filepath.Dir(here)), home + "/", b.store.Dir(), os.TempDir() + "/", strings.TrimSpace(string(root)) + "/"} {
			if place != "/" && bytes.Contains(data, []byte(place)) {
				t.Errorf("%s: it contains %s", arch, place)
			}
		}
		info, err := buildinfo.Read(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		settings := map[string]string{}
		for _, s := range info.Settings {
			settings[s.Key] = s.Value
		}
		if settings["CGO_ENABLED"] != "0" || settings["-trimpath"] != "true" || settings["vcs.revision"] != "" {
			t.Errorf("%s: made with %v", arch, settings)
		}
	}
}

// Compiled anew with empty caches, elsewhere and by another environment, a
// component has the same bytes.
func TestCompiledAnewItIsTheSame(t *testing.T) {
	compile := func() tree.Digest {
		r, err := newBuilder(t).Build(t.Context(), pause(t), runtime.GOARCH)
		if err != nil {
			t.Fatal(err)
		}
		if r.Cached {
			t.Error("it was not compiled")
		}
		return r.Files[0].Content.Digest()
	}
	want := compile()
	// Go makes the files of its module cache read-only, so there is none.
	for name, value := range map[string]string{
		"GOPATH": t.TempDir(), "GOCACHE": t.TempDir(), "TMPDIR": t.TempDir(), "HOME": t.TempDir(),
		"GOFLAGS": "-tags=other", "GOAMD64": "v3", "GOEXPERIMENT": "", "GODEBUG": "x=y", "CGO_ENABLED": "1", "LANG": "C", "TZ": "Asia/Kolkata",
	} {
		t.Setenv(name, value)
	}
	// The same files lie in another directory, too.
	c := pause(t)
	dir := filepath.Join(t.TempDir(), "elsewhere", "pause")
	if err := os.CopyFS(dir, os.DirFS(c.Dir)); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	moved, err := Load(".")
	if err != nil {
		t.Fatal(err)
	}
	r, err := newBuilder(t).Build(t.Context(), moved, runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Files[0].Content.Digest(); got != want {
		t.Errorf("sha256 %s, not %s", got, want)
	}
}

// When a build is called off, go ends and all that it started.
func TestCancel(t *testing.T) {
	real, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	started := filepath.Join(dir, "started")
	// In place of the compiler, which would soon be done: a child that does
	// not end by itself and holds the pipes.
	script := fmt.Sprintf("#!/bin/sh\ncase $1 in build) sleep 1000 & echo $! >%s.tmp; mv %s.tmp %s; wait;; *) exec %s \"$@\";; esac\n", started, started, started, real)
	if err := os.WriteFile(filepath.Join(dir, "go"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	ctx, cancel := context.WithCancelCause(t.Context())
	reason := errors.New("called off")
	done := make(chan error, 1)
	b := newBuilder(t)
	go func() {
		_, err := b.Build(ctx, pause(t), runtime.GOARCH)
		done <- err
	}()
	pid := waitFor(t, func() (string, bool) {
		data, err := os.ReadFile(started)
		return strings.TrimSpace(string(data)), err == nil
	})
	cancel(reason)
	if err := <-done; !errors.Is(err, reason) {
		t.Errorf("got %v", err)
	}
	waitFor(t, func() (string, bool) { return "", ended(pid) })
	if left, _ := filepath.Glob(filepath.Join(b.store.Dir(), "tmp", "*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// ended reports whether a process is gone, or a zombie that nobody reaps.
func ended(pid string) bool {
	stat, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
	if errors.Is(err, fs.ErrNotExist) {
		return true
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(rest, "Z")
}
