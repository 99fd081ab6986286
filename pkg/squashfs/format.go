package squashfs

import (
	"encoding/binary"
	"math/bits"
)

// The on-disk format, version 4.0, as fs/squashfs/squashfs_fs.h of Linux
// declares it. All numbers are little-endian.
const (
	magic          = 0x73717368
	compressorZstd = 6
	superblockSize = 96
	metadataSize   = 8192 // of a metadata block before compression

	rawMetadata = 1 << 15 // in a metadata block's header: stored as is
	rawData     = 1 << 24 // in a data block's size word: stored as is

	noFragment = 0xffffffff
	noXattr    = 0xffffffff
	noTable    = ^uint64(0)

	xattrElsewhere = 1 << 8 // in an xattr's type: the value is a reference
)

// Superblock flags.
const (
	flagDuplicates = 1 << 6 // equal files are stored once
	flagNoXattrs   = 1 << 9
)

// Inode types. An extended type is its basic type plus extended.
const (
	typeDir = iota + 1
	typeFile
	typeSymlink
	typeBlockDevice
	typeCharDevice
	typeFifo
	typeSocket
	extended = 7
)

// Directory listings.
const (
	maxNameLen    = 255 // NAME_MAX of Linux; the format would allow 256
	maxTargetLen  = 4095
	maxRunEntries = 256 // entries after one header
	dirHeaderSize = 12
	dirEntrySize  = 8
	dirSizeExtra  = 3 // the inode's size counts "." and ".." as three bytes
)

// superblock is the first 96 bytes.
type superblock struct {
	Magic         uint32
	Inodes        uint32
	ModTime       uint32
	BlockSize     uint32
	Fragments     uint32
	Compressor    uint16
	BlockLog      uint16
	Flags         uint16
	IDs           uint16
	Major, Minor  uint16
	Root          uint64 // inode reference
	Size          uint64 // bytes used, without padding
	IDTable       uint64
	XattrTable    uint64
	InodeTable    uint64
	DirTable      uint64
	FragmentTable uint64
	ExportTable   uint64
}

func (s *superblock) encode() []byte {
	data, err := binary.Append(make([]byte, 0, superblockSize), binary.LittleEndian, s)
	if err != nil {
		panic(err) // a struct of fixed size always encodes
	}
	return data
}

// inodeRef names an inode or a place in any metadata table: where its
// metadata block starts, counted from the table's start, and the offset in
// the uncompressed block.
type inodeRef uint64

func makeRef(block uint64, offset int) inodeRef { return inodeRef(block<<16 | uint64(offset)) }

func (r inodeRef) block() uint64 { return uint64(r) >> 16 }
func (r inodeRef) offset() int   { return int(r & 0xffff) }

// xattrPrefixes are the name spaces that the format knows, by their number.
var xattrPrefixes = [...]string{"user.", "trusted.", "security."}

func blockLog(size int) uint16 { return uint16(bits.TrailingZeros(uint(size))) }

// encodeDevice is Linux's new_encode_dev: 12 bits of major number, 20 of minor.
func encodeDevice(major, minor uint32) uint32 {
	return minor&0xff | major<<8 | minor&^0xff<<12
}

func decodeDevice(dev uint32) (major, minor uint32) {
	return dev >> 8 & 0xfff, dev&0xff | dev>>12&0xfff00
}

// What an inode begins with, and what follows by type. The list of size words
// of a file, the target of a symlink and the index of a directory come after;
// the extended symlink has its xattrs after the target, the extended device
// and fifo after what is here.
type (
	inodeHeader struct {
		Type, Mode, UID, GID uint16 // UID and GID: places in the id table
		ModTime, Number      uint32
	}
	basicDir struct {
		Start, Links uint32
		Size, Offset uint16
		Parent       uint32
	}
	extendedDir struct {
		Links, Size, Start, Parent uint32
		Indexes, Offset            uint16
		Xattr                      uint32
	}
	basicFile struct {
		Start, Fragment, Offset, Size uint32
	}
	extendedFile struct {
		Start, Size, Sparse            uint64
		Links, Fragment, Offset, Xattr uint32
	}
	symlinkInode struct{ Links, Size uint32 }
	deviceInode  struct{ Links, Device uint32 }
	fifoInode    struct{ Links uint32 }
)

// A directory listing is runs of entries whose inodes lie in one metadata
// block, each behind a header; a long one has an index of some runs.
type (
	dirHeader struct {
		Count  uint32 // less one
		Start  uint32 // block of the inodes
		Number uint32 // inode number that those of the entries are relative to
	}
	dirEntry struct {
		Offset   uint16 // of the inode in its block
		Delta    int16  // of the inode number
		Type     uint16 // basic
		NameSize uint16 // less one
	}
	dirIndex struct {
		Position uint32 // of the run in the listing
		Start    uint32 // of the metadata block that the run begins in
		NameSize uint32 // of the run's first entry, less one
	}
)

type fragmentEntry struct {
	Start uint64
	Word  uint32
	_     uint32
}

// Extended attributes: a table of sets, each a reference to pairs in another.
type (
	xattrSet struct {
		Pairs inodeRef
		Count uint32
		Size  uint32 // of the names in full, with a zero each, and the values
	}
	xattrKey struct {
		Prefix   uint16 // number of the name space
		NameSize uint16 // of the rest of the name
	}
)
