package tree

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Builder collects nodes for a tree. Later nodes replace earlier ones, as one
// package unpacked over another would.
type Builder struct {
	nodes map[string]*Node
	time  int64
}

// NewBuilder returns a builder that holds an empty root directory. Directories
// that nobody put, but something lies in, get mode 0755, owner 0:0 and the
// given time.
func NewBuilder(modTime int64) *Builder {
	b := &Builder{nodes: map[string]*Node{}, time: modTime}
	b.nodes["."] = b.dir()
	return b
}

func (b *Builder) dir() *Node { return &Node{Type: Dir, Mode: 0o755, ModTime: b.time} }

// Put places a node at a path. Symlinks in the directories that lead there
// are followed (a package that ships lib/x lands in usr/lib/x where lib is a
// link to usr/lib); missing directories are made. A directory put over a
// symlink to a directory leaves the symlink alone, as dpkg does. A
// non-directory put over a directory that is not empty is an error.
func (b *Builder) Put(p string, n *Node) error {
	p = clean(p)
	if p == "." && n.Type != Dir {
		return fmt.Errorf("placing %q: the root must be a directory", p)
	}
	p, err := b.place(p)
	if err != nil {
		return fmt.Errorf("placing %q: %w", p, err)
	}
	old := b.nodes[p]
	if old != nil && old.Type == Symlink && n.Type == Dir {
		if q, ok := resolve(b.nodes, p, true, nil); ok && b.nodes[q].Type == Dir {
			return nil
		}
	}
	if old != nil && old.Type == Dir && n.Type != Dir {
		first := ""
		for q := range b.nodes {
			if strings.HasPrefix(q, p+"/") && (first == "" || q < first) {
				first = q
			}
		}
		if first != "" {
			return fmt.Errorf("placing %q: a directory with content (%q) is in its place", p, first)
		}
	}
	if !slices.IsSortedFunc(n.Xattrs, byName) {
		c := *n
		c.Xattrs = sortXattrs(n.Xattrs)
		n = &c
	}
	b.nodes[p] = n
	return nil
}

// place resolves the directories that lead to p and makes the missing ones.
func (b *Builder) place(p string) (string, error) {
	if p == "." {
		return p, nil
	}
	dir, ok := resolve(b.nodes, path.Dir(p), true, func(missing string) *Node {
		b.nodes[missing] = b.dir()
		return b.nodes[missing]
	})
	switch {
	case dir == "":
		return p, fmt.Errorf("%q is a circle of symlinks", path.Dir(p))
	case !ok:
		return p, fmt.Errorf("%q is not below a directory", dir)
	case b.nodes[dir].Type != Dir:
		return p, fmt.Errorf("%q is not a directory", dir)
	}
	return path.Join(dir, path.Base(p)), nil
}

// PutTree places every node of t below dir.
func (b *Builder) PutTree(dir string, t *Tree) error {
	return t.Walk(func(p string, n *Node) error {
		if p == "." && clean(dir) == "." {
			return nil
		}
		return b.Put(path.Join(dir, p), n)
	})
}

// Link makes newPath a hard link to what is at oldPath.
func (b *Builder) Link(oldPath, newPath string) error {
	n := b.Lookup(oldPath)
	if n == nil {
		return fmt.Errorf("linking %q to %q: the latter does not exist", newPath, oldPath)
	}
	if n.Type == Dir {
		return fmt.Errorf("linking %q to %q: the latter is a directory", newPath, oldPath)
	}
	return b.Put(newPath, n)
}

// Lookup returns the node at p, following symlinks in the directories that
// lead there but not one at p itself; nil if there is none.
func (b *Builder) Lookup(p string) *Node {
	q, ok := resolve(b.nodes, p, false, nil)
	if !ok {
		return nil
	}
	return b.nodes[q]
}

// Remove drops p and all below it. It is not an error if nothing is there.
func (b *Builder) Remove(p string) {
	q, ok := resolve(b.nodes, p, false, nil)
	if !ok || q == "." {
		return
	}
	delete(b.nodes, q)
	for r := range b.nodes {
		if strings.HasPrefix(r, q+"/") {
			delete(b.nodes, r)
		}
	}
}

// RemoveFunc drops every path for which drop says so, with all below it.
func (b *Builder) RemoveFunc(drop func(p string, n *Node) bool) {
	var gone []string
	for p, n := range b.nodes {
		if p != "." && drop(p, n) {
			gone = append(gone, p)
		}
	}
	set := make(map[string]bool, len(gone))
	for _, p := range gone {
		set[p] = true
	}
	for p := range b.nodes {
		for q := p; q != "."; q = path.Dir(q) {
			if set[q] {
				delete(b.nodes, p)
				break
			}
		}
	}
}

// Paths returns every path so far, sorted bytewise.
func (b *Builder) Paths() []string {
	paths := make([]string, 0, len(b.nodes))
	for p := range b.nodes {
		paths = append(paths, p)
	}
	slices.Sort(paths)
	return paths
}

// ClampTimes sets every time later than latest to latest, so that no build's
// own clock shows.
func (b *Builder) ClampTimes(latest int64) {
	clamped := map[*Node]*Node{}
	for p, n := range b.nodes {
		if n.ModTime <= latest {
			continue
		}
		c, ok := clamped[n]
		if !ok {
			copied := *n
			copied.ModTime = latest
			c = &copied
			clamped[n] = c
		}
		b.nodes[p] = c
	}
}

// Tree returns what was built. The builder may be used on; the tree stays as it is.
func (b *Builder) Tree() *Tree {
	t := &Tree{nodes: make(map[string]*Node, len(b.nodes)), children: map[string][]string{}}
	for p, n := range b.nodes {
		t.nodes[p] = n
		if p != "." {
			dir := path.Dir(p)
			t.children[dir] = append(t.children[dir], path.Base(p))
		}
	}
	for _, names := range t.children {
		slices.Sort(names)
	}
	return t
}
