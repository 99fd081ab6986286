// Package zipl writes and reads the boot record by which the firmware of IBM Z
// loads a Linux kernel from a disk with 512-byte blocks (SCSI over FCP, and
// virtio). The record is that of zipl's SCSI scheme: s390-tools,
// include/boot/boot_defs.h (scsi_mbr, linear_blockptr, component_header,
// component_entry) and zipl/src/bootmap.c; QEMU's firmware reads it in
// pc-bios/s390-ccw/bootmap.c. All numbers are big-endian.
//
// The record points to a program table, that to the program's component
// table, that to the segment table of each component, and those to the
// blocks that are loaded. Where zipl lets a loader of its own (its stage 3)
// hand command line and initrd to the kernel, both are put into the kernel's
// parameter area here (s390-tools, include/boot/linux_layout.h; Linux,
// Documentation/arch/s390/), so that the firmware starts the kernel itself.
package zipl

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/slipway-os/slipway/pkg/tree"
)

const (
	// BlockSize of disks that this boots from, in bytes.
	BlockSize = 512
	// RecordSize is how much of a disk's first block is the boot record. The
	// table of a protective MBR lies behind it.
	RecordSize = 32

	magic   = "zIPL"
	version = 1

	pointerSize    = 16
	componentSize  = 32
	maxRun         = 1 << 16 // blocks that one pointer can name
	pointers       = BlockSize/pointerSize - 1
	componentTypes = 23 // offset of the type in a component's entry

	execute = 1
	load    = 2
)

// Blocks of the boot area, from its start.
const (
	programTable = iota
	componentTable
	kernelSegments
	initrdSegments
	firstData = 8
)

// The kernel's layout, as file offsets and as addresses in memory alike.
const (
	kernelEntry  = 0x10000 // what lies before is a loader for card readers
	kernelMagic  = 0x10008
	initrdStart  = 0x10408
	initrdSize   = 0x10410
	versionText  = 0x10428
	maxLine      = 0x10430
	commandLine  = 0x10480
	legacyLine   = 896     // of kernels that do not say how much they take
	longestLine  = 1 << 16 // more than any kernel takes
	initrdLowest = 32 << 20
	mebibyte     = 1 << 20
	entryMagic   = "S390EP" // at kernelMagic

	// The PSW that the kernel is entered with: 31-bit addressing, as its
	// entry expects, at kernelEntry.
	startPSW = 0x0008_0000_8000_0000 | kernelEntry
)

// What can be wrong with a program.
var (
	// ErrSpace says that a boot area is too small.
	ErrSpace = errors.New("boot area too small")
	// ErrCommandLine says that a command line does not fit into the kernel.
	ErrCommandLine = errors.New("command line too long")
	// ErrKernel says that something is no kernel image for IBM Z.
	ErrKernel = errors.New("no kernel image for s390x")
)

// Program is what the firmware loads.
type Program struct {
	Kernel      tree.Content // arch/s390/boot/bzImage
	Initrd      tree.Content
	CommandLine string
}

// Write writes a program into the boot area of a disk, which starts at offset
// and has size bytes, and the record that leads there into the disk's first
// block. All of the disk that it does not write stays as it is.
func Write(ctx context.Context, disk io.WriterAt, offset, size int64, p Program) error {
	if offset%BlockSize != 0 || size < 0 {
		return fmt.Errorf("writing a boot area at byte %d: not at a block", offset)
	}
	a := plan(offset/BlockSize, p)
	if a.blocks*BlockSize > size {
		return fmt.Errorf("%w: it has %d bytes, but a kernel of %d and an initrd of %d bytes need %d",
			ErrSpace, size, p.Kernel.Size(), p.Initrd.Size(), a.blocks*BlockSize)
	}
	if a.kernel.blocks() > pointers*maxRun || a.initrd.blocks() > pointers*maxRun {
		return fmt.Errorf("writing a boot area: a kernel of %d and an initrd of %d bytes are more than can be pointed to", p.Kernel.Size(), p.Initrd.Size())
	}
	head, err := a.patch(p)
	if err != nil {
		return err
	}
	for _, part := range []struct {
		data  []byte
		block int64
	}{
		{a.programTable(), a.start + programTable},
		{a.componentTable(), a.start + componentTable},
		{segmentTable(a.kernel), a.start + kernelSegments},
		{segmentTable(a.initrd), a.start + initrdSegments},
	} {
		if _, err := disk.WriteAt(part.data, part.block*BlockSize); err != nil {
			return err
		}
	}
	if _, err := disk.WriteAt(head[kernelEntry:], a.kernel.at()); err != nil {
		return err
	}
	end := a.kernel.at() + int64(len(head)) - kernelEntry
	if err := tree.Copy(&tail{ctx, io.NewOffsetWriter(disk, end), len(head)}, p.Kernel); err != nil {
		return fmt.Errorf("writing the kernel: %w", err)
	}
	if err := tree.Copy(&tail{ctx, io.NewOffsetWriter(disk, a.initrd.at()), 0}, p.Initrd); err != nil {
		return fmt.Errorf("writing the initrd: %w", err)
	}
	// The record last: until then there is nothing to boot.
	_, err = disk.WriteAt(a.record(), 0)
	return err
}

