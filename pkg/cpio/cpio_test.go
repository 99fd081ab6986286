package cpio_test

import (
	"bytes"
	"os/exec"
	"testing"

	"github.com/slipway-os/slipway/pkg/cpio"
	"github.com/slipway-os/slipway/pkg/tree"
)

func TestCpioAgrees(t *testing.T) {
	judge, err := exec.LookPath("cpio")
	if err != nil {
		t.Fatal("cpio is not installed (on Debian: apt-get install cpio)")
	}
	b := tree.NewBuilder(1e9)
	for p, n := range map[string]*tree.Node{
		"init":         {Type: tree.File, Mode: 0o755, Content: tree.String("#!"), ModTime: 1e9},
		"usr/lib/x.ko": {Type: tree.File, Mode: 0o644, Content: tree.Bytes(make([]byte, 70000)), ModTime: 1e9},
		"empty":        {Type: tree.File, Mode: 0o600, ModTime: 1e9},
		"lib":          {Type: tree.Symlink, Mode: 0o777, Target: "usr/lib", ModTime: 1e9},
	} {
		if err := b.Put(p, n); err != nil {
			t.Fatal(err)
		}
	}
	var archive, again bytes.Buffer
	if err := cpio.Write(&archive, b.Tree()); err != nil {
		t.Fatal(err)
	}
	if err := cpio.Write(&again, b.Tree()); err != nil || !bytes.Equal(archive.Bytes(), again.Bytes()) {
		t.Errorf("a second time the bytes differ (%v)", err)
	}
	list := exec.Command(judge, "-itv", "--numeric-uid-gid")
	list.Stdin = &archive
	list.Env = []string{"TZ=UTC", "LC_ALL=C"}
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	want := `-rw-------   1 0        0               0 Sep  9  2001 empty
-rwxr-xr-x   1 0        0               2 Sep  9  2001 init
lrwxrwxrwx   1 0        0               7 Sep  9  2001 lib -> usr/lib
drwxr-xr-x   2 0        0               0 Sep  9  2001 usr
drwxr-xr-x   2 0        0               0 Sep  9  2001 usr/lib
-rw-r--r--   1 0        0           70000 Sep  9  2001 usr/lib/x.ko
`
	if string(out) != want {
		t.Errorf("cpio lists\n%s\nwant\n%s", out, want)
	}
}
