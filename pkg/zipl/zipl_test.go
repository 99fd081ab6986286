package zipl_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/tree"
	"github.com/slipway-os/slipway/pkg/zipl"
)

// kernel returns what the parts that matter of a kernel image look like. It
// takes a command line of room bytes, or says nothing of it.
func kernel(size int, room uint64) []byte {
	b := bytes.Repeat([]byte{0x5a}, size)
	copy(b[0x10008:], "S390EP\x00\x01")
	clear(b[0x10400:0x10480])
	binary.BigEndian.PutUint64(b[0x10430:], room)
	return b
}

// disk is as large as it has to be.
type disk struct{ data []byte }

func (d *disk) WriteAt(p []byte, off int64) (int, error) {
	if need := int(off) + len(p); need > len(d.data) {
		d.data = append(d.data, make([]byte, need-len(d.data))...)
	}
	return copy(d.data[off:], p), nil
}

const (
	offset = 1 << 20 // where the boot area starts: block 0x800
	room   = 1 << 20
)

func write(t testing.TB, kernel, initrd []byte, line string) *disk {
	t.Helper()
	d := &disk{data: make([]byte, offset+room)}
	p := zipl.Program{Kernel: tree.Bytes(kernel), Initrd: tree.Bytes(initrd), CommandLine: line}
	if err := zipl.Write(context.Background(), d, offset, room, p); err != nil {
		t.Fatal(err)
	}
	return d
}

