package microcode_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/microcode"
	"github.com/slipway-os/slipway/pkg/tree"
)

func pack(t *testing.T, files map[string]string) *tree.Tree {
	t.Helper()
	b := tree.NewBuilder(1)
	for p, text := range files {
		if err := b.Put("usr/lib/firmware/"+p, &tree.Node{Type: tree.File, Mode: 0o644, Content: tree.String(text)}); err != nil {
			t.Fatal(err)
		}
	}
	return b.Tree()
}

// cpio, the program, unpacks what the kernel looks for.
func TestArchive(t *testing.T) {
	if _, err := exec.LookPath("cpio"); err != nil {
		t.Fatal("cpio is not installed (on Debian: apt-get install cpio)")
	}
	intel := pack(t, map[string]string{"intel-ucode/06-0f-02": "one", "intel-ucode/06-3a-09.initramfs": strings.Repeat("two!", 300)})
	amd := pack(t, map[string]string{"amd-ucode/microcode_amd.bin": "AMD1", "amd-ucode/microcode_amd.bin.asc": "signature", "amd-ucode/microcode_amd_fam17h.bin": "AMD2", "amd/other.sbin": "x"})
	for _, c := range []struct {
		name  string
		trees []*tree.Tree
		want  map[string]string
	}{
		{"both", []*tree.Tree{amd, intel}, map[string]string{"GenuineIntel": "one" + strings.Repeat("two!", 300), "AuthenticAMD": "AMD1AMD2"}},
		{"the other order", []*tree.Tree{intel, amd}, map[string]string{"GenuineIntel": "one" + strings.Repeat("two!", 300), "AuthenticAMD": "AMD1AMD2"}},
		{"one", []*tree.Tree{intel}, map[string]string{"GenuineIntel": "one" + strings.Repeat("two!", 300)}},
		{"none", []*tree.Tree{pack(t, map[string]string{"a.fw": "x"})}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			archive, err := microcode.Archive(c.trees, 1e9)
			if err != nil {
				t.Fatal(err)
			}
			if c.want == nil {
				if archive != nil {
					t.Errorf("an archive of %d bytes", len(archive))
				}
				return
			}
			if len(archive)%4 != 0 {
				t.Errorf("%d bytes: what follows is not aligned", len(archive))
			}
			dir := t.TempDir()
			run := exec.Command("cpio", "-id", "--quiet")
			run.Dir, run.Stdin = dir, bytes.NewReader(archive)
			if out, err := run.CombinedOutput(); err != nil {
				t.Fatalf("cpio: %v: %s", err, out)
			}
			files, err := filepath.Glob(filepath.Join(dir, "kernel/x86/microcode/*"))
			if err != nil || len(files) != len(c.want) {
				t.Errorf("unpacked %q: %v", files, err)
			}
			for vendor, want := range c.want {
				if got, err := os.ReadFile(filepath.Join(dir, "kernel/x86/microcode", vendor+".bin")); err != nil || string(got) != want {
					t.Errorf("%s: %q, %v", vendor, got, err)
				}
				if at := bytes.Index(archive, []byte(want)); at < 0 || at%16 != 0 {
					t.Errorf("%s lies at %d", vendor, at)
				}
			}
		})
	}
}
