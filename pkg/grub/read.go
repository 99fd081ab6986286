package grub

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
)

// ErrNone says that a partition holds no core image.
var ErrNone = errors.New("no GRUB core image")

// Contents is what a core image holds.
type Contents struct {
	Modules  []string // names, in order
	Commands string   // run first
	// Digest is the SHA-256, in hexadecimal, of GRUB's own programs in it: of its
	// kernel and the modules, and where they are started.
	Digest string
}

// maxCore bounds the modules of a core image, in bytes.
const maxCore = 16 << 20

// ReadCore reads a core image, which lies at the start of r.
func ReadCore(r io.ReaderAt) (*Contents, error) {
	var ident [4]byte
	if _, err := r.ReadAt(ident[:], 0); err != nil {
		return nil, fmt.Errorf("reading GRUB's core image: %w", err)
	}
	if string(ident[:]) != elf.ELFMAG {
		return nil, ErrNone
	}
	f, err := elf.NewFile(r)
	if err != nil {
		return nil, fmt.Errorf("reading GRUB's core image: %w", err)
	}
	programs := sha256.New()
	binary.Write(programs, binary.BigEndian, f.Entry)
	var c *Contents
	for _, p := range f.Progs {
		if p.Type != elf.PT_LOAD || p.Filesz < infoSize || p.Filesz > maxCore {
			continue
		}
		data := make([]byte, p.Filesz)
		if _, err := io.ReadFull(p.Open(), data); err != nil {
			return nil, fmt.Errorf("reading GRUB's core image: %w", err)
		}
		if string(data[:4]) != moduleMagic {
			binary.Write(programs, binary.BigEndian, []uint64{p.Vaddr, p.Memsz})
			programs.Write(data)
			continue
		}
		if c, err = readObjects(data, programs); err != nil {
			return nil, err
		}
		break
	}
	if c == nil {
		return nil, fmt.Errorf("%w: an ELF file, but none of its segments has modules", ErrNone)
	}
	c.Digest = hex.EncodeToString(programs.Sum(nil))
	return c, nil
}

// readObjects reads the segment of modules, which it copies to programs.
func readObjects(data []byte, programs io.Writer) (*Contents, error) {
	be := binary.BigEndian
	offset, size := uint64(be.Uint32(data[4:])), uint64(be.Uint32(data[8:]))
	if size > uint64(len(data)) || offset < infoSize || offset > size {
		return nil, errors.New("reading GRUB's core image: its modules lie outside of it")
	}
	c := &Contents{}
	for data = data[offset:size]; len(data) >= objectSize; {
		kind, size := be.Uint32(data), uint64(be.Uint32(data[4:]))
		if size < objectSize || size > uint64(len(data)) {
			return nil, fmt.Errorf("reading GRUB's core image: an object of %d bytes where %d are left", size, len(data))
		}
		object := data[objectSize:size]
		switch kind {
		case objectModule:
			name, err := moduleName(object)
			if err != nil {
				return nil, fmt.Errorf("reading GRUB's core image: module %d: %w", len(c.Modules)+1, err)
			}
			c.Modules = append(c.Modules, name)
			programs.Write(object)
		case objectConfig:
			text, _, _ := bytes.Cut(object, []byte{0})
			c.Commands += string(text)
		}
		data = data[size:]
	}
	return c, nil
}

// moduleName returns the name that a module says it has.
func moduleName(module []byte) (string, error) {
	f, err := elf.NewFile(bytes.NewReader(module))
	if err != nil {
		return "", err
	}
	s := f.Section(".modname")
	if s == nil || s.Type == elf.SHT_NOBITS || s.Size > 256 {
		return "", errors.New("it has no name")
	}
	name, err := s.Data()
	if err != nil {
		return "", err
	}
	return strings.TrimRight(string(name), "\x00"), nil
}
