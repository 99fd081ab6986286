package tree

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
)

// Content is the content of a file by reference: known by size and digest,
// read only when somebody asks, as often as they ask, from any goroutine.
type Content interface {
	Size() int64
	Digest() Digest
	Open() (Reader, error)
}

// Reader reads an opened content of known size.
type Reader interface {
	io.ReaderAt
	io.Closer
}

// Bytes returns content that lies in memory. The slice must not be changed.
func Bytes(data []byte) Content { return memory{data: data, digest: sha256.Sum256(data)} }

// String is Bytes of a string.
func String(s string) Content { return Bytes([]byte(s)) }

type memory struct {
	data   []byte
	digest Digest
}

func (m memory) Size() int64           { return int64(len(m.data)) }
func (m memory) Digest() Digest        { return m.digest }
func (m memory) Open() (Reader, error) { return memoryReader{bytes.NewReader(m.data)}, nil }

type memoryReader struct{ *bytes.Reader }

func (memoryReader) Close() error { return nil }

// Section returns content that is a stretch of a file on disk, with a digest
// that the caller knows.
func Section(file string, offset, size int64, digest Digest) Content {
	return section{file: file, offset: offset, size: size, digest: digest}
}

type section struct {
	file         string
	offset, size int64
	digest       Digest
}

func (s section) Size() int64    { return s.size }
func (s section) Digest() Digest { return s.digest }

func (s section) Open() (Reader, error) {
	f, err := os.Open(s.file)
	if err != nil {
		return nil, err
	}
	return sectionReader{io.NewSectionReader(f, s.offset, s.size), f}, nil
}

type sectionReader struct {
	*io.SectionReader
	file *os.File
}

func (r sectionReader) Close() error { return r.file.Close() }

// HashFile returns the content of a whole file on disk, which it reads once
// to learn its digest.
func HashFile(file string) (Content, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return nil, fmt.Errorf("hashing %q: %w", file, err)
	}
	return Section(file, 0, n, Digest(h.Sum(nil))), nil
}

// DamagedError says that a content is not what its digest promised.
type DamagedError struct {
	Path   string // in the tree; empty if it is not known
	Digest Digest
}

func (e *DamagedError) Error() string {
	if e.Path == "" {
		return fmt.Sprintf("damaged content: it has not the sha256 %s", e.Digest)
	}
	return fmt.Sprintf("content of %q is damaged: it has not the sha256 %s", e.Path, e.Digest)
}

// Copy writes a whole content to w, and compares what it reads with the size
// and digest that were promised. The error of one that differs, *DamagedError,
// may come when all is written.
func Copy(w io.Writer, c Content) error {
	if c == nil {
		return nil
	}
	r, err := c.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(w, h), io.NewSectionReader(r, 0, c.Size()))
	if err != nil {
		return err
	}
	if n != c.Size() || Digest(h.Sum(nil)) != c.Digest() {
		return &DamagedError{Digest: c.Digest()}
	}
	return nil
}

// ReadAll returns a content's bytes, compared as by Copy; more than limit is
// an error.
func ReadAll(c Content, limit int64) ([]byte, error) {
	if c == nil {
		return nil, nil
	}
	if c.Size() > limit {
		return nil, fmt.Errorf("reading %d bytes: more than the limit of %d", c.Size(), limit)
	}
	var b bytes.Buffer
	b.Grow(int(c.Size()))
	if err := Copy(&b, c); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
