// Package tree holds immutable views of file trees: the one shape that every
// source (package, overlay, image layer) yields and every file system is
// written from.
package tree

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Type is the kind of a node.
type Type uint8

// The kinds of nodes.
const (
	Dir Type = iota + 1
	File
	Symlink
	CharDevice
	BlockDevice
	Fifo
)

func (t Type) String() string {
	return [...]string{"?", "d", "-", "l", "c", "b", "p"}[min(int(t), 6)]
}

// Digest is the sha256 of a file's content.
type Digest [sha256.Size]byte

func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// Node is what a path leads to. Two paths with the same *Node are hard links.
// A node that a tree holds must not be changed any more.
type Node struct {
	Type         Type
	Mode         uint32 // permission bits with setuid, setgid and sticky: 0 to 07777
	UID, GID     uint32
	ModTime      int64  // seconds since 1970
	Target       string // of a symlink
	Major, Minor uint32 // of a device
	Xattrs       []Xattr
	Content      Content // of a file; nil for an empty one
}

// Xattr is an extended attribute under its full name ("security.capability").
type Xattr struct {
	Name  string
	Value []byte
}

// Size returns the length of a file's content in bytes.
func (n *Node) Size() int64 {
	if n.Content == nil {
		return 0
	}
	return n.Content.Size()
}

// Digest returns the sha256 of a file's content.
func (n *Node) Digest() Digest {
	if n.Content == nil {
		return sha256.Sum256(nil)
	}
	return n.Content.Digest()
}

// Tree is an immutable file tree. The root directory is at path ".". Paths
// are clean, slash-separated and relative ("usr/bin/kubelet").
type Tree struct {
	nodes    map[string]*Node
	children map[string][]string // names, sorted bytewise
}

// Lookup returns the node at a path itself, following no symlink; nil if there is none.
func (t *Tree) Lookup(p string) *Node { return t.nodes[clean(p)] }

// Children returns the names in the directory at p, sorted bytewise. The
// slice must not be changed.
func (t *Tree) Children(p string) []string { return t.children[clean(p)] }

// Len returns the number of paths, the root included.
func (t *Tree) Len() int { return len(t.nodes) }

// Walk calls fn for every path: a directory before what is in it, names
// sorted bytewise. It starts with ".".
func (t *Tree) Walk(fn func(p string, n *Node) error) error {
	return t.walk(".", fn)
}

func (t *Tree) walk(p string, fn func(string, *Node) error) error {
	n, ok := t.nodes[p]
	if !ok {
		return nil
	}
	if err := fn(p, n); err != nil {
		return err
	}
	for _, name := range t.children[p] {
		if err := t.walk(path.Join(p, name), fn); err != nil {
			return err
		}
	}
	return nil
}

// Sub returns the tree below the directory at p, as a tree of its own.
func (t *Tree) Sub(p string) (*Tree, error) {
	p = clean(p)
	if n := t.nodes[p]; n == nil || n.Type != Dir {
		return nil, fmt.Errorf("taking the tree at %q: no such directory", p)
	}
	if p == "." {
		return t, nil
	}
	b := NewBuilder(0)
	err := t.walk(p, func(q string, n *Node) error {
		return b.Put(strings.TrimPrefix(q, p), n)
	})
	if err != nil {
		return nil, err
	}
	return b.Tree(), nil
}

// Resolve follows symlinks in p, absolute ones from the tree's root, as a
// process with this tree as its root would. It returns the clean path of what
// is found there, and false if a part is missing or the links go in a circle.
func (t *Tree) Resolve(p string) (string, bool) {
	return resolve(t.nodes, p, true, nil)
}

const maxLinks = 40 // as in Linux, path_resolution(7)

// resolve returns where p leads, and follows a link at its end if last says so.
// A part that is missing in a directory is what mkdir, if there is one, makes
// of it. What does not exist gives the path of its first missing part and all
// behind it; a circle of links gives "".
func resolve(nodes map[string]*Node, p string, last bool, mkdir func(p string) *Node) (string, bool) {
	at := "."
	rest := strings.Split(clean(p), "/")
	for links := 0; len(rest) > 0; {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			at = path.Dir(at)
			continue
		}
		next := path.Join(at, part)
		n, ok := nodes[next]
		if !ok && mkdir != nil && nodes[at].Type == Dir {
			n, ok = mkdir(next), true
		}
		if !ok {
			if len(rest) == 0 && !last {
				return next, true
			}
			return path.Join(append([]string{next}, rest...)...), false
		}
		if n.Type != Symlink || (len(rest) == 0 && !last) {
			at = next
			continue
		}
		if links++; links > maxLinks {
			return "", false
		}
		if strings.HasPrefix(n.Target, "/") {
			at = "."
		}
		rest = append(strings.Split(n.Target, "/"), rest...)
	}
	return at, true
}

// clean makes a path relative to the root; it can never climb above it.
func clean(p string) string {
	p = strings.TrimPrefix(path.Clean("/"+p), "/")
	if p == "" {
		return "."
	}
	return p
}

func sortXattrs(x []Xattr) []Xattr {
	if slices.IsSortedFunc(x, byName) {
		return x
	}
	x = slices.Clone(x)
	slices.SortFunc(x, byName)
	return x
}

func byName(a, b Xattr) int { return cmp.Compare(a.Name, b.Name) }
