package tree_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/slipway-os/slipway/pkg/tree"
)

// Neither the umask nor the clock of the checkout shows.
func TestFromDir(t *testing.T) {
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"etc/a": 0o600, "etc/b": 0o700, "usr/bin/c": 0o775} {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(filepath.Base(name)), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/nowhere", filepath.Join(dir, "etc", "link")); err != nil {
		t.Fatal(err)
	}
	tr, err := tree.FromDir(dir, 1234)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	tr.Walk(func(p string, n *tree.Node) error {
		data, err := tree.ReadAll(n.Content, 10)
		got = append(got, fmt.Sprintf("%s %s %o %d:%d %d %s%s", p, n.Type, n.Mode, n.UID, n.GID, n.ModTime, data, n.Target))
		return err
	})
	want := `. d 755 0:0 1234 
etc d 755 0:0 1234 
etc/a - 644 0:0 1234 a
etc/b - 755 0:0 1234 b
etc/link l 777 0:0 1234 /nowhere
usr d 755 0:0 1234 
usr/bin d 755 0:0 1234 
usr/bin/c - 755 0:0 1234 c`
	if text := strings.Join(got, "\n"); text != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
	if err := unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{dir, filepath.Join(dir, "none")} {
		if _, err := tree.FromDir(bad, 0); err == nil || !strings.Contains(err.Error(), "reading overlay ") {
			t.Errorf("%s: got %v", bad, err)
		}
	}
}
