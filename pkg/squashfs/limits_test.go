package squashfs_test

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/slipway-os/slipway/pkg/squashfs"
	"github.com/slipway-os/slipway/pkg/tree"
)

// A directory of more than 65536 entries, whose inodes lie in many blocks, and
// links from elsewhere to inodes whose numbers are far from each other.
func TestManyFilesInOneDirectory(t *testing.T) {
	mustHave(t, "unsquashfs")
	const count = 66_000
	b := tree.NewBuilder(epoch)
	put := func(p string, n *tree.Node) {
		if err := b.Put(p, n); err != nil {
			t.Fatal(err)
		}
	}
	for i := range count {
		n := &tree.Node{Type: tree.Fifo, Mode: 0o600, ModTime: epoch}
		put(fmt.Sprintf("many/%d", i), n)
		if i%5000 == 0 {
			put(fmt.Sprintf("links/%d", i), n)
		}
	}
	want := b.Tree()
	image := write(t, want, squashfs.Options{Epoch: epoch})
	out, err := exec.Command("unsquashfs", "-strict-errors", "-d", "", "-ls", image).Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	var paths []string
	want.Walk(func(p string, _ *tree.Node) error {
		if p != "." {
			paths = append(paths, "/"+p)
		}
		return nil
	})
	slices.Sort(lines)
	slices.Sort(paths)
	if lines = slices.DeleteFunc(lines, func(l string) bool { return l == "" || l == "/" }); !slices.Equal(lines, paths) {
		t.Errorf("unsquashfs lists %d paths, not %d", len(lines), len(paths))
	}
	back := open(t, read(t, image))
	if back.Len() != want.Len() || back.Lookup("links/65000") != back.Lookup("many/65000") {
		t.Errorf("read back %d paths, not %d; or hard links are apart", back.Len(), want.Len())
	}
}

func TestLongestNamesTargetsAndAttributes(t *testing.T) {
	mustHave(t, "unsquashfs")
	name, target := strings.Repeat("n", 255), strings.Repeat("t/", 2047)+"t"
	deep := strings.Repeat("d/", 300) + "file"
	large := []tree.Xattr{{Name: "user." + strings.Repeat("x", 250), Value: noise(1, 65535)}, {Name: "user.y", Value: noise(2, 65535)}}
	want := build(t, map[string]*tree.Node{
		name:     {Type: tree.Symlink, Mode: 0o777, ModTime: epoch, Target: target},
		deep:     file([]byte("deep")),
		"xattr":  {Type: tree.File, Mode: 0o644, ModTime: epoch, Xattrs: large},
		"xattr2": {Type: tree.Dir, Mode: 0o755, ModTime: epoch, Xattrs: large}, // the same set, stored once
		"times":  {Type: tree.File, Mode: 0o644, ModTime: 1<<32 - 1},
	})
	image := write(t, want, squashfs.Options{Epoch: epoch})
	if out, err := exec.Command("unsquashfs", "-strict-errors", "-lls", image).CombinedOutput(); err != nil {
		t.Fatalf("%v: %.300s", err, out)
	}
	data := read(t, image)
	checkTree(t, open(t, data), want)
	if len(data) > 150_000 {
		t.Errorf("the image has %d bytes: attributes are stored twice", len(data))
	}
}

// generated is content that is made as it is read, of a size that no memory
// should hold: blocks of noise, each another.
type generated struct {
	size   int64
	block  []byte
	digest tree.Digest
}

func (g *generated) Size() int64                { return g.size }
func (g *generated) Digest() tree.Digest        { return g.digest }
func (g *generated) Open() (tree.Reader, error) { return g, nil }
func (g *generated) Close() error               { return nil }

func (g *generated) ReadAt(p []byte, off int64) (int, error) {
	for done := 0; done < len(p); {
		at := off + int64(done)
		n := copy(p[done:], g.block[at%int64(len(g.block)):])
		if at%int64(len(g.block)) == 0 && n >= 8 {
			binary.LittleEndian.PutUint64(p[done:], uint64(at))
		}
		done += n
	}
	return len(p), nil
}

// large is a tree of four files of a size, which must be whole blocks.
func large(t testing.TB, size int64) *tree.Tree {
	t.Helper()
	b := tree.NewBuilder(epoch)
	for i := range 4 {
		g := &generated{size: size, block: noise(uint64(i), 128<<10)}
		h := sha256.New()
		if _, err := io.Copy(h, io.NewSectionReader(g, 0, size)); err != nil {
			t.Fatal(err)
		}
		g.digest = tree.Digest(h.Sum(nil))
		if err := b.Put(fmt.Sprint(i), &tree.Node{Type: tree.File, ModTime: epoch, Content: g}); err != nil {
			t.Fatal(err)
		}
	}
	return b.Tree()
}

// peak writes a tree and returns the most that was on the heap meanwhile, in
// bytes.
func peak(t testing.TB, tr *tree.Tree, opts squashfs.Options) (most uint64) {
	t.Helper()
	runtime.GC()
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	calls := 0
	opts.Progress = func(int64, int64) {
		if calls++; calls%16 == 0 {
			runtime.ReadMemStats(&now)
			most = max(most, now.HeapAlloc-min(before.HeapAlloc, now.HeapAlloc))
		}
	}
	if _, err := squashfs.Write(t.Context(), discard{}, tr, opts); err != nil {
		t.Fatal(err)
	}
	return most
}

// The memory that Write takes does not depend on how much it writes.
func TestMemoryIsBounded(t *testing.T) {
	opts := squashfs.Options{Workers: 2, BlockSize: 256 << 10, Level: zstd.SpeedFastest}
	tr := large(t, 24<<20)
	if got := peak(t, tr, opts); got > 64<<20 || got == 0 {
		t.Errorf("%d MiB of heap for 96 MiB of content", got>>20)
	}
}

// BenchmarkMemory tells the heap that Write needs, in MB, on a machine with as
// many cores as it takes into use.
func BenchmarkMemory(b *testing.B) {
	tr := large(b, 128<<20)
	for _, blockSize := range []int{128 << 10, 256 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("%d KiB", blockSize>>10), func(b *testing.B) {
			b.SetBytes(4 * 128 << 20)
			for b.Loop() {
				b.ReportMetric(float64(peak(b, tr, squashfs.Options{Workers: 16, BlockSize: blockSize}))/1e6, "MB/heap")
			}
		})
	}
}
