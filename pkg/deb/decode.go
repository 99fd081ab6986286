package deb

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/mikelolasagasti/xz"
)

// maxBlock bounds the decoded blocks that are held in memory: what xz -9 makes
// in parallel has blocks of 192 MiB, what dpkg-deb makes 24.
const maxBlock = 32 << 20

// decoder decodes archives. Its slots bound how many blocks are decoded, or
// held decoded in memory, at once.
type decoder struct{ slots chan struct{} }

func newDecoder(parallel int) *decoder { return &decoder{make(chan struct{}, parallel)} }

func (d *decoder) take(ctx context.Context) error {
	select {
	case d.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (d *decoder) give() { <-d.slots }

// open returns what a member of a package decodes to. The suffix of its name
// says how. Close must be called.
func (d *decoder) open(ctx context.Context, r io.ReaderAt, m member) (io.ReadCloser, error) {
	part := io.NewSectionReader(r, m.offset, m.size)
	_, suffix, _ := strings.Cut(m.name, ".tar")
	if suffix == ".xz" {
		blocks, err := xzBlocks(part, m.size)
		if err != nil {
			return nil, err
		}
		if len(blocks) > 1 && small(blocks) {
			return d.parallel(ctx, part, blocks), nil
		}
	}
	if err := d.take(ctx); err != nil {
		return nil, err
	}
	plain, err := decompress(suffix, bufio.NewReaderSize(part, 1<<16))
	if err != nil {
		d.give()
		return nil, err
	}
	return &single{ctx: ctx, d: d, ReadCloser: plain}, nil
}

func small(blocks []xzBlock) bool {
	for _, b := range blocks {
		if b.size > maxBlock {
			return false
		}
	}
	return true
}

func decompress(suffix string, r io.Reader) (io.ReadCloser, error) {
	switch suffix {
	case "":
		return io.NopCloser(r), nil
	case ".gz":
		return gzip.NewReader(r)
	case ".xz":
		z, err := xz.NewReader(r, xzMaxDict)
		if err != nil {
			return nil, err
		}
		return io.NopCloser(z), nil
	case ".zst":
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(1<<27))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	default:
		return nil, fmt.Errorf("compression %q is not known", suffix)
	}
}

// single reads from one decoder and holds one slot.
type single struct {
	io.ReadCloser
	ctx context.Context
	d   *decoder
}

func (s *single) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.ReadCloser.Read(p)
}

func (s *single) Close() error {
	defer s.d.give()
	return s.ReadCloser.Close()
}

// ordered reads blocks that are decoded in parallel, in their order. A block
// holds its slot from before it is decoded until it has been read: slots are
// taken in order, so that the block waited for always has one.
type ordered struct {
	ctx    context.Context
	d      *decoder
	cancel context.CancelFunc
	blocks <-chan chan decoded
	left   int // blocks not read yet
	data   []byte
	held   bool
	err    error
}

type decoded struct {
	data []byte
	err  error
}

func (d *decoder) parallel(ctx context.Context, r io.ReaderAt, blocks []xzBlock) io.ReadCloser {
	work, cancel := context.WithCancel(ctx)
	queue := make(chan chan decoded, len(blocks))
	go func() {
		defer close(queue)
		for _, b := range blocks {
			result := make(chan decoded, 1)
			if err := d.take(work); err != nil {
				return
			}
			queue <- result
			go func() {
				data, err := decodeBlock(r, b)
				result <- decoded{data, err}
			}()
		}
	}()
	return &ordered{ctx: ctx, d: d, cancel: cancel, blocks: queue, left: len(blocks)}
}

func decodeBlock(r io.ReaderAt, b xzBlock) ([]byte, error) {
	z, err := xzBlockReader(r, b)
	if err != nil {
		return nil, err
	}
	data := make([]byte, b.size)
	if _, err := io.ReadFull(z, data); err != nil {
		return nil, noEOF(err)
	}
	// The end must be read for the check to be verified.
	switch n, err := z.Read(make([]byte, 1)); {
	case n != 0:
		return nil, fmt.Errorf("xz block longer than the %d bytes that its index says", b.size)
	case err != io.EOF:
		return nil, err
	}
	return data, nil
}

func (o *ordered) Read(p []byte) (int, error) {
	for len(o.data) == 0 {
		if o.err != nil {
			return 0, o.err
		}
		o.release()
		if o.left == 0 {
			o.err = io.EOF
			continue
		}
		result, ok := <-o.blocks
		if !ok {
			o.err = cmp.Or(o.ctx.Err(), io.ErrClosedPipe)
			continue
		}
		block := <-result
		o.data, o.err, o.held = block.data, block.err, true
		o.left--
	}
	n := copy(p, o.data)
	o.data = o.data[n:]
	return n, nil
}

func (o *ordered) release() {
	if o.held {
		o.d.give()
		o.held = false
	}
}

// Close waits for the blocks that are being decoded.
func (o *ordered) Close() error {
	o.cancel()
	o.release()
	for result := range o.blocks {
		<-result
		o.d.give()
	}
	return nil
}
