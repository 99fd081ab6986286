// Package uki writes and reads unified kernel images: a PE program (systemd's
// stub) with kernel, initrd and command line as sections (UAPI Group, Unified
// Kernel Image; Microsoft PE format, "Section Table").
package uki

import (
	"bytes"
	"crypto/sha256"
	"debug/pe"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/slipway-os/slipway/pkg/tree"
)

const (
	sectionHeader = 40
	// readable, initialised data
	characteristics = 0x40000040
	maxStub         = 16 << 20
	maxSize         = 1 << 30

	pe32plus     = 0x20b
	certificates = 4         // the data directory of signatures
	minOptional  = 112 + 8*5 // up to and with that one
)

func allZero(b []byte) bool { return bytes.Equal(b, make([]byte, len(b))) }

// Section is a section of an image: ".linux", ".initrd", ".cmdline", …
type Section struct {
	Name    string // at most eight bytes
	Content tree.Content
}

// Image is an image that was planned. It is content that reads its sections
// when it is read itself.
type Image struct {
	header   []byte // the stub with its headers mended
	sections []Section
	offsets  []int64
	size     int64
}

// New lays out sections behind a stub.
func New(stub []byte, sections []Section) (*Image, error) {
	if len(stub) > maxStub || len(stub) < 0x40 {
		return nil, fmt.Errorf("reading the stub: %d bytes are no PE program", len(stub))
	}
	le := binary.LittleEndian
	b := bytes.Clone(stub)
	head := int(le.Uint32(b[0x3c:]))
	if string(b[:2]) != "MZ" || head < 0x40 || head > len(b)-24-minOptional || string(b[head:head+4]) != "PE\x00\x00" || le.Uint16(b[head+24:]) != pe32plus {
		return nil, errors.New("reading the stub: not a PE program")
	}
	count := int(le.Uint16(b[head+6:]))
	optional, optionalSize := head+24, int(le.Uint16(b[head+20:]))
	table := optional + optionalSize
	if optionalSize < minOptional {
		return nil, errors.New("reading the stub: its headers contradict themselves")
	}
	if n := le.Uint32(b[optional+108:]); n > certificates && !allZero(b[optional+112+8*certificates:][:8]) {
		return nil, errors.New("reading the stub: it is signed, and adding to it would break that")
	}
	sectionAlign, fileAlign := int64(le.Uint32(b[optional+32:])), int64(le.Uint32(b[optional+36:]))
	headers := int(le.Uint32(b[optional+60:]))
	if sectionAlign <= 0 || fileAlign <= 0 || sectionAlign > 1<<20 || fileAlign > 1<<20 || headers > len(b) {
		return nil, errors.New("reading the stub: its headers contradict themselves")
	}
	if table+(count+len(sections))*sectionHeader > headers {
		return nil, fmt.Errorf("adding %d sections to the stub: its header has room for %d", len(sections), (headers-table)/sectionHeader-count)
	}
	var end int64
	for i := range count {
		h := b[table+i*sectionHeader:]
		end = max(end, int64(le.Uint32(h[8:]))+int64(le.Uint32(h[12:])))
	}
	address, offset := align(end, sectionAlign), align(int64(len(b)), fileAlign)
	img := &Image{sections: sections}
	var data int64
	for i, s := range sections {
		if s.Content == nil || s.Content.Size() == 0 || len(s.Name) == 0 || len(s.Name) > 8 {
			return nil, fmt.Errorf("adding section %q: a section has a name of at most eight bytes, and content", s.Name)
		}
		size := s.Content.Size()
		if size > maxSize || offset+size > maxSize || address+size > math.MaxUint32 {
			return nil, fmt.Errorf("adding section %q of %d bytes: the image would be too large", s.Name, size)
		}
		h := b[table+(count+i)*sectionHeader:]
		copy(h[:8], append([]byte(s.Name), make([]byte, 8)...))
		le.PutUint32(h[8:], uint32(size))
		le.PutUint32(h[12:], uint32(address))
		le.PutUint32(h[16:], uint32(align(size, fileAlign)))
		le.PutUint32(h[20:], uint32(offset))
		clear(h[24:36])
		le.PutUint32(h[36:], characteristics)
		img.offsets = append(img.offsets, offset)
		offset += align(size, fileAlign)
		data += align(size, fileAlign)
		address = align(address+size, sectionAlign)
	}
	le.PutUint16(b[head+6:], uint16(count+len(sections)))
	le.PutUint32(b[optional+8:], le.Uint32(b[optional+8:])+uint32(data))
	le.PutUint32(b[optional+56:], uint32(address))
	le.PutUint32(b[optional+64:], 0) // checksum: the firmware does not look
	img.header, img.size = b, offset
	return img, nil
}

func align(n, to int64) int64 { return (n + to - 1) / to * to }

// Size returns the length of the image in bytes.
func (m *Image) Size() int64 { return m.size }

