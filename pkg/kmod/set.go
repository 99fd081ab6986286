// Package kmod reads the modules of a kernel out of a file tree, chooses among
// them, and writes the indexes that modprobe and the kernel's helpers look
// modules up in. It does depmod's work, whose output it matches byte for byte:
// see tools/depmod.c of kmod 30, https://git.kernel.org/pub/scm/utils/kernel/kmod/kmod.git.
package kmod

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/slipway-os/slipway/pkg/tree"
)

// The files that a kernel package ships beside the modules.
const (
	fileOrder       = "modules.order"
	fileBuiltin     = "modules.builtin"
	fileBuiltinInfo = "modules.builtin.modinfo"
)

// Set is some modules of one kernel release. It does not change.
type Set struct {
	release string
	modTime int64                 // of what is made anew
	modules []Module              // sorted by path
	shipped map[string]*tree.Node // fileOrder and so on, those that are there
}

// Release returns the kernel release, as uname -r gives it.
func (s *Set) Release() string { return s.release }

// Modules returns the modules, sorted by path. The slice must not be changed.
func (s *Set) Modules() []Module { return s.modules }

// subset returns the set of the modules at the indexes for which keep is true.
func (s *Set) subset(keep []bool) *Set {
	sub := *s
	sub.modules = nil
	for i, m := range s.modules {
		if keep[i] {
			sub.modules = append(sub.modules, m)
		}
	}
	return &sub
}

// Prune returns the set without the modules that the globs name, but for those
// that a module which stays depends on. (A soft dependency keeps nothing.) A
// glob is a path below kernel/, each element a pattern of path.Match; one that
// names a directory takes everything in it. The suffix of a compressed file may
// be left off: "sound", "drivers/net/wireless/*", "fs/ntfs3/ntfs3.ko". One that
// names nothing is fine, as kernels differ.
func (s *Set) Prune(globs []string) (*Set, error) {
	patterns := make([][]string, len(globs))
	for i, g := range globs {
		patterns[i] = strings.Split(strings.Trim(g, "/"), "/")
		for _, element := range patterns[i] {
			if _, err := path.Match(element, ""); err != nil || element == "" {
				return nil, fmt.Errorf("modules %q: %w", g, path.ErrBadPattern)
			}
		}
	}
	keep := make([]bool, len(s.modules))
	for i := range s.modules {
		keep[i] = !slices.ContainsFunc(patterns, s.modules[i].under)
	}
	deps := s.link()
	var hold func(i int)
	hold = func(i int) {
		for _, d := range deps[i] {
			if !keep[d] {
				keep[d] = true
				hold(d)
			}
		}
	}
	for i, kept := range slices.Clone(keep) {
		if kept {
			hold(i)
		}
	}
	return s.subset(keep), nil
}

// under says if the module's path begins with what the elements of a glob
// match.
func (m *Module) under(pattern []string) bool {
	for _, p := range []string{m.Path, m.plainPath()} {
		elements := strings.Split(p, "/")
		if elements[0] != "kernel" || len(elements)-1 < len(pattern) {
			continue
		}
		if matchAll(pattern, elements[1:]) {
			return true
		}
	}
	return false
}

// matchAll says if each pattern matches the element at its place.
func matchAll(patterns, elements []string) bool {
	for i, p := range patterns {
		if ok, _ := path.Match(p, elements[i]); !ok {
			return false
		}
	}
	return true
}

// Closure returns the modules of those names, with all that modprobe would load
// for them: what they depend on, and their soft dependencies before and after.
// A name is looked up as modprobe does it: a module's, with dashes or
// underscores, else an alias, which may mean several modules ("fs-vfat",
// "crc32c"). All of a module's softdep entries count, of which modprobe of kmod
// 30 heeds the first. Names that are not found are passed over, for what is a module in
// one kernel is built into the next.
func (s *Set) Closure(names []string) *Set {
	find := s.finder()
	deps := s.link()
	keep := make([]bool, len(s.modules))
	var take func(i int)
	takeNames := func(names []string) {
		for _, name := range names {
			for _, i := range find(name) {
				take(i)
			}
		}
	}
	take = func(i int) {
		if keep[i] {
			return
		}
		keep[i] = true
		takeNames(s.modules[i].SoftPre)
		for _, d := range deps[i] {
			take(d)
		}
		takeNames(s.modules[i].SoftPost)
	}
	takeNames(names)
	return s.subset(keep)
}

// finder returns a function that looks names up, see Closure.
func (s *Set) finder() func(name string) []int {
	byName := s.byName()
	exact := make(map[string][]int)
	type glob struct {
		pattern string
		module  int
	}
	var globs []glob
	for i := range s.modules {
		for _, alias := range s.modules[i].Aliases {
			alias, err := normalAlias(alias)
			switch {
			case err != nil: // in no index either
			case strings.ContainsAny(alias, `*?[\`):
				globs = append(globs, glob{alias, i})
			default:
				exact[alias] = append(exact[alias], i)
			}
		}
	}
	return func(name string) []int {
		name = underscores(name)
		if i, ok := byName[name]; ok {
			return []int{i}
		}
		found := slices.Clone(exact[name])
		for _, g := range globs {
			if ok, _ := path.Match(g.pattern, name); ok {
				found = append(found, g.module)
			}
		}
		return found
	}
}

func (s *Set) byName() map[string]int {
	byName := make(map[string]int, len(s.modules))
	for i := range s.modules {
		byName[s.modules[i].Name] = i
	}
	return byName
}
