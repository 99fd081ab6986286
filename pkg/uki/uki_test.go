package uki_test

import (
	"bytes"
	"debug/pe"
	"encoding/binary"
	"io"
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/tree"
	"github.com/slipway-os/slipway/pkg/uki"
)

// stub is a PE program with one section and room for a few more.
func stub() []byte {
	b := make([]byte, 0x800)
	le := binary.LittleEndian
	copy(b, "MZ")
	le.PutUint32(b[0x3c:], 0x80)
	h := b[0x80:]
	copy(h, "PE\x00\x00")
	le.PutUint16(h[4:], 0x8664)
	le.PutUint16(h[6:], 1)
	le.PutUint16(h[20:], 240)
	o := h[24:]
	le.PutUint16(o, 0x20b)
	le.PutUint32(o[32:], 0x1000)
	le.PutUint32(o[36:], 0x200)
	le.PutUint32(o[56:], 0x2000)
	le.PutUint32(o[60:], 0x400)
	le.PutUint32(o[108:], 16)
	s := o[240:]
	copy(s, ".text")
	le.PutUint32(s[8:], 0x123)
	le.PutUint32(s[12:], 0x1000)
	le.PutUint32(s[16:], 0x400)
	le.PutUint32(s[20:], 0x400)
	return b
}

func TestSectionsReadBack(t *testing.T) {
	kernel := bytes.Repeat([]byte("kernel"), 1000)
	sections := []uki.Section{
		{".cmdline", tree.String("quiet\x00")},
		{".linux", tree.Bytes(kernel)},
	}
	img, err := uki.New(stub(), sections)
	if err != nil {
		t.Fatal(err)
	}
	data, err := tree.ReadAll(img, 1<<20)
	if err != nil || int64(len(data)) != img.Size() {
		t.Fatalf("%d bytes, %v; size %d", len(data), err, img.Size())
	}
	out := bytes.NewBuffer(data)
	opened, err := img.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	for _, step := range []int{1, 7, 511, 4096} {
		again := make([]byte, 0, len(data))
		for buf := make([]byte, step); ; {
			n, err := opened.ReadAt(buf, int64(len(again)))
			again = append(again, buf[:n]...)
			if err != nil {
				break
			}
		}
		if !bytes.Equal(again, data) {
			t.Errorf("read %d bytes at a time, the image differs", step)
		}
	}
	f, err := pe.NewFile(bytes.NewReader(out.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	end := uint32(0)
	for _, s := range f.Sections {
		if s.VirtualAddress < end || s.VirtualAddress%0x1000 != 0 || s.Offset%0x200 != 0 {
			t.Errorf("section %s at %#x overlaps or is not aligned", s.Name, s.VirtualAddress)
		}
		end = s.VirtualAddress + s.VirtualSize
	}
	if got := f.OptionalHeader.(*pe.OptionalHeader64).SizeOfImage; got < end {
		t.Errorf("SizeOfImage %#x, sections end at %#x", got, end)
	}
	r, err := uki.ReadSection(bytes.NewReader(out.Bytes()), ".linux")
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := io.ReadAll(r); !bytes.Equal(got, kernel) {
		t.Errorf("read %d bytes back, not the kernel", len(got))
	}
}

func TestRefusals(t *testing.T) {
	many := make([]uki.Section, 40)
	for i := range many {
		many[i] = uki.Section{Name: ".x", Content: tree.String("x")}
	}
	if _, err := uki.New(stub(), many); err == nil || !strings.Contains(err.Error(), "has room for") {
		t.Errorf("too many sections: %v", err)
	}
	if _, err := uki.New(make([]byte, 4096), nil); err == nil {
		t.Error("zeros were taken for a stub")
	}
}

func FuzzNew(f *testing.F) {
	f.Add(stub())
	f.Fuzz(func(t *testing.T, b []byte) {
		img, err := uki.New(b, []uki.Section{{".x", tree.String("x")}})
		if err == nil && img.Size() > 64<<20 {
			t.Errorf("%d bytes", img.Size())
		}
	})
}
