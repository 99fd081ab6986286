// Package cpio writes and reads cpio archives in the "newc" format that Linux
// unpacks as its initial root file system (Linux,
// Documentation/driver-api/early-userspace/buffer-format.rst).
package cpio

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/cavaliergopher/cpio"

	"github.com/slipway-os/slipway/pkg/tree"
)

const (
	maxPath = 4096 // PATH_MAX: what the kernel takes for a name or target, with a NUL
	trailer = "TRAILER!!!"
)

// Write writes the tree to w. What an archive has no room for is an error:
// files of 4 GiB and more, times before 1970 or after 2106, extended
// attributes; so are device nodes, since the library knows no device numbers,
// and the kernel fills /dev itself.
func Write(w io.Writer, t *tree.Tree) error { return WriteAligned(w, t, 1) }

// WriteAligned is Write with the content of files at offsets that are multiples
// of align, a multiple of four. Zeros behind their names see to that, which
// every reader takes for the end of the name.
func WriteAligned(w io.Writer, t *tree.Tree, align int64) error {
	counted := &counter{w: w}
	out := &writer{w: cpio.NewWriter(counted), to: counted, align: align, links: map[*tree.Node]int{}, inodes: map[*tree.Node]int64{}}
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
	return out.w.Close()
}

// counter counts what is written.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

type writer struct {
	w      *cpio.Writer
	to     *counter
	align  int64
	links  map[*tree.Node]int   // of everything but directories
	inodes map[*tree.Node]int64 // of nodes that were written
	last   int64                // inode
}

func (w *writer) entry(p string, n *tree.Node) error {
	types := map[tree.Type]cpio.FileMode{tree.Dir: cpio.TypeDir, tree.File: cpio.TypeReg, tree.Symlink: cpio.TypeSymlink, tree.Fifo: cpio.TypeFifo}
	switch {
	case types[n.Type] == 0:
		return fmt.Errorf("type %d has no place in an archive", n.Type)
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
	h := &cpio.Header{
		Name: p, Mode: types[n.Type] | cpio.FileMode(n.Mode&0o7777), Uid: int(n.UID), Guid: int(n.GID),
		Inode: inode, Links: w.links[n], ModTime: time.Unix(n.ModTime, 0),
	}
	content := n.Content
	switch {
	case n.Type == tree.Dir:
		h.Links = 2
	case n.Type == tree.Symlink:
		content, h.Size = tree.String(n.Target), int64(len(n.Target))
	case n.Type == tree.File && !again: // a hard link has no content of its own
		h.Size = n.Size()
	}
	if h.Size > 0 && n.Type == tree.File && w.align > 1 {
		at := w.to.n + padding(w.to.n) + headerSize + int64(len(h.Name)) + 1
		h.Name += strings.Repeat("\x00", int(w.align-at%w.align)%int(w.align))
	}
	if err := w.w.WriteHeader(h); err != nil || h.Size == 0 {
		return err
	}
	return tree.Copy(w.w, content)
}
