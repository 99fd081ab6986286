package squashfs

import (
	"encoding/binary"
	"io"

	"github.com/klauspost/compress/zstd"
)

// metaWriter collects a metadata table: a stream cut into blocks of 8 KiB,
// each compressed. Tables stay in memory until they are written out.
type metaWriter struct {
	enc    *zstd.Encoder
	buf    []byte   // the open block
	table  []byte   // finished blocks
	starts []uint64 // of the finished blocks in table
}

// ref returns the reference of what is written next.
func (m *metaWriter) ref() inodeRef { return makeRef(uint64(len(m.table)), len(m.buf)) }

func (m *metaWriter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		k := min(len(p), metadataSize-len(m.buf))
		m.buf = append(m.buf, p[:k]...)
		p = p[k:]
		// A full block is closed at once, so that ref is never one past it.
		if len(m.buf) == metadataSize {
			m.flush()
		}
	}
	return n, nil
}

func (m *metaWriter) flush() {
	if len(m.buf) == 0 {
		return
	}
	m.starts = append(m.starts, uint64(len(m.table)))
	m.table = append(m.table, 0, 0)
	start := len(m.table)
	m.table = m.enc.EncodeAll(m.buf, m.table)
	header := len(m.table) - start
	if header >= len(m.buf) {
		m.table = append(m.table[:start], m.buf...)
		header = len(m.buf) | rawMetadata
	}
	binary.LittleEndian.PutUint16(m.table[start-2:], uint16(header))
	m.buf = m.buf[:0]
}

// writeTo closes the table and writes it out. It returns where each of its
// blocks lies in the file system.
func (m *metaWriter) writeTo(out *output) ([]uint64, error) {
	m.flush()
	positions := make([]uint64, len(m.starts))
	for i, s := range m.starts {
		positions[i] = uint64(out.pos) + s
	}
	_, err := out.Write(m.table)
	return positions, err
}

// writeIndexed writes a table followed by the positions of its blocks, with
// header in between, and returns where header lies.
func (m *metaWriter) writeIndexed(out *output, header ...any) (uint64, error) {
	positions, err := m.writeTo(out)
	if err != nil {
		return 0, err
	}
	start := uint64(out.pos)
	return start, writeValues(out, append(header, positions)...)
}

// writeValues writes values of fixed size, little-endian.
func writeValues(w io.Writer, values ...any) error {
	for _, v := range values {
		if err := binary.Write(w, binary.LittleEndian, v); err != nil {
			return err
		}
	}
	return nil
}
