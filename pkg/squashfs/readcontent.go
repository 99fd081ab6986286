package squashfs

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/slipway-os/slipway/pkg/tree"
)

// content is a file's content in a file system that is read. Its digest is
// learnt by reading it through, once; that of one that cannot be read is all
// zeros, and whoever opens it gets the error.
type content struct {
	s        *Reader
	size     int64
	start    int64          // of the first block
	blocks   int64          // with a size word each
	words    metaReader     // at the first size word; copied, never moved
	fragment *fragmentEntry // of the tail, or nil
	offset   int64          // of the tail in it

	once   sync.Once
	digest tree.Digest
}

func (c *content) Size() int64 { return c.size }

func (c *content) Digest() tree.Digest {
	c.once.Do(func() {
		r, err := c.Open()
		if err != nil {
			return
		}
		defer r.Close()
		h := sha256.New()
		if _, err := io.Copy(h, io.NewSectionReader(r, 0, c.size)); err == nil {
			c.digest = tree.Digest(h.Sum(nil))
		}
	})
	return c.digest
}

// Open reads the list of blocks.
func (c *content) Open() (tree.Reader, error) {
	r := &contentReader{content: c, last: -1}
	words := c.words
	at := c.start
	for range c.blocks {
		var word uint32
		if err := readValues(&words, &word); err != nil {
			return nil, fmt.Errorf("reading the blocks of a file: %w", err)
		}
		r.places = append(r.places, fragmentBlock{uint64(at), word})
		at += int64(word &^ rawData)
	}
	if at > int64(c.s.sb.Size) {
		return nil, fmt.Errorf("reading the blocks of a file: they end at %d, beyond %d", at, c.s.sb.Size)
	}
	return r, nil
}

type contentReader struct {
	*content
	places []fragmentBlock

	mu   sync.Mutex
	last int64 // block that data is of, -1 for none
	data []byte
}

func (r *contentReader) Close() error { return nil }

// ReadAt implements io.ReaderAt.
func (r *contentReader) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("reading at a negative offset")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	done := 0
	for done < len(p) {
		if off >= r.size {
			return done, io.EOF
		}
		i := off / int64(r.s.sb.BlockSize)
		if r.last != i {
			data, err := r.block(i)
			if err != nil {
				return done, err
			}
			r.last, r.data = i, data
		}
		n := copy(p[done:], r.data[off%int64(r.s.sb.BlockSize):])
		done += n
		off += int64(n)
	}
	return done, nil
}

// block returns the content of a block or of the tail.
func (r *contentReader) block(i int64) ([]byte, error) {
	blockSize := int64(r.s.sb.BlockSize)
	want := min(blockSize, r.size-i*blockSize)
	place, offset := fragmentBlock{}, int64(0)
	if i < r.blocks {
		if place = r.places[i]; place.word == 0 {
			return make([]byte, want), nil
		}
	} else {
		place, offset = fragmentBlock{r.fragment.Start, r.fragment.Word}, r.offset
	}
	size := int64(place.word &^ rawData)
	if size > blockSize || place.start > r.s.sb.Size {
		return nil, fmt.Errorf("a block of %d bytes at %d", size, place.start)
	}
	r.s.mu.Lock()
	data, err := r.s.unpack(int64(place.start), int(size), place.word&rawData != 0, int(blockSize))
	r.s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if int64(len(data)) < offset+want {
		return nil, fmt.Errorf("a block at %d of %d bytes, not %d", place.start, len(data), offset+want)
	}
	return data[offset : offset+want], nil
}
