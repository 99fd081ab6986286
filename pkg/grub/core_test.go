package grub_test

import (
	"bytes"
	"debug/elf"
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/grub"
)

func core(t testing.TB, modules ...string) []byte {
	t.Helper()
	image, err := grub.Core(sample().read, modules, "set x=1\n")
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// The bytes that the firmware and GRUB's kernel look at, spelled out.
func TestCoreBytes(t *testing.T) {
	image := core(t, "boot")
	boot := module("boot")
	for _, c := range []struct {
		name   string
		offset int
		want   string
	}{
		{"ELF header", 0, "7f454c46 01 02 01 000000000000000000" +
			"0002 0014 00000001 00200000 00000034 00000000 00000000" + // executable, PowerPC, entry, program headers
			"0034 0020 0003 0000 0000 0000"},
		{"the kernel's segment", 52, "00000001 00001000 00200000 00200000 00000258 00002345 00000007 00000004"},
		// 32 KiB behind the kernel's end at 0x202345, at the next multiple of 4 KiB.
		{"the modules' segment", 84, "00000001 00002000 0020b000 0020b000 000000f0 000000f0 00000007 00000004"},
		{"the note's segment", 116, "00000004 00000200 00000000 00000000 0000002c 0000002c 00000007 00000004"},
		{"note", 0x200, "00000008 00000018 00001275 506f776572504300" + // "PowerPC"
			"ffffffff 00c00000 ffffffff ffffffff ffffffff 00004000"},
		{"modules", 0x2000, "676d696d 0000000c 000000f0" + // "gmim", where the first is, size of all
			"00000000 000000d0 7f454c46"}, // a module and its size
		{"commands", 0x2000 + 12 + 8 + len(boot), "00000002 00000014" + hex.EncodeToString([]byte("set x=1\n")) + "00 000000"},
	} {
		want, err := hex.DecodeString(strings.ReplaceAll(c.want, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		if got := image[c.offset:][:len(want)]; !bytes.Equal(got, want) {
			t.Errorf("%s is\n%x, want\n%x", c.name, got, want)
		}
	}
}

// What debug/elf makes of it.
func TestCoreIsAnELFProgram(t *testing.T) {
	f, err := elf.NewFile(bytes.NewReader(core(t, "linux")))
	if err != nil {
		t.Fatal(err)
	}
	if f.Machine != elf.EM_PPC || f.Entry != 0x200000 || len(f.Progs) != 3 {
		t.Errorf("%v with %d segments, entered at %#x", f.Machine, len(f.Progs), f.Entry)
	}
	kernel, err := io.ReadAll(f.Progs[0].Open())
	if err != nil || !bytes.Equal(kernel, []byte(strings.Repeat("kernel", 100))) {
		t.Errorf("the kernel's segment has %d bytes (%v) that differ", len(kernel), err)
	}
}

func TestCoreReadsBack(t *testing.T) {
	for _, c := range []struct{ want, modules []string }{
		{nil, nil},
		{[]string{"boot", "elf", "linux"}, []string{"linux"}}, // what it needs comes first
		{[]string{"boot", "normal", "elf", "linux"}, []string{"normal", "linux", "boot"}},
	} {
		got, err := grub.ReadCore(bytes.NewReader(core(t, c.modules...)))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got.Modules, c.want) || got.Commands != "set x=1\n" {
			t.Errorf("modules %q, commands %q; want %q", got.Modules, got.Commands, c.want)
		}
	}
}

func TestCoreRefusals(t *testing.T) {
	for _, c := range []struct {
		name, module string
		change       func(f folder)
		want         string
	}{
		{"unknown module", "lunix", func(folder) {}, `GRUB has no module "lunix"`},
		{"module that needs an unknown one", "extra", func(folder) {}, `GRUB has no module "missing"`},
		{"circle", "circle", func(folder) {}, `GRUB's module "circle" depends on itself`},
		{"no list of modules", "boot", func(f folder) { delete(f, "moddep.lst") }, "reading which modules GRUB's modules depend on: open moddep.lst: file does not exist"},
		{"module's file is gone", "boot", func(f folder) { delete(f, "boot.mod") }, `reading GRUB's module "boot": open boot.mod: file does not exist`},
		{"no kernel", "boot", func(f folder) { delete(f, "kernel.img") }, "reading GRUB's kernel: open kernel.img: file does not exist"},
		{"kernel of another platform", "boot", func(f folder) { f["kernel.img"][19] = 21 }, "reading GRUB's kernel: it is not for powerpc-ieee1275"},
		{"kernel without a segment", "boot", func(f folder) { f["kernel.img"][55] = 4 }, "reading GRUB's kernel: its segment is not where it starts"},
		{"kernel cut off", "boot", func(f folder) { f["kernel.img"] = f["kernel.img"][:200] }, "reading GRUB's kernel: unexpected EOF"},
		{"modules that reach up to the kernel", "boot", func(f folder) { f["boot.mod"] = make([]byte, 2<<20) }, "assembling GRUB: 2105376 bytes would be loaded over its kernel at 0x200000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := sample()
			c.change(f)
			_, err := grub.Core(f.read, []string{c.module}, "")
			if err == nil || err.Error() != c.want {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

func TestReadCoreRefusals(t *testing.T) {
	for _, c := range []struct {
		name  string
		image []byte
		want  error
	}{
		{"zeros", make([]byte, 4096), grub.ErrNone},
		{"a program that is not GRUB", program(0x1000, 0x1000, make([]byte, 64)), grub.ErrNone},
		{"nothing", nil, io.EOF},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := grub.ReadCore(bytes.NewReader(c.image)); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
	damaged := core(t, "boot")
	damaged[0x2000+12+7] = 1 // the first module's size
	if _, err := grub.ReadCore(bytes.NewReader(damaged)); err == nil || errors.Is(err, grub.ErrNone) {
		t.Errorf("a damaged list of modules: %v", err)
	}
}

func FuzzReadCore(f *testing.F) {
	f.Add(core(f, "linux", "normal"))
	f.Add(core(f))
	f.Fuzz(func(t *testing.T, image []byte) {
		c, err := grub.ReadCore(bytes.NewReader(image))
		if err == nil && len(c.Commands) > len(image) {
			t.Errorf("commands of %d bytes from an image of %d", len(c.Commands), len(image))
		}
	})
}

func FuzzCore(f *testing.F) {
	s := sample()
	f.Add(s["kernel.img"], s["moddep.lst"])
	f.Fuzz(func(t *testing.T, kernel, list []byte) {
		s := sample()
		s["kernel.img"], s["moddep.lst"] = kernel, list
		image, err := grub.Core(s.read, []string{"normal"}, "")
		if err != nil {
			return
		}
		if c, err := grub.ReadCore(bytes.NewReader(image)); err != nil || !slices.Contains(c.Modules, "normal") {
			t.Errorf("what was assembled does not read back: %v", err)
		}
	})
}
