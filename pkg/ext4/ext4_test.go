package ext4_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/slipway-os/slipway/pkg/ext4"
)

const (
	mib = int64(1) << 20
	gib = int64(1) << 30
)

// options are those of a file system of a size.
func options(size int64) ext4.Options {
	return ext4.Options{
		Size:     size,
		Label:    "data",
		UUID:     [16]byte{0x4d, 0x3c, 0x1b, 0x0a, 1, 2, 0x43, 4, 0x85, 6, 7, 8, 9, 10, 11, 12},
		HashSeed: [16]byte{16, 15, 14, 13, 12, 11, 0x4a, 9, 0x88, 7, 6, 5, 4, 3, 2, 1},
		Epoch:    1_700_000_000,
	}
}

// write writes a file system to a sparse file, and returns its name.
func write(t *testing.T, o ext4.Options) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "image")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(o.Size); err != nil {
		t.Fatal(err)
	}
	if err := ext4.Write(f, o); err != nil {
		t.Fatal(err)
	}
	return name
}

// run runs a judge, skips the test if it is not installed, and returns what it
// says.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("%s is missing, which judges file systems: `make judges` installs it, and `make test` does so first (%v)", name, err)
	}
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// check has e2fsck look at a file system, and wants nothing to be said but that
// it is clean. It accepts no repairs, which its exit code would tell.
func check(t *testing.T, name string) {
	t.Helper()
	out := run(t, "e2fsck", "-fn", name)
	for _, word := range []string{"Fix?", "IGNORED", "rong", "invalid", "WARNING", "? no"} {
		if strings.Contains(out, word) {
			t.Fatalf("e2fsck of %s complains:\n%s", name, out)
		}
	}
}

// checkCopy wants dumpe2fs to say a line of the copy of the superblock in group
// 1, whose checksum it looks at. e2fsck -b is no judge: it takes inode bitmaps
// that are not initialised for wrong ones, those of mke2fs too.
func checkCopy(t *testing.T, name, want string) {
	t.Helper()
	out := run(t, "dumpe2fs", "-h", "-o", "superblock=32768", "-o", "blocksize=4096", name)
	if !strings.Contains(out, want) {
		t.Errorf("dumpe2fs of the copy does not say %q:\n%s", want, out)
	}
}

func truncate(t *testing.T, name string, size int64) {
	t.Helper()
	if err := os.Truncate(name, size); err != nil {
		t.Fatal(err)
	}
}

func TestCheck(t *testing.T) {
	for _, test := range []struct {
		name   string
		size   int64
		blocks int64 // 0: all
	}{
		{"the least", 16 * mib, 0},
		{"one group", 64 * mib, 0},
		{"one whole group", 128 * mib, 0},
		{"a rest too small for a group", 128*mib + 4096, 32768},
		{"a small last group", 128*mib + 400*4096, 0},
		{"the usual", 256 * mib, 0},
		{"an odd number", 333*mib + 4096, 0},
		{"larger", gib, 0},
		{"a flexible group of a rest too small", 2*gib + 500*4096, 16 * 32768},
		{"a flexible group of a small group", 2*gib + 600*4096, 0},
		{"one block of descriptors", 8 * gib, 0},
		{"two blocks of descriptors", 8*gib + 128*mib, 0},
		{"many blocks of descriptors", 100 * gib, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			name := write(t, options(test.size))
			check(t, name)
			blocks := test.blocks
			if blocks == 0 {
				blocks = test.size / 4096
			}
			want := fmt.Sprintf("Block count:              %d\n", blocks)
			if out := run(t, "dumpe2fs", "-h", name); !strings.Contains(out, want) {
				t.Errorf("dumpe2fs does not say %q:\n%s", want, out)
			}
			if blocks > 32768 {
				checkCopy(t, name, want)
			}
		})
	}
}

func TestHeader(t *testing.T) {
	out := run(t, "dumpe2fs", "-h", write(t, options(256*mib)))
	for _, want := range []string{
		"Filesystem volume name:   data\n",
		"Filesystem UUID:          4d3c1b0a-0102-4304-8506-0708090a0b0c\n",
		"Filesystem features:      has_journal ext_attr dir_index filetype extent 64bit flex_bg" +
			" sparse_super large_file huge_file dir_nlink extra_isize metadata_csum\n",
		"Filesystem state:         clean\n",
		"Default mount options:    user_xattr acl\n",
		"Errors behavior:          Remount read-only\n",
		"Inode count:              16384\n",
		"Reserved block count:     0\n",
		"Overhead clusters:        9224\n", // as mke2fs has it
		"Free blocks:              56307\n",
		"Directory Hash Seed:      100f0e0d-0c0b-4a09-8807-060504030201\n",
		"Journal features:         journal_64bit journal_checksum_v3\n",
		"Total journal size:       32M\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("dumpe2fs does not say %q", want)
		}
	}
	if t.Failed() {
		t.Log(out)
	}
}

