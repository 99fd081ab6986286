// Package cpio writes file trees as cpio archives in the "newc" format that
// Linux unpacks as its initial root file system (Linux,
// Documentation/driver-api/early-userspace/buffer-format.rst).
package cpio

import (
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/cavaliergopher/cpio"

	"github.com/slipway-os/slipway/pkg/tree"
)

// Write writes the tree to w. Device nodes are an error: the library knows no
// device numbers, and the kernel makes /dev itself.
func Write(w io.Writer, t *tree.Tree) error {
	out := cpio.NewWriter(w)
	inode := 0
	err := t.Walk(func(p string, n *tree.Node) error {
		if p == "." {
			return nil
		}
		inode++
		if err := entry(out, p, n, int64(inode)); err != nil {
			return fmt.Errorf("archiving %q: %w", p, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return out.Close()
}

func entry(out *cpio.Writer, p string, n *tree.Node, inode int64) error {
	h := &cpio.Header{Name: p, Mode: cpio.FileMode(n.Mode), Uid: int(n.UID), Guid: int(n.GID), Inode: inode, Links: 1}
	switch n.Type {
	case tree.Dir:
		h.Mode |= cpio.TypeDir
		h.Links = 2
	case tree.File:
		h.Mode |= cpio.TypeReg
		h.Size = n.Size()
	case tree.Symlink:
		h.Mode |= cpio.TypeSymlink
		h.Size = int64(len(n.Target))
	default:
		return fmt.Errorf("type %q: %w", n.Type, fs.ErrInvalid)
	}
	h.ModTime = time.Unix(n.ModTime, 0)
	if err := out.WriteHeader(h); err != nil {
		return err
	}
	if n.Type == tree.Symlink {
		_, err := io.WriteString(out, n.Target)
		return err
	}
	if n.Type != tree.File {
		return nil
	}
	return tree.Copy(out, n.Content)
}
