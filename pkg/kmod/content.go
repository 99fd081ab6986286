package kmod

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/zstd"
	"github.com/mikelolasagasti/xz"

	"github.com/slipway-os/slipway/pkg/tree"
)

// maxDict bounds a decompressor's window. scripts/Makefile.modinst of the kernel
// compresses with one of 1 or 2 MiB.
const maxDict = 16 << 20

// moduleContent is a module's file: the bytes as shipped, by reference.
type moduleContent struct {
	node   *tree.Node
	suffix string
}

// plain writes what the module is decompressed to w. More than maxModule bytes
// are an error.
func (c moduleContent) plain(ctx context.Context, w io.Writer) error {
	data, err := tree.ReadAll(c.node.Content, maxModule)
	if err != nil {
		return err
	}
	var r io.Reader = bytes.NewReader(data)
	switch c.suffix {
	case ".ko.xz":
		z, err := xz.NewReader(r, maxDict)
		if err != nil {
			return err
		}
		r = z
	case ".ko.zst":
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxDict))
		if err != nil {
			return err
		}
		defer z.Close()
		r = z
	}
	n, err := io.Copy(w, io.LimitReader(whileLive{ctx, r}, maxModule+1))
	if err == nil && n > maxModule {
		err = fmt.Errorf("more than %d bytes", int64(maxModule))
	}
	return err
}

// whileLive reads until the context ends.
type whileLive struct {
	ctx context.Context
	io.Reader
}

func (r whileLive) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}

// maxParallel bounds memory: each worker may hold a module, compressed and not.
const maxParallel = 8

// parallel calls fn for 0 to n-1 on all CPUs until one fails. Each worker has a
// buffer that it may use anew for every call.
func parallel(ctx context.Context, n int, fn func(ctx context.Context, i int, buf *bytes.Buffer) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var group sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0), maxParallel) {
		group.Go(func() {
			var buf bytes.Buffer
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				buf.Reset()
				if err := fn(ctx, i, &buf); err != nil {
					cancel(err)
				}
			}
		})
	}
	group.Wait()
	return context.Cause(ctx)
}
