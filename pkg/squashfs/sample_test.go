package squashfs_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/slipway-os/slipway/pkg/squashfs"
	"github.com/slipway-os/slipway/pkg/tree"
)

const epoch = 1_700_000_000

// mustHave fails a test that lacks the tool that judges it.
func mustHave(t testing.TB, tool string) {
	t.Helper()
	if _, err := exec.LookPath(tool); err != nil {
		t.Fatalf("%s is missing: apt-get install squashfs-tools", tool)
	}
}

// build puts nodes into a tree.
func build(t testing.TB, nodes map[string]*tree.Node) *tree.Tree {
	t.Helper()
	b := tree.NewBuilder(epoch)
	for p, n := range nodes {
		if err := b.Put(p, n); err != nil {
			t.Fatal(err)
		}
	}
	return b.Tree()
}

func file(content []byte) *tree.Node {
	return &tree.Node{Type: tree.File, Mode: 0o644, ModTime: epoch, Content: tree.Bytes(content)}
}

// noise returns bytes that do not compress.
func noise(seed uint64, size int) []byte {
	data := make([]byte, size+8)
	rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)}).Read(data)
	return data[:size]
}

// text returns bytes that compress: pages of lines, each page with its number.
func text(seed uint64, size int) []byte {
	var page bytes.Buffer
	for i := 0; page.Len() < 4096; i++ {
		fmt.Fprintf(&page, "line %d of text %d\n", i, seed)
	}
	data := bytes.Repeat(page.Bytes(), size/page.Len()+1)
	for i := 0; i+8 <= size; i += page.Len() {
		binary.LittleEndian.PutUint64(data[i:], uint64(i))
	}
	return data[:size]
}

// sample is a tree with everything that squashfs can hold.
func sample(t testing.TB) *tree.Tree {
	linked := file(text(1, 5000))
	linkedFifo := &tree.Node{Type: tree.Fifo, Mode: 0o600, ModTime: epoch + 3}
	capability := []byte{1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	hole := append(append(text(2, 128<<10), make([]byte, 512<<10)...), text(3, 100)...)
	nodes := map[string]*tree.Node{
		".":                 {Type: tree.Dir, Mode: 0o755, ModTime: epoch + 1},
		"empty":             {Type: tree.File, Mode: 0o600, UID: 1000, GID: 100, ModTime: 1},
		"small":             file([]byte("small\n")),
		"same as small":     {Type: tree.File, Mode: 0o4711, ModTime: epoch, Content: tree.Bytes([]byte("small\n"))},
		"hard/a":            linked,
		"hard/b":            linked,
		"other/c":           linked,
		"hard/fifo":         linkedFifo,
		"hard/fifo2":        linkedFifo,
		"text/one block":    file(text(4, 128<<10)),
		"text/one byte on":  file(text(5, 128<<10+1)),
		"text/three blocks": file(text(6, 300<<10)),
		"text/large":        file(text(7, 5<<20+77)),
		"noise/small":       file(noise(1, 3000)),
		"noise/blocks":      file(noise(2, 400<<10)),
		"noise/large":       file(noise(3, 4<<20+1)),
		"holes/middle":      file(hole),
		"holes/only":        file(make([]byte, 1<<20)),
		"holes/large":       file(make([]byte, 6<<20+5)),
		"holes/tail":        file(make([]byte, 10)),
		"link/relative":     {Type: tree.Symlink, Mode: 0o777, ModTime: epoch, Target: "../small"},
		"link/dangling":     {Type: tree.Symlink, Mode: 0o777, ModTime: epoch, Target: "/no/such\tthing"},
		"link/xattr":        {Type: tree.Symlink, Mode: 0o777, ModTime: epoch, Target: "x", Xattrs: []tree.Xattr{{Name: "trusted.l", Value: []byte("v")}}},
		"dev/null":          {Type: tree.CharDevice, Mode: 0o666, ModTime: epoch, Major: 1, Minor: 3},
		"dev/big":           {Type: tree.BlockDevice, Mode: 0o660, GID: 6, ModTime: epoch, Major: 4095, Minor: 1048575},
		"dev/xattr":         {Type: tree.BlockDevice, Mode: 0o660, ModTime: epoch, Major: 8, Minor: 257, Xattrs: []tree.Xattr{{Name: "trusted.d", Value: nil}}},
		"dev/fifo":          {Type: tree.Fifo, Mode: 0o600, ModTime: epoch},
		"xattr/capability":  {Type: tree.File, Mode: 0o755, ModTime: epoch, Content: tree.Bytes([]byte("#!")), Xattrs: []tree.Xattr{{Name: "security.capability", Value: capability}}},
		"xattr/both": {Type: tree.File, Mode: 0o644, ModTime: epoch, Xattrs: []tree.Xattr{
			{Name: "trusted.overlay.opaque", Value: []byte("y")}, {Name: "user.name", Value: text(9, 3000)}}},
		"xattr/dir":    {Type: tree.Dir, Mode: 0o1777, ModTime: epoch, Xattrs: []tree.Xattr{{Name: "user.d", Value: []byte("d")}}},
		"xattr/dir/in": file([]byte("in")),
		"empty dir":    {Type: tree.Dir, Mode: 0o700, UID: 65534, GID: 4294967294, ModTime: 4294967295},
	}
	for i := range 1500 {
		// Long names make a directory of several metadata blocks, with an index.
		nodes[fmt.Sprintf("many/%08d-%060d", i*7919%1500, i)] = file(text(uint64(i%50), i%200))
	}
	for i := range 300 {
		nodes[fmt.Sprintf("dirs/%d/sub", i)] = &tree.Node{Type: tree.Dir, Mode: 0o755, ModTime: epoch}
	}
	return build(t, nodes)
}

// write writes a tree to a file and returns its name. Where the level does not
// matter it is the fastest.
func write(t testing.TB, tr *tree.Tree, opts squashfs.Options) string {
	t.Helper()
	opts.Level = cmp.Or(opts.Level, zstd.SpeedFastest)
	f, err := os.Create(filepath.Join(t.TempDir(), "image"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size, err := squashfs.Write(context.Background(), f, tr, opts)
	if err != nil {
		t.Fatal(err)
	}
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() != size || size%4096 != 0 {
		t.Fatalf("size is %d, the file has %d", size, info.Size())
	}
	return f.Name()
}
