// Package fat writes FAT32 file systems in one go, from a tree, and reads
// files of them (Microsoft FAT specification, August 2005 edition: section
// numbers below).
package fat

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"github.com/slipway-os/slipway/pkg/tree"
)

const (
	sector   = 512
	reserved = 32 // sectors before the first FAT
	fats     = 2
	// Fewer clusters would make it FAT16, whatever it says of itself
	// (section 3.5).
	minClusters = 65525
	rootCluster = 2
	endOfChain  = 0x0fffffff

	maxDirectory = 65536 * 32 // bytes: entries are counted in 16 bits (section 6)
)

// What can be wrong with the size of a file system.
var (
	// ErrFull says that it does not hold all of a tree.
	ErrFull = errors.New("the FAT file system is full")
	// ErrSize says that no FAT32 file system can have that size.
	ErrSize = errors.New("at least 34 MB and at most 2 TB in whole sectors")
)

// Options of a file system.
type Options struct {
	Size   int64  // bytes, a multiple of 512
	Label  string // at most eleven of A to Z, 0 to 9, _ and -
	Serial uint32
	Epoch  int64  // the time of every file, seconds since 1970
	Hidden uint32 // sectors before the partition
}

type volume struct {
	Options
	w           io.WriterAt
	perCluster  int64 // sectors
	fatSectors  int64
	clusters    int64
	fat         []uint32
	date, clock uint16
}

// Write writes a file system with the directories and files of t. What stays
// zero is not written: w must start out as zeros.
func Write(ctx context.Context, w io.WriterAt, t *tree.Tree, o Options) error {
	v, err := plan(w, o)
	if err != nil {
		return err
	}
	if _, err := v.directory(ctx, t, ".", 0); err != nil {
		return err
	}
	return v.finish()
}

