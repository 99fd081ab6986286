package fat_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
			name := write(t, content, size)
			if out, err := exec.Command(fsck, "-n", "-v", name).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			} else if !strings.Contains(string(out), "32 bit entries") {
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

// Names as mtools lists them: long names are kept as they are, and no two
// files of a directory share a short name.
func TestNames(t *testing.T) {
	mdir := judge(t, "mdir", "mtools")
	names := []string{
		"SHORT.TXT", "lower.txt", "CONFIG~1.IGN", "config.ign", "config~2.ign", "no extension", "many.dots.in.it", ".hidden",
		"exactly-thirteen.characters-and-another-thirteen"[:26], "ümläut", strings.Repeat("l", 255), "A+B", "a;b", "1234567890", "1234567890.x", "1234567891.x",
	}
	b := tree.NewBuilder(1e9)
	for i, name := range names {
		if err := b.Put("d/"+name, &tree.Node{Type: tree.File, Content: tree.String(fmt.Sprint(i))}); err != nil {
			t.Fatal(err)
		}
	}
	image := write(t, b.Tree(), 64<<20)
	mtools := func(args ...string) string {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%q: %v: %s", args, err, out)
		}
		return string(out)
	}
	listed := strings.Split(strings.TrimSpace(mtools(mdir, "-i", image, "-b", "::d")), "\n")
	var want []string
	for _, name := range names {
		want = append(want, "::/d/"+name)
	}
	slices.Sort(listed)
	slices.Sort(want)
	if !slices.Equal(listed, want) {
		t.Errorf("mdir lists\n%q\nwant\n%q", listed, want)
	}
	for i, name := range names {
		if got := mtools(judge(t, "mtype", "mtools"), "-i", image, "::d/"+name); got != fmt.Sprint(i) {
			t.Errorf("%q holds %s, not %d", name, got, i)
		}
	}
	// The short names are all different: mdir lists them in its first columns.
	seen := map[string]bool{}
	for line := range strings.Lines(mtools(mdir, "-i", image, "-a", "::d")) {
		if len(line) < 13 || line[0] == ' ' || !strings.Contains(line, "2001-09-09") {
			continue
		}
		if short := line[:12]; seen[short] {
			t.Errorf("short name %q is there twice", short)
		} else {
			seen[short] = true
		}
	}
	if len(seen) != len(names)+2 { // with . and ..
		t.Errorf("%d short names for %d files", len(seen), len(names))
	}
}

