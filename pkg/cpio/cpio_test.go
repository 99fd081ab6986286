package cpio_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/slipway-os/slipway/pkg/cpio"
	"github.com/slipway-os/slipway/pkg/tree"
)

func judge(t *testing.T) string {
	t.Helper()
	name, err := exec.LookPath("cpio")
	if err != nil {
		t.Fatal("cpio is not installed (on Debian: apt-get install cpio)")
	}
	return name
}

// sample has everything that an archive can hold.
func sample(t *testing.T) *tree.Tree {
	t.Helper()
	linked := &tree.Node{Type: tree.File, Mode: 0o644, Content: tree.String("linked"), ModTime: 1e9}
	b := tree.NewBuilder(1e9)
	for p, n := range map[string]*tree.Node{
		"init":         {Type: tree.File, Mode: 0o755, Content: tree.String("#!"), ModTime: 1e9},
		"usr/lib/x.ko": {Type: tree.File, Mode: 0o644, Content: tree.Bytes(make([]byte, 70000)), ModTime: 1e9},
		"empty":        {Type: tree.File, Mode: 0o600, UID: 7, GID: 4294967294, ModTime: 4294967295},
		"lib":          {Type: tree.Symlink, Mode: 0o777, Target: "usr/lib", ModTime: 1e9},
		"link/a":       linked,
		"link/b":       linked,
		"run/pipe":     {Type: tree.Fifo, Mode: 0o600, ModTime: 1e9},
		"tmp":          {Type: tree.Dir, Mode: 0o1777, ModTime: 1e9},
		"with spaces and a very long name " + strings.Repeat("n", 200): {Type: tree.File, Mode: 0o644, ModTime: 1e9},
	} {
		if err := b.Put(p, n); err != nil {
			t.Fatal(err)
		}
	}
	return b.Tree()
}

func archive(t *testing.T, tr *tree.Tree) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := cpio.Write(&b, tr); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestCpioAgrees(t *testing.T) {
	list := exec.Command(judge(t), "-itv", "--numeric-uid-gid")
	data := archive(t, sample(t))
	if !bytes.Equal(archive(t, sample(t)), data) {
		t.Error("a second time the bytes differ")
	}
	list.Stdin = bytes.NewReader(data)
	list.Env = []string{"TZ=UTC", "LC_ALL=C"}
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	want := `-rw-------   1 7        4294967294        0 Feb  7  2106 empty
-rwxr-xr-x   1 0        0               2 Sep  9  2001 init
lrwxrwxrwx   1 0        0               7 Sep  9  2001 lib -> usr/lib
drwxr-xr-x   2 0        0               0 Sep  9  2001 link
-rw-r--r--   2 0        0               6 Sep  9  2001 link/a
-rw-r--r--   2 0        0               0 Sep  9  2001 link/b
drwxr-xr-x   2 0        0               0 Sep  9  2001 run
prw-------   1 0        0               0 Sep  9  2001 run/pipe
drwxrwxrwt   2 0        0               0 Sep  9  2001 tmp
drwxr-xr-x   2 0        0               0 Sep  9  2001 usr
drwxr-xr-x   2 0        0               0 Sep  9  2001 usr/lib
-rw-r--r--   1 0        0           70000 Sep  9  2001 usr/lib/x.ko
-rw-r--r--   1 0        0               0 Sep  9  2001 with spaces and a very long name ` + strings.Repeat("n", 200) + "\n"
	if string(out) != want {
		t.Errorf("cpio lists\n%s\nwant\n%s", out, want)
	}
}

func TestCpioUnpacksWhatWasWritten(t *testing.T) {
	dir := t.TempDir()
	unpack := exec.Command(judge(t), "-id", "--no-preserve-owner", "--no-absolute-filenames", "--nonmatching", "run/*")
	unpack.Dir = dir
	unpack.Stdin = bytes.NewReader(archive(t, sample(t)))
	if out, err := unpack.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for p, want := range map[string]string{"init": "#!", "link/a": "linked", "link/b": "linked", "empty": "", "lib/x.ko": string(make([]byte, 70000))} {
		if got, err := os.ReadFile(filepath.Join(dir, p)); err != nil || string(got) != want {
			t.Errorf("%s holds %d bytes, %v", p, len(got), err)
		}
	}
	var a, b syscall.Stat_t
	if err := errors.Join(syscall.Stat(filepath.Join(dir, "link/a"), &a), syscall.Stat(filepath.Join(dir, "link/b"), &b)); err != nil || a.Ino != b.Ino {
		t.Errorf("the hard links are inodes %d and %d, %v", a.Ino, b.Ino, err)
	}
}

// zeros is content of a size that nobody reads.
type zeros struct {
	tree.Content
	size int64
}

func (z zeros) Size() int64 { return z.size }

func TestRefusals(t *testing.T) {
	damaged := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(damaged, []byte("rotten"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		node tree.Node
		want string
	}{
		"too large":             {tree.Node{Type: tree.File, Content: zeros{size: 1 << 32}}, `archiving "x": a file of 4294967296 bytes: 4 GiB or more`},
		"too late":              {tree.Node{Type: tree.File, ModTime: 1 << 32}, `archiving "x": time 4294967296 is not within 1970 to 2106`},
		"too early":             {tree.Node{Type: tree.Dir, ModTime: -1}, `archiving "x": time -1 is not within 1970 to 2106`},
		"long target":           {tree.Node{Type: tree.Symlink, Target: strings.Repeat("t", 4096)}, `archiving "x": a name of 1 bytes and a target of 4096: more than 4095`},
		"extended attributes":   {tree.Node{Type: tree.File, Xattrs: []tree.Xattr{{Name: "user.a"}}}, `archiving "x": it has the extended attribute "user.a", which an archive cannot hold`},
		"the archive's own end": {tree.Node{Type: tree.File}, `archiving "TRAILER!!!": a name that ends the archive`},
		"a device":              {tree.Node{Type: tree.CharDevice, Major: 5, Minor: 1}, fmt.Sprintf(`archiving "x": type %d has no place in an archive`, tree.CharDevice)},
		"damaged":               {tree.Node{Type: tree.File, Content: tree.Section(damaged, 0, 6, tree.String("sound!").Digest())}, `archiving "x": damaged content: it has not the sha256 ` + tree.String("sound!").Digest().String()},
		"gone":                  {tree.Node{Type: tree.File, Content: tree.Section("/nonexistent/x", 0, 6, tree.Digest{})}, `archiving "x": open /nonexistent/x: no such file or directory`},
	} {
		t.Run(name, func(t *testing.T) {
			b := tree.NewBuilder(0)
			p := "x"
			if name == "the archive's own end" {
				p = "TRAILER!!!"
			}
			if err := b.Put(p, &c.node); err != nil {
				t.Fatal(err)
			}
			if err := cpio.Write(&bytes.Buffer{}, b.Tree()); err == nil || err.Error() != c.want {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

// full takes some bytes and then no more.
type full struct{ room int }

func (f *full) Write(p []byte) (int, error) {
	if f.room -= len(p); f.room < 0 {
		return 0, syscall.ENOSPC
	}
	return len(p), nil
}

func TestAFullDiskIsTold(t *testing.T) {
	for _, room := range []int{0, 64 << 10} {
		if err := cpio.Write(&full{room}, sample(t)); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("with room for %d bytes: %v", room, err)
		}
	}
}
