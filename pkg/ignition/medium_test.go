package ignition

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/slipway-os/slipway/pkg/diag"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tool runs a program that makes media; without it the test is skipped.
func tool(t testing.TB, name string, args ...string) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		path = "/usr/sbin/" + name // which users' PATHs lack
		if _, err := os.Stat(path); err != nil {
			t.Skipf("%s is missing, which makes media: `make judges` installs it, and `make test` does so first", name)
		}
	}
	if out, err := exec.Command(path, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
}

// The file systems that people put a config on, made by the usual programs,
// with a label or without.
var media = []struct {
	name, kind, label string
	make              func(t testing.TB, image, dir, label string)
}{
	{"FAT12", "vfat", "SLIPWAY", fat("12", "2M")},
	{"FAT16", "vfat", "SLIPWAY", fat("16", "16M")},
	{"FAT32", "vfat", "SLIPWAY", fat("32", "40M")},
	{"FAT without a table of partitions, lower case", "vfat", "slipway", fat("16", "16M")},
	{"FAT with another label", "vfat", "OTHER", fat("16", "16M")},
	{"FAT without a label", "vfat", "NO NAME", fat("16", "16M")},
	{"FAT32 whose boot sector has an old label", "vfat", "SLIPWAY", func(t testing.TB, image, dir, label string) {
		fat("32", "40M")(t, image, dir, "SLIPWAY")
		f, err := os.OpenFile(image, os.O_RDWR, 0)
		must(t, err)
		defer f.Close()
		_, err = f.WriteAt([]byte("OLD        "), 71)
		must(t, err)
	}},
	{"FAT16 with files before the label", "vfat", "SLIPWAY", func(t testing.TB, image, dir, _ string) {
		fat("16", "16M")(t, image, dir, "X")
		for i := range 20 { // each takes several entries
			name := filepath.Join(dir, fmt.Sprintf("a long name, number %d.txt", i))
			must(t, os.WriteFile(name, nil, 0o600))
			tool(t, "mcopy", "-i", image, name, "::")
		}
		tool(t, "mlabel", "-i", image, "::SLIPWAY")
	}},
	{"ISO 9660", "iso9660", "SLIPWAY", iso("-V")},
	{"ISO 9660 with Rock Ridge and Joliet", "iso9660", "SLIPWAY", iso("-R", "-J", "-V")},
	{"ext4", "ext4", "SLIPWAY", ext("ext4")},
	{"ext2", "ext4", "SLIPWAY", ext("ext2")},
	{"ext4 without a label", "ext4", "", ext("ext4")},
	{"ext4 with a label of all 16 bytes", "ext4", "0123456789abcdef", ext("ext4")},
}

func fat(bits, size string) func(testing.TB, string, string, string) {
	return func(t testing.TB, image, dir, label string) {
		tool(t, "truncate", "-s", size, image)
		args := []string{"-F", bits}
		if label != "NO NAME" {
			args = append(args, "-n", label)
		}
		tool(t, "mkfs.fat", append(args, image)...)
		if entries, _ := os.ReadDir(dir); len(entries) > 0 {
			tool(t, "mcopy", "-i", image, filepath.Join(dir, entries[0].Name()), "::")
		}
	}
}

func iso(args ...string) func(testing.TB, string, string, string) {
	return func(t testing.TB, image, dir, label string) {
		tool(t, "xorriso", append(append([]string{"-as", "mkisofs", "-quiet", "-o", image}, args...), label, dir)...)
	}
}

func ext(kind string) func(testing.TB, string, string, string) {
	return func(t testing.TB, image, dir, label string) {
		tool(t, "mke2fs", "-q", "-t", kind, "-L", label, "-d", dir, image, "8M")
	}
}

func TestProbe(t *testing.T) {
	for _, m := range media {
		t.Run(m.name, func(t *testing.T) {
			dir := t.TempDir()
			image := filepath.Join(dir, "image")
			content := filepath.Join(dir, "content")
			must(t, os.Mkdir(content, 0o755))
			must(t, os.WriteFile(filepath.Join(content, ConfigName), []byte("{}"), 0o600))
			m.make(t, image, content, m.label)
			f, err := os.Open(image)
			must(t, err)
			defer f.Close()
			if kind, label := probe(f); kind != m.kind || label != m.label {
				t.Errorf("got %q, %q; want %q, %q", kind, label, m.kind, m.label)
			}
		})
	}
	for name, data := range map[string][]byte{
		"nothing":          nil,
		"too short":        make([]byte, 100),
		"zeros":            make([]byte, 64<<10),
		"a boot sector":    append(append(make([]byte, 510), 0x55, 0xaa), make([]byte, 64<<10)...),
		"letters":          bytes.Repeat([]byte("FAT32   CD001"), 10000),
		"the end of a FAT": append(append(make([]byte, 510), 0x55, 0xaa), 0),
	} {
		if kind, label := probe(bytes.NewReader(data)); kind != "" || label != "" {
			t.Errorf("%s: %q, %q", name, kind, label)
		}
	}
}

// disk is a device of which only the places that tell something are there.
type disk struct{ boot, descriptor, entries []byte }

