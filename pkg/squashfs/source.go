package squashfs

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/tree"
)

// read sends the blocks of all units to the writer, those that are not cached
// by way of the compressors.
func (l *pipeline) read(ctx context.Context) error {
	for _, u := range l.plan.units {
		entry, cached := l.memo.get(u)
		l.begun <- cached // has room for every unit
		var err error
		if cached {
			err = l.readCached(ctx, u, entry)
		} else {
			err = l.readFiles(ctx, u)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// readFiles sends the blocks of a unit, in the order that the plan has. No
// file's last byte is sent before its digest is known to be right, and so the
// writer never completes a unit that is damaged.
func (l *pipeline) readFiles(ctx context.Context, u *unit) error {
	var fragment *block // the open one
	for _, f := range u.files {
		var err error
		if fragment, err = l.readFile(ctx, f, fragment); err != nil {
			return err
		}
	}
	if fragment != nil {
		l.send(fragment)
	}
	return nil
}

func (l *pipeline) readFile(ctx context.Context, f *file, fragment *block) (*block, error) {
	r, err := f.content.Open()
	if err != nil {
		return nil, diag.IO(fmt.Errorf("opening content of %q: %w", f.path, err))
	}
	defer r.Close()
	src := &source{file: f, reader: r, hash: sha256.New()}
	for range f.blocks {
		b, err := l.take(ctx)
		if err != nil {
			return nil, err
		}
		b.raw = b.raw[:min(int64(l.opts.BlockSize), f.size-src.pos)]
		if err := src.fill(b.raw); err != nil {
			return nil, err
		}
		l.send(b)
	}
	if f.tail == 0 {
		return fragment, nil
	}
	if f.tailOffset == 0 {
		if fragment != nil {
			l.send(fragment)
		}
		if fragment, err = l.take(ctx); err != nil {
			return nil, err
		}
		fragment.fragment = true
	}
	fragment.raw = fragment.raw[:f.tailOffset+f.tail]
	return fragment, src.fill(fragment.raw[f.tailOffset:])
}

// send hands a block to a compressor and, in order, to the writer. It never
// waits: both have room for all blocks there are.
func (l *pipeline) send(b *block) {
	l.work <- b
	l.queue <- b
}

// source reads a content from its start to its end and checks its digest.
type source struct {
	file   *file
	reader io.ReaderAt
	hash   hash.Hash
	pos    int64
}

func (s *source) fill(p []byte) error {
	n, err := s.reader.ReadAt(p, s.pos)
	if n < len(p) {
		if errors.Is(err, io.EOF) {
			return s.damaged()
		}
		return diag.IO(fmt.Errorf("reading content of %q: %w", s.file.path, err))
	}
	s.hash.Write(p)
	s.pos += int64(n)
	if s.pos == s.file.size && tree.Digest(s.hash.Sum(nil)) != s.file.digest {
		return s.damaged()
	}
	return nil
}

func (s *source) damaged() error {
	return diag.IO(&tree.DamagedError{Path: s.file.path, Digest: s.file.digest})
}

// readCached sends the blocks of a unit as the cache has them.
func (l *pipeline) readCached(ctx context.Context, u *unit, entry io.ReadCloser) error {
	defer entry.Close()
	r := bufio.NewReaderSize(entry, 256<<10)
	for range u.blocks {
		b, err := l.take(ctx)
		if err != nil {
			return err
		}
		if err := readFrame(r, b); err != nil {
			return diag.IO(fmt.Errorf("reading cached blocks of %q: %w", u.files[0].path, err))
		}
		b.ready <- struct{}{}
		l.queue <- b
	}
	return nil
}