// area is what goes where.
type area struct {
	start, blocks  int64
	kernel, initrd run
	initrdAddress  int64
}

// run is a stretch of blocks on the disk.
type run struct{ first, size int64 } // a block; bytes

func (r run) at() int64     { return r.first * BlockSize }
func (r run) blocks() int64 { return (r.size + BlockSize - 1) / BlockSize }

// plan lays out the area: tables, kernel, initrd, each at a multiple of 4 KiB.
func plan(start int64, p Program) area {
	a := area{start: start}
	a.kernel = run{start + firstData, max(p.Kernel.Size()-kernelEntry, 0)}
	a.initrd = run{roundUp(a.kernel.first+a.kernel.blocks()-start, firstData) + start, p.Initrd.Size()}
	a.blocks = a.initrd.first + a.initrd.blocks() - start
	a.initrdAddress = max(initrdLowest, roundUp(p.Kernel.Size(), mebibyte))
	return a
}

func roundUp(n, to int64) int64 { return (n + to - 1) / to * to }

// patch returns the head of the kernel up to the end of its parameter area,
// with command line and initrd put in.
func (a area) patch(p Program) ([]byte, error) {
	r, err := p.Kernel.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b := make([]byte, min(p.Kernel.Size(), commandLine+longestLine))
	if n, err := r.ReadAt(b, 0); n < len(b) {
		return nil, fmt.Errorf("reading the kernel: %w", err)
	}
	room, err := lineRoom(b)
	if err != nil {
		return nil, err
	}
	if len(p.CommandLine) >= room {
		return nil, fmt.Errorf("%w: it has %d bytes, and this kernel takes %d", ErrCommandLine, len(p.CommandLine), room-1)
	}
	be := binary.BigEndian
	be.PutUint64(b[initrdStart:], uint64(a.initrdAddress))
	be.PutUint64(b[initrdSize:], uint64(p.Initrd.Size()))
	clear(b[commandLine : commandLine+room])
	copy(b[commandLine:], p.CommandLine)
	return b[:commandLine+room], nil
}

// lineRoom returns how many bytes a kernel has for its command line and the
// zero that ends it.
func lineRoom(kernel []byte) (int, error) {
	if len(kernel) < commandLine+legacyLine || string(kernel[kernelMagic:kernelMagic+len(entryMagic)]) != entryMagic {
		return 0, ErrKernel
	}
	room := binary.BigEndian.Uint64(kernel[maxLine:])
	if room == 0 {
		room = legacyLine
	}
	if room > longestLine || commandLine+room > uint64(len(kernel)) {
		return 0, fmt.Errorf("%w: its command line would have %d bytes", ErrKernel, room)
	}
	return int(room), nil
}

// record is struct scsi_mbr without what only dumps use.
func (a area) record() []byte {
	b := append(make([]byte, 0, RecordSize), magic...)
	b = binary.BigEndian.AppendUint32(b, version)
	b = append(b, make([]byte, 8)...)
	return append(b, pointer(a.start+programTable, 1)...)
}

// programTable has one program, which is the default.
func (a area) programTable() []byte {
	b := make([]byte, BlockSize)
	copy(b, magic)
	copy(b[pointerSize:], pointer(a.start+componentTable, 1))
	return b
}

func (a area) componentTable() []byte {
	b := append(make([]byte, 0, BlockSize), magic...)
	b = append(b, make([]byte, componentSize-len(magic))...) // type 0: a program to be started
	for _, c := range []struct {
		pointer []byte
		kind    byte
		value   uint64
	}{
		{pointer(a.start+kernelSegments, 1), load, kernelEntry},
		{pointer(a.start+initrdSegments, 1), load, uint64(a.initrdAddress)},
		{make([]byte, pointerSize), execute, startPSW},
	} {
		b = append(b, c.pointer...)
		b = append(b, make([]byte, componentTypes-pointerSize)...)
		b = append(b, c.kind)
		b = binary.BigEndian.AppendUint64(b, c.value)
	}
	return append(b, make([]byte, BlockSize-len(b))...)
}

// segmentTable lists the blocks of a component; a pointer of zeros ends it.
func segmentTable(r run) []byte {
	b := make([]byte, 0, BlockSize)
	block := r.first
	for left := r.blocks(); left > 0; {
		n := min(left, maxRun)
		b = append(b, pointer(block, n)...)
		block, left = block+n, left-n
	}
	return append(b, make([]byte, BlockSize-len(b))...)
}

// pointer is struct linear_blockptr: the first block, the size of a block,
// the number of blocks less one.
func pointer(block, count int64) []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, pointerSize), uint64(block))
	b = binary.BigEndian.AppendUint16(b, BlockSize)
	b = binary.BigEndian.AppendUint16(b, uint16(count-1))
	return append(b, 0, 0, 0, 0)
}

// tail writes what comes after a number of bytes, until the context ends.
type tail struct {
	ctx  context.Context
	w    io.Writer
	skip int
}

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	if err := t.ctx.Err(); err != nil {
		return 0, err
	}
	skipped := min(t.skip, len(p))
	t.skip -= skipped
	n, err := t.w.Write(p[skipped:])
	return skipped + n, err
}