func (d disk) ReadAt(p []byte, at int64) (int, error) {
	part := d.entries // wherever the boot sector says
	switch {
	case at < 0:
		return 0, errors.New("before the beginning")
	case at == 0:
		part = d.boot
	case at == 32768:
		part = d.descriptor
	}
	n := copy(p, part)
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func FuzzProbe(f *testing.F) {
	boot := func(kind string, at int) []byte {
		b := make([]byte, 2048)
		copy(b[at:], kind)
		copy(b[11:], []byte{0, 2, 4, 1, 0, 2, 0, 2})
		b[510], b[511] = 0x55, 0xaa
		return b
	}
	entry := append([]byte("SLIPWAY    \x08"), make([]byte, 20)...)
	f.Add(boot("FAT32   ", 82), []byte{}, entry)
	f.Add(boot("FAT16   ", 54), []byte{}, entry)
	f.Add([]byte{}, append([]byte("\x01CD001"), make([]byte, 2042)...), []byte{})
	f.Add(labelledDisk("SLIPWAY")[:2048], []byte{}, []byte{})
	f.Fuzz(func(t *testing.T, boot, descriptor, entries []byte) {
		kind, label := probe(disk{boot, descriptor, entries})
		if kind == "" && label != "" || len(label) > 32 {
			t.Errorf("kind %q, label %q", kind, label)
		}
	})
}

func TestReadMedium(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		want  string
		says  string
	}{
		{"as it should be", map[string]string{"config.ign": "right", "other": "wrong"}, "right", ""},
		{"upper case, as on FAT", map[string]string{"CONFIG.IGN": "right"}, "right", ""},
		{"mixed case", map[string]string{"Config.Ign": "right"}, "right", ""},
		{"with a version, as on ISO 9660", map[string]string{"CONFIG.IGN;1": "right"}, "right", ""},
		{"with a version and an empty end", map[string]string{"CONFIG.IGN.;1": "right"}, "right", ""},
		{"two: the exact one", map[string]string{"CONFIG.IGN": "wrong", "config.ign": "right", "Config.ign": "wrong"}, "right", ""},
		{"none", map[string]string{"config.json": "x"}, "", "there is no such file"},
		{"an empty medium", nil, "", "there is no such file"},
		{"empty", map[string]string{"config.ign": " \n"}, "", "it is empty"},
		{"too large", map[string]string{"config.ign": strings.Repeat("x", most+1)}, "", "larger than 32 MiB"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, content := range c.files {
				must(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
			}
			got, err := readMedium(dir)
			if string(got) != c.want || (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %.20q, %v", got, err)
			}
			if err != nil && diag.ExitCode(err) != diag.ExitInput {
				t.Errorf("exit status %d: %v", diag.ExitCode(err), err)
			}
		})
	}
	// A medium must lead nowhere else, and keep nobody waiting.
	for name, make := range map[string]func(string) error{
		"a link":      func(f string) error { return os.Symlink("/etc/passwd", f) },
		"a pipe":      func(f string) error { return unix.Mkfifo(f, 0o600) },
		"a directory": func(f string) error { return os.Mkdir(f, 0o700) },
	} {
		dir := t.TempDir()
		must(t, make(filepath.Join(dir, "config.ign")))
		if data, err := readMedium(dir); err == nil || !strings.Contains(err.Error(), "it is ") {
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}
}

// The kernel mounts what was made, and the config comes out of it.
func TestReadARealMedium(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: it mounts")
	}
	runtime.LockOSThread() // and never unlocked: the thread ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		t.Skipf("needs a mount namespace: %v", err)
	}
	must(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	for _, m := range media {
		if m.label != "SLIPWAY" {
			continue
		}
		t.Run(m.name, func(t *testing.T) {
			runtime.LockOSThread()
			must(t, unix.Unshare(unix.CLONE_NEWNS))
			dir := t.TempDir()
			image, content := filepath.Join(dir, "image"), filepath.Join(dir, "content")
			must(t, os.Mkdir(content, 0o755))
			must(t, os.WriteFile(filepath.Join(content, ConfigName), []byte("right"), 0o600))
			m.make(t, image, content, m.label)
			out, err := exec.Command("losetup", "--show", "-rf", image).Output()
			if err != nil {
				t.Skipf("needs a loop device: %v", err)
			}
			device := strings.TrimSpace(string(out))
			defer exec.Command("losetup", "-d", device).Run()
			to := filepath.Join(dir, "to")
			err = Source{Medium: device}.read(filepath.Join(dir, "at"), to)
			if errors.Is(err, unix.ENODEV) {
				t.Skipf("this kernel does not mount %s", m.kind)
			}
			must(t, err)
			data, err := os.ReadFile(filepath.Join(to, "user.ign"))
			if string(data) != "right" {
				t.Errorf("got %q, %v", data, err)
			}
			info, err := os.Stat(filepath.Join(to, "user.ign"))
			must(t, err)
			if info.Mode().Perm() != 0o600 {
				t.Errorf("mode %v: it holds secrets", info.Mode())
			}
		})
	}
}
