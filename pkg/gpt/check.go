package gpt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/diskfs/go-diskfs/partition/gpt"
)

const (
	signature  = "EFI PART"
	headerSize = 92
	maxEntries = 1024
)

// Check reads both tables of a disk and compares them with their checksums and
// with each other. Read would take either.
func Check(r io.ReaderAt, size int64) error {
	first, err := checkTable(r, size, 1)
	if err != nil {
		return fmt.Errorf("checking the partition table: %w", err)
	}
	second, err := checkTable(r, size, first.other)
	if err != nil {
		return fmt.Errorf("checking the backup partition table: %w", err)
	}
	if second.other != 1 || !bytes.Equal(first.entries, second.entries) {
		return errors.New("checking the partition table: its backup differs from it")
	}
	return nil
}

type table struct {
	other   uint64 // sector of the other table's header
	entries []byte
}

// checkTable reads the table whose header is in a sector (section 5.3.2).
func checkTable(r io.ReaderAt, size int64, sector uint64) (table, error) {
	if sector >= uint64(size/SectorSize) {
		return table{}, fmt.Errorf("sector %d lies outside the disk", sector)
	}
	h := make([]byte, headerSize)
	if _, err := r.ReadAt(h, int64(sector)*SectorSize); err != nil {
		return table{}, err
	}
	le := binary.LittleEndian
	sum := le.Uint32(h[16:])
	clear(h[16:20])
	if string(h[:8]) != signature || le.Uint32(h[12:]) != headerSize || sum != crc32.ChecksumIEEE(h) {
		return table{}, errors.New("the checksum of its header is wrong")
	}
	count, entry, at := le.Uint32(h[80:]), le.Uint32(h[84:]), le.Uint64(h[72:])
	if le.Uint64(h[24:]) != sector || count > maxEntries || entry != gpt.PartitionEntrySize || at >= uint64(size/SectorSize) {
		return table{}, errors.New("its header contradicts itself")
	}
	t := table{other: le.Uint64(h[32:]), entries: make([]byte, count*entry)}
	if n, err := r.ReadAt(t.entries, int64(at)*SectorSize); n < len(t.entries) {
		return table{}, err
	}
	if crc32.ChecksumIEEE(t.entries) != le.Uint32(h[88:]) {
		return table{}, errors.New("the checksum of its entries is wrong")
	}
	return t, nil
}

// MadeFor returns the size of the disk that a table was written for, in bytes:
// its backup was in the last sector. It is 0 if the table is damaged.
func MadeFor(r io.ReaderAt) int64 {
	const largest = 1 << 62
	t, err := checkTable(r, largest, 1)
	if err != nil || t.other >= largest/SectorSize {
		return 0
	}
	return int64(t.other+1) * SectorSize
}
