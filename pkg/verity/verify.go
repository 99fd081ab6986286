package verity

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// ErrMismatch says that data or tree are not what the root hash stands for.
var ErrMismatch = errors.New("does not match the root hash")

// Mismatch says which blocks of data or tree differ from what the root hash
// stands for. It is an ErrMismatch.
type Mismatch struct {
	Tree  bool  // not the data
	Block int64 // the first, of BlockSize bytes; in the tree, the superblock is block 0
	Count int64 // how many there are
}

func (m *Mismatch) Error() string {
	what := "data"
	if m.Tree {
		what = "hash tree"
	}
	return fmt.Sprintf("%s, block %d: %v", what, m.Block, ErrMismatch)
}

// Unwrap returns ErrMismatch.
func (m *Mismatch) Unwrap() error { return ErrMismatch }

// Verify reads all data and the whole tree and compares them with the root
// hash. The root hash does not cover the superblock, so whoever knows the root
// hash must know the number of data blocks too. What is under a damaged block
// of the tree cannot be judged and is left out.
//
// Progress, which may be nil, is called from several goroutines with the
// number of data blocks that were read.
func Verify(ctx context.Context, data, tree io.ReaderAt, root [sha256.Size]byte, dataBlocks int64, progress func(blocks int64)) error {
	v, err := newVerifier(tree, dataBlocks)
	if err != nil {
		return err
	}
	for i := len(v.counts) - 1; i >= 0; i-- {
		if err := v.level(ctx, i, root); err != nil {
			return err
		}
	}
	return v.data(ctx, data, root, progress)
}

// VerifyTop compares the superblock and the first block of the tree with the
// root hash: a tree of other data is told from the right one without reading it.
func VerifyTop(ctx context.Context, tree io.ReaderAt, root [sha256.Size]byte, dataBlocks int64) error {
	v, err := newVerifier(tree, dataBlocks)
	if err != nil || len(v.counts) == 0 {
		return err
	}
	return v.level(ctx, len(v.counts)-1, root)
}

// verifier goes through a tree from the top. Level 0 is the one over the data.
type verifier struct {
	tree            io.ReaderAt
	salt            []byte
	dataBlocks      int64
	counts, offsets []int64 // of the levels: blocks; bytes
}

func newVerifier(tree io.ReaderAt, dataBlocks int64) (*verifier, error) {
	sb, err := ReadSuperblock(tree)
	if err != nil {
		return nil, err
	}
	if sb.DataBlocks != dataBlocks {
		return nil, fmt.Errorf("verity superblock: %d data blocks, not %d: %w", sb.DataBlocks, dataBlocks, ErrMismatch)
	}
	counts, offsets, _ := layout(dataBlocks)
	return &verifier{tree: tree, salt: sb.Salt, dataBlocks: dataBlocks, counts: counts, offsets: offsets}, nil
}

// level compares a level with the one above, which was found right.
func (v *verifier) level(ctx context.Context, i int, root [sha256.Size]byte) error {
	m, err := v.compare(ctx, io.NewSectionReader(v.tree, v.offsets[i], v.counts[i]*BlockSize), v.counts[i], v.hashes(i+1, root), nil)
	if m != nil {
		m.Tree, m.Block = true, m.Block+v.offsets[i]/BlockSize
		return m
	}
	return err
}

func (v *verifier) data(ctx context.Context, data io.ReaderAt, root [sha256.Size]byte, progress func(int64)) error {
	m, err := v.compare(ctx, data, v.dataBlocks, v.hashes(0, root), progress)
	if m != nil {
		return m
	}
	return err
}

// hashes returns the reader of a level's hashes, one after another: a block
// is full of them.
func (v *verifier) hashes(level int, root [sha256.Size]byte) io.ReaderAt {
	if level == len(v.counts) {
		return bytes.NewReader(root[:])
	}
	return io.NewSectionReader(v.tree, v.offsets[level], v.counts[level]*BlockSize)
}

// compare reads n blocks and compares them with their hashes.
func (v *verifier) compare(ctx context.Context, blocks io.ReaderAt, n int64, hashes io.ReaderAt, progress func(int64)) (*Mismatch, error) {
	const chunk = 256 // blocks that a worker takes at a time: 1 MiB
	var mu sync.Mutex
	var found *Mismatch
	var next atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() error {
			data, want := make([]byte, chunk*BlockSize), make([]byte, chunk*sha256.Size)
			for {
				start := next.Add(chunk) - chunk
				count := min(chunk, n-start)
				if count <= 0 {
					return nil
				}
				if err := ctx.Err(); err != nil {
					return err
				}
				if err := readFull(blocks, data[:count*BlockSize], start*BlockSize); err != nil {
					return fmt.Errorf("reading block %d: %w", start, err)
				}
				if err := readFull(hashes, want[:count*sha256.Size], start*sha256.Size); err != nil {
					return fmt.Errorf("reading the hash of block %d: %w", start, err)
				}
				for i := range count {
					if hash(v.salt, data[i*BlockSize:(i+1)*BlockSize]) == [sha256.Size]byte(want[i*sha256.Size:]) {
						continue
					}
					mu.Lock()
					if found == nil {
						found = &Mismatch{Block: start + i}
					}
					found.Block = min(found.Block, start+i)
					found.Count++
					mu.Unlock()
				}
				if progress != nil {
					progress(count)
				}
			}
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return found, nil
}

func readFull(r io.ReaderAt, p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}
