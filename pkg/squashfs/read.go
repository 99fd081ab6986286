package squashfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// Bounds on what a file system may ask of its reader.
const (
	maxTree       = 1 << 28 // bytes that the nodes of a tree take in memory, about
	nodeCost      = 512     // of these, for each path beside its texts
	maxFileBlocks = 1 << 24 // blocks of a file: 2 TiB in blocks of 128 KiB
	maxTable      = 1 << 24 // bytes of the fragment, id or xattr table
	metaCacheSize = 64      // metadata blocks that are kept uncompressed
)

// Reader reads a squashfs 4.0 with zstd compression. What it reads may be
// hostile: it fails, but neither hangs nor takes memory beyond fixed bounds.
// Its methods and those of the contents it yields may be called from any
// goroutine.
type Reader struct {
	r         io.ReaderAt
	sb        superblock
	ids       []uint32
	fragments []fragmentEntry
	xattrs    []xattrSet
	pairs     uint64 // where the xattr pairs lie

	mu   sync.Mutex
	dec  *zstd.Decoder
	meta map[int64]metaBlock
}

// metaBlock is an uncompressed metadata block and where the next one lies.
type metaBlock struct {
	data []byte
	next int64
}

// Open reads the superblock and the small tables.
func Open(r io.ReaderAt) (*Reader, error) {
	s := &Reader{r: r, meta: map[int64]metaBlock{}}
	if err := s.open(); err != nil {
		return nil, fmt.Errorf("reading squashfs: %w", err)
	}
	return s, nil
}

func (s *Reader) open() error {
	if err := readValues(io.NewSectionReader(s.r, 0, superblockSize), &s.sb); err != nil {
		return err
	}
	sb := &s.sb
	switch {
	case sb.Magic != magic:
		return errors.New("this is not a squashfs")
	case sb.Major != 4 || sb.Minor != 0:
		return fmt.Errorf("version %d.%d is not 4.0", sb.Major, sb.Minor)
	case sb.Compressor != compressorZstd:
		return fmt.Errorf("compressor %d is not zstd", sb.Compressor)
	case sb.BlockLog < 12 || sb.BlockLog > 20 || sb.BlockSize != 1<<sb.BlockLog:
		return fmt.Errorf("block size %d does not go with 2^%d", sb.BlockSize, sb.BlockLog)
	case sb.Size < superblockSize || sb.Size > math.MaxInt64:
		return fmt.Errorf("size %d is out of bounds", sb.Size)
	}
	for _, table := range []uint64{sb.IDTable, sb.InodeTable, sb.DirTable, sb.FragmentTable} {
		if table > sb.Size && (table != sb.FragmentTable || sb.Fragments > 0) {
			return fmt.Errorf("a table at %d is beyond the end at %d", table, sb.Size)
		}
	}
	var err error
	s.dec, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(uint64(max(sb.BlockSize, metadataSize))))
	if err != nil {
		return err
	}
	if s.ids, err = readTable[uint32](s, sb.IDTable, uint64(sb.IDs)); err != nil {
		return fmt.Errorf("id table: %w", err)
	}
	if s.fragments, err = readTable[fragmentEntry](s, sb.FragmentTable, uint64(sb.Fragments)); err != nil {
		return fmt.Errorf("fragment table: %w", err)
	}
	if sb.XattrTable == noTable {
		return nil
	}
	var header struct {
		Pairs uint64
		Count uint32
		_     uint32
	}
	if sb.XattrTable > sb.Size {
		return fmt.Errorf("xattr table at %d is beyond the end", sb.XattrTable)
	}
	if err := readValues(io.NewSectionReader(s.r, int64(sb.XattrTable), 16), &header); err != nil {
		return fmt.Errorf("xattr table: %w", err)
	}
	if header.Pairs > sb.Size {
		return fmt.Errorf("xattrs at %d are beyond the end", header.Pairs)
	}
	s.pairs = header.Pairs
	if s.xattrs, err = readTable[xattrSet](s, sb.XattrTable+16, uint64(header.Count)); err != nil {
		return fmt.Errorf("xattr table: %w", err)
	}
	return nil
}

