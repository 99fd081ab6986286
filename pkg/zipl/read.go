package zipl

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/slipway-os/slipway/pkg/extent"
)

// ErrNone says that a disk has no boot record.
var ErrNone = errors.New("no zIPL boot record")

// Contents is what a boot record leads to. Kernel is the image as it lies in
// memory from address 0x10000 on, in whole blocks.
type Contents struct {
	Kernel, Initrd *io.SectionReader
	CommandLine    string
}

// maxLoad bounds what the components of a program may have together, in bytes.
const maxLoad = 2 << 30

// Read follows the boot record of a disk of a size to its default program.
func Read(disk io.ReaderAt, size int64) (*Contents, error) {
	d := device{disk, size}
	record, err := d.block(0)
	if err != nil {
		return nil, fmt.Errorf("reading the boot record: %w", err)
	}
	be := binary.BigEndian
	if string(record[:4]) != magic || be.Uint32(record[4:]) != version {
		return nil, ErrNone
	}
	programs, err := d.table(record[RecordSize-pointerSize:])
	if err != nil {
		return nil, fmt.Errorf("reading the program table: %w", err)
	}
	components, err := d.table(programs[pointerSize:])
	if err != nil {
		return nil, fmt.Errorf("reading the component table: %w", err)
	}
	loaded := map[uint64]*io.SectionReader{}
	var total int64
	started := false
	for at := componentSize; at+componentSize <= BlockSize && !started; at += componentSize {
		c := components[at : at+componentSize]
		address := be.Uint64(c[componentSize-8:])
		switch c[componentTypes] {
		case execute:
			started = true
		case load:
			s, err := d.component(c)
			if err != nil {
				return nil, fmt.Errorf("reading the component at address %#x: %w", address, err)
			}
			if total += s.Size(); total > maxLoad {
				return nil, fmt.Errorf("reading the component at address %#x: with the others it is larger than %d bytes", address, int64(maxLoad))
			}
			loaded[address] = s
		default:
			return nil, fmt.Errorf("reading the component table: entry of type %d", c[componentTypes])
		}
	}
	if !started {
		return nil, errors.New("reading the component table: no entry says what to start")
	}
	return contents(loaded)
}

// contents finds the parts by the kernel's parameter area.
func contents(loaded map[uint64]*io.SectionReader) (*Contents, error) {
	c := &Contents{Kernel: loaded[kernelEntry]}
	if c.Kernel == nil {
		return nil, fmt.Errorf("reading the kernel: nothing is loaded at %#x", kernelEntry)
	}
	head := make([]byte, kernelEntry+min(c.Kernel.Size(), commandLine+longestLine-kernelEntry))
	if _, err := c.Kernel.ReadAt(head[kernelEntry:], 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("reading the kernel: %w", err)
	}
	room, err := lineRoom(head)
	if err != nil {
		return nil, fmt.Errorf("reading the kernel: %w", err)
	}
	line, _, _ := bytes.Cut(head[commandLine:commandLine+room], []byte{0})
	c.CommandLine = string(line)
	be := binary.BigEndian
	start, size := be.Uint64(head[initrdStart:]), be.Uint64(head[initrdSize:])
	if size == 0 {
		c.Initrd = io.NewSectionReader(bytes.NewReader(nil), 0, 0)
		return c, nil
	}
	initrd := loaded[start]
	if initrd == nil || size > uint64(initrd.Size()) {
		return nil, fmt.Errorf("reading the initrd: %d bytes are not loaded at %#x", size, start)
	}
	c.Initrd = io.NewSectionReader(initrd, 0, int64(size))
	return c, nil
}

type device struct {
	io.ReaderAt
	size int64
}

func (d device) block(n int64) ([]byte, error) {
	b := make([]byte, BlockSize)
	if _, err := d.ReadAt(b, n*BlockSize); err != nil {
		return nil, err
	}
	return b, nil
}

// run returns the blocks that a pointer names; none if it is empty.
func (d device) run(pointer []byte) (run, error) {
	be := binary.BigEndian
	first, count := be.Uint64(pointer), int64(be.Uint16(pointer[10:]))+1
	if first == 0 {
		return run{}, nil
	}
	if s := be.Uint16(pointer[8:]); s != BlockSize {
		return run{}, fmt.Errorf("it has blocks of %d bytes, not %d", s, BlockSize)
	}
	if first > uint64(d.size/BlockSize) || int64(first)+count > d.size/BlockSize {
		return run{}, fmt.Errorf("blocks %d to %d lie outside the disk", first, first+uint64(count)-1)
	}
	return run{int64(first), count * BlockSize}, nil
}

// table reads the table that a pointer names.
func (d device) table(pointer []byte) ([]byte, error) {
	r, err := d.run(pointer)
	if err != nil {
		return nil, err
	}
	if r.size == 0 {
		return nil, errors.New("there is none")
	}
	b, err := d.block(r.first)
	if err == nil && string(b[:4]) != magic {
		err = fmt.Errorf("block %d does not start with %q", r.first, magic)
	}
	return b, err
}

// component returns what is loaded for an entry of the component table. Its
// segment table must be one block, as it is unless a file is in many pieces.
func (d device) component(entry []byte) (*io.SectionReader, error) {
	r, err := d.run(entry)
	if err != nil {
		return nil, err
	}
	if r.size == 0 {
		return nil, errors.New("it has no segment table")
	}
	table, err := d.block(r.first)
	if err != nil {
		return nil, err
	}
	var extents []extent.Extent
	for at := 0; at < BlockSize; at += pointerSize {
		r, err := d.run(table[at : at+pointerSize])
		if err != nil {
			return nil, err
		}
		if r.size == 0 {
			return extent.Reader(d, extents), nil
		}
		extents = extent.Append(extents, extent.Extent{Offset: r.at(), Size: r.size})
	}
	return nil, errors.New("its segment table has no end")
}