func TestTimes(t *testing.T) {
	for _, test := range []struct {
		epoch int64
		want  string
	}{
		{0, "crtime: 0x00000000:00000000"},
		{1_700_000_000, "crtime: 0x6553f100:00000000"},
		{1 << 31, "crtime: 0x80000000:00000001"}, // 2038: read as 1902, and 1<<32 later
		{5_000_000_000, "crtime: 0x2a05f200:00000001"},
	} {
		t.Run(fmt.Sprint(test.epoch), func(t *testing.T) {
			o := options(64 * mib)
			o.Epoch = test.epoch
			name := write(t, o)
			if test.epoch < time.Now().Unix() { // else e2fsck says so
				check(t, name)
			}
			if out := run(t, "debugfs", "-R", "stat /", name); !strings.Contains(out, test.want) {
				t.Errorf("debugfs does not say %q:\n%s", test.want, out)
			}
		})
	}
}

func TestSameBytes(t *testing.T) {
	var files [2][]byte
	for i := range files {
		data, err := os.ReadFile(write(t, options(64*mib)))
		if err != nil {
			t.Fatal(err)
		}
		files[i] = data
	}
	if !bytes.Equal(files[0], files[1]) {
		t.Error("the same options make other bytes")
	}
}

func TestSparse(t *testing.T) {
	var stat unix.Stat_t
	if err := unix.Stat(write(t, options(256*mib)), &stat); err != nil {
		t.Fatal(err)
	}
	if got, most := stat.Blocks*512, 128<<10; got > int64(most) {
		t.Errorf("a file of 256 MiB takes %d bytes, want at most %d", got, most)
	}
}

// failing is a disk that takes no more than a number of writes.
type failing struct{ left int }

var errFull = errors.New("full")

func (f *failing) WriteAt(p []byte, _ int64) (int, error) {
	if f.left--; f.left < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestErrors(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*ext4.Options)
		writes int
		want   string
	}{
		{"odd size", func(o *ext4.Options) { o.Size++ }, 0, "laying out an ext4 file system: size 67108865 is"},
		{"small", func(o *ext4.Options) { o.Size = mib }, 0, "size 1048576 is not within"},
		{"large", func(o *ext4.Options) { o.Size = 2048 * gib }, 0, "size 2199023255552 is not within"},
		{"label", func(o *ext4.Options) { o.Label = "seventeen letters" }, 0, `label "seventeen letters" is longer`},
		{"zero in label", func(o *ext4.Options) { o.Label = "a\x00b" }, 0, `label "a\x00b" has a zero byte`},
		{"epoch", func(o *ext4.Options) { o.Epoch = -1 }, 0, "epoch -1 is not within"},
		{"first write", func(*ext4.Options) {}, 0, "writing the ext4 block bitmap at block 2: full"},
		{"later write", func(*ext4.Options) {}, 2, "writing the ext4 inode table at block 4: full"},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := options(64 * mib)
			test.change(&o)
			err := ext4.Write(&failing{test.writes}, o)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want %q", err, test.want)
			}
		})
	}
}

func TestFiles(t *testing.T) {
	name := write(t, options(256*mib))
	if out := run(t, "debugfs", "-R", "ls -l /", name); !strings.Contains(out, "lost+found") {
		t.Errorf("no lost+found:\n%s", out)
	}
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	want := bytes.Repeat([]byte("slipway "), 1<<17)
	if err := os.WriteFile(from, want, 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, "debugfs", "-w", "-R", "write "+from+" file", name)
	run(t, "debugfs", "-R", "dump /file "+to, name)
	if got, err := os.ReadFile(to); err != nil || !bytes.Equal(got, want) {
		t.Errorf("read %d bytes, error %v; want the %d that were written", len(got), err, len(want))
	}
	check(t, name)
}

// tune2fs changes what it would change on one of mke2fs: another UUID means
// other checksums everywhere, of which it checks the old ones.
func TestTune(t *testing.T) {
	name := write(t, options(256*mib))
	run(t, "tune2fs", "-L", "other", "-U", "11111111-2222-4333-8444-555555555555", "-m", "1", name)
	check(t, name)
	out := run(t, "tune2fs", "-l", name)
	for _, want := range []string{"Filesystem volume name:   other\n", "Filesystem UUID:          11111111-2222-4333-8444-555555555555\n", "Reserved block count:     655\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("tune2fs does not say %q:\n%s", want, out)
		}
	}
	run(t, "tune2fs", "-O", "^has_journal", name)
	check(t, name)
	run(t, "tune2fs", "-j", name)
	check(t, name)
}

func TestGrowOffline(t *testing.T) {
	for _, size := range []int64{300 * mib, 4 * gib, 16 * gib} {
		t.Run(fmt.Sprintf("%d MiB", size/mib), func(t *testing.T) {
			name := write(t, options(256*mib))
			truncate(t, name, size)
			check(t, name)
			run(t, "e2fsck", "-fy", name) // resize2fs wants it
			run(t, "resize2fs", name)
			check(t, name)
		})
	}
}