// Epoch returns the time of the file system itself.
func (s *Reader) Epoch() int64 { return int64(s.sb.ModTime) }

// Size returns the bytes in use, without padding.
func (s *Reader) Size() int64 { return int64(s.sb.Size) }

// readTable reads a table of which the metadata blocks' positions lie at a
// place. It grows with what it really finds.
func readTable[T any](s *Reader, at, count uint64) ([]T, error) {
	var one T
	size := uint64(binary.Size(one))
	if count > maxTable/size {
		return nil, fmt.Errorf("%d entries are too many", count)
	}
	var data []byte
	for i := uint64(0); uint64(len(data)) < count*size; i++ {
		var position uint64
		if err := readValues(io.NewSectionReader(s.r, int64(at+8*i), 8), &position); err != nil {
			return nil, err
		}
		b, err := s.metaBlock(position)
		if err != nil {
			return nil, err
		}
		data = append(data, b.data...)
		if len(b.data) < metadataSize && uint64(len(data)) < count*size {
			return nil, io.ErrUnexpectedEOF
		}
	}
	list := make([]T, count)
	_, err := binary.Decode(data, binary.LittleEndian, list)
	return list, err
}

// metaBlock reads the metadata block at a position of the file system.
func (s *Reader) metaBlock(position uint64) (metaBlock, error) {
	if position >= s.sb.Size {
		return metaBlock{}, fmt.Errorf("a metadata block at %d is beyond the end at %d", position, s.sb.Size)
	}
	at := int64(position)
	s.mu.Lock()
	defer s.mu.Unlock()
	if b, ok := s.meta[at]; ok {
		return b, nil
	}
	var header uint16
	if err := readValues(io.NewSectionReader(s.r, at, 2), &header); err != nil {
		return metaBlock{}, err
	}
	size := int(header &^ rawMetadata)
	if size == 0 || size > metadataSize {
		return metaBlock{}, fmt.Errorf("a metadata block at %d of %d bytes", at, size)
	}
	data, err := s.unpack(at+2, size, header&rawMetadata != 0, metadataSize)
	if err != nil {
		return metaBlock{}, err
	}
	if len(s.meta) >= metaCacheSize {
		clear(s.meta)
	}
	b := metaBlock{data, at + 2 + int64(size)}
	s.meta[at] = b
	return b, nil
}

// unpack reads size bytes and uncompresses them to at most limit. The caller
// holds the lock.
func (s *Reader) unpack(at int64, size int, raw bool, limit int) ([]byte, error) {
	packed := make([]byte, size)
	if n, err := s.r.ReadAt(packed, at); n < size {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("reading a block at %d: %w", at, err)
	}
	if raw {
		return packed, nil
	}
	data, err := s.dec.DecodeAll(packed, make([]byte, 0, limit))
	if err != nil {
		return nil, fmt.Errorf("uncompressing a block at %d: %w", at, err)
	}
	if len(data) > limit {
		return nil, fmt.Errorf("a block at %d is larger than %d bytes", at, limit)
	}
	return data, nil
}

// metaReader reads a metadata table from a reference on.
type metaReader struct {
	s    *Reader
	next int64 // block
	rest []byte
}

func (s *Reader) metaAt(table uint64, ref inodeRef) (*metaReader, error) {
	b, err := s.metaBlock(table + ref.block())
	if err != nil {
		return nil, err
	}
	if ref.offset() > len(b.data) {
		return nil, fmt.Errorf("offset %d is outside of a metadata block", ref.offset())
	}
	return &metaReader{s: s, next: b.next, rest: b.data[ref.offset():]}, nil
}

func (m *metaReader) Read(p []byte) (int, error) {
	if len(m.rest) == 0 {
		b, err := m.s.metaBlock(uint64(m.next))
		if err != nil {
			return 0, err
		}
		m.rest, m.next = b.data, b.next
	}
	n := copy(p, m.rest)
	m.rest = m.rest[n:]
	return n, nil
}

// readValues reads values of fixed size, little-endian.
func readValues(r io.Reader, values ...any) error {
	for _, v := range values {
		if err := binary.Read(r, binary.LittleEndian, v); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}
