package fat_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/slipway-os/slipway/pkg/fat"
	"github.com/slipway-os/slipway/pkg/tree"
)

func read(t *testing.T, v *fat.Volume, name string) []byte {
	t.Helper()
	f, err := v.File(name)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestOwnFileSystemsReadBack(t *testing.T) {
	content, _ := sample(t)
	m := &memory{data: make([]byte, 64<<20)}
	if err := fat.Write(t.Context(), m, content, fat.Options{Size: 64 << 20, Label: "BOOT", Epoch: 1e9}); err != nil {
		t.Fatal(err)
	}
	v, err := fat.Open(bytes.NewReader(m.data), 64<<20)
	if err != nil {
		t.Fatal(err)
	}
	if v.Label != "BOOT" {
		t.Errorf("label %q", v.Label)
	}
	content.Walk(func(p string, n *tree.Node) error {
		if n.Type != tree.File {
			return nil
		}
		want, err := tree.ReadAll(n.Content, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		if got := read(t, v, p); !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, want %d", p, len(got), len(want))
		}
		return nil
	})
	for _, name := range []string{"efi/boot/bootx64.efi", "/EFI/BOOT/BOOTX64.EFI"} {
		if _, err := v.File(name); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"no", "EFI/no", "config.ign/no"} {
		if _, err := v.File(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"EFI", "/"} {
		if _, err := v.File(name); err == nil {
			t.Errorf("%q was opened as a file", name)
		}
	}
}

// Another program's file system, with a file in pieces.
func TestForeignFileSystem(t *testing.T) {
	mkfs, mcopy, mdel := judge(t, "mkfs.vfat", "dosfstools"), judge(t, "mcopy", "mtools"), judge(t, "mdel", "mtools")
	dir := t.TempDir()
	name := filepath.Join(dir, "fat")
	run := func(program string, args ...string) {
		t.Helper()
		if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s %q: %v: %s", program, args, err, out)
		}
	}
	run(mkfs, "-C", "-F", "32", "-n", "FOREIGN", name, "40000")
	file := func(name string, size int) (string, []byte) {
		data := make([]byte, size)
		rand.NewChaCha8([32]byte{byte(size)}).Read(data)
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path, data
	}
	first, _ := file("first", 8<<20)
	second, want := file("second", 1<<20)
	third, pieces := file("a file in pieces", 20<<20)
	run(mcopy, "-i", name, first, "::FIRST")
	run(mcopy, "-i", name, second, "::second.img")
	run(mdel, "-i", name, "::FIRST")
	run(mcopy, "-i", name, third, "::")
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	v, err := fat.Open(f, 40000<<10)
	if err != nil {
		t.Fatal(err)
	}
	if v.Label != "FOREIGN" {
		t.Errorf("label %q", v.Label)
	}
	if got := read(t, v, "second.img"); !bytes.Equal(got, want) {
		t.Errorf("second.img: %d bytes differ", len(got))
	}
	if got := read(t, v, "a file in pieces"); !bytes.Equal(got, pieces) {
		t.Errorf("the file in pieces: %d bytes differ", len(got))
	}
}

func TestNoFileSystem(t *testing.T) {
	m := &memory{data: make([]byte, 64<<20)}
	if err := fat.Write(t.Context(), m, tree.NewBuilder(0).Tree(), fat.Options{Size: 64 << 20, Epoch: 1e9}); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		damage func(b []byte)
		size   int64
		want   error
	}{
		"zeros":                 {func(b []byte) { clear(b[:512]) }, 64 << 20, fat.ErrNone},
		"FAT16":                 {func(b []byte) { b[22] = 1 }, 64 << 20, fat.ErrNone},
		"cut off":               {func([]byte) {}, 63 << 20, fat.ErrNone},
		"no sectors in cluster": {func(b []byte) { b[13] = 0 }, 64 << 20, fat.ErrNone},
		"shorter than a sector": {func([]byte) {}, 100, io.EOF},
	} {
		t.Run(name, func(t *testing.T) {
			b := bytes.Clone(m.data[:512])
			c.damage(b)
			if _, err := fat.Open(bytes.NewReader(b[:min(512, c.size)]), c.size); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}

// FuzzFile puts anything into the boot sector, the FAT and the root directory.
func FuzzFile(f *testing.F) {
	b := tree.NewBuilder(0)
	if err := b.Put("EFI/BOOT/BOOTX64.EFI", &tree.Node{Type: tree.File, Content: tree.Bytes(make([]byte, 3000))}); err != nil {
		f.Fatal(err)
	}
	m := &memory{data: make([]byte, 36<<20)}
	if err := fat.Write(f.Context(), m, b.Tree(), fat.Options{Size: 36 << 20, Epoch: 1e9}); err != nil {
		f.Fatal(err)
	}
	le := func(at int) int { return int(m.data[at]) | int(m.data[at+1])<<8 }
	table := le(14) * 512
	root := table + 2*le(36)*512
	f.Add(m.data[:90], m.data[table:table+64], m.data[root:root+512])
	f.Fuzz(func(t *testing.T, boot, chain, directory []byte) {
		d := &patched{m.data, []patch{{0, boot}, {int64(table), chain}, {int64(root), directory}}}
		v, err := fat.Open(d, int64(len(m.data)))
		if err != nil {
			return
		}
		file, err := v.File("EFI/BOOT/BOOTX64.EFI")
		if err != nil {
			return
		}
		if n, _ := io.Copy(io.Discard, io.NewSectionReader(file, 0, 1<<20)); n > file.Size() {
			t.Errorf("read %d of %d bytes", n, file.Size())
		}
	})
}

type patch struct {
	at   int64
	data []byte
}

// patched is a disk some of whose bytes are others.
type patched struct {
	data    []byte
	patches []patch
}

func (p *patched) ReadAt(b []byte, off int64) (int, error) {
	n, err := bytes.NewReader(p.data).ReadAt(b, off)
	for _, c := range p.patches {
		for i, v := range c.data {
			if at := c.at + int64(i) - off; at >= 0 && at < int64(n) {
				b[at] = v
			}
		}
	}
	return n, err
}
