// Package gpt lays out, reads and grows GUID partition tables (UEFI
// Specification, section 5) on disks with 512-byte sectors. go-diskfs does
// the encoding; its order of writes survives a power cut, provided the kernel
// is told to trust the backup table (the word "gpt" on its command line).
package gpt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strings"

	"github.com/diskfs/go-diskfs/backend"
	"github.com/diskfs/go-diskfs/partition/gpt"
)

const (
	// SectorSize is the logical sector size in bytes.
	SectorSize = 512
	// Alignment of partitions in bytes.
	Alignment = 1 << 20
)

// Type GUIDs of partitions (UAPI Group, Discoverable Partitions Specification).
const (
	TypeESP = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
	TypeVar = "4d21b016-b534-45c2-a9fb-5c16e091fd2d"
)

// RootTypes returns the type GUIDs of a root partition and of its verity
// partition for an architecture (Go's name of it).
func RootTypes(arch string) (root, verity string, err error) {
	switch arch {
	case "amd64":
		return "4f68bce3-e8cd-4db1-96e7-fbcaf984b709", "2c7357ed-ebd2-46d9-aec1-23d437ec2bf5", nil
	case "arm64":
		return "b921b045-1df0-41c3-af44-4c6f280d3fae", "df3300ce-d69f-4c92-978c-9bfb0f38d820", nil
	case "ppc64le":
		return "c31c45e6-3f39-412e-80fb-4809c4980599", "906bd944-4589-4aae-a4e4-dd983917446a", nil
	case "s390x":
		return "5eead9a9-fe09-4a1e-a1d7-520d00531306", "b325bfbe-c7be-4ab8-8357-139e652d2f6b", nil
	}
	return "", "", fmt.Errorf("choosing partition types for architecture %q: unknown", arch)
}

// Attribute bits (Discoverable Partitions Specification).
const (
	ReadOnly = 1 << 60
	NoAuto   = 1 << 63
)

// Partition is an entry of a table. Offset and Size are in bytes.
type Partition struct {
	Name         string
	Type, UUID   string // lower case
	Offset, Size int64
	Attributes   uint64
}

// Layout places partitions one after another, aligned, and returns the size
// of the disk that holds them.
func Layout(parts []Partition) int64 {
	at := int64(Alignment)
	for i := range parts {
		parts[i].Offset = at
		parts[i].Size = (parts[i].Size + Alignment - 1) / Alignment * Alignment
		at += parts[i].Size
	}
	return at + Alignment
}

// Write writes protective MBR, table and backup table of a disk of a size.
func Write(f *os.File, size int64, diskUUID string, parts []Partition) error {
	t := &gpt.Table{LogicalSectorSize: SectorSize, PhysicalSectorSize: SectorSize, GUID: diskUUID, ProtectiveMBR: true}
	for i, p := range parts {
		t.Partitions = append(t.Partitions, &gpt.Partition{
			Index: i + 1, Name: p.Name, Type: gpt.Type(strings.ToUpper(p.Type)), GUID: p.UUID, Attributes: p.Attributes,
			Start: uint64(p.Offset / SectorSize), End: uint64((p.Offset+p.Size)/SectorSize - 1), Size: uint64(p.Size),
		})
	}
	if err := t.Write(unsynced{f}, size); err != nil {
		return fmt.Errorf("writing the partition table: %w", err)
	}
	return nil
}

// unsynced hides Sync: a file that is not yet complete need not survive a
// power cut.
type unsynced struct{ backend.WritableFile }

// Read reads the table of a disk, the backup if the first is damaged.
func Read(r io.ReaderAt, size int64) ([]Partition, error) {
	t, err := read(disk{ReaderAt: r, size: size})
	if err != nil {
		return nil, err
	}
	parts := make([]Partition, 0, len(t.Partitions))
	for _, p := range t.Partitions {
		if p.End < p.Start || p.End >= uint64(size/SectorSize) {
			return nil, fmt.Errorf("reading the partition table: partition %d lies outside the disk", p.Index)
		}
		parts = append(parts, Partition{
			Name: p.Name, Type: strings.ToLower(string(p.Type)), UUID: strings.ToLower(p.GUID), Attributes: p.Attributes,
			Offset: int64(p.Start) * SectorSize, Size: int64(p.End-p.Start+1) * SectorSize,
		})
	}
	return parts, nil
}

