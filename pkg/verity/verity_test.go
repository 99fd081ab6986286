package verity_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
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
			if err := verity.Verify(t.Context(), data, tree, r.RootHash, r.DataBlocks); err != nil {
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
	}{
		{"first data block", false, 0},
		{"last data block", false, 300*verity.BlockSize - 1},
		{"superblock, magic", true, 0},
		{"superblock, number of blocks", true, 72},
		{"superblock, padding", true, 4000},
		{"top of the tree", true, verity.BlockSize},
		{"bottom of the tree", true, 2*verity.BlockSize + 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			data, tree, r := pair(t, 300)
			f := data
			if c.tree {
				f = tree
			}
			b := make([]byte, 1)
			if _, err := f.ReadAt(b, c.offset); err != nil {
				t.Fatal(err)
			}
			b[0] ^= 4
			if _, err := f.WriteAt(b, c.offset); err != nil {
				t.Fatal(err)
			}
			err := verity.Verify(t.Context(), data, tree, r.RootHash, r.DataBlocks)
			if err == nil {
				t.Fatal("accepted")
			}
			if _, sbErr := verity.ReadSuperblock(tree); sbErr == nil && !errors.Is(err, verity.ErrMismatch) {
				t.Errorf("got %v", err)
			}
		})
	}
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
