// Package ext4 writes empty ext4 file systems, without mke2fs and with the
// same bytes for the same options. They are meant to be grown online, at the
// first boot, by the kernel's EXT4_IOC_RESIZE_FS.
//
// The format is that of Linux's Documentation/filesystems/ext4; comments name
// its files. What a block group holds is always a prefix of its blocks:
//
//	group 0:        superblock, descriptors, the tables of groups 0 to 15,
//	                the journal, the root directory, lost+found
//	group 16, 32…:  the tables of this and the next 15 groups
//	sparse groups:  copies of superblock and descriptors
//	other groups:   nothing
//
// Tables are block bitmaps, inode bitmaps and inode tables (blockgroup.rst,
// "Flexible Block Groups").
//
// There is no resize inode: it would have to reserve descriptor blocks, in each
// copy, for the largest disk that the file system may ever grow to. Without it,
// the kernel sets meta_bg when it grows the file system (ext4_convert_meta_bg in
// fs/ext4/resize.c): the descriptor blocks that exist stay where they are, and
// those it adds lie in their own groups, so nothing bounds the growth. meta_bg is
// not set from the start as readers such as boot loaders need not know it then.
package ext4

import (
	"fmt"
	"io"
	"strings"
)

// Options describe a file system.
type Options struct {
	Size     int64    // in bytes, a multiple of 4096, 16 MiB to 1 TiB
	Label    string   // up to 16 bytes
	UUID     [16]byte // also the seed of all checksums
	HashSeed [16]byte // of the hashes in large directories
	Epoch    int64    // seconds since 1970 of all times
}

// Sizes that a file system can have, in bytes. Below there is no room for a
// journal; above, the descriptors and the numbers of inodes need thought that
// nobody has given.
const (
	MinSize = 16 << 20
	MaxSize = 1 << 40
)

const (
	blockSize      = 4096
	blocksPerGroup = 8 * blockSize // as many as a block has bits
	inodeSize      = 256

	// One inode for each 16 KiB of a whole group. Groups that the kernel adds
	// get as many, so small file systems do not get fewer.
	inodesPerGroup = blocksPerGroup * blockSize / (16 << 10)
	tableBlocks    = inodesPerGroup * inodeSize / blockSize

	logFlexSize = 4 // the kernel adds 16 groups at a time
	flexSize    = 1 << logFlexSize

	// lost+found has room from the start, so that e2fsck need not find any.
	lostBlocks = 4

	// mke2fs drops a last group with less free space, too.
	minFree = 50
)

// Inodes with a number that the format gives (special_inodes.rst); lost+found
// is the first of the others.
const (
	rootInode    = 2
	journalInode = 8
	lostInode    = 11
)

// layout says what lies where. Numbers are blocks unless said otherwise.
type layout struct {
	Options
	blocks      int64
	groups      int64
	descriptors int64 // blocks of group descriptors
	journal     int64 // length
	seed        uint32
}

// newLayout checks options and lays a file system out.
func newLayout(o Options) (*layout, error) {
	switch {
	case o.Size%blockSize != 0:
		return nil, fmt.Errorf("size %d is not a multiple of %d", o.Size, blockSize)
	case o.Size < MinSize || o.Size > MaxSize:
		return nil, fmt.Errorf("size %d is not within %d and %d", o.Size, int64(MinSize), int64(MaxSize))
	case len(o.Label) > 16:
		return nil, fmt.Errorf("label %q is longer than 16 bytes", o.Label)
	case strings.ContainsRune(o.Label, 0):
		return nil, fmt.Errorf("label %q has a zero byte", o.Label)
	case o.Epoch < 0 || o.Epoch >= 3<<32: // inodes hold 34 bits, from -1<<31 on
		return nil, fmt.Errorf("epoch %d is not within 0 and %d", o.Epoch, int64(3<<32)-1)
	}
	l := &layout{Options: o, blocks: o.Size / blockSize, seed: crc(^uint32(0), o.UUID[:])}
	// 1024 blocks are the least that the kernel takes; 16384 fit into group 0 as
	// one extent. The journal does not grow with the file system, so from 256 MiB
	// on it has 32 MiB at once: etcd syncs at every write.
	l.journal = min(max(l.blocks/64, 1024), 16384)
	if l.blocks >= 2*blocksPerGroup {
		l.journal = max(l.journal, 8192)
	}
	l.count()
	if last := l.groups - 1; l.size(last) < l.used(last)+minFree {
		l.blocks = last * blocksPerGroup // the kernel uses the rest when it grows
		l.count()
	}
	return l, nil
}