// The bytes of the tables, spelled out.
func TestTables(t *testing.T) {
	// Behind its first 64 KiB the kernel has 17 blocks, from 0x808 on; the
	// initrd has 2, from the next multiple of 4 KiB: 0x820.
	d := write(t, kernel(0x12001, 0x1000), make([]byte, 513), "quiet")
	for _, c := range []struct {
		name  string
		block int
		want  string
	}{
		{"boot record", 0, "7a49504c 00000001 0000000000000000" + // "zIPL", version
			"0000000000000800 0200 0000 00000000"}, // program table: block, block size, blocks less one
		{"program table", 0x800, "7a49504c 000000000000000000000000" +
			"0000000000000801 0200 0000 00000000" + // first program: its component table
			"0000000000000000 0000 0000 00000000"},
		{"component table", 0x801, "7a49504c 00" + strings.Repeat("00", 27) +
			"0000000000000802 0200 0000 00000000 00000000000000 02 0000000000010000" + // kernel, loaded at 64 KiB
			"0000000000000803 0200 0000 00000000 00000000000000 02 0000000002000000" + // initrd, at 32 MiB
			"0000000000000000 0000 0000 00000000 00000000000000 01 0008000080010000" + // what to start: a PSW
			strings.Repeat("00", 32)},
		{"kernel's segments", 0x802, "0000000000000808 0200 0010 00000000" + strings.Repeat("00", 16)},
		{"initrd's segments", 0x803, "0000000000000820 0200 0001 00000000" + strings.Repeat("00", 16)},
	} {
		want, err := hex.DecodeString(strings.ReplaceAll(c.want, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		if got := d.data[c.block*512:][:len(want)]; !bytes.Equal(got, want) {
			t.Errorf("%s is\n%x, want\n%x", c.name, got, want)
		}
	}
}

func TestRecordLeavesTheProtectiveMBRAlone(t *testing.T) {
	d := &disk{data: bytes.Repeat([]byte{0xee}, 512)}
	p := zipl.Program{Kernel: tree.Bytes(kernel(0x12000, 0)), Initrd: tree.String("initrd")}
	if err := zipl.Write(context.Background(), d, offset, room, p); err != nil {
		t.Fatal(err)
	}
	if rest := d.data[zipl.RecordSize:512]; !bytes.Equal(rest, bytes.Repeat([]byte{0xee}, 512-zipl.RecordSize)) {
		t.Error("the first block was written beyond the boot record")
	}
}

func TestWhatIsWrittenReadsBack(t *testing.T) {
	k, initrd := kernel(0x2abcd, 0x1000), bytes.Repeat([]byte("initrd"), 10_001)
	for _, line := range []string{"", "console=ttysclp0 quiet", strings.Repeat("x", 0xfff)} {
		d := write(t, k, initrd, line)
		c, err := zipl.Read(bytes.NewReader(d.data), int64(len(d.data)))
		if err != nil {
			t.Fatal(err)
		}
		if c.CommandLine != line {
			t.Errorf("command line %q, want %q", c.CommandLine, line)
		}
		if got, _ := io.ReadAll(c.Initrd); !bytes.Equal(got, initrd) {
			t.Errorf("%d bytes are not the initrd of %d", len(got), len(initrd))
		}
		// The kernel is as it was, but for its parameter area.
		got, _ := io.ReadAll(c.Kernel)
		if !bytes.Equal(got[:0x400], k[0x10000:0x10400]) || !bytes.Equal(got[0x1480:len(k)-0x10000], k[0x11480:]) {
			t.Error("the kernel differs outside its parameter area")
		}
		if start, size := binary.BigEndian.Uint64(got[0x408:]), binary.BigEndian.Uint64(got[0x410:]); start != 32<<20 || size != uint64(len(initrd)) {
			t.Errorf("the kernel is told of an initrd of %d bytes at %#x", size, start)
		}
	}
}

// A run of blocks can be longer than one pointer can say.
func TestLongInitrd(t *testing.T) {
	initrd := make([]byte, 33<<20+5)
	for at := 0; at+8 < len(initrd); at += 512 {
		binary.BigEndian.PutUint64(initrd[at:], uint64(at))
	}
	d := &disk{data: make([]byte, offset+64<<20)}
	p := zipl.Program{Kernel: tree.Bytes(kernel(0x12000, 0)), Initrd: tree.Bytes(initrd)}
	if err := zipl.Write(context.Background(), d, offset, 64<<20, p); err != nil {
		t.Fatal(err)
	}
	if count := binary.BigEndian.Uint16(d.data[0x803*512+10:]); count != 0xffff {
		t.Errorf("the first pointer names %d blocks, want 65536", int(count)+1)
	}
	c, err := zipl.Read(bytes.NewReader(d.data), int64(len(d.data)))
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(c.Initrd)
	if err != nil || !bytes.Equal(got, initrd) {
		t.Errorf("%d bytes (%v) are not the initrd of %d", len(got), err, len(initrd))
	}
}

// An initrd must not lie where the kernel does.
func TestLargeKernelMovesTheInitrd(t *testing.T) {
	d := &disk{}
	p := zipl.Program{Kernel: tree.Bytes(kernel(40<<20+1, 0)), Initrd: tree.String("initrd")}
	if err := zipl.Write(context.Background(), d, offset, 64<<20, p); err != nil {
		t.Fatal(err)
	}
	if at := binary.BigEndian.Uint64(d.data[0x801*512+2*32+24:]); at != 41<<20 {
		t.Errorf("the initrd is loaded at %#x, want %#x", at, 41<<20)
	}
}

func TestRefusals(t *testing.T) {
	good := kernel(0x12000, 0x1000)
	for _, c := range []struct {
		name, line string
		kernel     []byte
		offset     int64
		size       int64
		want       string
		is         error
	}{
		{"area too small", "", good, offset, 12 << 10,
			"boot area too small: it has 12288 bytes, but a kernel of 73728 and an initrd of 6 bytes need 12800", zipl.ErrSpace},
		{"command line too long", strings.Repeat("x", 0x1000), good, offset, room,
			"command line too long: it has 4096 bytes, and this kernel takes 4095", zipl.ErrCommandLine},
		{"command line too long for an old kernel", strings.Repeat("x", 896), kernel(0x12000, 0), offset, room,
			"command line too long: it has 896 bytes, and this kernel takes 895", zipl.ErrCommandLine},
		{"another architecture's kernel", "", bytes.Repeat([]byte("MZ"), 1<<16), offset, room, "no kernel image for s390x", zipl.ErrKernel},
		{"a short file", "", []byte("kernel"), offset, room, "no kernel image for s390x", zipl.ErrKernel},
		{"a kernel with an endless command line", "", kernel(0x12000, 1<<40), offset, room,
			"no kernel image for s390x: its command line would have 1099511627776 bytes", zipl.ErrKernel},
		{"area not at a block", "", good, 513, room, "writing a boot area at byte 513: not at a block", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := &disk{}
			p := zipl.Program{Kernel: tree.Bytes(c.kernel), Initrd: tree.String("initrd"), CommandLine: c.line}
			err := zipl.Write(context.Background(), d, c.offset, c.size, p)
			if err == nil || err.Error() != c.want {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
			if c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("%v is not %v", err, c.is)
			}
			if len(d.data) != 0 {
				t.Error("something was written")
			}
		})
	}
}

func TestInterruptedWriteIsNotBootable(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	d := &disk{}
	p := zipl.Program{Kernel: tree.Bytes(kernel(0x20000, 0)), Initrd: tree.String("initrd")}
	if err := zipl.Write(ctx, d, offset, room, p); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if _, err := zipl.Read(bytes.NewReader(d.data), int64(len(d.data))); !errors.Is(err, zipl.ErrNone) {
		t.Errorf("reading it: %v", err)
	}
}

func TestDamagedDisks(t *testing.T) {
	good := write(t, kernel(0x12000, 0x1000), []byte("initrd"), "quiet").data
	be := binary.BigEndian
	for _, c := range []struct {
		name   string
		damage func(d []byte) []byte
		want   string
	}{
		{"no record", func(d []byte) []byte { d[0] = 'x'; return d }, "no zIPL boot record"},
		{"empty", func([]byte) []byte { return nil }, "reading the boot record: EOF"},
		{"record of another block size", func(d []byte) []byte { be.PutUint16(d[24:], 4096); return d }, "reading the program table: it has blocks of 4096 bytes, not 512"},
		{"record to nowhere", func(d []byte) []byte { be.PutUint64(d[16:], 1<<63); return d }, "reading the program table: blocks 9223372036854775808 to 9223372036854775808 lie outside the disk"},
		{"empty program table", func(d []byte) []byte { clear(d[0x800*512+16 : 0x801*512]); return d }, "reading the component table: there is none"},
		{"component table overwritten", func(d []byte) []byte { clear(d[0x801*512 : 0x802*512]); return d }, `reading the component table: block 2049 does not start with "zIPL"`},
		{"nothing started", func(d []byte) []byte {
			for at := 0x801*512 + 32; at < 0x802*512; at += 32 {
				copy(d[at:at+32], d[0x801*512+32:])
			}
			return d
		}, "reading the component table: no entry says what to start"},
		{"truncated", func(d []byte) []byte { return d[:0x80a*512] }, "reading the component at address 0x10000: blocks 2056 to 2071 lie outside the disk"},
		{"no kernel in the kernel's place", func(d []byte) []byte { clear(d[0x808*512 : 0x809*512]); return d }, "reading the kernel: no kernel image for s390x"},
		{"initrd elsewhere", func(d []byte) []byte { be.PutUint64(d[0x808*512+0x408:], 1); return d }, "reading the initrd: 6 bytes are not loaded at 0x1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := c.damage(bytes.Clone(good))
			_, err := zipl.Read(bytes.NewReader(d), int64(len(d))/512*512)
			if err == nil || err.Error() != c.want {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

// FuzzRead puts anything into the tables of a disk.
func FuzzRead(f *testing.F) {
	good := write(f, kernel(0x12000, 0x1000), []byte("initrd"), "quiet").data
	const tables = 0x800 * 512
	f.Add(good[:32], good[tables:tables+4*512])
	f.Add([]byte("zIPL\x00\x00\x00\x01"), []byte{})
	f.Fuzz(func(t *testing.T, record, area []byte) {
		d := bytes.Clone(good)
		copy(d, record)
		copy(d[tables:], area)
		c, err := zipl.Read(bytes.NewReader(d), int64(len(d)))
		if err != nil {
			return
		}
		// What was found can be read.
		for _, s := range []*io.SectionReader{c.Kernel, c.Initrd} {
			if n, err := io.Copy(io.Discard, io.NewSectionReader(s, 0, 1<<20)); n != min(s.Size(), 1<<20) || err != nil {
				t.Errorf("read %d of %d bytes: %v", n, s.Size(), err)
			}
		}
	})
}
