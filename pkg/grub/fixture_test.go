package grub_test

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"strings"

	"github.com/slipway-os/slipway/pkg/grub"
)

// program is an ELF file of 32 bits for POWER with one segment that is
// loaded: what GRUB's kernel is.
func program(address, memory uint32, code []byte) []byte {
	be := binary.BigEndian
	b := append([]byte("\x7fELF\x01\x02\x01"), make([]byte, 9)...)
	for _, n := range []uint16{2, 20} { // executable, PowerPC
		b = be.AppendUint16(b, n)
	}
	for _, n := range []uint32{1, address, 52, 0, 0} { // version, entry, program headers, sections, flags
		b = be.AppendUint32(b, n)
	}
	for _, n := range []uint16{52, 32, 1, 0, 0, 0} {
		b = be.AppendUint16(b, n)
	}
	for _, n := range []uint32{1, 84, address, address, uint32(len(code)), memory, 7, 4} {
		b = be.AppendUint32(b, n)
	}
	return append(b, code...)
}

// module is an ELF file that says it is the module of a name.
func module(name string) []byte {
	be := binary.BigEndian
	const strings = "\x00.modname\x00.shstrtab\x00"
	data := name + "\x00" + strings
	table := (52 + len(data) + 3) &^ 3
	b := append([]byte("\x7fELF\x01\x02\x01"), make([]byte, 9)...)
	for _, n := range []uint16{1, 20} { // relocatable, PowerPC
		b = be.AppendUint16(b, n)
	}
	for _, n := range []uint32{1, 0, 0, uint32(table), 0} {
		b = be.AppendUint32(b, n)
	}
	for _, n := range []uint16{52, 0, 0, 40, 3, 2} {
		b = be.AppendUint16(b, n)
	}
	b = append(b, data...)
	b = append(b, make([]byte, table-len(b))...)
	section := func(name, kind, offset, size uint32) {
		for _, n := range []uint32{name, kind, 0, 0, offset, size, 0, 0, 1, 0} {
			b = be.AppendUint32(b, n)
		}
	}
	section(0, 0, 0, 0)
	section(1, 1, 52, uint32(len(name)+1))
	section(10, 3, 52+uint32(len(name)+1), uint32(len(strings)))
	return b
}

// folder is GRUB's folder with a kernel and a few modules.
type folder map[string][]byte

func sample() folder {
	f := folder{
		"kernel.img": program(0x200000, 0x2345, []byte(strings.Repeat("kernel", 100))),
		"moddep.lst": []byte("boot:\nelf:\nlinux: boot elf\nnormal: boot\nextra: missing\ncircle: circle\n"),
	}
	for _, name := range []string{"boot", "elf", "linux", "normal"} {
		f[name+".mod"] = module(name)
	}
	return f
}

func (f folder) read(name string) ([]byte, error) {
	data, ok := f[name]
	if !ok {
		return nil, fmt.Errorf("open %s: %w", name, fs.ErrNotExist)
	}
	return data, nil
}

var _ grub.Files = folder(nil).read
