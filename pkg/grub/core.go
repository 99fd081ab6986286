// Package grub assembles and reads what GRUB needs to start Linux under Open
// Firmware on POWER: its core image, and its configuration.
//
// The core image is what grub-mkimage would make for powerpc-ieee1275 (GRUB
// 2.12, util/mkimage.c, util/grub-mkimagexx.c, include/grub/kernel.h,
// include/grub/offsets.h): an ELF program of GRUB's kernel, of a segment with
// modules, and of the note by which Open Firmware is told how to load it
// (IEEE 1275, PowerPC processor binding, "CHRP"). All numbers are big-endian.
package grub

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Files reads files of GRUB's folder for powerpc-ieee1275 by their names:
// kernel.img, moddep.lst and the modules (normal.mod, …).
type Files func(name string) ([]byte, error)

const (
	headerSize  = 52
	programSize = 32
	noteOffset  = 0x200
	segmentAt   = 0x1000 // file offset of the first segment, and alignment
	moduleGap   = 0x8000 // kept free behind the kernel
	moduleAlign = 0x1000
	// Where the firmware reads the image to, before it moves its segments to
	// their addresses.
	loadBase = 0x4000

	moduleMagic = "gmim"
	infoSize    = 12
	objectSize  = 8

	// Types of objects among the modules.
	objectModule = 0
	objectConfig = 2
)

// Core returns a core image with modules, and all that they depend on, which
// runs commands when it starts, and then what normal.mod does if that is among
// the modules: it reads $prefix/grub.cfg.
func Core(files Files, modules []string, commands string) ([]byte, error) {
	names, err := closure(files, modules)
	if err != nil {
		return nil, err
	}
	kernel, segment, err := readKernel(files)
	if err != nil {
		return nil, err
	}
	var objects []byte
	for _, name := range names {
		data, err := files(name + ".mod")
		if err != nil {
			return nil, fmt.Errorf("reading GRUB's module %q: %w", name, err)
		}
		objects = appendObject(objects, objectModule, data)
	}
	objects = appendObject(objects, objectConfig, append([]byte(commands), 0))
	// struct grub_module_info32
	info := append(make([]byte, 0, infoSize+len(objects)), moduleMagic...)
	info = binary.BigEndian.AppendUint32(info, infoSize)
	info = binary.BigEndian.AppendUint32(info, uint32(infoSize+len(objects)))
	info = append(info, objects...)
	at := align(segment.Vaddr+segment.Memsz+moduleGap, moduleAlign)
	image := link(uint32(segment.Vaddr), []programSegment{
		{address: uint32(segment.Vaddr), memory: uint32(segment.Memsz), data: kernel},
		{address: uint32(at), memory: uint32(len(info)), data: info},
	})
	if uint64(len(image)) > segment.Vaddr-loadBase {
		return nil, fmt.Errorf("assembling GRUB: %d bytes would be loaded over its kernel at %#x", len(image), segment.Vaddr)
	}
	return image, nil
}

func align(n, to uint64) uint64 { return (n + to - 1) / to * to }

// closure returns modules in an order in which each comes after those that it
// depends on, by GRUB's own list: "linux: boot elf".
func closure(files Files, modules []string) ([]string, error) {
	list, err := files("moddep.lst")
	if err != nil {
		return nil, fmt.Errorf("reading which modules GRUB's modules depend on: %w", err)
	}
	depends := map[string][]string{}
	for line := range strings.Lines(string(list)) {
		if name, needs, ok := strings.Cut(line, ":"); ok {
			depends[name] = strings.Fields(needs)
		}
	}
	var order []string
	const visiting, done = 1, 2
	state := map[string]int{}
	var add func(name string) error
	add = func(name string) error {
		switch state[name] {
		case done:
			return nil
		case visiting:
			return fmt.Errorf("GRUB's module %q depends on itself", name)
		}
		needs, ok := depends[name]
		if !ok {
			return fmt.Errorf("GRUB has no module %q", name)
		}
		state[name] = visiting
		for _, n := range needs {
			if err := add(n); err != nil {
				return err
			}
		}
		state[name] = done
		order = append(order, name)
		return nil
	}
	for _, name := range modules {
		if err := add(name); err != nil {
			return nil, err
		}
	}
	return order, nil
}