func plan(w io.WriterAt, o Options) (*volume, error) {
	if len(o.Label) > 11 || strings.Trim(o.Label, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != "" {
		return nil, fmt.Errorf("labelling a FAT file system %q: at most eleven of A to Z, 0 to 9, _ and -", o.Label)
	}
	v := &volume{Options: o, w: w, perCluster: 64}
	total := o.Size / sector
	for ; v.perCluster >= 1; v.perCluster /= 2 {
		// Section 3.5's formula, solved exactly: clusters and FAT depend on
		// each other.
		v.fatSectors = ((total-reserved)/v.perCluster + 2 + sector/4 - 1) / (sector / 4)
		v.clusters = (total - reserved - fats*v.fatSectors) / v.perCluster
		if v.clusters >= minClusters && (v.perCluster <= 8 || v.clusters >= 1<<20) {
			break
		}
	}
	if v.perCluster < 1 || o.Size%sector != 0 || total > 1<<32-1 {
		return nil, fmt.Errorf("planning a FAT32 file system of %d bytes: %w", o.Size, ErrSize)
	}
	v.fat = append(v.fat, 0x0ffffff8, endOfChain)
	at := time.Unix(o.Epoch, 0).UTC()
	if at.Year() < 1980 || at.Year() > 2107 {
		return nil, fmt.Errorf("planning a FAT32 file system: time %d is not within 1980 to 2107", o.Epoch)
	}
	v.date = uint16((at.Year()-1980)<<9 | int(at.Month())<<5 | at.Day())
	v.clock = uint16(at.Hour()<<11 | at.Minute()<<5 | at.Second()/2)
	return v, nil
}

// allocate takes clusters for that many bytes, in one run, and returns the
// first; 0 for none.
func (v *volume) allocate(size int64) (uint32, error) {
	n := (size + v.perCluster*sector - 1) / (v.perCluster * sector)
	if n == 0 {
		return 0, nil
	}
	first := len(v.fat)
	if int64(first)-2+n > v.clusters {
		return 0, fmt.Errorf("allocating %d bytes of %d: %w", size, v.Size, ErrFull)
	}
	for i := range int(n) {
		v.fat = append(v.fat, uint32(first+i+1))
	}
	v.fat[len(v.fat)-1] = endOfChain
	return uint32(first), nil
}

func (v *volume) offset(cluster uint32) int64 {
	return (reserved + fats*v.fatSectors + int64(cluster-2)*v.perCluster) * sector
}

// directory writes the directory at p and what is below it, and returns its
// first cluster. Section 6.
func (v *volume) directory(ctx context.Context, t *tree.Tree, p string, parent uint32) (uint32, error) {
	names := t.Children(p)
	short, err := shortNames(names)
	if err != nil {
		return 0, fmt.Errorf("naming the files of %q: %w", p, err)
	}
	size := int64(64) // . and .., or the label
	for i, name := range names {
		size += 32
		if short[i].long {
			size += int64(longEntries(name)) * 32
		}
	}
	if size > maxDirectory {
		return 0, fmt.Errorf("writing directory %q: its names take %d entries, more than %d", p, size/32, maxDirectory/32)
	}
	self, err := v.allocate(size)
	if err != nil {
		return 0, err
	}
	var data []byte
	if p == "." {
		if v.Label != "" {
			data = v.entry(data, [11]byte([]byte(fmt.Sprintf("%-11s", v.Label))), 0x08, 0, 0)
		}
	} else {
		if parent == rootCluster {
			parent = 0 // section 6.5
		}
		data = v.entry(data, [11]byte([]byte(".          ")), 0x10, self, 0)
		data = v.entry(data, [11]byte([]byte("..         ")), 0x10, parent, 0)
	}
	for i, name := range names {
		child := path.Join(p, name)
		n := t.Lookup(child)
		if short[i].long {
			data = appendLong(data, name, short[i].name)
		}
		switch n.Type {
		case tree.Dir:
			first, err := v.directory(ctx, t, child, self)
			if err != nil {
				return 0, err
			}
			data = v.entry(data, short[i].name, 0x10, first, 0)
		case tree.File:
			first, err := v.file(ctx, n)
			if err != nil {
				return 0, fmt.Errorf("writing %q: %w", child, err)
			}
			data = v.entry(data, short[i].name, 0x20, first, n.Size())
		default:
			return 0, fmt.Errorf("writing %q: FAT holds directories and files only", child)
		}
	}
	_, err = v.w.WriteAt(data, v.offset(self))
	return self, err
}

func (v *volume) entry(to []byte, name [11]byte, attr byte, first uint32, size int64) []byte {
	var e [32]byte
	copy(e[:], name[:])
	e[11] = attr
	le := binary.LittleEndian
	le.PutUint16(e[14:], v.clock)
	le.PutUint16(e[16:], v.date)
	le.PutUint16(e[18:], v.date)
	le.PutUint16(e[20:], uint16(first>>16))
	le.PutUint16(e[22:], v.clock)
	le.PutUint16(e[24:], v.date)
	le.PutUint16(e[26:], uint16(first))
	le.PutUint32(e[28:], uint32(size))
	return append(to, e[:]...)
}

func (v *volume) file(ctx context.Context, n *tree.Node) (uint32, error) {
	if n.Size() > 1<<32-1 {
		return 0, fmt.Errorf("%d bytes: more than FAT can hold", n.Size())
	}
	first, err := v.allocate(n.Size())
	if err != nil || first == 0 {
		return 0, err
	}
	to := io.NewOffsetWriter(v.w, v.offset(first))
	if err := tree.Copy(untilDone{ctx, to}, n.Content); err != nil {
		return 0, err
	}
	return first, nil
}

// untilDone writes until the context ends.
type untilDone struct {
	ctx context.Context
	w   io.Writer
}

func (u untilDone) Write(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.w.Write(p)
}

// finish writes both FATs, FSInfo (section 5) and the boot sector (section
// 3), each of the latter with its backup.
func (v *volume) finish() error {
	le := binary.LittleEndian
	table := make([]byte, 4*len(v.fat))
	for i, e := range v.fat {
		le.PutUint32(table[4*i:], e)
	}
	boot := make([]byte, 2*sector)
	copy(boot, "\xeb\x58\x90SLIPWAY ")
	le.PutUint16(boot[11:], sector)
	boot[13] = byte(v.perCluster)
	le.PutUint16(boot[14:], reserved)
	boot[16] = fats
	boot[21] = 0xf8
	le.PutUint16(boot[24:], 63)
	le.PutUint16(boot[26:], 255)
	le.PutUint32(boot[28:], v.Hidden)
	le.PutUint32(boot[32:], uint32(v.Size/sector))
	le.PutUint32(boot[36:], uint32(v.fatSectors))
	le.PutUint32(boot[44:], rootCluster)
	le.PutUint16(boot[48:], 1) // FSInfo
	le.PutUint16(boot[50:], 6) // backup
	boot[64] = 0x80
	boot[66] = 0x29
	le.PutUint32(boot[67:], v.Serial)
	label := v.Label
	if label == "" {
		label = "NO NAME"
	}
	copy(boot[71:], fmt.Sprintf("%-11s", label))
	copy(boot[82:], "FAT32   ")
	boot[510], boot[511] = 0x55, 0xaa
	info := boot[sector:]
	le.PutUint32(info, 0x41615252)
	le.PutUint32(info[484:], 0x61417272)
	free := uint32(v.clusters) - uint32(len(v.fat)-2)
	next := uint32(len(v.fat))
	if free == 0 {
		next = 0xffffffff // unknown
	}
	le.PutUint32(info[488:], free)
	le.PutUint32(info[492:], next)
	info[510], info[511] = 0x55, 0xaa
	for _, part := range []struct {
		data []byte
		at   int64
	}{
		{table, reserved * sector}, {table, (reserved + v.fatSectors) * sector},
		{boot, 6 * sector}, {boot, 0},
	} {
		if _, err := v.w.WriteAt(part.data, part.at); err != nil {
			return err
		}
	}
	return nil
}