// count sets the numbers that follow from that of blocks.
func (l *layout) count() {
	l.groups = ceil(l.blocks, blocksPerGroup)
	l.descriptors = ceil(l.groups*descriptorSize, blockSize)
}

func ceil(a, b int64) int64 { return (a + b - 1) / b }

// size is the number of blocks of a group.
func (l *layout) size(group int64) int64 {
	return min(l.blocks-group*blocksPerGroup, blocksPerGroup)
}

// copies is the number of blocks that superblock and descriptors take at the
// start of a group (blockgroup.rst, "Sparse Superblocks": groups 0, 1 and powers
// of 3, 5 and 7).
func (l *layout) copies(group int64) int64 {
	for _, base := range []int64{3, 5, 7} {
		power := int64(1)
		for power < group {
			power *= base
		}
		if group == 0 || power == group {
			return 1 + l.descriptors
		}
	}
	return 0
}

// flex returns the first group of a group's flexible group, and how many groups
// that has.
func (l *layout) flex(group int64) (first, n int64) {
	first = group - group%flexSize
	return first, min(l.groups-first, flexSize)
}

// tables returns where a group's two bitmaps and inode table start.
func (l *layout) tables(group int64) (blockBitmap, inodeBitmap, inodeTable int64) {
	first, n := l.flex(group)
	start, i := first*blocksPerGroup+l.copies(first), group-first
	return start + i, start + n + i, start + 2*n + tableBlocks*i
}

// data is the first block after group 0's tables: here the journal starts.
func (l *layout) data() int64 {
	_, n := l.flex(0)
	return l.copies(0) + n*(2+tableBlocks)
}

// metadata is the number of blocks at the start of a group that no file can
// have, and that df does not count: the journal is among them.
func (l *layout) metadata(group int64) int64 {
	if group == 0 {
		return l.data() + l.journal
	}
	used := l.copies(group)
	if first, n := l.flex(group); first == group {
		used += n * (2 + tableBlocks)
	}
	return used
}

// used is the number of blocks at the start of a group that are not free.
func (l *layout) used(group int64) int64 {
	if group == 0 {
		return l.metadata(0) + 1 + lostBlocks
	}
	return l.metadata(group)
}

// Write writes an empty file system to w, from offset 0 on: w holds zeros, and
// blocks of zeros are not written.
func Write(w io.WriterAt, o Options) error {
	l, err := newLayout(o)
	if err != nil {
		return fmt.Errorf("laying out an ext4 file system: %w", err)
	}
	put := func(what string, block int64, data []byte) {
		if err != nil {
			return
		}
		if _, e := w.WriteAt(data, block*blockSize); e != nil {
			err = fmt.Errorf("writing the ext4 %s at block %d: %w", what, block, e)
		}
	}

	for g := range l.groups {
		blockBitmap, inodeBitmap, _ := l.tables(g)
		put("block bitmap", blockBitmap, l.blockBitmap(g))
		if g == 0 { // the others' are not initialised
			put("inode bitmap", inodeBitmap, l.inodeBitmap())
		}
	}

	journal := l.data()
	root := journal + l.journal
	lost := root + 1
	inodes := make([]byte, ceil(lostInode*inodeSize, blockSize)*blockSize)
	for _, i := range []inode{
		{number: rootInode, mode: 0o040755, links: 3, start: root, blocks: 1},
		{number: journalInode, mode: 0o100600, links: 1, start: journal, blocks: l.journal},
		{number: lostInode, mode: 0o040700, links: 2, start: lost, blocks: lostBlocks},
	} {
		copy(inodes[(i.number-1)*inodeSize:], l.inode(i))
	}
	_, _, table := l.tables(0)
	put("inode table", table, inodes)
	put("journal", journal, l.journalSuperblock())
	put("root directory", root, l.directory(rootInode,
		entry{rootInode, "."}, entry{rootInode, ".."}, entry{lostInode, "lost+found"}))
	put("lost+found", lost, l.directory(lostInode, entry{lostInode, "."}, entry{rootInode, ".."}))
	for i := range int64(lostBlocks - 1) {
		put("lost+found", lost+1+i, l.directory(lostInode, entry{}))
	}

	// The superblocks come last, the first of them at the very end: what was not
	// written wholly is no file system.
	descriptors := l.groupDescriptors()
	for g := l.groups - 1; g >= 0; g-- {
		if l.copies(g) == 0 {
			continue
		}
		put("group descriptors", g*blocksPerGroup+1, descriptors)
		block := make([]byte, blockSize)
		at := 0
		if g == 0 {
			at = 1024 // after room for a boot loader (blockgroup.rst, "Layout")
		}
		copy(block[at:], l.superblock(g))
		put("superblock", g*blocksPerGroup, block)
	}
	return err
}
