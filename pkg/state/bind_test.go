package state

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, name, content string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(name), 0o755))
	must(t, os.WriteFile(name, []byte(content), 0o644))
}

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	must(t, err)
	return string(data)
}

// done asks whether the config was applied.
func isDone(t *testing.T, s State) bool {
	t.Helper()
	done, err := s.Done()
	must(t, err)
	return done
}

// A first boot may be cut off anywhere, as often as one likes. What it left is
// wiped until it finishes once; never afterwards.
func TestStamps(t *testing.T) {
	s := State{Dir: t.TempDir()}
	file := filepath.Join(s.Dir, "data/var/lib/x")
	start := func(want bool) {
		t.Helper()
		if wiped, err := s.Start(); err != nil || wiped != want {
			t.Fatalf("wiped %v, %v; want %v", wiped, err, want)
		}
	}
	if isDone(t, s) {
		t.Error("done before anything was")
	}
	start(false)
	for range 3 {
		write(t, file, "of an attempt that was cut off")
		if isDone(t, s) {
			t.Error("done without Finish")
		}
		start(true)
		if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("after another start: %v, want it wiped", err)
		}
	}
	write(t, file, "kept")
	must(t, s.Finish())
	if !isDone(t, s) {
		t.Error("not done after Finish")
	}
	if _, err := s.Start(); err == nil {
		t.Error("started again after it was done")
	}
	if got := read(t, file); got != "kept" {
		t.Errorf("the file holds %q", got)
	}
}

// A disk that does not answer must not be taken for a fresh one: it would be
// wiped.
func TestAnUnreadableStampIsNoAnswer(t *testing.T) {
	s := State{Dir: t.TempDir()}
	write(t, filepath.Join(s.Dir, "data/var/x"), "kept")
	// A file in the directory's place: nothing below it can be asked for.
	write(t, filepath.Join(s.Dir, "slipway"), "")
	if _, err := s.Done(); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("done: %v", err)
	}
	if _, err := s.Start(); err == nil {
		t.Error("started")
	}
	if got := read(t, filepath.Join(s.Dir, "data/var/x")); got != "kept" {
		t.Errorf("the file holds %q", got)
	}
}

// The reasons of starts that failed outlive the wiping, and do not fill the
// disk.
func TestRecord(t *testing.T) {
	s := State{Dir: t.TempDir()}
	file := filepath.Join(s.Dir, FailuresFile)
	must(t, s.Record("first reason\nin two lines"))
	_, err := s.Start()
	must(t, err)
	_, err = s.Start()
	must(t, err)
	must(t, s.Record("second reason"))
	got := read(t, file)
	if !strings.Contains(got, "first reason\nin two lines\n---") || !strings.HasSuffix(got, "\nsecond reason\n") {
		t.Errorf("got %q", got)
	}
	for range 100 {
		must(t, s.Record(strings.Repeat("again ", 100)))
	}
	if got := read(t, file); len(got) > 40<<10 || !strings.HasSuffix(got, "again \n") || !strings.HasPrefix(got, "---") && !strings.HasPrefix(got, "again") {
		t.Errorf("%d bytes, %q…", len(got), got[:40])
	}
	info, err := os.Stat(file)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
}

// image makes what the image has at the paths of the table.
func image(t *testing.T) string {
	root := t.TempDir()
	for _, p := range Paths() {
		must(t, os.MkdirAll(filepath.Join(root, p.Path), 0o755))
	}
	write(t, filepath.Join(root, "etc/os-release"), "1")
	write(t, filepath.Join(root, "var/lib/misc/x"), "image")
	write(t, filepath.Join(root, "usr/local/bin/x"), "tool")
	return root
}

