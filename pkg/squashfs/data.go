package squashfs

import (
	"bytes"
	"context"
	"io"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sync/errgroup"
)

// Bounds on the blocks in flight, and with them the memory: two buffers of a
// block each. Sixteen for each worker are enough to keep the compressors busy
// while the writer waits for a disk; large blocks, or many workers, make do
// with less.
const (
	blocksPerWorker = 16
	maxInFlight     = 64 << 20 // bytes of content
)

func blocksInFlight(opts Options) int {
	return min(opts.Workers*blocksPerWorker, max(maxInFlight/opts.BlockSize, 2*opts.Workers))
}

// block is a data or fragment block on its way: reader, compressor, writer.
// The same few blocks go round.
type block struct {
	raw      []byte // content, with room for a full block
	fragment bool
	packed   []byte // room for the compressed content
	out      []byte // what goes to disk: raw, packed or nothing
	word     uint32 // the size word that describes out
	ready    chan struct{}
}

// fragmentBlock is an entry of the fragment table.
type fragmentBlock struct {
	start uint64
	word  uint32
}

// pipeline moves blocks from one reader through many compressors to one
// writer, which sees them in the order in which they were read.
type pipeline struct {
	plan *plan
	opts Options
	out  *output
	memo *memo

	free  chan *block
	work  chan *block // to the compressors
	queue chan *block // to the writer
	begun chan bool   // for each unit, before its first block: was it cached?

	fragments []fragmentBlock
	done      int64
}

// writeData writes all data and fragment blocks. It fills in where each file
// of the plan lies and returns the fragment blocks.
func writeData(ctx context.Context, out *output, p *plan, opts Options) ([]fragmentBlock, error) {
	blocks := blocksInFlight(opts)
	l := &pipeline{
		plan: p, opts: opts, out: out, memo: newMemo(opts),
		free:  make(chan *block, blocks),
		work:  make(chan *block, blocks),
		queue: make(chan *block, blocks),
		begun: make(chan bool, len(p.units)),
	}
	for range blocks {
		// Buffers are made when first used: a small tree needs few of them.
		l.free <- &block{ready: make(chan struct{}, 1)}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(l.work)
		return l.read(ctx)
	})
	for range opts.Workers {
		g.Go(func() error {
			enc, err := newEncoder(opts.Level, opts.BlockSize)
			if err != nil {
				return err
			}
			for b := range l.work {
				b.compress(enc)
				b.ready <- struct{}{}
			}
			return nil
		})
	}
	g.Go(func() error { return l.write(ctx) })
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return l.fragments, nil
}

// take returns a free block with room for size bytes of content.
func (l *pipeline) take(ctx context.Context) (*block, error) {
	select {
	case b := <-l.free:
		if b.raw == nil {
			b.raw = make([]byte, 0, l.opts.BlockSize)
		}
		b.raw, b.fragment = b.raw[:0], false
		return b, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// compress sets out and word. A block of zeros is a hole, unless it is a
// fragment block, which files share.
func (b *block) compress(enc *zstd.Encoder) {
	if !b.fragment && isZero(b.raw) {
		b.out, b.word = nil, 0
		return
	}
	if b.packed == nil {
		b.packed = make([]byte, 0, enc.MaxEncodedSize(cap(b.raw)))
	}
	b.packed = enc.EncodeAll(b.raw, b.packed[:0])
	if len(b.packed) >= len(b.raw) {
		b.out, b.word = b.raw, uint32(len(b.raw))|rawData
		return
	}
	b.out, b.word = b.packed, uint32(len(b.packed))
}

func isZero(p []byte) bool {
	return len(p) > 0 && p[0] == 0 && bytes.Equal(p[1:], p[:len(p)-1])
}

// write puts blocks on disk in order and notes where they lie.
func (l *pipeline) write(ctx context.Context) error {
	l.opts.Progress(0, l.plan.total)
	for _, u := range l.plan.units {
		var cached bool
		select {
		case cached = <-l.begun:
		case <-ctx.Done():
			return ctx.Err()
		}
		var err error
		if cached || !l.memo.enabled() {
			err = l.writeUnit(ctx, u, nil)
		} else {
			err = l.memo.put(u, func(w io.Writer) error { return l.writeUnit(ctx, u, w) })
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// writeUnit writes a unit's blocks, and if memo is not nil to that as well:
// each as its size word and its bytes.
func (l *pipeline) writeUnit(ctx context.Context, u *unit, memo io.Writer) error {
	before := l.done
	for i, f := range u.blocks {
		var b *block
		select {
		case b = <-l.queue:
		case <-ctx.Done():
			return ctx.Err()
		}
		select {
		case <-b.ready:
		case <-ctx.Done():
			return ctx.Err()
		}
		if f == nil {
			l.fragments = append(l.fragments, fragmentBlock{uint64(l.out.pos), b.word})
		} else {
			f.place(uint64(l.out.pos), b.word, l.opts.BlockSize)
		}
		if _, err := l.out.Write(b.out); err != nil {
			return err
		}
		if memo != nil {
			if err := writeFrame(memo, b); err != nil {
				return err
			}
		}
		l.free <- b
		l.done = before + u.size*int64(i+1)/int64(len(u.blocks))
		l.opts.Progress(l.done, l.plan.total)
	}
	return nil
}

// place notes the next data block of a file.
func (f *file) place(pos uint64, word uint32, blockSize int) {
	if len(f.words) == 0 {
		f.start = pos
		f.words = make([]uint32, 0, f.blocks)
	}
	if word == 0 {
		f.sparse += min(int64(blockSize), f.size-int64(len(f.words))*int64(blockSize))
	}
	f.words = append(f.words, word)
}
