package kmod

import (
	"bytes"
	"context"
	"fmt"
	"path"
	"slices"

	"github.com/slipway-os/slipway/pkg/store"
	"github.com/slipway-os/slipway/pkg/tree"
)

// Tree returns the set as it belongs into a root file system: below
// usr/lib/modules/<release>, the modules as the package shipped them, its lists
// of what is built in, and all indexes.
func (s *Set) Tree() (*tree.Tree, error) {
	b := tree.NewBuilder(s.modTime)
	for i := range s.modules {
		if err := b.Put(s.path(s.modules[i].Path), s.modules[i].content.node); err != nil {
			return nil, err
		}
	}
	for name, n := range s.shipped {
		if err := b.Put(s.path(name), n); err != nil {
			return nil, err
		}
	}
	return s.index(b, nil)
}

// Uncompressed returns the set as it belongs into an initrd, where a file
// system's compression takes hold of the whole and no decompressor need be at
// hand: the modules decompressed, as blobs of the store, with modules.dep,
// modules.alias and modules.softdep that name them so.
func (s *Set) Uncompressed(ctx context.Context, st *store.Store) (*tree.Tree, error) {
	plain := *s
	plain.modules = slices.Clone(s.modules)
	err := parallel(ctx, len(plain.modules), func(ctx context.Context, i int, _ *bytes.Buffer) error {
		m := &plain.modules[i]
		node, err := m.content.stored(ctx, st)
		if err != nil {
			return fmt.Errorf("%s: %w", m.Path, err)
		}
		m.Path = m.plainPath()
		m.content = moduleContent{node, ".ko"}
		return nil
	})
	if err != nil {
		return nil, err
	}
	b := tree.NewBuilder(s.modTime)
	for i := range plain.modules {
		if err := b.Put(s.path(plain.modules[i].Path), plain.modules[i].content.node); err != nil {
			return nil, err
		}
	}
	return plain.index(b, []string{"modules.dep", "modules.alias", "modules.softdep"})
}

// stored returns the node of the decompressed module. The store remembers which
// blob a module's digest led to.
func (c moduleContent) stored(ctx context.Context, st *store.Store) (*tree.Node, error) {
	if c.suffix == ".ko" {
		return c.node, nil
	}
	node := *c.node
	key := store.Key(memoForm, "plain", c.suffix, c.node.Digest().String())
	var known struct {
		Digest tree.Digest
		Size   int64
	}
	if st.Load(memoKind, key, &known) == nil {
		if content, err := st.Blob(known.Digest, known.Size); err == nil {
			node.Content = content
			return &node, nil
		}
	}
	w, err := st.NewWriter()
	if err != nil {
		return nil, err
	}
	defer w.Abort()
	if err := c.plain(ctx, w); err != nil {
		return nil, err
	}
	if node.Content, err = w.Commit(); err != nil {
		return nil, err
	}
	known.Digest, known.Size = node.Digest(), node.Size()
	return &node, st.Save(memoKind, key, known)
}

func (s *Set) path(name string) string {
	return path.Join("usr/lib/modules", s.release, name)
}

// index adds the indexes of those names, or all, and finishes the tree.
func (s *Set) index(b *tree.Builder, names []string) (*tree.Tree, error) {
	files, err := s.Index()
	if err != nil {
		return nil, err
	}
	for name, data := range files {
		if names != nil && !slices.Contains(names, name) {
			continue
		}
		n := &tree.Node{Type: tree.File, Mode: 0o644, ModTime: s.modTime, Content: tree.Bytes(data)}
		if err := b.Put(s.path(name), n); err != nil {
			return nil, err
		}
	}
	return b.Tree(), nil
}