func TestRefusals(t *testing.T) {
	many := tree.NewBuilder(1e9)
	for i := range 32768 {
		if err := many.Put(fmt.Sprintf("d/%013d", i), &tree.Node{Type: tree.File}); err != nil {
			t.Fatal(err)
		}
	}
	damaged := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(damaged, []byte("rotten"), 0o600); err != nil {
		t.Fatal(err)
	}
	file := func(n int) *tree.Node { return &tree.Node{Type: tree.File, Content: tree.Bytes(make([]byte, n))} }
	for name, c := range map[string]struct {
		files map[string]*tree.Node
		tree  *tree.Tree
		opts  fat.Options
		want  string
	}{
		"too small":        {opts: fat.Options{Size: 30 << 20}, want: "at least 34 MB"},
		"too large":        {opts: fat.Options{Size: 2<<40 + 512}, want: "at most 2 TB"},
		"half a sector":    {opts: fat.Options{Size: 64<<20 + 1}, want: "in whole sectors"},
		"full":             {files: map[string]*tree.Node{"a": file(65 << 20)}, want: "is full"},
		"file too large":   {files: map[string]*tree.Node{"a": {Type: tree.File, Content: huge{}}}, opts: fat.Options{Size: 16 << 30}, want: `writing "a": 4294967296 bytes: more than FAT can hold`},
		"too many files":   {tree: many.Tree(), want: `writing directory "d": its names take 65538 entries, more than 65536`},
		"names by case":    {files: map[string]*tree.Node{"a": file(1), "A": file(1)}, want: "in case only"},
		"umlauts by case":  {files: map[string]*tree.Node{"ä": file(1), "Ä": file(1)}, want: "in case only"},
		"colon":            {files: map[string]*tree.Node{"a:b": file(1)}, want: `"a:b" is no name that FAT allows`},
		"dot at the end":   {files: map[string]*tree.Node{"a.": file(1)}, want: `"a." is no name that FAT allows`},
		"space at the end": {files: map[string]*tree.Node{"a ": file(1)}, want: `"a " is no name that FAT allows`},
		"line break":       {files: map[string]*tree.Node{"a\nb": file(1)}, want: `"a\nb" is no name that FAT allows`},
		"not UTF-8":        {files: map[string]*tree.Node{"a\xff": file(1)}, want: `"a\xff" is no name that FAT allows`},
		"long name":        {files: map[string]*tree.Node{strings.Repeat("n", 256): file(1)}, want: "is no name that FAT allows"},
		"symlink":          {files: map[string]*tree.Node{"a": {Type: tree.Symlink, Target: "b"}}, want: `writing "a": FAT holds directories and files only`},
		"damaged":          {files: map[string]*tree.Node{"a": {Type: tree.File, Content: tree.Section(damaged, 0, 6, tree.String("sound!").Digest())}}, want: `writing "a": damaged content`},
		"label":            {opts: fat.Options{Label: "boot"}, want: `labelling a FAT file system "boot"`},
		"long label":       {opts: fat.Options{Label: "TWELVE_CHARS"}, want: "at most eleven"},
		"time":             {opts: fat.Options{Epoch: -1}, want: "time -1 is not within 1980 to 2107"},
	} {
		t.Run(name, func(t *testing.T) {
			b := tree.NewBuilder(0)
			for p, n := range c.files {
				if err := b.Put(p, n); err != nil {
					t.Fatal(err)
				}
			}
			if c.tree == nil {
				c.tree = b.Tree()
			}
			c.opts.Size = cmp.Or(c.opts.Size, 64<<20)
			c.opts.Epoch = cmp.Or(c.opts.Epoch, 1e9)
			err := fat.Write(t.Context(), discard{}, c.tree, c.opts)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	content, _ := sample(t)
	if err := fat.Write(ctx, discard{}, content, fat.Options{Size: 64 << 20, Epoch: 1e9}); !errors.Is(err, context.Canceled) {
		t.Errorf("called off: %v", err)
	}
}

// huge is content that nobody reads.
type huge struct{ tree.Content }

func (huge) Size() int64 { return 1 << 32 }

type discard struct{}

func (discard) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }

// A file system that is filled to its last cluster is in order.
func TestFull(t *testing.T) {
	b := tree.NewBuilder(1e9)
	const size = 64 << 20
	// 512-byte clusters: two FATs of 1024 sectors, 32 reserved ones, one cluster of directory.
	room := (size/512 - 32 - 2*1024 - 1) * 512
	if err := b.Put("x", &tree.Node{Type: tree.File, Content: tree.Bytes(make([]byte, room))}); err != nil {
		t.Fatal(err)
	}
	image := write(t, b.Tree(), size)
	out, err := exec.Command(judge(t, "fsck.vfat", "dosfstools"), "-n", "-v", image).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := b.Put("x", &tree.Node{Type: tree.File, Content: tree.Bytes(make([]byte, room+1))}); err != nil {
		t.Fatal(err)
	}
	if err := fat.Write(t.Context(), discard{}, b.Tree(), fat.Options{Size: size, Epoch: 1e9}); err == nil || !strings.Contains(err.Error(), "is full") {
		t.Errorf("one byte more: %v", err)
	}
}

// write writes a file system to a sparse file and returns its name.
func write(t *testing.T, content *tree.Tree, size int64) string {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "fat"))
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
	return f.Name()
}

type memory struct{ data []byte }

func (m *memory) WriteAt(p []byte, off int64) (int, error) { return copy(m.data[off:], p), nil }
