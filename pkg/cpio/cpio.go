// Package cpio writes and reads cpio archives in the "newc" format that Linux
// unpacks as its initial root file system (Linux,
// Documentation/driver-api/early-userspace/buffer-format.rst).
package cpio

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/slipway-os/slipway/pkg/tree"
)

const (
	maxPath = 4096 // PATH_MAX: what the kernel takes for a name or target, with a NUL
	trailer = "TRAILER!!!"
)

// Types in the mode of an entry, as inode(7) has them.
func typeBits(t tree.Type) uint32 {
	return map[tree.Type]uint32{
		tree.Fifo: 0o010000, tree.CharDevice: 0o020000, tree.Dir: 0o040000,
		tree.BlockDevice: 0o060000, tree.File: 0o100000, tree.Symlink: 0o120000,
	}[t]
}

// Write writes the tree to w. What the format has no room for is an error:
// files of 4 GiB and more, times before 1970 or after 2106, extended attributes.
func Write(w io.Writer, t *tree.Tree) error {
	out := &writer{w: bufio.NewWriterSize(w, 64<<10), links: map[*tree.Node]uint32{}, inodes: map[*tree.Node]uint32{}}
	err := t.Walk(func(p string, n *tree.Node) error {
		if n.Type != tree.Dir {
			out.links[n]++
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = t.Walk(func(p string, n *tree.Node) error {
		if p == "." {
			return nil
		}
		if err := out.entry(p, n); err != nil {
			return fmt.Errorf("archiving %q: %w", p, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := out.header(trailer, header{links: 1}); err != nil {
		return err
	}
	return out.w.Flush()
}

type writer struct {
	w      *bufio.Writer
	n      int64                 // bytes written
	links  map[*tree.Node]uint32 // of everything but directories
	inodes map[*tree.Node]uint32 // of nodes that were written
	last   uint32                // inode
}

type header struct {
	inode, mode, uid, gid, links, time, size, major, minor uint32
}

func (w *writer) entry(p string, n *tree.Node) error {
	switch {
	case typeBits(n.Type) == 0:
		return fmt.Errorf("unknown type %d", n.Type)
	case p == trailer:
		return errors.New("a name that ends the archive")
	case len(p) >= maxPath || len(n.Target) >= maxPath:
		return fmt.Errorf("a name of %d bytes and a target of %d: more than %d", len(p), len(n.Target), maxPath-1)
	case n.Size() > math.MaxUint32:
		return fmt.Errorf("a file of %d bytes: 4 GiB or more", n.Size())
	case n.ModTime < 0 || n.ModTime > math.MaxUint32:
		return fmt.Errorf("time %d is not within 1970 to 2106", n.ModTime)
	case len(n.Xattrs) > 0:
		return fmt.Errorf("it has the extended attribute %q, which an archive cannot hold", n.Xattrs[0].Name)
	}
	inode, again := w.inodes[n]
	if !again || n.Type == tree.Dir {
		w.last++
		inode = w.last
		w.inodes[n] = inode
	}
	h := header{
		inode: inode, mode: typeBits(n.Type) | n.Mode&0o7777, uid: n.UID, gid: n.GID,
		links: w.links[n], time: uint32(n.ModTime), major: n.Major, minor: n.Minor,
	}
	switch {
	case n.Type == tree.Dir:
		h.links = 2
	case n.Type == tree.Symlink:
		h.size = uint32(len(n.Target))
	case n.Type == tree.File && !again: // a hard link has no content of its own
		h.size = uint32(n.Size())
	}
	if err := w.header(p, h); err != nil {
		return err
	}
	if h.size == 0 {
		return nil
	}
	content := n.Content
	if n.Type == tree.Symlink {
		content = tree.String(n.Target)
	}
	if err := tree.Copy(w, content); err != nil {
		return err
	}
	return w.pad()
}

// header writes an entry's header and name.
func (w *writer) header(name string, h header) error {
	const check = 0 // only the variant "070702" has checksums
	_, err := fmt.Fprintf(w, Magic+"%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00",
		h.inode, h.mode, h.uid, h.gid, h.links, h.time, h.size, 0, 0, h.major, h.minor, len(name)+1, check, name)
	if err != nil {
		return err
	}
	return w.pad()
}

func (w *writer) Write(p []byte) (int, error) {
	n, err := w.w.Write(p)
	w.n += int64(n)
	return n, err
}

// pad fills up to a multiple of four bytes.
func (w *writer) pad() error {
	_, err := w.Write(make([]byte, padding(w.n)))
	return err
}