// readKernel returns the one segment that GRUB's kernel has.
func readKernel(files Files) ([]byte, elf.ProgHeader, error) {
	data, err := files("kernel.img")
	if err != nil {
		return nil, elf.ProgHeader{}, fmt.Errorf("reading GRUB's kernel: %w", err)
	}
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return nil, elf.ProgHeader{}, fmt.Errorf("reading GRUB's kernel: %w", err)
	}
	var found *elf.Prog
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD && found != nil {
			return nil, elf.ProgHeader{}, errors.New("reading GRUB's kernel: it has several segments")
		}
		if p.Type == elf.PT_LOAD {
			found = p
		}
	}
	switch {
	case f.Class != elf.ELFCLASS32 || f.Data != elf.ELFDATA2MSB || f.Machine != elf.EM_PPC:
		return nil, elf.ProgHeader{}, errors.New("reading GRUB's kernel: it is not for powerpc-ieee1275")
	case found == nil || f.Entry != found.Vaddr || found.Vaddr <= loadBase || found.Filesz > found.Memsz || found.Memsz > 1<<24:
		return nil, elf.ProgHeader{}, errors.New("reading GRUB's kernel: its segment is not where it starts")
	}
	kernel, err := io.ReadAll(found.Open())
	if err == nil && uint64(len(kernel)) != found.Filesz {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, elf.ProgHeader{}, fmt.Errorf("reading GRUB's kernel: %w", err)
	}
	return kernel, found.ProgHeader, nil
}

// appendObject appends struct grub_module_header and what it heads.
func appendObject(to []byte, kind uint32, data []byte) []byte {
	padded := align(uint64(len(data)), 4)
	to = binary.BigEndian.AppendUint32(to, kind)
	to = binary.BigEndian.AppendUint32(to, uint32(objectSize+padded))
	to = append(to, data...)
	return append(to, make([]byte, padded-uint64(len(data)))...)
}

type programSegment struct {
	address, memory uint32
	data            []byte
}

// link writes the ELF file: header, program headers, note, segments. The note
// comes first because some firmware looks for it in the first 4 KiB only.
func link(entry uint32, segments []programSegment) []byte {
	be := binary.BigEndian
	b := []byte("\x7fELF\x01\x02\x01")
	b = append(b, make([]byte, elf.EI_NIDENT-len(b))...)
	b = be.AppendUint16(b, uint16(elf.ET_EXEC))
	b = be.AppendUint16(b, uint16(elf.EM_PPC))
	b = be.AppendUint32(b, uint32(elf.EV_CURRENT))
	b = be.AppendUint32(b, entry)
	b = be.AppendUint32(b, headerSize) // program headers follow
	b = be.AppendUint32(b, 0)          // no sections
	b = be.AppendUint32(b, 0)          // flags
	for _, n := range []int{headerSize, programSize, len(segments) + 1, 0, 0, 0} {
		b = be.AppendUint16(b, uint16(n))
	}
	header := func(kind elf.ProgType, offset, address, file, memory uint32) {
		for _, n := range []uint32{uint32(kind), offset, address, address, file, memory, uint32(elf.PF_R | elf.PF_W | elf.PF_X), 4} {
			b = be.AppendUint32(b, n)
		}
	}
	offset := uint64(segmentAt)
	for _, s := range segments {
		header(elf.PT_LOAD, uint32(offset), s.address, uint32(len(s.data)), s.memory)
		offset = align(offset+uint64(len(s.data)), segmentAt)
	}
	n := note()
	header(elf.PT_NOTE, noteOffset, 0, uint32(len(n)), uint32(len(n)))
	b = append(b, make([]byte, noteOffset-len(b))...)
	b = append(b, n...)
	for _, s := range segments {
		b = append(b, make([]byte, align(uint64(len(b)), segmentAt)-uint64(len(b)))...)
		b = append(b, s.data...)
	}
	return b
}

// note is struct grub_ieee1275_note: what the firmware is to set up, or, all
// ones, to choose itself.
func note() []byte {
	const name, kind, choose = "PowerPC\x00", 0x1275, 0xffffffff
	descriptor := []uint32{
		choose,   // real mode
		0xc00000, // base of the firmware's own memory
		choose,   // its size
		choose,   // virtual base
		choose,   // virtual size
		loadBase,
	}
	var b []byte
	for _, n := range []int{len(name), 4 * len(descriptor), kind} {
		b = binary.BigEndian.AppendUint32(b, uint32(n))
	}
	b = append(b, name...)
	for _, n := range descriptor {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	return b
}
