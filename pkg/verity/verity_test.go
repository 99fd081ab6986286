package verity_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/slipway-os/slipway/pkg/verity"
)

// pair writes data of that many blocks and its tree into two files.
func pair(t testing.TB, blocks int64) (data, tree *os.File, r verity.Result) {
	t.Helper()
	dir := t.TempDir()
	random := rand.NewChaCha8([32]byte{1})
	buf := make([]byte, blocks*verity.BlockSize)
	random.Read(buf)
	create := func(name string) *os.File {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	data, tree = create("data"), create("tree")
	if _, err := data.Write(buf); err != nil {
		t.Fatal(err)
	}
	r, err := verity.Build(t.Context(), data, int64(len(buf)), tree, []byte("salt"), [16]byte{9})
	if err != nil {
		t.Fatal(err)
	}
	return data, tree, r
}

func TestVeritysetupAgrees(t *testing.T) {
	judge, err := exec.LookPath("veritysetup")
	if err != nil {
		t.Fatal("veritysetup is not installed (on Debian: apt-get install cryptsetup-bin)")
	}
	for _, blocks := range []int64{1, 2, 127, 128, 129, 128 * 128, 128*128 + 1} {
		t.Run(fmt.Sprint(blocks), func(t *testing.T) {
			data, tree, r := pair(t, blocks)
			out, err := exec.Command(judge, "verify", data.Name(), tree.Name(), fmt.Sprintf("%x", r.RootHash)).CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if info, err := tree.Stat(); err != nil || info.Size() != r.Size || r.Size != verity.Size(blocks*verity.BlockSize) {
				t.Errorf("size %d, file %v, %v", r.Size, info.Size(), err)
			}
			if err := verity.Verify(t.Context(), data, tree, r.RootHash, r.DataBlocks, nil); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAFlippedBitIsFound(t *testing.T) {
	for _, c := range []struct {
		name   string
		tree   bool
		offset int64
		want   *verity.Mismatch // nil: the superblock makes no sense
		top    bool             // is found without reading everything
	}{
		{"first data block", false, 0, &verity.Mismatch{Block: 0, Count: 1}, false},
		{"last data block", false, 300*verity.BlockSize - 1, &verity.Mismatch{Block: 299, Count: 1}, false},
		{"superblock, magic", true, 0, nil, true},
		{"superblock, number of blocks", true, 72, nil, true},
		{"superblock, padding", true, 4000, nil, true},
		{"top of the tree", true, verity.BlockSize, &verity.Mismatch{Tree: true, Block: 1, Count: 1}, true},
		{"bottom of the tree", true, 2*verity.BlockSize + 5, &verity.Mismatch{Tree: true, Block: 2, Count: 1}, false},
		{"behind the last hash", true, 5*verity.BlockSize - 1, &verity.Mismatch{Tree: true, Block: 4, Count: 1}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			data, tree, r := pair(t, 300)
			f := data
			if c.tree {
				f = tree
			}
			flip(t, f, c.offset)
			err := verity.Verify(t.Context(), data, tree, r.RootHash, r.DataBlocks, nil)
			if err == nil {
				t.Fatal("accepted")
			}
			var got *verity.Mismatch
			switch found := errors.As(err, &got); {
			case found != (c.want != nil):
				t.Errorf("got %v", err)
			case found && (*got != *c.want || !errors.Is(err, verity.ErrMismatch)):
				t.Errorf("got %+v, want %+v", got, c.want)
			}
			if err := verity.VerifyTop(t.Context(), tree, r.RootHash, r.DataBlocks); (err != nil) != c.top {
				t.Errorf("at the top: %v", err)
			}
		})
	}
}

func TestEveryDamagedBlockIsCountedAndEveryBlockRead(t *testing.T) {
	data, tree, r := pair(t, 1000)
	for _, block := range []int64{999, 17, 512} {
		if _, err := data.WriteAt([]byte("damage"), block*verity.BlockSize+9); err != nil {
			t.Fatal(err)
		}
	}
	var read atomic.Int64
	err := verity.Verify(t.Context(), data, tree, r.RootHash, r.DataBlocks, func(n int64) { read.Add(n) })
	var m *verity.Mismatch
	if !errors.As(err, &m) || *m != (verity.Mismatch{Block: 17, Count: 3}) || read.Load() != 1000 {
		t.Errorf("got %v after %d blocks", err, read.Load())
	}
}

func TestCutOffDataIsAnError(t *testing.T) {
	data, tree, r := pair(t, 300)
	for _, f := range []*os.File{data, tree} {
		if err := f.Truncate(verity.BlockSize + 1); err != nil {
			t.Fatal(err)
		}
		if err := verity.Verify(t.Context(), data, tree, r.RootHash, r.DataBlocks, nil); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("got %v", err)
		}
	}
}

// veritysetup finds what Verify finds.
func TestVeritysetupFindsAFlippedBitToo(t *testing.T) {
	judge, err := exec.LookPath("veritysetup")
	if err != nil {
		t.Fatal("veritysetup is not installed (on Debian: apt-get install cryptsetup-bin)")
	}
	for name, at := range map[string]int64{"data": 7 * verity.BlockSize, "tree": 2*verity.BlockSize + 5} {
		t.Run(name, func(t *testing.T) {
			data, tree, r := pair(t, 300)
			f := map[string]*os.File{"data": data, "tree": tree}[name]
			flip(t, f, at)
			out, err := exec.Command(judge, "verify", data.Name(), tree.Name(), fmt.Sprintf("%x", r.RootHash)).CombinedOutput()
			if err == nil {
				t.Errorf("accepted: %s", out)
			}
			flip(t, f, at)
			if out, err := exec.Command(judge, "verify", data.Name(), tree.Name(), fmt.Sprintf("%x", r.RootHash)).CombinedOutput(); err != nil {
				t.Errorf("flipped back: %v: %s", err, out)
			}
		})
	}
}

func flip(t *testing.T, f *os.File, at int64) {
	t.Helper()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 4
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsCutOffIsAnError(t *testing.T) {
	data, tree, r := pair(t, 300)
	if err := data.Truncate(299*verity.BlockSize + 1); err != nil {
		t.Fatal(err)
	}
	if _, err := verity.Build(t.Context(), data, 300*verity.BlockSize, discard{}, nil, [16]byte{}); err == nil || err.Error() != "reading block 299: EOF" {
		t.Errorf("building: %v", err)
	}
	if err := verity.Verify(t.Context(), data, tree, r.RootHash, r.DataBlocks, nil); err == nil {
		t.Error("verified data that is cut off")
	}
	data, tree, r = pair(t, 300)
	for _, size := range []int64{r.Size - 1, verity.BlockSize + 1, verity.BlockSize, 100, 0} {
		if err := tree.Truncate(size); err != nil {
			t.Fatal(err)
		}
		if err := verity.Verify(t.Context(), data, tree, r.RootHash, r.DataBlocks, nil); err == nil {
			t.Errorf("verified with a tree of %d bytes", size)
		}
	}
}

func TestRefusals(t *testing.T) {
	data, tree, r := pair(t, 3)
	for name, c := range map[string]struct {
		size int64
		salt int
		want string
	}{
		"nothing":      {0, 0, "hashing 0 bytes: not a whole number of 4096-byte blocks"},
		"half a block": {4097, 0, "hashing 4097 bytes: not a whole number of 4096-byte blocks"},
		"long salt":    {4096, 257, "salt of 257 bytes: longer than 256"},
	} {
		if _, err := verity.Build(t.Context(), data, c.size, discard{}, make([]byte, c.salt), [16]byte{}); err == nil || err.Error() != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := verity.Verify(t.Context(), data, tree, r.RootHash, 4, nil); !errors.Is(err, verity.ErrMismatch) {
		t.Errorf("another number of blocks: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := verity.Build(ctx, data, 4096, discard{}, nil, [16]byte{}); !errors.Is(err, context.Canceled) {
		t.Errorf("called off: %v", err)
	}
}

// The number of cores must not show.
func TestTheTreeIsAlwaysTheSame(t *testing.T) {
	data, tree, r := pair(t, 1000)
	want, err := os.ReadFile(tree.Name())
	if err != nil {
		t.Fatal(err)
	}
	before := runtime.GOMAXPROCS(7)
	defer runtime.GOMAXPROCS(before)
	again := &buffer{}
	result, err := verity.Build(t.Context(), data, 1000*verity.BlockSize, again, []byte("salt"), [16]byte{9})
	if err != nil || result != r || !bytes.Equal(again.data, want) {
		t.Errorf("%+v, not %+v; %v", result, r, err)
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

type discard struct{}

func (discard) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }

func FuzzReadSuperblock(f *testing.F) {
	var b buffer
	if _, err := verity.Build(f.Context(), bytes.NewReader(make([]byte, verity.BlockSize)), verity.BlockSize, &b, []byte("salt"), [16]byte{9}); err != nil {
		f.Fatal(err)
	}
	f.Add(b.data)
	f.Add(b.data[:verity.BlockSize-1])
	f.Fuzz(func(t *testing.T, data []byte) {
		sb, err := verity.ReadSuperblock(bytes.NewReader(data))
		if err != nil {
			return
		}
		// What is read as a superblock is one that Build could have written.
		if sb.DataBlocks <= 0 || len(sb.Salt) > verity.MaxSalt {
			t.Errorf("superblock %+v", sb)
		}
		again := make([]byte, 0, verity.BlockSize)
		again = append(again, data[:verity.BlockSize]...)
		if other, err := verity.ReadSuperblock(bytes.NewReader(again)); err != nil || other.UUID != sb.UUID {
			t.Errorf("what lies behind it matters: %v", err)
		}
	})
}

func TestPartUUIDs(t *testing.T) {
	var root [32]byte
	for i := range root {
		root[i] = byte(i)
	}
	data, tree := verity.PartUUIDs(root)
	if data != "00010203-0405-0607-0809-0a0b0c0d0e0f" || tree != "10111213-1415-1617-1819-1a1b1c1d1e1f" {
		t.Errorf("got %s and %s", data, tree)
	}
}

func BenchmarkBuild(b *testing.B) {
	data, tree, _ := pair(b, 64<<20/verity.BlockSize)
	b.SetBytes(64 << 20)
	for b.Loop() {
		if _, err := verity.Build(b.Context(), data, 64<<20, tree, nil, [16]byte{}); err != nil {
			b.Fatal(err)
		}
	}
}
