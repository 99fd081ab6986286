package squashfs

import (
	"fmt"
	"math"
	"path"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/tree"
)

// inodeWriter writes the inode and directory tables. A directory comes after
// what is in it, because its listing says where that lies.
type inodeWriter struct {
	tree *tree.Tree
	plan *plan

	inodes, dirs *metaWriter
	ids          *idTable
	xattrs       *xattrWriter

	numbers    map[*tree.Node]uint32 // of everything but directories
	links      map[*tree.Node]uint32
	refs       map[*tree.Node]inodeRef // of inodes that are written
	dirNumbers map[string]uint32       // by path: a node may be at two
	count      uint32
}

// entry is a name in a directory.
type entry struct {
	name   string
	kind   uint16
	number uint32
	ref    inodeRef
}

// writeAll writes every inode and returns the root's reference.
func (w *inodeWriter) writeAll() (inodeRef, error) {
	if n := w.tree.Len(); n > math.MaxUint32-2 {
		return 0, fmt.Errorf("%d paths are more than a squashfs can have", n)
	}
	w.count = 1
	w.dirNumbers["."] = 1
	w.number(".")
	return w.writeDir(".", w.count+1) // the root's parent is no inode, as mksquashfs has it
}

// number numbers what is in a directory, together, so that numbers in one
// listing are near each other.
func (w *inodeWriter) number(dir string) {
	var dirs []string
	for _, name := range w.tree.Children(dir) {
		p := path.Join(dir, name)
		n := w.tree.Lookup(p)
		if n.Type == tree.Dir {
			w.count++
			w.dirNumbers[p] = w.count
			dirs = append(dirs, p)
			continue
		}
		if w.links[n]++; w.links[n] == 1 {
			w.count++
			w.numbers[n] = w.count
		}
	}
	for _, p := range dirs {
		w.number(p)
	}
}

func (w *inodeWriter) writeDir(dir string, parent uint32) (inodeRef, error) {
	names := w.tree.Children(dir)
	entries := make([]entry, len(names))
	links := uint32(2)
	// Directories below go first: what remains of this one lies together.
	for i, name := range names {
		if len(name) > maxNameLen {
			return 0, diag.Inputf("%q: a name of %d bytes, more than %d", path.Join(dir, name), len(name), maxNameLen)
		}
		p := path.Join(dir, name)
		if w.tree.Lookup(p).Type != tree.Dir {
			continue
		}
		links++
		ref, err := w.writeDir(p, w.dirNumbers[dir])
		if err != nil {
			return 0, err
		}
		entries[i] = entry{name, typeDir, w.dirNumbers[p], ref}
	}
	for i, name := range names {
		p := path.Join(dir, name)
		n := w.tree.Lookup(p)
		if n.Type == tree.Dir {
			continue
		}
		ref, ok := w.refs[n]
		if !ok {
			ref = w.inodes.ref()
			if err := w.writeLeaf(p, n); err != nil {
				return 0, err
			}
			w.refs[n] = ref
		}
		entries[i] = entry{name, basicType(n.Type), w.numbers[n], ref}
	}

	n := w.tree.Lookup(dir)
	list, err := writeListing(w.dirs, entries)
	if err != nil {
		return 0, fmt.Errorf("%q: %w", dir, err)
	}
	xattr, err := w.xattrs.add(dir, n.Xattrs)
	if err != nil {
		return 0, err
	}
	size := list.size + dirSizeExtra
	isExtended := size > math.MaxUint16 || len(list.indexes) > 0 || xattr != noXattr
	h, err := w.header(dir, n, w.dirNumbers[dir], isExtended)
	if err != nil {
		return 0, err
	}
	ref := w.inodes.ref()
	if !isExtended {
		return ref, writeValues(w.inodes, h, basicDir{
			Start: uint32(list.start.block()), Links: links, Size: uint16(size),
			Offset: uint16(list.start.offset()), Parent: parent,
		})
	}
	err = writeValues(w.inodes, h, extendedDir{
		Links: links, Size: uint32(size), Start: uint32(list.start.block()), Parent: parent,
		Indexes: uint16(len(list.indexes)), Offset: uint16(list.start.offset()), Xattr: xattr,
	})
	for _, x := range list.indexes {
		if err == nil {
			err = writeValues(w.inodes, x.dirIndex, []byte(x.name))
		}
	}
	return ref, err
}

