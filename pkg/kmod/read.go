package kmod

import (
	"bytes"
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/slipway-os/slipway/pkg/store"
	"github.com/slipway-os/slipway/pkg/tree"
)

// Memo remembers what Read found out, so that a second run decompresses
// nothing. A *store.Store is one.
type Memo interface {
	Load(kind, key string, v any) error
	Save(kind, key string, v any) error
}

const (
	memoKind = "kmod"
	memoForm = 1 // count up when record or what fills it changes
)

// record is what Read finds out about one module. All of a kernel are
// remembered as one list, in the order of their paths.
type record struct {
	Size     int64
	Depends  []string `json:",omitempty"`
	Aliases  []string `json:",omitempty"`
	Softdeps []string `json:",omitempty"`
	Firmware []string `json:",omitempty"`
	Exports  []string `json:",omitempty"`
	Needs    []string `json:",omitempty"`
}

// Read returns the modules of a kernel release that lie in a tree, below
// usr/lib/modules, or lib/modules where that is no symlink. The memo may be
// nil. Of two modules of one name the one below updates/ counts, as depmod has
// it; else the one whose path comes first. (depmod takes what the file system
// yields first.)
func Read(ctx context.Context, t *tree.Tree, release string, memo Memo) (*Set, error) {
	dir, err := releaseDir(t, release)
	if err != nil {
		return nil, err
	}
	s := &Set{release: release, modTime: t.Lookup(dir).ModTime}
	if s.modules, err = find(t, dir); err != nil {
		return nil, err
	}
	s.shipped = make(map[string]*tree.Node)
	for _, name := range []string{fileOrder, fileBuiltin, fileBuiltinInfo} {
		if n := t.Lookup(path.Join(dir, name)); n != nil && n.Type == tree.File {
			s.shipped[name] = n
		}
	}
	if err := s.fill(ctx, memo); err != nil {
		return nil, fmt.Errorf("modules of %s: %w", release, err)
	}
	return s, nil
}

func releaseDir(t *tree.Tree, release string) (string, error) {
	if release == "" || release == "." || release == ".." || strings.ContainsAny(release, "/\x00") {
		return "", fmt.Errorf("%q is no kernel release", release)
	}
	for _, parent := range []string{"usr/lib/modules", "lib/modules"} {
		if dir, ok := t.Resolve(path.Join(parent, release)); ok && t.Lookup(dir).Type == tree.Dir {
			return dir, nil
		}
	}
	return "", fmt.Errorf("no modules of kernel %s", release)
}

// find lists the modules of a release, sorted by path. Symlinks to files are
// followed, those to directories are not: depmod skips the usual ones, build
// and source.
func find(t *tree.Tree, dir string) ([]Module, error) {
	byName := make(map[string]Module)
	var walk func(rel string) error
	walk = func(rel string) error {
		for _, name := range t.Children(path.Join(dir, rel)) {
			at := path.Join(rel, name)
			n := t.Lookup(path.Join(dir, at))
			if n.Type == tree.Symlink {
				if to, ok := t.Resolve(path.Join(dir, at)); ok && t.Lookup(to).Type == tree.File {
					n = t.Lookup(to)
				}
			}
			if name == "build" || name == "source" {
				continue
			}
			if n.Type == tree.Dir {
				if err := walk(at); err != nil {
					return err
				}
			}
			ending := suffix(at)
			if n.Type != tree.File || ending == "" {
				continue
			}
			if strings.ContainsAny(at, ": \t\n") {
				return fmt.Errorf("module %q: modules.dep has no way to write its path", at)
			}
			m := Module{Name: moduleName(at), Path: at, content: moduleContent{n, ending}}
			if old, ok := byName[m.Name]; !ok || updates(at) && !updates(old.Path) {
				byName[m.Name] = m
			}
		}
		return nil
	}
	if err := walk("."); err != nil {
		return nil, err
	}
	found := make([]Module, 0, len(byName))
	for _, m := range byName {
		found = append(found, m)
	}
	slices.SortFunc(found, func(a, b Module) int { return strings.Compare(a.Path, b.Path) })
	return found, nil
}

func updates(p string) bool { return strings.HasPrefix(p, "updates/") }

// fill completes the modules with what their files say.
func (s *Set) fill(ctx context.Context, memo Memo) error {
	parts := []any{memoForm}
	for _, m := range s.modules {
		parts = append(parts, m.Path, m.content.node.Digest().String())
	}
	key := store.Key(parts...)
	var records []record
	if memo == nil || memo.Load(memoKind, key, &records) != nil || len(records) != len(s.modules) {
		var err error
		if records, err = s.examine(ctx); err != nil {
			return err
		}
		if memo != nil {
			if err := memo.Save(memoKind, key, records); err != nil {
				return err
			}
		}
	}
	for i, r := range records {
		m := &s.modules[i]
		m.Size, m.Depends, m.Aliases, m.Firmware = r.Size, r.Depends, r.Aliases, r.Firmware
		m.softdeps, m.exports, m.needs = r.Softdeps, r.Exports, r.Needs
		m.parseSoftdeps()
	}
	return nil
}

// examine reads all modules. Of the symbols that a module needs it keeps those
// that another exports: the others, thousands, are the kernel's.
func (s *Set) examine(ctx context.Context) ([]record, error) {
	records := make([]record, len(s.modules))
	err := parallel(ctx, len(records), func(ctx context.Context, i int, buf *bytes.Buffer) error {
		c := s.modules[i].content
		err := c.plain(ctx, buf)
		var found *symbols
		if err == nil {
			found, err = parseModule(buf.Bytes())
		}
		if err != nil {
			return fmt.Errorf("%s: %w", s.modules[i].Path, err)
		}
		var m Module
		m.read(found.info)
		records[i] = record{int64(buf.Len()), m.Depends, m.Aliases, m.softdeps, m.Firmware, found.exports, found.needs}
		return nil
	})
	if err != nil {
		return nil, err
	}
	exported := make(map[string]bool)
	for _, r := range records {
		for _, name := range r.Exports {
			exported[name] = true
		}
	}
	for i := range records {
		records[i].Needs = slices.DeleteFunc(records[i].Needs, func(name string) bool {
			return !exported[strings.TrimPrefix(name, ".")]
		})
		records[i].Needs = slices.Clip(records[i].Needs)
	}
	return records, nil
}
