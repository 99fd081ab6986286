package ext4

import (
	"encoding/binary"
	"hash/crc32"
)

const (
	superblockSize = 1024
	descriptorSize = 64 // with the feature 64bit
	extraInodeSize = 32 // bytes beyond the first 128 of an inode that are fields

	journalFeatures = 0x2 | 0x10 // 64bit, csum_v3: the kernel would add them at the first mount
)

// Features (super.rst, the tables "s_feature_compat" and so on). An empty file
// system that only the kernel's ext4 writes has no use for older ones.
const (
	compatHasJournal = 0x4
	compatExtAttr    = 0x8
	compatDirIndex   = 0x20

	incompatFiletype = 0x2
	incompatExtents  = 0x40
	incompat64bit    = 0x80
	incompatFlexBG   = 0x200

	roCompatSparseSuper  = 0x1
	roCompatLargeFile    = 0x2
	roCompatHugeFile     = 0x8
	roCompatDirNlink     = 0x20
	roCompatExtraIsize   = 0x40
	roCompatMetadataCsum = 0x400
)

// record is a structure of the disk: its fields are little-endian except in the
// journal.
type record []byte

func (r record) u16(at int, v int64) { binary.LittleEndian.PutUint16(r[at:], uint16(v)) }
func (r record) u32(at int, v int64) { binary.LittleEndian.PutUint32(r[at:], uint32(v)) }

// split sets the halves of a number of 64 bits, which the format keeps apart.
func (r record) split(lo, hi int, v int64) { r.u32(lo, v); r.u32(hi, v>>32) }

// crc is CRC-32C as checksums.rst means it: it can go on from a former value, as
// neither the initial nor the final value is inverted.
func crc(seed uint32, data []byte) uint32 {
	return ^crc32.Update(^seed, crc32.MakeTable(crc32.Castagnoli), data)
}

// crcNumber goes on with a number of 32 bits.
func crcNumber(seed uint32, n int64) uint32 {
	return crc(seed, binary.LittleEndian.AppendUint32(nil, uint32(n)))
}

// superblock returns a group's copy of the superblock (super.rst).
func (l *layout) superblock(group int64) []byte {
	r := make(record, superblockSize)
	var free, overhead int64
	for g := range l.groups {
		free += l.size(g) - l.used(g)
		overhead += l.metadata(g)
	}
	r.u32(0x00, l.groups*inodesPerGroup)
	r.split(0x04, 0x150, l.blocks)
	r.split(0x0c, 0x158, free)
	r.u32(0x10, l.groups*inodesPerGroup-lostInode)
	r.u32(0x18, 2) // block size: 1024 << 2
	r.u32(0x1c, 2) // cluster size
	r.u32(0x20, blocksPerGroup)
	r.u32(0x24, blocksPerGroup) // clusters
	r.u32(0x28, inodesPerGroup)
	r.u16(0x36, -1) // no check after a number of mounts
	r.u16(0x38, 0xef53)
	r.u16(0x3a, 1)  // cleanly unmounted
	r.u16(0x3c, 2)  // errors: remount read-only
	r.u32(0x4c, 1)  // revision: dynamic inode sizes
	r.u32(0x54, 11) // first inode that is not reserved
	r.u16(0x58, inodeSize)
	r.u16(0x5a, group)
	r.u32(0x5c, compatHasJournal|compatExtAttr|compatDirIndex)
	r.u32(0x60, incompatFiletype|incompatExtents|incompat64bit|incompatFlexBG)
	r.u32(0x64, roCompatSparseSuper|roCompatLargeFile|roCompatHugeFile|
		roCompatDirNlink|roCompatExtraIsize|roCompatMetadataCsum)
	copy(r[0x68:], l.UUID[:])
	copy(r[0x78:], l.Label)
	r.u32(0xe0, journalInode)
	copy(r[0xec:], l.HashSeed[:])
	r[0xfc] = 1 // hash of directories: half MD4
	r[0xfd] = 1 // a copy of the journal's inode follows, at 0x10c
	r.u16(0xfe, descriptorSize)
	r.u32(0x100, 0x4|0x8) // default mount options: user_xattr, acl
	copy(r[0x10c:], extent(l.data(), l.journal))
	r.u32(0x10c+16*4, l.journal*blockSize)
	r.u16(0x15c, extraInodeSize)
	r.u16(0x15e, extraInodeSize)
	r.u32(0x160, 1) // hashes take characters as signed, on all machines
	r[0x174] = logFlexSize
	r[0x175] = 1 // checksums are CRC-32C
	r.u32(0x248, overhead)
	for _, at := range []struct{ lo, hi int }{
		{0x30, 0x274},  // written
		{0x40, 0x277},  // checked
		{0x108, 0x276}, // made
	} {
		r.u32(at.lo, l.Epoch)
		r[at.hi] = byte(l.Epoch >> 32)
	}
	r.u32(0x3fc, int64(crc(^uint32(0), r[:0x3fc])))
	return r
}

