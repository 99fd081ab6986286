package cpio

import (
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"github.com/slipway-os/slipway/pkg/tree"
)

// Magic is what an archive begins with.
const Magic = "070701"

const headerSize = 110

// Entry is what an archive says of a file.
type Entry struct {
	Path string // clean, relative to the root; "." for the root itself
	Type tree.Type
	Size int64 // bytes that follow: content, or a symlink's target
}

// Reader reads an archive entry by entry. It holds one header at a time.
type Reader struct {
	r    io.Reader
	rest int64 // of the content
	pad  int64 // behind it
	end  bool
}

// NewReader returns a reader of the archive that r begins with. It reads
// nothing behind the archive's end.
func NewReader(r io.Reader) *Reader { return &Reader{r: r} }

// Next goes to the next entry, whose content Read then returns. Behind the
// last entry it returns io.EOF.
func (r *Reader) Next() (Entry, error) {
	if r.end {
		return Entry{}, io.EOF
	}
	e, err := r.next()
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("reading a cpio archive: %w", err)
	}
	return e, err
}

func (r *Reader) next() (Entry, error) {
	if err := r.skip(r.rest + r.pad); err != nil {
		return Entry{}, err
	}
	r.rest, r.pad = 0, 0
	h := make([]byte, headerSize)
	if _, err := io.ReadFull(r.r, h); err != nil {
		return Entry{}, cut(err)
	}
	if string(h[:len(Magic)]) != Magic {
		return Entry{}, fmt.Errorf("an entry begins with %q", h[:len(Magic)])
	}
	var fields [13]uint32
	for i := range fields {
		at := len(Magic) + 8*i
		n, err := strconv.ParseUint(string(h[at:at+8]), 16, 32)
		if err != nil {
			return Entry{}, fmt.Errorf("a header with the number %q", h[at:at+8])
		}
		fields[i] = uint32(n)
	}
	mode, size, nameSize := fields[1], int64(fields[6]), int64(fields[11])
	if nameSize < 2 || nameSize > maxPath {
		return Entry{}, fmt.Errorf("a name of %d bytes", nameSize)
	}
	name := make([]byte, nameSize+padding(headerSize+nameSize))
	if _, err := io.ReadFull(r.r, name); err != nil {
		return Entry{}, cut(err)
	}
	if name[nameSize-1] != 0 {
		return Entry{}, errors.New("a name without an end")
	}
	text, _, _ := strings.Cut(string(name[:nameSize-1]), "\x00") // behind it, what aligns the content
	if text == trailer {
		r.end = true
		return Entry{}, io.EOF
	}
	e := Entry{Path: clean(text), Size: size}
	for t := tree.Dir; t <= tree.Fifo; t++ {
		if typeBits(t) == mode&0o170000 {
			e.Type = t
		}
	}
	if e.Type == 0 {
		return Entry{}, fmt.Errorf("%q has the mode %o", text, mode)
	}
	r.rest, r.pad = size, padding(size)
	return e, nil
}

// Read reads the content of the entry.
func (r *Reader) Read(p []byte) (int, error) {
	if r.rest == 0 {
		return 0, io.EOF
	}
	n, err := r.r.Read(p[:min(int64(len(p)), r.rest)])
	r.rest -= int64(n)
	if r.rest > 0 {
		err = cut(err)
	}
	return n, err
}

func (r *Reader) skip(n int64) error {
	_, err := io.CopyN(io.Discard, r.r, n)
	return cut(err)
}

func cut(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// typeBits are the types in the mode of an entry, as inode(7) has them.
func typeBits(t tree.Type) uint32 {
	return map[tree.Type]uint32{
		tree.Fifo: 0o010000, tree.CharDevice: 0o020000, tree.Dir: 0o040000,
		tree.BlockDevice: 0o060000, tree.File: 0o100000, tree.Symlink: 0o120000,
	}[t]
}

// padding is what fills up to a multiple of four bytes.
func padding(n int64) int64 { return -n & 3 }

func clean(name string) string {
	if p := path.Clean("/" + name); p != "/" {
		return p[1:]
	}
	return "."
}
