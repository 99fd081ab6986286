package kmod

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// maxModule bounds a decompressed module. (The largest of Debian 13, amdgpu, has
// 28 MiB.)
const maxModule = 64 << 20

// The strings of a module: the longest (a parameter's description; symbols have
// 512 bytes at most), and how much memory all of them take.
const (
	maxName    = 64 << 10
	maxStrings = 16 << 20
	stringSize = 48 // a header, in a slice that has grown
)

// The sizes of what is read here, after the ELF-64 object file format.
const (
	ehdrSize    = 64
	shdrSize    = 64
	symSize     = 24
	versionSize = 64 // struct modversion_info of include/linux/module.h
	versionName = 8  // where its name begins: after an unsigned long of CRC
)

var errELF = errors.New("not a 64-bit ELF object")

// object is a module's ELF file. It is read by hand, not through elf.NewFile:
// that one believes a file's word on how many sections there are and how large
// a compressed one gets, and what counts here is what libkmod-elf.c sees: the
// first section of a name that lies inside the file.
type object struct {
	data  []byte
	order binary.ByteOrder
	table []byte // section headers
	names []byte // of sections
}

// symbols is what a module's ELF file says: the strings of .modinfo, and the
// symbols that it exports and needs, in the order of libkmod. The strings are
// copies.
type symbols struct{ info, exports, needs []string }

// parseModule reads a module. It follows libkmod/libkmod-elf.c of kmod 30 but
// that a file in which kmod would find nothing is an error. The CRCs are left
// alone: depmod compares them only with those of a Module.symvers that it is
// given, and no index holds them.
func parseModule(data []byte) (*symbols, error) {
	o, err := newObject(data)
	if err != nil {
		return nil, err
	}
	s := &symbols{}
	room := maxStrings
	if s.info, err = texts(o.section(".modinfo"), &room); err != nil {
		return nil, err
	}
	if err := s.readTable(o, &room); err != nil {
		return nil, err
	}
	// Kernels that keep no CRCs as symbols have the names here, with the
	// names of their name spaces, which depmod takes for symbols too.
	if len(s.exports) == 0 {
		if s.exports, err = texts(o.section("__ksymtab_strings"), &room); err != nil {
			return nil, err
		}
	}
	// __versions names what the symbols do, and module_layout. That depmod
	// appends only what it has not met changes nothing.
	if versions := o.section("__versions"); len(versions)%versionSize == 0 {
		for v := range slices.Chunk(versions, versionSize) {
			if err := keep(&s.needs, text(v[versionName:]), &room); err != nil {
				return nil, err
			}
		}
	}
	return s, nil
}

// readTable reads the symbol table: what is undefined is needed, what has a
// CRC is exported.
func (s *symbols) readTable(o *object, room *int) error {
	names, syms := o.section(".strtab"), o.section(".symtab")
	if len(syms)%symSize != 0 {
		return errors.New("damaged .symtab")
	}
	for at := symSize; at < len(syms); at += symSize {
		nameAt := uint64(o.order.Uint32(syms[at:]))
		if nameAt >= uint64(len(names)) {
			return errors.New("symbol name outside .strtab")
		}
		name := names[nameAt:]
		if elf.SectionIndex(o.order.Uint16(syms[at+6:])) == elf.SHN_UNDEF {
			if err := keep(&s.needs, text(name), room); err != nil {
				return err
			}
		}
		if exported, ok := bytes.CutPrefix(name, []byte("__crc_")); ok {
			if err := keep(&s.exports, text(exported), room); err != nil {
				return err
			}
		}
	}
	return nil
}

func newObject(data []byte) (*object, error) {
	if len(data) < ehdrSize || string(data[:4]) != elf.ELFMAG || elf.Class(data[elf.EI_CLASS]) != elf.ELFCLASS64 {
		return nil, errELF
	}
	o := &object{data: data}
	switch elf.Data(data[elf.EI_DATA]) {
	case elf.ELFDATA2LSB:
		o.order = binary.LittleEndian
	case elf.ELFDATA2MSB:
		o.order = binary.BigEndian
	default:
		return nil, errELF
	}
	var (
		tableAt   = o.order.Uint64(data[40:])
		entrySize = o.order.Uint16(data[58:])
		count     = o.order.Uint16(data[60:])
		namesIn   = o.order.Uint16(data[62:])
		ok        bool
	)
	if entrySize != shdrSize {
		return nil, fmt.Errorf("section headers of %d bytes", entrySize)
	}
	if o.table, ok = o.slice(tableAt, uint64(count)*shdrSize); !ok {
		return nil, errors.New("section headers outside the file")
	}
	if namesIn == 0 || namesIn >= count {
		return nil, errors.New("no section names")
	}
	if o.names, ok = o.bytesOf(int(namesIn)); !ok || len(o.names) == 0 || o.names[len(o.names)-1] != 0 {
		return nil, errors.New("damaged section names")
	}
	return o, nil
}

func (o *object) slice(offset, size uint64) ([]byte, bool) {
	n := uint64(len(o.data))
	if offset > n || size > n-offset {
		return nil, false
	}
	return o.data[offset : offset+size], true
}

// bytesOf returns the content of the section with that index.
func (o *object) bytesOf(i int) ([]byte, bool) {
	header := o.table[i*shdrSize:]
	return o.slice(o.order.Uint64(header[24:]), o.order.Uint64(header[32:]))
}

// section returns the content of the first section of that name, nil if there
// is none.
func (o *object) section(name string) []byte {
	for i := 1; i < len(o.table)/shdrSize; i++ {
		nameAt := uint64(o.order.Uint32(o.table[i*shdrSize:]))
		if nameAt >= uint64(len(o.names)) || !bytes.HasPrefix(o.names[nameAt:], []byte(name+"\x00")) {
			continue
		}
		if content, ok := o.bytesOf(i); ok {
			return content
		}
	}
	return nil
}

// text returns what comes before the first NUL; what has none soon is cut off,
// long enough for keep to refuse it.
func text(b []byte) []byte {
	b = b[:min(len(b), maxName+1)]
	if i := bytes.IndexByte(b, 0); i >= 0 {
		return b[:i]
	}
	return b
}

// texts returns the strings that NULs part; there may be several in a row, as
// padding.
func texts(b []byte, room *int) ([]string, error) {
	var list []string
	for part := range bytes.SplitSeq(b, []byte{0}) {
		if err := keep(&list, part, room); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// keep appends a copy of a string that is not empty. The room that it takes is
// bounded, as many symbols of a hostile file may share one long name.
func keep(list *[]string, s []byte, room *int) error {
	if len(s) == 0 {
		return nil
	}
	if *room -= len(s) + stringSize; len(s) > maxName || *room < 0 {
		return errors.New("names too long, or too many")
	}
	*list = append(*list, string(s))
	return nil
}
