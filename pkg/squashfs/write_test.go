package squashfs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/squashfs"
	"github.com/slipway-os/slipway/pkg/store"
	"github.com/slipway-os/slipway/pkg/tree"
)

func read(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestSameBytesWhateverTheWorkersAndTheCache(t *testing.T) {
	tr := sample(t)
	want := read(t, write(t, tr, squashfs.Options{Epoch: epoch, Workers: 1}))
	s, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cache := &counter{BlockCache: squashfs.NewStoreCache(s)}
	for _, c := range []struct {
		name string
		opts squashfs.Options
	}{
		{"two workers", squashfs.Options{Workers: 2}},
		{"many workers", squashfs.Options{Workers: 13}},
		{"cold cache", squashfs.Options{Cache: cache}},
		{"warm cache", squashfs.Options{Cache: cache, Workers: 3}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cache.hits, cache.misses = 0, 0
			c.opts.Epoch = epoch
			if got := read(t, write(t, tr, c.opts)); !bytes.Equal(got, want) {
				t.Errorf("bytes differ")
			}
			if c.name == "warm cache" && (cache.hits == 0 || cache.misses > 0) {
				t.Errorf("%d hits, %d misses", cache.hits, cache.misses)
			}
		})
	}
}

// counter counts how often a cache helps.
type counter struct {
	squashfs.BlockCache
	hits, misses int
}

func (c *counter) Get(key string) (io.ReadCloser, bool) {
	r, ok := c.BlockCache.Get(key)
	if ok {
		c.hits++
	} else {
		c.misses++
	}
	return r, ok
}

func TestOneChangedFileMissesOneGroup(t *testing.T) {
	s, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cache := &counter{BlockCache: squashfs.NewStoreCache(s)}
	opts := squashfs.Options{Cache: cache, Level: zstd.SpeedFastest}
	nodes := map[string]*tree.Node{}
	for i := range 600 {
		nodes[fmt.Sprintf("%03d", i)] = file(text(uint64(i), 100_000+i))
	}
	write(t, build(t, nodes), opts)
	cache.hits, cache.misses = 0, 0
	nodes["300"] = file(text(12345, 54321))
	got := read(t, write(t, build(t, nodes), opts))
	if cache.misses > 2 || cache.hits < 3 {
		t.Errorf("%d hits, %d misses", cache.hits, cache.misses)
	}
	opts.Cache = nil
	if want := read(t, write(t, build(t, nodes), opts)); !bytes.Equal(got, want) {
		t.Error("the cache changes the bytes")
	}
}

func TestDamagedCacheEntriesAreMadeAnew(t *testing.T) {
	s, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	opts := squashfs.Options{Cache: squashfs.NewStoreCache(s)}
	tr := build(t, map[string]*tree.Node{"a": file(text(1, 1<<20)), "b": file(noise(2, 5<<20))})
	want := read(t, write(t, tr, opts))
	err = filepath.WalkDir(filepath.Join(s.Dir(), "blobs"), func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data := read(t, name)
		data[len(data)/2] ^= 1
		return os.WriteFile(name, data, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, write(t, tr, opts)); !bytes.Equal(got, want) {
		t.Error("bytes differ")
	}
}

func TestDamagedContentIsNamed(t *testing.T) {
	for _, size := range []int{10, 128 << 10, 300 << 10, 5 << 20} {
		for _, damage := range []string{"bit", "short", "missing"} {
			t.Run(fmt.Sprintf("%s of %d", damage, size), func(t *testing.T) {
				name := filepath.Join(t.TempDir(), "content")
				data := text(1, size)
				n := file(data)
				n.Content = tree.Section(name, 0, int64(size), n.Content.Digest())
				data = bytes.Clone(data)
				data[size-1] ^= 4
				if damage == "short" {
					data = data[:size-1]
				}
				if damage != "missing" {
					if err := os.WriteFile(name, data, 0o644); err != nil {
						t.Fatal(err)
					}
				}
				s, err := store.Open(t.TempDir())
				if err != nil {
					t.Fatal(err)
				}
				_, err = squashfs.Write(context.Background(), discard{}, build(t, map[string]*tree.Node{"usr/bin/x": n}),
					squashfs.Options{Cache: squashfs.NewStoreCache(s)})
				if err == nil || !strings.Contains(err.Error(), `"usr/bin/x"`) || diag.ExitCode(err) != diag.ExitIO {
					t.Fatalf("error is %v", err)
				}
				var damaged *tree.DamagedError
				if errors.As(err, &damaged) != (damage != "missing") {
					t.Fatalf("error is %T: %v", err, err)
				}
				if kept, _ := filepath.Glob(filepath.Join(s.Dir(), "*", "*", "*")); len(kept) > 0 {
					t.Errorf("the cache kept %v", kept)
				}
			})
		}
	}
}

type discard struct{}

func (discard) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }

// full fails after some bytes, as a full disk does.
type full struct{ room int64 }

func (f full) WriteAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > f.room {
		return 0, syscall.ENOSPC
	}
	return len(p), nil
}