// groupDescriptors returns all of them (group_descr.rst), in whole blocks.
func (l *layout) groupDescriptors() []byte {
	all := make([]byte, l.descriptors*blockSize)
	for g := range l.groups {
		r := record(all[g*descriptorSize:][:descriptorSize])
		blockBitmap, inodeBitmap, inodeTable := l.tables(g)
		// No inode of a group but the first is in use: flag 1 says that the
		// inode bitmap is not initialised. Flag 4 says that the inode table is
		// zeroed, so that the kernel does not do it after the first mount.
		usedInodes, directories, flags, inodeSum := int64(0), int64(0), int64(0x1|0x4), uint32(0)
		if g == 0 {
			usedInodes, directories, flags = lostInode, 2, 0x4
			inodeSum = crc(l.seed, l.inodeBitmap()[:inodesPerGroup/8])
		}
		blockSum := crc(l.seed, l.blockBitmap(g))
		r.split(0x00, 0x20, blockBitmap)
		r.split(0x04, 0x24, inodeBitmap)
		r.split(0x08, 0x28, inodeTable)
		r.u16(0x0c, l.size(g)-l.used(g))
		r.u16(0x0e, inodesPerGroup-usedInodes)
		r.u16(0x10, directories)
		r.u16(0x12, flags)
		r.u16(0x18, int64(blockSum))
		r.u16(0x1a, int64(inodeSum))
		r.u16(0x1c, inodesPerGroup-usedInodes) // at the table's end, never used
		r.u16(0x38, int64(blockSum>>16))
		r.u16(0x3a, int64(inodeSum>>16))
		r.u16(0x1e, int64(crc(crcNumber(l.seed, g), r)))
	}
	return all
}

// blockBitmap returns the bitmap of a group's blocks (bitmaps.rst): used ones
// and those past the end are set.
func (l *layout) blockBitmap(group int64) []byte {
	b := make([]byte, blockSize)
	setBits(b, 0, l.used(group))
	setBits(b, l.size(group), blocksPerGroup)
	return b
}

// inodeBitmap returns the bitmap of group 0's inodes. The reserved ones count as
// used.
func (l *layout) inodeBitmap() []byte {
	b := make([]byte, blockSize)
	setBits(b, 0, lostInode)
	setBits(b, inodesPerGroup, 8*blockSize)
	return b
}

// setBits sets the bits from one to before another.
func setBits(b []byte, from, to int64) {
	for i := from; i < to; i++ {
		b[i/8] |= 1 << (i % 8)
	}
}

// inode is a file or directory of consecutive blocks.
type inode struct {
	number, mode, links, start, blocks int64
}

// inode encodes an inode (inodes.rst).
func (l *layout) inode(i inode) []byte {
	r := make(record, inodeSize)
	r.u16(0x00, i.mode)
	r.split(0x04, 0x6c, i.blocks*blockSize)
	r.u16(0x1a, i.links)
	r.u32(0x1c, i.blocks*(blockSize/512))
	r.u32(0x20, 0x80000) // has extents
	copy(r[0x28:], extent(i.start, i.blocks))
	r.u16(0x80, extraInodeSize)
	for _, at := range []struct{ lo, extra int }{
		{0x08, 0x8c}, // accessed
		{0x0c, 0x84}, // changed
		{0x10, 0x88}, // modified
		{0x90, 0x94}, // created
	} {
		// The low half is signed; two bits say how often to add 1<<32 to it
		// (inodes.rst, "Inode Timestamps").
		r.u32(at.lo, l.Epoch)
		r.u32(at.extra, (l.Epoch-int64(int32(l.Epoch)))>>32)
	}
	sum := crc(l.inodeSeed(i.number), r)
	r.u16(0x7c, int64(sum))
	r.u16(0x82, int64(sum>>16))
	return r
}

// inodeSeed is what the checksums of an inode and of its directory blocks start
// from: they hold its number and its generation, 0.
func (l *layout) inodeSeed(number int64) uint32 {
	return crcNumber(crcNumber(l.seed, number), 0)
}

// extent returns the block map of an inode: a tree of one extent (ifork.rst,
// "Extent Tree").
func extent(start, blocks int64) []byte {
	r := make(record, 60)
	r.u16(0, 0xf30a)
	r.u16(2, 1) // entries
	r.u16(4, 4) // there is room for
	r.u16(16, blocks)
	r.u16(18, start>>32)
	r.u32(20, start)
	return r
}

// entry is one of a directory, which names a directory. The zero entry names
// nothing.
type entry struct {
	inode int64
	name  string
}

// directory encodes a block of a directory (directory.rst, "Linear
// Directories"): the last entry takes what is left before the checksum, which
// is in the guise of an entry, too.
func (l *layout) directory(number int64, entries ...entry) []byte {
	const tail = 12
	r := make(record, blockSize)
	at := 0
	for i, e := range entries {
		length := 8 + int(ceil(int64(len(e.name)), 4)*4)
		if i == len(entries)-1 {
			length = blockSize - tail - at
		}
		r.u32(at, e.inode)
		r.u16(at+4, int64(length))
		if e.inode != 0 {
			r[at+6] = byte(len(e.name))
			r[at+7] = 2 // a directory
			copy(r[at+8:], e.name)
		}
		at += length
	}
	r.u16(at+4, tail)
	r[at+7] = 0xde
	r.u32(at+8, int64(crc(l.inodeSeed(number), r[:at])))
	return r
}

// journalSuperblock returns the first block of an empty journal (journal.rst,
// "Super Block"), big-endian.
func (l *layout) journalSuperblock() []byte {
	b := make([]byte, blockSize)
	u32 := func(at int, v uint32) { binary.BigEndian.PutUint32(b[at:], v) }
	u32(0x00, 0xc03b3998)
	u32(0x04, 4) // superblock, version 2
	u32(0x0c, blockSize)
	u32(0x10, uint32(l.journal))
	u32(0x14, 1) // first block of the log
	u32(0x18, 1) // first transaction to expect
	u32(0x28, journalFeatures)
	u32(0x40, 1) // users
	b[0x50] = 4  // checksums are CRC-32C
	u32(0xfc, crc(^uint32(0), b[:superblockSize]))
	return b
}
