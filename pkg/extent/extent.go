// Package extent reads content that lies on a disk in several pieces as one.
package extent

import "io"

// Extent is a stretch of a disk, in bytes.
type Extent struct{ Offset, Size int64 }

// Append appends an extent to a list. One that starts where the last ends
// becomes a part of it.
func Append(to []Extent, e Extent) []Extent {
	if last := len(to) - 1; last >= 0 && to[last].Offset+to[last].Size == e.Offset {
		to[last].Size += e.Size
		return to
	}
	return append(to, e)
}

// Reader returns a reader of what the extents hold, in their order.
func Reader(disk io.ReaderAt, extents []Extent) *io.SectionReader {
	var size int64
	for _, e := range extents {
		size += e.Size
	}
	return io.NewSectionReader(joined{disk, extents}, 0, size)
}

type joined struct {
	disk    io.ReaderAt
	extents []Extent
}

// ReadAt implements io.ReaderAt.
func (j joined) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	for _, e := range j.extents {
		if n == len(p) {
			return n, nil
		}
		if off >= e.Size {
			off -= e.Size
			continue
		}
		part := p[n : n+int(min(int64(len(p)-n), e.Size-off))]
		k, err := j.disk.ReadAt(part, e.Offset+off)
		n += k
		if k < len(part) {
			return n, err
		}
		off = 0
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
