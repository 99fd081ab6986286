package component

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/slipway-os/slipway/pkg/diag"
)

// toolchain is the go command, and the environment it runs in: of the user's
// settings only those that say where modules come from and how they are
// checked. None of the others can change a byte of what is compiled.
type toolchain struct {
	path    string
	version string // "go1.26.8"
	env     []string
}

// kept are the Go settings of the user's that stay in force, wherever they
// are made: in the environment or by go env -w.
var kept = []string{
	"GOPROXY", "GONOPROXY", "GOSUMDB", "GONOSUMDB", "GOPRIVATE", "GOINSECURE", "GOAUTH", "GOVCS",
}

// levels pins the oldest processors that compiled programs run on, by the
// variable of each architecture.
var levels = map[string]string{
	"amd64":   "GOAMD64=v1",
	"arm64":   "GOARM64=v8.0",
	"ppc64le": "GOPPC64=power8",
	"s390x":   "",
}

// findToolchain looks for go in PATH. Caches that the user has not, or cannot
// write, lie below dir. With offline, nothing is downloaded.
func findToolchain(ctx context.Context, dir string, offline bool) (*toolchain, error) {
	const hint = "install Go 1.26 or later and put its bin directory into PATH"
	file, err := exec.LookPath("go")
	if err != nil {
		return nil, diag.Dependencyf("no go command in PATH, which compiles the components; %s", hint)
	}
	if file, err = filepath.Abs(file); err != nil {
		return nil, diag.IO(err)
	}
	t := &toolchain{path: file, env: append(foreign(os.Environ()), "GOTOOLCHAIN=local")}
	// This once with the user's own environment, as it is the user's settings that are read.
	cmd := exec.CommandContext(ctx, file, append([]string{"env", "-json", "GOVERSION", "GOCACHE", "GOMODCACHE"}, kept...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOTOOLCHAIN=local", "GOWORK=off", "GOFLAGS=")
	out, err := cmd.Output()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	settings := map[string]string{}
	if err == nil {
		err = json.Unmarshal(out, &settings)
	}
	if err != nil {
		return nil, diag.Dependency(fmt.Errorf("asking %s for its settings: %w; %s", file, err, hint))
	}
	t.version = settings["GOVERSION"]
	set := func(name, value string) { t.env = append(t.env, name+"="+value) }
	for _, name := range kept {
		set(name, settings[name])
	}
	flags := "-mod=readonly"
	if offline {
		set("GOPROXY", "off")
	}
	if cache := settings["GOMODCACHE"]; usable(cache) {
		set("GOMODCACHE", cache)
	} else {
		set("GOMODCACHE", filepath.Join(dir, "go-mod"))
		flags += " -modcacherw" // whoever removes the store removes it too
	}
	if cache := settings["GOCACHE"]; usable(cache) {
		set("GOCACHE", cache)
	} else {
		set("GOCACHE", filepath.Join(dir, "go-build"))
	}
	t.env = append(t.env, "GOENV=off", "GOWORK=off", "GOFIPS140=off", "GOOS=linux", "CGO_ENABLED=0", "GOFLAGS="+flags)
	return t, nil
}

// foreign returns the variables that are not settings of the go command.
func foreign(env []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return strings.HasPrefix(name, "GO") || strings.HasPrefix(name, "CGO_") || name == "PWD"
	})
}

// usable reports whether files can be made in a cache directory.
func usable(dir string) bool {
	if !filepath.IsAbs(dir) || os.MkdirAll(dir, 0o755) != nil {
		return false
	}
	f, err := os.CreateTemp(dir, "slipway-*")
	if err != nil {
		return false
	}
	f.Close()
	return os.Remove(f.Name()) == nil
}

// run runs go in dir and returns what it printed. Each line that it writes to
// standard error goes to report as it comes. When ctx ends, go and all that it
// started are killed.
func (t *toolchain) run(ctx context.Context, dir string, env []string, report func(line string), args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, t.path, args...)
	cmd.Dir = dir
	cmd.Env = slices.Concat(t.env, env, []string{"PWD=" + dir})
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 500 * time.Millisecond // for a grandchild that holds the pipes
	lines := &lineWriter{report: report}
	cmd.Stderr = lines
	out, err := cmd.Output()
	lines.flush()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return out, err
}

// lineWriter cuts what is written to it into lines.
type lineWriter struct {
	report func(string)
	rest   []byte
}

// maxLine bounds a line, in bytes; a longer one is cut.
const maxLine = 64 << 10

func (w *lineWriter) Write(p []byte) (int, error) {
	for line := range bytes.Lines(p) {
		text, ended := bytes.CutSuffix(line, []byte("\n"))
		w.rest = append(w.rest, text[:min(len(text), maxLine-len(w.rest))]...)
		if ended {
			w.flush()
		}
	}
	return len(p), nil
}

func (w *lineWriter) flush() {
	if len(w.rest) > 0 {
		w.report(string(w.rest))
	}
	w.rest = w.rest[:0]
}