// Digest implements tree.Content. It reads the whole image.
func (m *Image) Digest() tree.Digest {
	h := sha256.New()
	r, err := m.Open()
	if err != nil {
		return tree.Digest{}
	}
	defer r.Close()
	if _, err := io.Copy(h, io.NewSectionReader(r, 0, m.size)); err != nil {
		return tree.Digest{}
	}
	return tree.Digest(h.Sum(nil))
}

// Open implements tree.Content. It reads every section through, to see that
// each is what its digest promised: a damaged one is a *tree.DamagedError.
func (m *Image) Open() (tree.Reader, error) {
	r := &reader{image: m}
	for _, s := range m.sections {
		if err := tree.Copy(io.Discard, s.Content); err != nil {
			r.Close()
			return nil, fmt.Errorf("reading section %q: %w", s.Name, err)
		}
		opened, err := s.Content.Open()
		if err != nil {
			r.Close()
			return nil, fmt.Errorf("opening section %q: %w", s.Name, err)
		}
		r.opened = append(r.opened, opened)
	}
	return r, nil
}

type reader struct {
	image  *Image
	opened []tree.Reader
}

func (r *reader) Close() error {
	var errs []error
	for _, o := range r.opened {
		errs = append(errs, o.Close())
	}
	return errors.Join(errs...)
}

func (r *reader) ReadAt(p []byte, off int64) (int, error) {
	m := r.image
	want := len(p)
	if off >= m.size {
		return 0, io.EOF
	}
	p = p[:min(int64(want), m.size-off)]
	clear(p) // padding
	// overlap returns the part of p that a stretch of the image covers, and
	// where in the stretch it starts.
	overlap := func(start, size int64) ([]byte, int64) {
		from, to := max(start, off), min(start+size, off+int64(len(p)))
		if from >= to {
			return nil, 0
		}
		return p[from-off : to-off], from - start
	}
	if part, at := overlap(0, int64(len(m.header))); part != nil {
		copy(part, m.header[at:])
	}
	for i, s := range m.sections {
		part, at := overlap(m.offsets[i], s.Content.Size())
		if part == nil {
			continue
		}
		if n, err := r.opened[i].ReadAt(part, at); n < len(part) {
			return 0, fmt.Errorf("reading section %q: %w", s.Name, err)
		}
	}
	if len(p) < want {
		return len(p), io.EOF
	}
	return len(p), nil
}

// StubDigest returns the SHA-256, in hexadecimal, of the stub at the start of r,
// which may be an image that sections were added to: of its headers, without
// what adding them changes, and of its own sections.
func StubDigest(r io.ReaderAt, added []string) (string, error) {
	f, err := pe.NewFile(r)
	if err != nil {
		return "", fmt.Errorf("reading the unified kernel image: %w", err)
	}
	le := binary.LittleEndian
	start := make([]byte, 0x40)
	if _, err := r.ReadAt(start, 0); err != nil {
		return "", fmt.Errorf("reading the unified kernel image: %w", err)
	}
	head := le.Uint32(start[0x3c:])
	size := int64(head) + 24 + int64(f.SizeOfOptionalHeader)
	if head < 0x40 || f.SizeOfOptionalHeader < minOptional || size > maxStub {
		return "", errors.New("reading the unified kernel image: its headers contradict themselves")
	}
	headers := make([]byte, size)
	if _, err := r.ReadAt(headers, 0); err != nil {
		return "", fmt.Errorf("reading the unified kernel image: %w", err)
	}
	optional := headers[head+24:]
	le.PutUint16(headers[head+6:], 0) // number of sections
	le.PutUint32(optional[8:], 0)     // size of initialised data
	le.PutUint32(optional[56:], 0)    // size of the image
	le.PutUint32(optional[64:], 0)    // checksum
	h := sha256.New()
	h.Write(headers)
	for _, s := range f.Sections {
		if slices.Contains(added, s.Name) {
			continue
		}
		if s.Size > maxStub {
			return "", fmt.Errorf("reading the unified kernel image: section %q of %d bytes", s.Name, s.Size)
		}
		fmt.Fprintln(h, s.SectionHeader)
		if _, err := io.Copy(h, io.NewSectionReader(r, int64(s.Offset), int64(s.Size))); err != nil {
			return "", fmt.Errorf("reading the unified kernel image: %w", err)
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// ReadSection returns the content of a section of an image.
func ReadSection(r io.ReaderAt, name string) (*io.SectionReader, error) {
	f, err := pe.NewFile(r)
	if err != nil {
		return nil, fmt.Errorf("reading the unified kernel image: %w", err)
	}
	s := f.Section(name)
	if s == nil {
		return nil, fmt.Errorf("reading the unified kernel image: no section %q", name)
	}
	size := int64(min(s.VirtualSize, s.Size))
	content := io.NewSectionReader(r, int64(s.Offset), size)
	if n, err := content.ReadAt(make([]byte, 1), size-1); size > 0 && n == 0 {
		return nil, fmt.Errorf("reading the unified kernel image: section %q is cut off: %w", name, err)
	}
	return content, nil
}
