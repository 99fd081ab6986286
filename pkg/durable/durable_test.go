package durable_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/durable"
)

func TestWriteFileReplacesContentAndMode(t *testing.T) {
	name := filepath.Join(t.TempDir(), "etc", "kubernetes", "x.conf")
	old := unix.Umask(0o077)
	t.Cleanup(func() { unix.Umask(old) })
	for _, c := range []struct {
		content string
		mode    fs.FileMode
	}{{"first", 0o600}, {"second, longer", 0o644}, {"", 0o755}} {
		if err := durable.WriteFile(name, []byte(c.content), c.mode); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(name)
		if err != nil || string(data) != c.content {
			t.Errorf("got %q, %v; want %q", data, err, c.content)
		}
		info, err := os.Stat(name)
		if err != nil || info.Mode() != c.mode {
			t.Errorf("got %v, %v; want mode %v", info.Mode(), err, c.mode)
		}
	}
}

func TestWhatFailsChangesNothing(t *testing.T) {
	for _, c := range []struct {
		name    string
		prepare func(dir string) (file string, err error)
	}{
		{"the name is that of a directory", func(dir string) (string, error) {
			return filepath.Join(dir, "x"), os.MkdirAll(filepath.Join(dir, "x", "y"), 0o755)
		}},
		{"a file lies where a directory must", func(dir string) (string, error) {
			return filepath.Join(dir, "x", "y"), os.WriteFile(filepath.Join(dir, "x"), []byte("old"), 0o644)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			file, err := c.prepare(dir)
			if err != nil {
				t.Fatal(err)
			}
			before := listing(t, dir)
			err = durable.WriteFile(file, []byte("new"), 0o644)
			if err == nil || !strings.Contains(err.Error(), file) || strings.Contains(err.Error(), "\n") {
				t.Errorf("the error is to name %s, in one line: %v", file, err)
			}
			if code := diag.ExitCode(err); code != diag.ExitIO {
				t.Errorf("exit status %d, want %d", code, diag.ExitIO)
			}
			if after := listing(t, dir); after != before {
				t.Errorf("before:\n%safter:\n%s", before, after)
			}
		})
	}
}

func listing(t *testing.T, dir string) string {
	t.Helper()
	var out strings.Builder
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		out.WriteString(name + "\n")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// The order matters: content before the name, the name before the return, and
// each new directory's name before what lies in it.
func TestWriteFileSyncsInOrder(t *testing.T) {
	const variable = "WRITE_DURABLY"
	if name := os.Getenv(variable); name != "" {
		if err := durable.WriteFile(name, []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("strace is missing: make judges")
	}
	dir := t.TempDir()
	trace := filepath.Join(dir, "trace")
	cmd := exec.Command(strace, "-f", "-y", "-qq", "-e", "trace=fsync,rename,renameat,renameat2,mkdirat", "-e", "signal=none", "-o", trace,
		os.Args[0], "-test.run=^TestWriteFileSyncsInOrder$")
	cmd.Env = append(os.Environ(), variable+"="+filepath.Join(dir, "new", "file"))
	if out, err := cmd.CombinedOutput(); err != nil {
		if strings.Contains(string(out), "ptrace") {
			t.Skipf("this machine does not let strace trace: %s", out)
		}
		t.Fatalf("%v: %s", err, out)
	}
	data, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	quoted := regexp.QuoteMeta(dir)
	order := regexp.MustCompile(`(?s)mkdirat\([^\n]*"` + quoted + `/new"[^\n]*\n` +
		`.*fsync\([0-9]+<` + quoted + `>[^\n]*\n` +
		`.*fsync\([0-9]+<` + quoted + `/new/\.file-[0-9]+>[^\n]*\n` +
		`.*rename[^\n]*"` + quoted + `/new/file"[^\n]*\n` +
		`.*fsync\([0-9]+<` + quoted + `/new>`)
	if !order.Match(data) {
		t.Errorf("not in order:\n%s", data)
	}
}

func TestWriteNewReplacesNothing(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "secrets")
	if err := durable.WriteNew(name, []byte("first"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := durable.WriteNew(name, []byte("second"), 0o600); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v", err)
	}
	data, err := os.ReadFile(name)
	if err != nil || string(data) != "first" {
		t.Errorf("got %q, %v", data, err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left %v, %v", entries, err)
	}
}

// What a power cut left of writers is found by the name of the file.
func TestRemoveUnfinished(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{".a.yaml-123", ".a.yaml-4", "a.yaml", ".b.yaml-123", "a.yaml-5"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := durable.RemoveUnfinished(filepath.Join(dir, "a.yaml")); err != nil {
		t.Fatal(err)
	}
	var left []string
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		left = append(left, e.Name())
	}
	if got, want := strings.Join(left, " "), ".b.yaml-123 a.yaml a.yaml-5"; err != nil || got != want {
		t.Errorf("%q is left, not %q; %v", got, want, err)
	}
}
