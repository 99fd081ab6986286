package deb

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/mikelolasagasti/xz"
)

// The parts of an .xz file, after The .xz File Format 1.2.1, section 2.
const (
	xzHeaderSize = 12
	xzFooterSize = 12
	xzMaxIndex   = 1 << 20
	xzMaxDict    = 1 << 26 // as much as xz -9 uses
)

var (
	xzMagic       = []byte{0xfd, '7', 'z', 'X', 'Z', 0}
	xzFooterMagic = []byte("YZ")
	errXzIndex    = errors.New("damaged xz index or footer")
)

// xzBlock is a block of an .xz file, which can be decoded by itself.
type xzBlock struct {
	offset   int64 // in the file
	unpadded int64 // length without the padding to four bytes
	size     int64 // decoded
}

func (b xzBlock) padded() int64 { return (b.unpadded + 3) &^ 3 }

// xzBlocks reads the index at the end of an .xz file. A file of several
// streams, which must be read from front to back, gives no blocks.
func xzBlocks(r io.ReaderAt, size int64) ([]xzBlock, error) {
	var header [xzHeaderSize]byte
	var footer [xzFooterSize]byte
	if size < xzHeaderSize+xzFooterSize {
		return nil, fmt.Errorf("xz data of %d bytes: %w", size, io.ErrUnexpectedEOF)
	}
	if _, err := r.ReadAt(header[:], 0); err != nil {
		return nil, noEOF(err)
	}
	if _, err := r.ReadAt(footer[:], size-xzFooterSize); err != nil {
		return nil, noEOF(err)
	}
	if !bytes.HasPrefix(header[:], xzMagic) {
		return nil, errors.New("not xz data")
	}
	if !bytes.HasSuffix(footer[:], xzFooterMagic) {
		return nil, nil // stream padding, or damage, which the decoder will find
	}
	if crc32.ChecksumIEEE(footer[4:10]) != binary.LittleEndian.Uint32(footer[:]) || !bytes.Equal(footer[8:10], header[6:8]) {
		return nil, errXzIndex
	}
	length := (int64(binary.LittleEndian.Uint32(footer[4:])) + 1) * 4
	if length > xzMaxIndex || length > size-xzHeaderSize-xzFooterSize {
		return nil, errXzIndex
	}
	index := make([]byte, length)
	if _, err := r.ReadAt(index, size-xzFooterSize-length); err != nil {
		return nil, noEOF(err)
	}
	blocks, err := parseXzIndex(index)
	if err != nil {
		return nil, err
	}
	at := int64(xzHeaderSize)
	for i := range blocks {
		blocks[i].offset = at
		at += blocks[i].padded()
	}
	if at != size-xzFooterSize-length {
		return nil, nil // this index is that of the last of several streams
	}
	return blocks, nil
}

// parseXzIndex reads an index (section 4): count and sizes of the blocks. It
// leaves offsets at zero.
func parseXzIndex(index []byte) ([]xzBlock, error) {
	if len(index) < 8 || len(index)%4 != 0 || index[0] != 0 {
		return nil, errXzIndex
	}
	body := index[:len(index)-4]
	if crc32.ChecksumIEEE(body) != binary.LittleEndian.Uint32(index[len(body):]) {
		return nil, errXzIndex
	}
	body = body[1:]
	next := func() (int64, bool) {
		v, n := binary.Uvarint(body)
		if n <= 0 || v > 1<<62 {
			return 0, false
		}
		body = body[n:]
		return int64(v), true
	}
	count, ok := next()
	if !ok || count > int64(len(body)/2) {
		return nil, errXzIndex
	}
	blocks := make([]xzBlock, count)
	var total int64
	for i := range blocks {
		unpadded, ok1 := next()
		size, ok2 := next()
		if !ok1 || !ok2 || unpadded < 5 || unpadded > 1<<40 || size > 1<<40 {
			return nil, errXzIndex
		}
		if total += size; total > 1<<40 {
			return nil, errXzIndex
		}
		blocks[i] = xzBlock{unpadded: unpadded, size: size}
	}
	if len(body) > 3 || len(bytes.Trim(body, "\x00")) > 0 { // padding to four bytes
		return nil, errXzIndex
	}
	return blocks, nil
}

// xzBlockReader decodes one block by making it a file of its own: the file's
// header, the block, an index of one entry and a footer. So the block's check
// and its size in the index are verified too.
func xzBlockReader(r io.ReaderAt, b xzBlock) (io.Reader, error) {
	header := make([]byte, xzHeaderSize)
	if _, err := r.ReadAt(header, 0); err != nil {
		return nil, noEOF(err)
	}
	index := []byte{0, 1}
	index = binary.AppendUvarint(index, uint64(b.unpadded))
	index = binary.AppendUvarint(index, uint64(b.size))
	for len(index)%4 != 0 {
		index = append(index, 0)
	}
	index = binary.LittleEndian.AppendUint32(index, crc32.ChecksumIEEE(index))

	tail := binary.LittleEndian.AppendUint32(nil, uint32(len(index)/4-1))
	tail = append(tail, header[6:8]...) // the stream flags
	footer := binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE(tail))
	footer = append(append(footer, tail...), xzFooterMagic...)

	return xz.NewReader(io.MultiReader(
		bytes.NewReader(header),
		io.NewSectionReader(r, b.offset, b.padded()),
		bytes.NewReader(index),
		bytes.NewReader(footer),
	), xzMaxDict)
}
