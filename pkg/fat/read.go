package fat

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"unicode/utf16"

	"github.com/slipway-os/slipway/pkg/extent"
)

// ErrNone says that something is no FAT32 file system.
var ErrNone = errors.New("no FAT32 file system")

// Volume is a file system that is open for reading.
type Volume struct {
	Label    string
	r        io.ReaderAt
	cluster  int64 // bytes
	fat      int64 // offset of the first FAT
	data     int64 // offset of cluster 2
	clusters int64
	root     uint32
}

// Open opens a FAT32 file system of at most size bytes.
func Open(r io.ReaderAt, size int64) (*Volume, error) {
	b := make([]byte, sector)
	if _, err := r.ReadAt(b, 0); err != nil {
		return nil, fmt.Errorf("reading the FAT boot sector: %w", err)
	}
	le := binary.LittleEndian
	bytesPerSector, perCluster := int64(le.Uint16(b[11:])), int64(b[13])
	fatSectors, total := int64(le.Uint32(b[36:])), int64(le.Uint32(b[32:]))
	if b[510] != 0x55 || b[511] != 0xaa || le.Uint16(b[22:]) != 0 || fatSectors == 0 || bytesPerSector != sector || perCluster == 0 || perCluster&(perCluster-1) != 0 {
		return nil, ErrNone
	}
	v := &Volume{r: r, cluster: perCluster * sector, fat: int64(le.Uint16(b[14:])) * sector, root: le.Uint32(b[44:])}
	v.Label = strings.TrimRight(string(b[71:82]), " ")
	v.data = v.fat + int64(b[16])*fatSectors*sector
	if total*sector > size || v.data > total*sector {
		return nil, fmt.Errorf("%w: it has %d bytes, but says that its data ends at %d", ErrNone, size, max(total*sector, v.data))
	}
	v.clusters = min((total*sector-v.data)/v.cluster, fatSectors*sector/4-2)
	return v, nil
}

// File returns the content of the file at a path, whatever its case.
func (v *Volume) File(name string) (*io.SectionReader, error) {
	at, directory, size := v.root, true, int64(maxDirectory)
	for part := range strings.SplitSeq(strings.Trim(name, "/"), "/") {
		if !directory {
			return nil, fmt.Errorf("opening %q: %w", name, fs.ErrNotExist)
		}
		entries, err := v.directory(at)
		if err != nil {
			return nil, fmt.Errorf("opening %q: %w", name, err)
		}
		e, ok := find(entries, part)
		if !ok {
			return nil, fmt.Errorf("opening %q: %w", name, fs.ErrNotExist)
		}
		le := binary.LittleEndian
		at = uint32(le.Uint16(e[20:]))<<16 | uint32(le.Uint16(e[26:]))
		directory, size = e[11]&0x10 != 0, int64(le.Uint32(e[28:]))
	}
	if directory {
		return nil, fmt.Errorf("opening %q: it is a directory", name)
	}
	extents, err := v.chain(at, size)
	if err != nil {
		return nil, fmt.Errorf("opening %q: %w", name, err)
	}
	all := extent.Reader(v.r, extents)
	if all.Size() < size {
		return nil, fmt.Errorf("opening %q: it has %d bytes, but clusters for %d", name, size, all.Size())
	}
	return io.NewSectionReader(all, 0, size), nil
}

// chain returns the extents of a chain of clusters, until it ends or holds
// limit bytes.
func (v *Volume) chain(first uint32, limit int64) ([]extent.Extent, error) {
	var list []extent.Extent
	table := make([]byte, sector)
	loaded := int64(-1)
	at := first & endOfChain
	for held := int64(0); held < limit && at != 0 && at < 0x0ffffff8; held += v.cluster {
		if held/v.cluster > v.clusters {
			return nil, errors.New("its chain of clusters goes in a circle")
		}
		if at < 2 || int64(at)-2 >= v.clusters {
			return nil, fmt.Errorf("cluster %d is outside the file system", at)
		}
		list = extent.Append(list, extent.Extent{Offset: v.data + (int64(at)-2)*v.cluster, Size: v.cluster})
		if block := v.fat + int64(at)*4/sector*sector; block != loaded {
			if _, err := v.r.ReadAt(table, block); err != nil {
				return nil, fmt.Errorf("reading the FAT: %w", err)
			}
			loaded = block
		}
		at = binary.LittleEndian.Uint32(table[int64(at)*4%sector:]) & endOfChain
	}
	return list, nil
}

// directory returns the entries of a directory.
func (v *Volume) directory(first uint32) ([]byte, error) {
	extents, err := v.chain(first, maxDirectory)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(extent.Reader(v.r, extents), maxDirectory))
}

// find returns the entry of a name (sections 6 and 7).
func find(entries []byte, name string) ([]byte, bool) {
	var long []uint16
	for ; len(entries) >= 32 && entries[0] != 0; entries = entries[32:] {
		e := entries[:32]
		switch {
		case e[0] == 0xe5: // free
			long = nil
		case e[11] == 0x0f: // a part of a long name, last part first
			if e[0]&0x40 != 0 {
				long = nil
			}
			long = append(longUnits(e), long...)
		case e[11]&0x08 != 0: // a label
			long = nil
		default:
			if strings.EqualFold(unpack([11]byte(e[:11])), name) || strings.EqualFold(string(utf16.Decode(long)), name) {
				return e, true
			}
			long = nil
		}
	}
	return nil, false
}

// longUnits returns what an entry holds of a long name.
func longUnits(e []byte) []uint16 {
	var units []uint16
	for _, r := range [][2]int{{1, 11}, {14, 26}, {28, 32}} {
		for i := r[0]; i < r[1]; i += 2 {
			u := binary.LittleEndian.Uint16(e[i:])
			if u == 0 {
				return units
			}
			units = append(units, u)
		}
	}
	return units
}

// unpack returns a name as people write it.
func unpack(short [11]byte) string {
	base, ext := strings.TrimRight(string(short[:8]), " "), strings.TrimRight(string(short[8:]), " ")
	if ext == "" {
		return base
	}
	return base + "." + ext
}
