package squashfs_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/slipway-os/slipway/pkg/squashfs"
	"github.com/slipway-os/slipway/pkg/tree"
)

// open reads an image back.
func open(t testing.TB, image []byte) *tree.Tree {
	t.Helper()
	r, err := squashfs.Open(bytes.NewReader(image))
	if err != nil {
		t.Fatal(err)
	}
	tr, err := r.Tree()
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// checkTree compares two trees in all that a tree holds.
func checkTree(t *testing.T, got, want *tree.Tree) {
	t.Helper()
	pairs := map[*tree.Node]*tree.Node{}
	err := want.Walk(func(p string, w *tree.Node) error {
		g := got.Lookup(p)
		if g == nil {
			t.Errorf("%s: missing", p)
			return nil
		}
		if other, ok := pairs[w]; ok && w.Type != tree.Dir && other != g {
			t.Errorf("%s: hard links are apart", p)
		}
		pairs[w] = g
		a, b := *g, *w
		a.Content, b.Content, a.Xattrs, b.Xattrs = nil, nil, nil, nil
		if fmt.Sprint(a) != fmt.Sprint(b) {
			t.Errorf("%s: %+v, not %+v", p, a, b)
		}
		if !slices.EqualFunc(g.Xattrs, w.Xattrs, func(a, b tree.Xattr) bool {
			return a.Name == b.Name && bytes.Equal(a.Value, b.Value)
		}) {
			t.Errorf("%s: xattrs %v, not %v", p, g.Xattrs, w.Xattrs)
		}
		if g.Size() != w.Size() || g.Digest() != w.Digest() {
			t.Errorf("%s: content of %d bytes differs from that of %d", p, g.Size(), w.Size())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got.Len() != want.Len() {
		t.Errorf("%d paths, not %d", got.Len(), want.Len())
	}
}

func TestReadBackWhatWasWritten(t *testing.T) {
	want := sample(t)
	checkTree(t, open(t, read(t, write(t, want, squashfs.Options{Epoch: epoch}))), want)
}

func TestMksquashfsAgrees(t *testing.T) {
	mustHave(t, "mksquashfs")
	mustHave(t, "unsquashfs")
	if os.Geteuid() != 0 {
		t.Skip("devices and owners are made for root only: run as root")
	}
	want := sample(t)
	ours := write(t, want, squashfs.Options{Epoch: epoch})
	dir := t.TempDir()
	theirs := filepath.Join(dir, "theirs")
	run := func(name string, args ...string) string {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Env = append(os.Environ(), "TZ=UTC")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		return string(out)
	}
	run("unsquashfs", "-n", "-d", filepath.Join(dir, "root"), ours)
	run("mksquashfs", filepath.Join(dir, "root"), theirs, "-comp", "zstd", "-noappend", "-no-progress")
	// The size of a directory is that of its listing, which may be cut into
	// runs as one likes.
	dirSize := regexp.MustCompile(`(?m)^(d\S+ \S+ +)\d+`)
	list := func(image string) string {
		return dirSize.ReplaceAllString(run("unsquashfs", "-d", "", "-lln", image), "$1")
	}
	a, b := list(ours), list(theirs)
	if a != b {
		x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
		for i := range min(len(x), len(y)) {
			if x[i] != y[i] {
				t.Fatalf("line %d differs:\n%s\n%s", i+1, x[i], y[i])
			}
		}
		t.Fatalf("%d lines, not %d", len(x), len(y))
	}
	checkTree(t, open(t, read(t, theirs)), want)
}

// randomTree is a tree that a seed determines.
func randomTree(t testing.TB, seed uint64) *tree.Tree {
	r := rand.New(rand.NewPCG(seed, 1))
	b := tree.NewBuilder(epoch)
	dirs := []string{"."}
	var nodes []*tree.Node
	for range r.IntN(400) {
		name := make([]byte, 1+r.IntN(1+r.IntN(255)))
		for i := range name {
			for name[i] == 0 || name[i] == '/' {
				name[i] = byte(1 + r.IntN(255))
			}
		}
		p := filepath.Join(dirs[r.IntN(len(dirs))], "x"+string(name[1:]))
		if b.Lookup(p) != nil || len(p) > 4000 {
			continue
		}
		n := &tree.Node{Type: tree.Type(1 + r.IntN(6)), Mode: r.Uint32N(0o10000), ModTime: int64(r.Uint32()),
			UID: r.Uint32() >> r.IntN(32), GID: r.Uint32N(5)}
		switch {
		case n.Type == tree.Dir:
			dirs = append(dirs, p)
		case n.Type == tree.Symlink:
			n.Target = string(text(r.Uint64(), 1+r.IntN(300)))
		case n.Type == tree.File && r.IntN(10) > 0:
			data := text(r.Uint64N(20), r.IntN(1+r.IntN(40_000)))
			if r.IntN(3) == 0 {
				data = append(data, make([]byte, r.IntN(30_000))...)
			}
			n.Content = tree.Bytes(data)
		case n.Type == tree.CharDevice || n.Type == tree.BlockDevice:
			n.Major, n.Minor = r.Uint32N(4096), r.Uint32N(1<<20)
		}
		if r.IntN(5) == 0 {
			n.Xattrs = []tree.Xattr{{Name: "security.s", Value: noise(r.Uint64N(3), r.IntN(100))}, {Name: "user.u", Value: nil}}
		}
		if n.Type != tree.Dir {
			if len(nodes) > 0 && r.IntN(6) == 0 {
				n = nodes[r.IntN(len(nodes))]
			}
			nodes = append(nodes, n)
		}
		if err := b.Put(p, n); err != nil {
			t.Fatal(err)
		}
	}
	return b.Tree()
}

func TestRandomTreesSurvive(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			want := randomTree(t, seed)
			opts := squashfs.Options{BlockSize: 4096 << (seed % 6), Level: zstd.SpeedFastest, Workers: 1 + int(seed%3)}
			checkTree(t, open(t, read(t, write(t, want, opts))), want)
		})
	}
}

// buffer is an io.WriterAt in memory.
type buffer struct{ data []byte }

func (b *buffer) WriteAt(p []byte, off int64) (int, error) {
	if end := int(off) + len(p); end > len(b.data) {
		b.data = append(b.data, make([]byte, end-len(b.data))...)
	}
	return copy(b.data[off:], p), nil
}

func FuzzOpen(f *testing.F) {
	for seed := range uint64(4) {
		var image buffer
		if _, err := squashfs.Write(context.Background(), &image, randomTree(f, seed), squashfs.Options{BlockSize: 4096, Workers: 1}); err != nil {
			f.Fatal(err)
		}
		f.Add(image.data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := squashfs.Open(bytes.NewReader(data))
		if err != nil {
			return
		}
		tr, err := r.Tree()
		if err != nil {
			return
		}
		r.Weigh(tr, 2, func(p string) int { return len(p) % 2 })
		tr.Walk(func(p string, n *tree.Node) error {
			if n.Content == nil || n.Size() > 1<<20 {
				return nil
			}
			c, err := n.Content.Open()
			if err != nil {
				return nil
			}
			defer c.Close()
			c.ReadAt(make([]byte, n.Size()), 0)
			return nil
		})
	})
}
