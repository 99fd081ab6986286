package imagetest

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"path"
	"strings"

	"github.com/slipway-os/slipway/pkg/tree"
	"github.com/slipway-os/slipway/pkg/uki/ukitest"
)

// KernelImage returns what firmware and loaders look at of a kernel.
func KernelImage(arch, release string) []byte {
	b := bytes.Repeat([]byte("kernel code "), 20_000)
	version := release + " (someone@host) #1 SMP\x00"
	switch arch {
	case "amd64":
		copy(b, "MZ")
		copy(b[0x202:], "HdrS")
		binary.LittleEndian.PutUint16(b[0x20e:], 0x1000)
		copy(b[0x1200:], version)
	case "arm64":
		copy(b, "MZ")
		copy(b[0x20000:], "Linux version "+version)
	case "ppc64le":
		copy(b, "\x7fELF\x02")
		copy(b[0x20000:], "Linux version "+version)
	case "s390x":
		copy(b[0x10008:], "S390EP\x00\x01")
		clear(b[0x10400:0x10480])
		binary.BigEndian.PutUint64(b[0x10428:], 0x30000)
		binary.BigEndian.PutUint64(b[0x10430:], 0x1000)
		copy(b[0x30000:], version)
	}
	return b
}

// Loaders returns the files of packages that boot methods take, by their paths.
func Loaders(name string) tree.Content {
	switch base := path.Base(name); {
	case strings.HasSuffix(base, ".efi.stub"):
		return tree.Bytes(ukitest.Stub(strings.Contains(base, "aa64")))
	case base == "moddep.lst":
		return tree.String("part_gpt:\nfat:\nsearch_fs_uuid:\nlinux:\nnormal:\n")
	case base == "kernel.img":
		return tree.Bytes(powerELF(elf.ET_EXEC, "code"))
	case strings.HasSuffix(base, ".mod"):
		return tree.Bytes(powerELF(elf.ET_REL, strings.TrimSuffix(base, ".mod")+"\x00"))
	}
	return nil
}

// powerELF returns a file for 32-bit POWER: a program with one segment, or a
// module whose name is the content of its section .modname.
func powerELF(kind elf.Type, content string) []byte {
	const at, address = 0x100, 0x200000
	names := "\x00.modname\x00.shstrtab\x00"
	var b bytes.Buffer
	write := func(v any) { binary.Write(&b, binary.BigEndian, v) }
	pad := func(to int) { b.Write(make([]byte, to-b.Len())) }
	h := elf.Header32{
		Ident: [16]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS32), byte(elf.ELFDATA2MSB), 1},
		Type:  uint16(kind), Machine: uint16(elf.EM_PPC), Version: 1, Ehsize: 52,
	}
	sections := at + (len(content)+len(names)+3)&^3
	if kind == elf.ET_EXEC {
		h.Entry, h.Phoff, h.Phentsize, h.Phnum = address, 52, 32, 1
	} else {
		h.Shoff, h.Shentsize, h.Shnum, h.Shstrndx = uint32(sections), 40, 3, 2
	}
	write(h)
	if kind == elf.ET_EXEC {
		write(elf.Prog32{Type: uint32(elf.PT_LOAD), Off: at, Vaddr: address, Paddr: address, Filesz: uint32(len(content)), Memsz: uint32(len(content)), Flags: uint32(elf.PF_R | elf.PF_W | elf.PF_X), Align: 4})
	}
	pad(at)
	b.WriteString(content + names)
	pad(sections)
	write(elf.Section32{})
	write(elf.Section32{Name: 1, Type: uint32(elf.SHT_PROGBITS), Off: at, Size: uint32(len(content)), Addralign: 1})
	write(elf.Section32{Name: 10, Type: uint32(elf.SHT_STRTAB), Off: at + uint32(len(content)), Size: uint32(len(names)), Addralign: 1})
	return b.Bytes()
}