func read(d disk) (*gpt.Table, error) {
	if d.size < 3*Alignment {
		return nil, fmt.Errorf("reading the partition table: a disk of %d bytes holds none", d.size)
	}
	for _, sector := range []int64{1, d.size/SectorSize - 1} {
		if err := d.checkHeader(sector); err != nil {
			return nil, fmt.Errorf("reading the partition table: %w", err)
		}
	}
	t, err := gpt.Read(d, SectorSize, SectorSize)
	if err != nil {
		return nil, fmt.Errorf("reading the partition table: %w", err)
	}
	return t, nil
}

// checkHeader refuses a header that the library would believe, and then take
// any amount of memory for, or write elsewhere than at the disk's two ends. One
// that is damaged is left to the library, which takes the other.
func (d disk) checkHeader(sector int64) error {
	h := make([]byte, 92)
	if _, err := d.ReadAt(h, sector*SectorSize); err != nil {
		return err
	}
	le := binary.LittleEndian
	sum := le.Uint32(h[16:])
	le.PutUint32(h[16:], 0)
	if string(h[:8]) != "EFI PART" || crc32.ChecksumIEEE(h) != sum {
		return nil
	}
	primary, array := le.Uint64(h[24:]), le.Uint64(h[72:])
	first, entries, entry := le.Uint64(h[40:]), le.Uint32(h[80:]), le.Uint32(h[84:])
	if sector != 1 {
		primary, array = le.Uint64(h[32:]), 2 // where the other one has its entries
	}
	sectors := uint64(entries) * gpt.PartitionEntrySize / SectorSize
	switch {
	case entries == 0 || entries > 1024 || entry != gpt.PartitionEntrySize || entries%4 != 0:
		return fmt.Errorf("%d entries of %d bytes", entries, entry)
	case primary != 1 || array != 2 || first < array+sectors:
		return fmt.Errorf("header in sector %d, entries from sector %d, partitions from sector %d on", primary, array, first)
	}
	return nil
}

// Device is what Grow changes: a disk, or the file of one.
type Device interface {
	io.ReaderAt
	io.WriterAt
	Sync() error
}

// Grow moves the backup table to the end of a disk that is larger than the
// table says, and extends its last partition up to there. It returns false
// if that was done before. A power cut at any point leaves a table that Grow
// finishes.
func Grow(f Device, size int64) (bool, error) {
	d := disk{ReaderAt: f, WriterAt: f, size: size, sync: f.Sync}
	t, err := read(d)
	if err != nil {
		return false, err
	}
	if len(t.Partitions) == 0 {
		return false, errors.New("growing the last partition: there is none")
	}
	last := t.Partitions[0]
	for _, p := range t.Partitions {
		if p.Start > last.Start {
			last = p
		}
	}
	t.Resize(uint64(size))
	end := (t.LastDataSector()+1)/(Alignment/SectorSize)*(Alignment/SectorSize) - 1
	if end <= last.End && !t.RecoveredFromBackup {
		return false, nil
	}
	last.End = max(last.End, end)
	last.Size = (last.End - last.Start + 1) * SectorSize
	t.ProtectiveMBR = true
	if err := t.Write(d, size); err != nil {
		return false, fmt.Errorf("growing partition %q: %w", last.Name, err)
	}
	return true, nil
}

// disk makes of a disk what the library wants to read and write.
type disk struct {
	io.ReaderAt
	io.WriterAt
	size int64
	sync func() error
}

func (d disk) Sync() error                { return d.sync() }
func (d disk) Close() error               { return nil }
func (d disk) Read([]byte) (int, error)   { return 0, errors.ErrUnsupported }
func (d disk) Stat() (os.FileInfo, error) { return nil, errors.ErrUnsupported }
func (d disk) Seek(o int64, w int) (int64, error) {
	if w == io.SeekEnd {
		return d.size + o, nil
	}
	return o, nil
}