func TestFullDiskEndsTheWrite(t *testing.T) {
	_, err := squashfs.Write(context.Background(), full{3 << 20}, sample(t), squashfs.Options{})
	if !errors.Is(err, syscall.ENOSPC) || diag.ExitCode(err) != diag.ExitIO {
		t.Fatalf("error is %v", err)
	}
}

func TestCancelEndsTheWrite(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	_, err := squashfs.Write(ctx, discard{}, sample(t), squashfs.Options{
		Progress: func(done, _ int64) {
			if done > 1<<20 {
				cancel()
			}
		},
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("error is %v", err)
	}
}

func TestProgressEndsAtTheTotal(t *testing.T) {
	var last, total int64
	_, err := squashfs.Write(context.Background(), discard{}, sample(t), squashfs.Options{
		Progress: func(d, n int64) {
			if d < last {
				t.Errorf("progress goes back from %d to %d", last, d)
			}
			last, total = d, n
		},
	})
	if err != nil || last != total || total == 0 {
		t.Errorf("progress ends at %d of %d, %v", last, total, err)
	}
}

// sequential fails what is not written in order, the superblock apart.
type sequential struct {
	t    *testing.T
	next int64
}

func (s *sequential) WriteAt(p []byte, off int64) (int, error) {
	if off == 0 && len(p) == 96 {
		s.next = 0
		return len(p), nil
	}
	if off != s.next {
		s.t.Errorf("write at %d, not at %d", off, s.next)
	}
	s.next = off + int64(len(p))
	return len(p), nil
}

func TestOutputIsSequentialAndTheSuperblockLast(t *testing.T) {
	w := &sequential{t: t, next: 96}
	if _, err := squashfs.Write(context.Background(), w, sample(t), squashfs.Options{}); err != nil {
		t.Fatal(err)
	}
	if w.next != 0 {
		t.Errorf("last write ends at %d", w.next)
	}
}

func TestWhatSquashfsCannotHoldIsBadInput(t *testing.T) {
	for _, c := range []struct {
		name string
		node tree.Node
		opts squashfs.Options
		want string
	}{
		{"a", tree.Node{Type: tree.File, ModTime: -1}, squashfs.Options{}, "time -1"},
		{"a", tree.Node{Type: tree.File, ModTime: 1 << 32}, squashfs.Options{}, "time 4294967296"},
		{strings.Repeat("n", 256), tree.Node{Type: tree.Fifo}, squashfs.Options{}, "a name of 256 bytes"},
		{"a", tree.Node{Type: tree.Symlink}, squashfs.Options{}, "target of 0 bytes"},
		{"a", tree.Node{Type: tree.CharDevice, Major: 4096}, squashfs.Options{}, "device 4096:0"},
		{"a", tree.Node{Type: tree.File, Xattrs: []tree.Xattr{{Name: "system.posix_acl_access"}}}, squashfs.Options{}, `"system.posix_acl_access"`},
		{"a", tree.Node{Type: tree.File, Xattrs: []tree.Xattr{{Name: "user.x", Value: make([]byte, 65536)}}}, squashfs.Options{}, "too long"},
		{"a", tree.Node{Type: tree.File}, squashfs.Options{BlockSize: 100_000}, "block size 100000"},
		{"a", tree.Node{Type: tree.File}, squashfs.Options{Epoch: -5}, "time -5"},
	} {
		_, err := squashfs.Write(context.Background(), discard{}, build(t, map[string]*tree.Node{c.name: &c.node}), c.opts)
		if err == nil || !strings.Contains(err.Error(), c.want) || diag.ExitCode(err) != diag.ExitInput {
			t.Errorf("error is %v, not %q", err, c.want)
		}
	}
}

// zeros is content of any size that costs nothing to hold.
type zeros struct{ size int64 }

func (z zeros) Size() int64         { return z.size }
func (z zeros) Digest() tree.Digest { return tree.Digest{} }
func (z zeros) Open() (tree.Reader, error) {
	return nil, errors.New("nobody reads it: the cache has it")
}

// holes is a cache in which every block is a hole.
type holes struct{}

func (holes) Get(string) (io.ReadCloser, bool) { return io.NopCloser(endless{}), true }

func (holes) Put(string, func(io.Writer) error) error { return errors.New("unexpected") }

type endless struct{}

func (endless) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestKernelSeesFilesBeyond4GiB(t *testing.T) {
	const size = 5<<30 + 12345
	n := &tree.Node{Type: tree.File, Mode: 0o644, ModTime: epoch, Content: zeros{size}}
	image := write(t, build(t, map[string]*tree.Node{"big": n}), squashfs.Options{Cache: holes{}, BlockSize: 1 << 20})
	f, err := os.Open(filepath.Join(mount(t, image), "big"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	end := make([]byte, 100)
	if _, err := f.ReadAt(end, size-100); err != nil || !bytes.Equal(end, make([]byte, 100)) {
		t.Errorf("the end is %x, %v", end, err)
	}
	if info, err := f.Stat(); err != nil || info.Size() != size {
		t.Errorf("size is %d, %v", info.Size(), err)
	}
}