func TestMount(t *testing.T) {
	name := write(t, options(256*mib))
	dir, unmount := mount(t, attach(t, name))
	want := bytes.Repeat([]byte("slipway "), 1<<19)
	for i := range 8 {
		sub := filepath.Join(dir, fmt.Sprint(i))
		if err := errors.Join(os.Mkdir(sub, 0o755), os.WriteFile(filepath.Join(sub, "file"), want, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	fill(t, dir)
	unmount()
	check(t, name)
}

// TestGrowOnline does what a machine does at its first boot, and again later.
func TestGrowOnline(t *testing.T) {
	for _, test := range []struct {
		name string
		from int64
		to   []int64
	}{
		{"within a group", 64 * mib, []int64{100 * mib}},
		{"to the usual", 256 * mib, []int64{16 * gib}},
		{"from a part of a group", 333*mib + 4096, []int64{16*gib + 50*mib}},
		{"from a group", 64 * mib, []int64{16 * gib}},
		{"in steps", 256 * mib, []int64{gib, 9 * gib, 16 * gib, 300 * gib}},
		{"from a block of descriptors", 8 * gib, []int64{16 * gib}},
		{"from two blocks of descriptors", 9 * gib, []int64{64 * gib}},
	} {
		t.Run(test.name, func(t *testing.T) {
			name := write(t, options(test.from))
			device := attach(t, name)
			dir, unmount := mount(t, device)
			want := bytes.Repeat([]byte("slipway "), 1<<19)
			var blocks int64
			for i, size := range test.to {
				if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), want, 0o644); err != nil {
					t.Fatal(err)
				}
				truncate(t, name, size)
				run(t, "losetup", "-c", device)
				blocks = size / 4096
				if err := grow(t, dir, blocks); err != nil {
					t.Fatalf("growing to %d bytes: %v", size, err)
				}
				var stat unix.Statfs_t
				if err := unix.Statfs(dir, &stat); err != nil {
					t.Fatal(err)
				}
				// Bitmaps and inode tables take 1/64, the journal less.
				if got := int64(stat.Blocks) * stat.Bsize; got < size/100*92 || got > size {
					t.Errorf("after growing to %d bytes there are %d", size, got)
				}
				if got, least := int64(stat.Files), size/(16<<10)/100*95; got < least {
					t.Errorf("after growing to %d bytes there are %d inodes, want %d", size, got, least)
				}
			}
			for i := range test.to {
				got, err := os.ReadFile(filepath.Join(dir, fmt.Sprint(i)))
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("file %d: read %d bytes, error %v", i, len(got), err)
				}
			}
			fill(t, dir)
			unmount()
			check(t, name)
			if blocks > 32768 {
				checkCopy(t, name, fmt.Sprintf("Block count:              %d\n", blocks))
			}
		})
	}
}

// attach attaches a file to a loop device, until the end of the test.
func attach(t *testing.T, name string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to mount")
	}
	out, err := exec.Command("losetup", "-f", "--show", name).CombinedOutput()
	if err != nil {
		t.Skipf("needs a loop device: losetup: %v\n%s", err, out)
	}
	device := strings.TrimSpace(string(out))
	t.Cleanup(func() { exec.Command("losetup", "-d", device).Run() })
	return device
}

// mount mounts a device, without options that would hide the file system's own.
func mount(t *testing.T, device string) (dir string, unmount func()) {
	t.Helper()
	dir = t.TempDir()
	if err := unix.Mount(device, dir, "ext4", 0, ""); errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENODEV) {
		t.Skipf("needs to mount: mounting %s: %v", device, err)
	} else if err != nil {
		t.Fatalf("mounting %s: %v", device, err)
	}
	mounted := true
	t.Cleanup(func() {
		if mounted {
			unix.Unmount(dir, unix.MNT_DETACH)
		}
	})
	return dir, func() {
		t.Helper()
		if err := unix.Unmount(dir, 0); err != nil {
			t.Fatal(err)
		}
		mounted = false
	}
}

// fill takes nearly all space, without writing it, so that the kernel looks at
// each group.
func fill(t *testing.T, dir string) {
	t.Helper()
	var stat unix.Statfs_t
	if err := unix.Statfs(dir, &stat); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, "filling"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Fallocate(int(f.Fd()), 0, 0, int64(stat.Bavail)*stat.Bsize/100*98); err != nil {
		t.Fatalf("filling the file system: %v", err)
	}
}

// grow has the kernel grow the mounted file system of a directory to a number of
// blocks.
func grow(t *testing.T, dir string, blocks int64) error {
	t.Helper()
	var sets [2]unix.CapUserData // the kernel writes two in version 3
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if err := unix.Capget(&header, &sets[0]); err != nil {
		t.Fatal(err)
	}
	if sets[0].Effective&(1<<unix.CAP_SYS_RESOURCE) == 0 {
		t.Skip("needs CAP_SYS_RESOURCE, to grow: this root has not got it")
	}
	const resizeFS = 0x40086610 // EXT4_IOC_RESIZE_FS, in the kernel's fs/ext4/ext4.h
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	n := uint64(blocks)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), resizeFS, uintptr(unsafe.Pointer(&n))); errno != 0 {
		return errno
	}
	return nil
}