func basicType(t tree.Type) uint16 {
	switch t {
	case tree.Dir:
		return typeDir
	case tree.File:
		return typeFile
	case tree.Symlink:
		return typeSymlink
	case tree.CharDevice:
		return typeCharDevice
	case tree.BlockDevice:
		return typeBlockDevice
	case tree.Fifo:
		return typeFifo
	default:
		return 0
	}
}

func (w *inodeWriter) header(p string, n *tree.Node, number uint32, isExtended bool) (inodeHeader, error) {
	kind := basicType(n.Type)
	switch {
	case kind == 0:
		return inodeHeader{}, fmt.Errorf("%q: unknown type %d", p, n.Type)
	case n.Mode > 0o7777:
		return inodeHeader{}, fmt.Errorf("%q: mode %#o is more than permission bits", p, n.Mode)
	case n.ModTime < 0 || n.ModTime > math.MaxUint32:
		return inodeHeader{}, diag.Inputf("%q: time %d is not within 1970 to 2106", p, n.ModTime)
	}
	if isExtended {
		kind += extended
	}
	uid, err := w.ids.index(n.UID)
	if err != nil {
		return inodeHeader{}, err
	}
	gid, err := w.ids.index(n.GID)
	if err != nil {
		return inodeHeader{}, err
	}
	return inodeHeader{kind, uint16(n.Mode), uid, gid, uint32(n.ModTime), number}, nil
}

// writeLeaf writes the inode of anything but a directory.
func (w *inodeWriter) writeLeaf(p string, n *tree.Node) error {
	xattr, err := w.xattrs.add(p, n.Xattrs)
	if err != nil {
		return err
	}
	if n.Type == tree.File {
		return w.writeFile(p, n, xattr)
	}
	h, err := w.header(p, n, w.numbers[n], xattr != noXattr)
	if err != nil {
		return err
	}
	values := []any{h}
	links := w.links[n]
	switch n.Type {
	case tree.Symlink:
		if len(n.Target) == 0 || len(n.Target) > maxTargetLen {
			return diag.Inputf("%q: a symlink's target of %d bytes, not 1 to %d", p, len(n.Target), maxTargetLen)
		}
		values = append(values, symlinkInode{links, uint32(len(n.Target))}, []byte(n.Target))
	case tree.Fifo:
		values = append(values, fifoInode{links})
	default:
		if n.Major > 0xfff || n.Minor > 0xfffff {
			return diag.Inputf("%q: device %d:%d is beyond 4095:1048575", p, n.Major, n.Minor)
		}
		values = append(values, deviceInode{links, encodeDevice(n.Major, n.Minor)})
	}
	if xattr != noXattr {
		values = append(values, xattr)
	}
	return writeValues(w.inodes, values...)
}

func (w *inodeWriter) writeFile(p string, n *tree.Node, xattr uint32) error {
	f := &file{}
	if n.Size() > 0 {
		f = w.plan.files[n.Digest()]
	}
	fragment := uint32(noFragment)
	if f.tail > 0 {
		fragment = uint32(f.fragment)
	}
	links := w.links[n]
	isExtended := links > 1 || xattr != noXattr || f.sparse > 0 || f.size > math.MaxUint32 || f.start > math.MaxUint32
	h, err := w.header(p, n, w.numbers[n], isExtended)
	if err != nil {
		return err
	}
	if !isExtended {
		return writeValues(w.inodes, h, basicFile{
			Start: uint32(f.start), Fragment: fragment, Offset: uint32(f.tailOffset), Size: uint32(f.size),
		}, f.words)
	}
	return writeValues(w.inodes, h, extendedFile{
		Start: f.start, Size: uint64(f.size),
		// Linux takes it for the part that has no blocks; mksquashfs never
		// lets that be all of the file.
		Sparse: uint64(min(f.sparse, max(f.size-1, 0))),
		Links:  links, Fragment: fragment, Offset: uint32(f.tailOffset), Xattr: xattr,
	}, f.words)
}
