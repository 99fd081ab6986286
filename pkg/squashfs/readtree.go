package squashfs

import (
	"errors"
	"fmt"
	"io"
	"math"
	"path"
	"strings"

	"github.com/slipway-os/slipway/pkg/tree"
)

// Tree reads all inodes and directories. Contents are read when asked for;
// their digests, which a squashfs does not hold, too: see content.
func (s *Reader) Tree() (*tree.Tree, error) {
	l := &treeLoader{
		s: s, builder: tree.NewBuilder(0),
		seen: map[inodeRef]bool{}, leaves: map[inodeRef]*tree.Node{},
	}
	if err := l.load(".", inodeRef(s.sb.Root), typeDir); err != nil {
		return nil, fmt.Errorf("reading squashfs: %w", err)
	}
	return l.builder.Tree(), nil
}

type treeLoader struct {
	s       *Reader
	builder *tree.Builder
	cost    int                     // of maxTree
	seen    map[inodeRef]bool       // directories: each has one place
	leaves  map[inodeRef]*tree.Node // the others: hard links share a node
}

// load reads what a directory entry of that basic type leads to.
func (l *treeLoader) load(p string, ref inodeRef, kind uint16) error {
	if err := l.take(nodeCost + len(p)); err != nil {
		return err
	}
	if n, ok := l.leaves[ref]; ok {
		if basicType(n.Type) != kind {
			return fmt.Errorf("%q: entry of type %d leads to another", p, kind)
		}
		return l.builder.Put(p, n)
	}
	n, list, err := l.s.readInode(ref, kind)
	if err != nil {
		return fmt.Errorf("%q: %w", p, err)
	}
	cost := len(n.Target)
	for _, x := range n.Xattrs {
		cost += nodeCost + len(x.Name) + len(x.Value)
	}
	if err := l.take(cost); err != nil {
		return err
	}
	if err := l.builder.Put(p, n); err != nil {
		return err
	}
	if kind != typeDir {
		l.leaves[ref] = n
		return nil
	}
	if l.seen[ref] {
		return fmt.Errorf("%q: directory is in two places", p)
	}
	l.seen[ref] = true
	if err := l.loadDir(p, list); err != nil {
		return fmt.Errorf("%q: %w", p, err)
	}
	return nil
}

// take takes bytes from what a tree may have.
func (l *treeLoader) take(bytes int) error {
	if l.cost += bytes; l.cost > maxTree {
		return fmt.Errorf("a tree that takes more than %d MiB of memory", maxTree>>20)
	}
	return nil
}

func (l *treeLoader) loadDir(dir string, list listing) error {
	if list.size < dirSizeExtra {
		return fmt.Errorf("a listing of %d bytes", list.size)
	}
	if list.size == dirSizeExtra {
		return nil
	}
	m, err := l.s.metaAt(l.s.sb.DirTable, list.start)
	if err != nil {
		return err
	}
	r := io.LimitReader(m, list.size-dirSizeExtra).(*io.LimitedReader)
	last := ""
	for r.N > 0 {
		var h dirHeader
		if err := readValues(r, &h); err != nil {
			return err
		}
		if h.Count >= maxRunEntries {
			return fmt.Errorf("%d entries after one header", h.Count)
		}
		for range h.Count + 1 {
			var e dirEntry
			if err := readValues(r, &e); err != nil {
				return err
			}
			if e.NameSize >= maxNameLen {
				return fmt.Errorf("a name of %d bytes", e.NameSize)
			}
			data := make([]byte, e.NameSize+1)
			if err := readValues(r, data); err != nil {
				return err
			}
			name := string(data)
			// Names in order are names without repetition, too.
			if name <= last || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
				return fmt.Errorf("entry %q after %q", name, last)
			}
			last = name
			p := path.Join(dir, name)
			if len(p) > maxTargetLen {
				return errors.New("a path too long")
			}
			if err := l.load(p, makeRef(uint64(h.Start), int(e.Offset)), e.Type); err != nil {
				return err
			}
		}
	}
	return nil
}

