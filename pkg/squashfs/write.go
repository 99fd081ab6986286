// Package squashfs writes and reads squashfs 4.0 file systems with zstd
// compression. The format is that of Linux, fs/squashfs/squashfs_fs.h.
//
// Write is parallel, streams its output in order, and yields the same bytes
// for the same tree and options whatever the number of workers and whatever a
// cache held.
package squashfs

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math"
	"runtime"

	"github.com/klauspost/compress/zstd"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/tree"
)

// Defaults of Options.
const (
	DefaultBlockSize = 128 << 10
	DefaultLevel     = zstd.SpeedBetterCompression
)

// maxWorkers is as many compressors as disks can take the output of. Each has
// some MiB of tables.
const maxWorkers = 16

// padding is what the size is rounded up to: a block of dm-verity.
const padding = 4096

// Options of a file system. The zero value is useful.
type Options struct {
	BlockSize int               // a power of two, 4 KiB to 1 MiB; 0: DefaultBlockSize
	Level     zstd.EncoderLevel // 0: DefaultLevel
	Epoch     int64             // time of the file system itself, seconds since 1970
	Workers   int               // compressors at work; 0: one for each CPU, up to 16
	Cache     BlockCache        // nil: compress everything

	// Progress is called as output is written, from one goroutine: bytes of
	// distinct file content that are done, and in all. May be nil.
	Progress func(done, total int64)
}

func (o Options) withDefaults() (Options, error) {
	if o.BlockSize == 0 {
		o.BlockSize = DefaultBlockSize
	}
	if o.BlockSize < 4<<10 || o.BlockSize > 1<<20 || o.BlockSize&(o.BlockSize-1) != 0 {
		return o, diag.Inputf("squashfs block size %d: not a power of two from 4096 to 1048576", o.BlockSize)
	}
	if o.Level == 0 {
		o.Level = DefaultLevel
	}
	if o.Epoch < 0 || o.Epoch > math.MaxUint32 {
		return o, diag.Inputf("squashfs time %d: not within 1970 to 2106", o.Epoch)
	}
	if o.Workers <= 0 {
		o.Workers = min(runtime.GOMAXPROCS(0), maxWorkers)
	}
	if o.Progress == nil {
		o.Progress = func(int64, int64) {}
	}
	return o, nil
}

// Write writes t to w, from offset 0 on and in order, but for the first 96
// bytes, which come last: an interrupted write is not a file system. It
// returns the size, a multiple of 4096.
//
// Content is checked against its digest as it is read; what differs is a
// *tree.DamagedError. Blocks that the cache had are not read from the content.
func Write(ctx context.Context, w io.WriterAt, t *tree.Tree, opts Options) (int64, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return 0, err
	}
	p, err := newPlan(t, opts.BlockSize)
	if err != nil {
		return 0, fmt.Errorf("planning squashfs: %w", err)
	}
	out := newOutput(w)
	fragments, err := writeData(ctx, out, p, opts)
	if err != nil {
		return 0, fmt.Errorf("writing squashfs: %w", err)
	}
	if err := writeTables(ctx, out, t, p, fragments, opts); err != nil {
		return 0, fmt.Errorf("writing squashfs: %w", err)
	}
	return out.pos, nil
}

// output is the sequential part of the file system.
type output struct {
	w   io.WriterAt
	buf *bufio.Writer
	pos int64
}

func newOutput(w io.WriterAt) *output {
	return &output{
		w:   w,
		buf: bufio.NewWriterSize(io.NewOffsetWriter(w, superblockSize), 1<<20),
		pos: superblockSize,
	}
}

func (o *output) Write(p []byte) (int, error) {
	n, err := o.buf.Write(p)
	o.pos += int64(n)
	return n, err
}

// finish pads the file system and writes its superblock.
func (o *output) finish(sb *superblock) error {
	sb.Size = uint64(o.pos)
	if rest := o.pos % padding; rest != 0 {
		if _, err := o.Write(make([]byte, padding-rest)); err != nil {
			return err
		}
	}
	if err := o.buf.Flush(); err != nil {
		return err
	}
	_, err := o.w.WriteAt(sb.encode(), 0)
	return err
}

func newEncoder(level zstd.EncoderLevel, window int) (*zstd.Encoder, error) {
	// The kernel's decoder allows no window larger than the block, and its
	// own checksums would only repeat those of dm-verity.
	return zstd.NewWriter(nil,
		zstd.WithEncoderLevel(level),
		zstd.WithEncoderConcurrency(1),
		zstd.WithEncoderCRC(false),
		zstd.WithSingleSegment(true),
		zstd.WithWindowSize(max(window, zstd.MinWindowSize)),
		zstd.WithLowerEncoderMem(false))
}
