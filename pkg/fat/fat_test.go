package fat_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/fat"
	"github.com/slipway-os/slipway/pkg/tree"
)

func judge(t *testing.T, name, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is not installed (on Debian: apt-get install %s)", name, pkg)
	}
	return path
}

func sample(t *testing.T) (*tree.Tree, []byte) {
	t.Helper()
	big := make([]byte, 3<<20+17)
	rand.NewChaCha8([32]byte{7}).Read(big)
	b := tree.NewBuilder(1e9)
	files := map[string]tree.Content{
		"EFI/BOOT/BOOTX64.EFI":                  tree.Bytes(big),
		"EFI/Linux/slipway-with-long-name.efi":  tree.String("long"),
		"EFI/Linux/slipway-with-long-name2.efi": tree.String("long too"),
		"config.ign":                            tree.String("{}"),
		"EMPTY":                                 nil,
		"Grüße, Welt.txt":                       tree.String("x"),
	}
	for i := range 300 {
		files[fmt.Sprintf("many/file number %d", i)] = tree.String(fmt.Sprint(i))
	}
	for p, c := range files {
		if err := b.Put(p, &tree.Node{Type: tree.File, Mode: 0o644, Content: c}); err != nil {
			t.Fatal(err)
		}
	}
	return b.Tree(), big
}

func TestJudgesAgree(t *testing.T) {
	fsck, mcopy := judge(t, "fsck.vfat", "dosfstools"), judge(t, "mcopy", "mtools")
	content, big := sample(t)
	for _, size := range []int64{64 << 20, 100 << 20, 512 << 20, 8 << 30} {
		t.Run(fmt.Sprint(size>>20), func(t *testing.T) {
			name := filepath.Join(t.TempDir(), "fat")
			f, err := os.Create(name)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if err := f.Truncate(size); err != nil {
				t.Fatal(err)
			}
			if err := fat.Write(t.Context(), f, content, fat.Options{Size: size, Label: "BOOT", Serial: 0x12345678, Epoch: 1e9}); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command(fsck, "-n", "-v", name).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			} else if !strings.Contains(string(out), "32 bits per FAT entry") && strings.Contains(string(out), "bits per FAT entry") {
				t.Errorf("not FAT32: %s", out)
			}
			for p, want := range map[string]string{"EFI/BOOT/BOOTX64.EFI": string(big), "EFI/Linux/slipway-with-long-name2.efi": "long too", "many/file number 299": "299"} {
				out, err := exec.Command(mcopy, "-n", "-i", name, "::"+p, "-").Output()
				if err != nil || string(out) != want {
					t.Errorf("%s: %v, %d bytes", p, err, len(out))
				}
			}
		})
	}
}

func TestSameBytesTwice(t *testing.T) {
	content, _ := sample(t)
	write := func() []byte {
		m := &memory{data: make([]byte, 64<<20)}
		if err := fat.Write(t.Context(), m, content, fat.Options{Size: 64 << 20, Epoch: 1e9}); err != nil {
			t.Fatal(err)
		}
		return m.data
	}
	if !bytes.Equal(write(), write()) {
		t.Error("the bytes differ")
	}
}

func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]int
		size  int64
		want  string
	}{
		"too small":        {size: 30 << 20, want: "at least 34 MB"},
		"full":             {size: 64 << 20, files: map[string]int{"a": 65 << 20}, want: "is full"},
		"names by case":    {size: 64 << 20, files: map[string]int{"a": 1, "A": 1}, want: "in case only"},
		"name not allowed": {size: 64 << 20, files: map[string]int{"a:b": 1}, want: "no name that FAT allows"},
	} {
		t.Run(name, func(t *testing.T) {
			b := tree.NewBuilder(0)
			for p, n := range c.files {
				if err := b.Put(p, &tree.Node{Type: tree.File, Content: tree.Bytes(make([]byte, n))}); err != nil {
					t.Fatal(err)
				}
			}
			err := fat.Write(t.Context(), &memory{data: make([]byte, c.size)}, b.Tree(), fat.Options{Size: c.size})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

type memory struct{ data []byte }

func (m *memory) WriteAt(p []byte, off int64) (int, error) { return copy(m.data[off:], p), nil }
