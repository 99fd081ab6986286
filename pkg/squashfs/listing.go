package squashfs

import (
	"fmt"
	"math"
)

// listing is a directory's entries in the directory table.
type listing struct {
	start   inodeRef
	size    int64
	indexes []index
}

// index lets a lookup skip to a run of entries, of which name is the first.
type index struct {
	dirIndex
	name string
}

// writeListing writes entries, which must be sorted bytewise.
func writeListing(dirs *metaWriter, entries []entry) (listing, error) {
	list := listing{start: dirs.ref()}
	indexed := int64(0) // where the run begins that was indexed last
	for len(entries) > 0 {
		if list.size > indexed && list.size+runSize(entries[:1])-indexed > metadataSize {
			list.indexes = append(list.indexes, index{dirIndex{
				Position: uint32(list.size), Start: uint32(dirs.ref().block()), NameSize: uint32(len(entries[0].name) - 1),
			}, entries[0].name})
			indexed = list.size
		}
		n := runLength(entries, list.size, indexed)
		run := entries[:n]
		if err := writeRun(dirs, run); err != nil {
			return list, err
		}
		list.size += runSize(run)
		entries = entries[n:]
	}
	if list.size > math.MaxUint32-dirSizeExtra || len(list.indexes) > math.MaxUint16 {
		return list, fmt.Errorf("a listing of %d bytes is more than a squashfs can have", list.size)
	}
	return list, nil
}

func runSize(run []entry) int64 {
	size := int64(dirHeaderSize)
	for _, e := range run {
		size += dirEntrySize + int64(len(e.name))
	}
	return size
}

// runLength returns how many entries fit behind one header at a position of
// the listing: their inodes lie in one block with numbers near that of the
// first, and they end within 8 KiB of the run that was indexed last.
func runLength(entries []entry, position, indexed int64) int {
	first := entries[0]
	end := position + dirHeaderSize
	for i, e := range entries {
		delta := int64(e.number) - int64(first.number)
		end += dirEntrySize + int64(len(e.name))
		if i == maxRunEntries || e.ref.block() != first.ref.block() ||
			delta < math.MinInt16 || delta > math.MaxInt16 ||
			i > 0 && end-indexed > metadataSize {
			return i
		}
	}
	return len(entries)
}

func writeRun(dirs *metaWriter, run []entry) error {
	first := run[0]
	err := writeValues(dirs, dirHeader{uint32(len(run) - 1), uint32(first.ref.block()), first.number})
	for _, e := range run {
		if err == nil {
			err = writeValues(dirs, dirEntry{
				Offset: uint16(e.ref.offset()), Delta: int16(int64(e.number) - int64(first.number)),
				Type: e.kind, NameSize: uint16(len(e.name) - 1),
			}, []byte(e.name))
		}
	}
	return err
}