// readInode reads an inode, and of a directory where its listing lies.
func (s *Reader) readInode(ref inodeRef, kind uint16) (*tree.Node, listing, error) {
	fail := func(err error) (*tree.Node, listing, error) { return nil, listing{}, err }
	m, err := s.metaAt(s.sb.InodeTable, ref)
	if err != nil {
		return fail(err)
	}
	var h inodeHeader
	if err := readValues(m, &h); err != nil {
		return fail(err)
	}
	isExtended := h.Type > extended
	if isExtended {
		h.Type -= extended
	}
	if h.Type != kind || h.Mode > 0o7777 || int(h.UID) >= len(s.ids) || int(h.GID) >= len(s.ids) {
		return fail(fmt.Errorf("inode of type %d, mode %o, owner %d:%d", h.Type, h.Mode, h.UID, h.GID))
	}
	n := &tree.Node{Mode: uint32(h.Mode), UID: s.ids[h.UID], GID: s.ids[h.GID], ModTime: int64(h.ModTime)}
	var list listing
	xattr := uint32(noXattr)
	switch kind {
	case typeDir:
		n.Type = tree.Dir
		list, xattr, err = readDir(m, isExtended)
	case typeFile:
		n.Type = tree.File
		xattr, err = s.readFile(m, n, isExtended)
	case typeSymlink:
		n.Type = tree.Symlink
		var in symlinkInode
		if err = readValues(m, &in); err != nil {
			break
		}
		if in.Size == 0 || in.Size > maxTargetLen {
			return fail(fmt.Errorf("a symlink's target of %d bytes", in.Size))
		}
		target := make([]byte, in.Size)
		err = readValues(m, target)
		n.Target = string(target)
	case typeBlockDevice, typeCharDevice:
		n.Type = tree.BlockDevice
		if kind == typeCharDevice {
			n.Type = tree.CharDevice
		}
		var in deviceInode
		err = readValues(m, &in)
		n.Major, n.Minor = decodeDevice(in.Device)
	case typeFifo:
		n.Type = tree.Fifo
		err = readValues(m, &fifoInode{})
	default:
		return fail(fmt.Errorf("inode of type %d", kind))
	}
	if err == nil && isExtended && kind != typeDir && kind != typeFile {
		err = readValues(m, &xattr)
	}
	if err != nil {
		return fail(err)
	}
	n.Xattrs, err = s.readXattrs(xattr)
	return n, list, err
}

func readDir(m io.Reader, isExtended bool) (listing, uint32, error) {
	if !isExtended {
		var in basicDir
		err := readValues(m, &in)
		return listing{start: makeRef(uint64(in.Start), int(in.Offset)), size: int64(in.Size)}, noXattr, err
	}
	var in extendedDir
	err := readValues(m, &in)
	return listing{start: makeRef(uint64(in.Start), int(in.Offset)), size: int64(in.Size)}, in.Xattr, err
}

// readFile reads a file's inode up to its list of blocks.
func (s *Reader) readFile(m *metaReader, n *tree.Node, isExtended bool) (uint32, error) {
	var in extendedFile
	if isExtended {
		if err := readValues(m, &in); err != nil {
			return 0, err
		}
	} else {
		var basic basicFile
		if err := readValues(m, &basic); err != nil {
			return 0, err
		}
		in = extendedFile{Start: uint64(basic.Start), Size: uint64(basic.Size),
			Fragment: basic.Fragment, Offset: basic.Offset, Xattr: noXattr}
	}
	if in.Size > math.MaxInt64 || in.Start > s.sb.Size {
		return 0, fmt.Errorf("a file of %d bytes at %d", in.Size, in.Start)
	}
	if in.Size == 0 {
		return in.Xattr, nil
	}
	c := &content{s: s, size: int64(in.Size), start: int64(in.Start), words: *m}
	blockSize := int64(s.sb.BlockSize)
	c.blocks = (c.size + blockSize - 1) / blockSize
	if in.Fragment != noFragment {
		c.blocks = c.size / blockSize
		tail := c.size % blockSize
		if int64(in.Fragment) >= int64(len(s.fragments)) || int64(in.Offset)+tail > blockSize {
			return 0, fmt.Errorf("a tail at %d in fragment block %d of %d", in.Offset, in.Fragment, len(s.fragments))
		}
		c.fragment, c.offset = &s.fragments[in.Fragment], int64(in.Offset)
	}
	if c.blocks > maxFileBlocks {
		return 0, fmt.Errorf("a file of %d blocks", c.blocks)
	}
	n.Content = c
	return in.Xattr, nil
}