func TestPrepare(t *testing.T) {
	root, s := image(t), State{Dir: t.TempDir()}
	// What an earlier attempt copied in part is not taken over.
	write(t, filepath.Join(s.Dir, "data/var.new/half"), "")
	must(t, s.prepare(root, Paths()))
	for name, want := range map[string]string{"var/lib/misc/x": "image", "local/bin/x": "tool"} {
		if got := read(t, filepath.Join(s.Dir, "data", name)); got != want {
			t.Errorf("%s holds %q", name, got)
		}
	}
	entries, err := os.ReadDir(filepath.Join(s.Dir, "data"))
	must(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if got := strings.Join(names, " "); got != "etc home local opt root srv var" {
		t.Errorf("the state partition has %s", got)
	}
	if _, err := os.Stat(filepath.Join(s.Dir, "data/var/half")); err == nil {
		t.Error("a copy that was cut off was taken over")
	}
	for _, p := range Paths() {
		if p.Overlay {
			continue
		}
		info, err := os.Stat(filepath.Join(s.Dir, "data", filepath.Base(p.Path)))
		must(t, err)
		if info.Mode().Perm() != os.FileMode(p.Mode) {
			t.Errorf("%s has mode %v, want %o", p.Path, info.Mode(), p.Mode)
		}
	}
	if _, err := os.Stat(filepath.Join(s.Dir, "data/etc/upper/os-release")); err == nil {
		t.Error("the overlay's upper layer holds a copy: it would hide the next image's")
	}

	// At later boots nothing is copied over what the machine wrote.
	write(t, filepath.Join(s.Dir, "data/var/lib/misc/x"), "machine")
	write(t, filepath.Join(root, "var/lib/misc/x"), "next image")
	must(t, s.prepare(root, Paths()))
	if got := read(t, filepath.Join(s.Dir, "data/var/lib/misc/x")); got != "machine" {
		t.Errorf("got %q", got)
	}
	// A path that a later image adds to the table appears without the rest.
	write(t, filepath.Join(root, "mnt/new"), "added")
	must(t, s.prepare(root, append(Paths(), Path{Path: "/mnt", Mode: 0o750})))
	if got := read(t, filepath.Join(s.Dir, "data/mnt/new")); got != "added" {
		t.Errorf("got %q", got)
	}
}

func TestPrepareNamesThePath(t *testing.T) {
	root, s := image(t), State{Dir: t.TempDir()}
	must(t, os.Remove(filepath.Join(root, "srv")))
	if err := s.prepare(root, Paths()); err == nil || !strings.Contains(err.Error(), "/srv") {
		t.Errorf("got %v", err)
	}
}

// describe lists a tree: path, mode, owner, time, target or content.
func describe(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	must(t, filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, name)
		var st unix.Stat_t
		if err := unix.Lstat(name, &st); err != nil {
			return err
		}
		content := ""
		switch d.Type() {
		case 0:
			content = read(t, name)
		case os.ModeSymlink:
			content, _ = os.Readlink(name)
		}
		attribute := make([]byte, 100)
		n, _ := unix.Lgetxattr(name, "user.test", attribute)
		out = append(out, fmt.Sprintf("%s %o %d:%d %d.%d %q %q", rel, st.Mode, st.Uid, st.Gid, st.Mtim.Sec, st.Mtim.Nsec, content, attribute[:max(n, 0)]))
		return nil
	}))
	return out
}

func TestCopyTree(t *testing.T) {
	from := filepath.Join(t.TempDir(), "from")
	write(t, filepath.Join(from, "dir/file"), "content")
	write(t, filepath.Join(from, "dir/empty"), "")
	write(t, filepath.Join(from, "name with \n and ü"), "x")
	must(t, os.Chmod(filepath.Join(from, "dir/file"), 0o750|os.ModeSetuid))
	must(t, os.Mkdir(filepath.Join(from, "sticky"), 0o755))
	must(t, os.Chmod(filepath.Join(from, "sticky"), 0o777|os.ModeSticky))
	must(t, os.Symlink("/nowhere/at all", filepath.Join(from, "link")))
	must(t, os.Symlink("dir", filepath.Join(from, "to-dir")))
	must(t, unix.Mkfifo(filepath.Join(from, "pipe"), 0o600))
	unix.Lsetxattr(filepath.Join(from, "dir/file"), "user.test", []byte("kept"), 0) // where there are any
	if os.Getuid() == 0 {
		must(t, os.Lchown(filepath.Join(from, "dir"), 12, 34))
		must(t, os.Lchown(filepath.Join(from, "link"), 56, 78))
	}
	past := time.Unix(1700000000, 123456789)
	for _, name := range []string{"dir/file", "dir", "sticky", "."} {
		must(t, os.Chtimes(filepath.Join(from, name), past, past))
	}
	to := filepath.Join(t.TempDir(), "to")
	must(t, copyTree(from, to))
	want := slices.DeleteFunc(describe(t, from), func(s string) bool { return strings.HasPrefix(s, "pipe ") })
	if got := describe(t, to); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	// Nothing is overwritten.
	if err := copyTree(from, to); err == nil {
		t.Error("copied over what was there")
	}
}

// namespace gives the test a mount namespace of its own.
func namespace(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: it mounts")
	}
	runtime.LockOSThread() // and never unlocked: the thread ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		t.Skipf("needs a mount namespace: %v", err)
	}
	must(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
}

// The kernel's own word: what is written lands on the state partition, the
// image's files show through below /etc, and the rest stays read-only.
func TestBind(t *testing.T) {
	namespace(t)
	root, dir := image(t), t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
		t.Skipf("needs tmpfs: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	must(t, unix.Mount(root, root, "", unix.MS_BIND, ""))
	t.Cleanup(func() { unix.Unmount(root, unix.MNT_DETACH) })
	must(t, unix.Mount("", root, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""))
	s := State{Dir: dir}
	if err := s.Bind(root); errors.Is(err, unix.ENODEV) {
		t.Skip("needs the kernel's overlay file system")
	} else if err != nil {
		t.Fatal(err)
	}
	if got := read(t, filepath.Join(root, "etc/os-release")); got != "1" {
		t.Errorf("the image's file: %q", got)
	}
	for name, at := range map[string]string{"etc/hostname": "etc/upper/hostname", "var/lib/x": "var/lib/x", "root/x": "root/x", "usr/local/x": "local/x"} {
		write(t, filepath.Join(root, name), name)
		if got := read(t, filepath.Join(dir, "data", at)); got != name {
			t.Errorf("%s: %q", name, got)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "usr/x"), nil, 0o600); !errors.Is(err, unix.EROFS) {
		t.Errorf("outside the table: %v", err)
	}
}
