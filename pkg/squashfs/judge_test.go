package squashfs_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/slipway-os/slipway/pkg/squashfs"
	"github.com/slipway-os/slipway/pkg/tree"
)

func TestUnsquashfsReadsEverything(t *testing.T) {
	mustHave(t, "unsquashfs")
	if os.Geteuid() != 0 {
		t.Skip("unsquashfs makes devices and owners for root only: run as root")
	}
	want := sample(t)
	image := write(t, want, squashfs.Options{Epoch: epoch})
	dir := filepath.Join(t.TempDir(), "root")
	out, err := exec.Command("unsquashfs", "-strict-errors", "-n", "-d", dir, image).CombinedOutput()
	if err != nil {
		t.Fatalf("unsquashfs: %v\n%s", err, out)
	}
	checkDir(t, dir, want)
}

func TestUnsquashfsReadsTheEmptyTree(t *testing.T) {
	mustHave(t, "unsquashfs")
	image := write(t, build(t, nil), squashfs.Options{Epoch: epoch})
	if out, err := exec.Command("unsquashfs", "-lls", image).CombinedOutput(); err != nil {
		t.Fatalf("unsquashfs: %v\n%s", err, out)
	}
}

func TestKernelMountsEverything(t *testing.T) {
	want := sample(t)
	for _, blockSize := range []int{4 << 10, 128 << 10, 1 << 20} {
		t.Run(fmt.Sprint(blockSize), func(t *testing.T) {
			image := write(t, want, squashfs.Options{Epoch: epoch, BlockSize: blockSize})
			checkDir(t, mount(t, image), want)
		})
	}
}

// mount mounts an image for the time of the test.
func mount(t *testing.T, image string) string {
	t.Helper()
	dir := t.TempDir()
	out, err := exec.Command("mount", "-t", "squashfs", "-o", "loop,ro", image, dir).CombinedOutput()
	if err != nil {
		if os.Geteuid() != 0 || bytes.Contains(out, []byte("failed to setup loop device")) {
			t.Skipf("no loop mounts here (%s): run as root where there are loop devices", bytes.TrimSpace(out))
		}
		t.Fatalf("mount: %v\n%s", err, out)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmounting: %v", err)
		}
	})
	return dir
}

// checkDir compares a directory of this machine with a tree.
func checkDir(t *testing.T, dir string, want *tree.Tree) {
	t.Helper()
	inodes, linked := map[uint64]*tree.Node{}, map[*tree.Node]uint64{}
	count := 0
	err := want.Walk(func(p string, n *tree.Node) error {
		name := filepath.Join(dir, p)
		var st unix.Stat_t
		if err := unix.Lstat(name, &st); err != nil {
			t.Errorf("%s: %v", p, err)
			return nil
		}
		count++
		kind := map[tree.Type]uint32{tree.Dir: unix.S_IFDIR, tree.File: unix.S_IFREG, tree.Symlink: unix.S_IFLNK,
			tree.CharDevice: unix.S_IFCHR, tree.BlockDevice: unix.S_IFBLK, tree.Fifo: unix.S_IFIFO}[n.Type]
		if got, want := st.Mode, kind|n.Mode; got != want {
			t.Errorf("%s: mode is %o, not %o", p, got, want)
		}
		if st.Uid != n.UID || st.Gid != n.GID || st.Mtim.Sec != n.ModTime {
			t.Errorf("%s: owner %d:%d, time %d; not %d:%d, %d", p, st.Uid, st.Gid, st.Mtim.Sec, n.UID, n.GID, n.ModTime)
		}
		if n.Type == tree.CharDevice || n.Type == tree.BlockDevice {
			if st.Rdev != unix.Mkdev(n.Major, n.Minor) {
				t.Errorf("%s: device is %d:%d", p, unix.Major(st.Rdev), unix.Minor(st.Rdev))
			}
		}
		if n.Type != tree.Dir {
			if other, ok := inodes[st.Ino]; ok && other != n {
				t.Errorf("%s: shares inode %d with what it is not linked to", p, st.Ino)
			}
			if first, ok := linked[n]; ok && first != st.Ino {
				t.Errorf("%s: has inode %d, what it is linked to %d", p, st.Ino, first)
			}
			inodes[st.Ino], linked[n] = n, st.Ino
		}
		if n.Type == tree.Symlink {
			if target, err := os.Readlink(name); err != nil || target != n.Target {
				t.Errorf("%s: target is %q, %v", p, target, err)
			}
		}
		if n.Type == tree.File {
			got, err := os.ReadFile(name)
			if err != nil {
				t.Errorf("%s: %v", p, err)
			} else if !bytes.Equal(got, contentOf(t, n)) {
				t.Errorf("%s: content differs", p)
			}
		}
		for _, x := range n.Xattrs {
			value := make([]byte, 64<<10)
			size, err := unix.Lgetxattr(name, x.Name, value)
			if err != nil || !bytes.Equal(value[:size], x.Value) {
				t.Errorf("%s: %s is %q, %v", p, x.Name, value[:max(size, 0)], err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	err = filepath.WalkDir(dir, func(string, os.DirEntry, error) error { found++; return nil })
	if err != nil || found != count {
		t.Errorf("found %d paths, not %d (%v)", found, count, err)
	}
}

func contentOf(t testing.TB, n *tree.Node) []byte {
	t.Helper()
	if n.Content == nil {
		return nil
	}
	r, err := n.Content.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	data := make([]byte, n.Size())
	if _, err := r.ReadAt(data, 0); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	return data
}
