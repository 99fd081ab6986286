// Package firmware tells which files of a root the kernel loads for the
// modules that are there, and which of those that modules ask for are missing.
package firmware

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/slipway-os/slipway/pkg/tree"
)

// Dir is where firmware lies in a root.
const Dir = "usr/lib/firmware"

// Finder looks firmware up in a tree.
type Finder struct {
	tree    *tree.Tree
	release string
	paths   []string // of all files and symlinks below Dir, relative to it
}

// NewFinder returns a finder in a tree for the kernel of a release.
func NewFinder(t *tree.Tree, release string) *Finder {
	f := &Finder{tree: t, release: release}
	var list func(rel string)
	list = func(rel string) {
		for _, name := range t.Children(path.Join(Dir, rel)) {
			at := path.Join(rel, name)
			if t.Lookup(path.Join(Dir, at)).Type == tree.Dir {
				list(at)
			} else {
				f.paths = append(f.paths, at)
			}
		}
	}
	list(".")
	return f
}

// Find returns the paths in the tree that the kernel goes through for a name
// that a module asks for: the file, the symlinks that lead to it, and the
// directories they lie in. None: it finds no file. A name may be a pattern of
// path.Match, as in a module whose names depend on the machine; it stands for
// every file that it matches.
//
// The kernel looks in updates/RELEASE, updates, RELEASE and the directory
// itself, for the file as it is, compressed by zstd, and by xz: see
// fw_get_filesystem_firmware in its drivers/base/firmware_loader/main.c.
func (f *Finder) Find(name string) []string {
	var found []string
	for _, n := range f.expand(name) {
	search:
		for _, suffix := range []string{"", ".zst", ".xz"} {
			for _, dir := range f.dirs() {
				if passed := f.follow(path.Join(Dir, dir, n) + suffix); passed != nil {
					found = append(found, passed...)
					break search
				}
			}
		}
	}
	return found
}

func (f *Finder) dirs() []string {
	return []string{"updates/" + f.release, "updates", f.release, ""}
}

// expand returns the names that a pattern stands for; any other name as it is.
func (f *Finder) expand(name string) []string {
	if !strings.ContainsAny(name, `*?[\`) {
		return []string{name}
	}
	var names []string
	for _, p := range f.paths {
		for _, dir := range f.dirs() {
			rel, ok := strings.CutPrefix(p, dir+"/")
			if dir == "" {
				rel, ok = p, true
			}
			for _, suffix := range []string{".zst", ".xz", ""} {
				n, cut := strings.CutSuffix(rel, suffix)
				if match, _ := path.Match(name, n); ok && cut && match {
					names = append(names, n)
					break
				}
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// maxLinks is how many symlinks the kernel follows in a path (MAXSYMLINKS).
const maxLinks = 40

// follow returns every path on the way to a file, with the file; nil if there
// is none.
func (f *Finder) follow(p string) []string {
	var passed []string
	at, rest, links := ".", strings.Split(p, "/"), 0
	for len(rest) > 0 {
		next := path.Join(at, rest[0])
		rest = rest[1:]
		if next == ".." { // above the root is the root
			continue
		}
		n := f.tree.Lookup(next)
		if n == nil {
			return nil
		}
		passed = append(passed, next)
		if n.Type != tree.Symlink {
			at = next
			continue
		}
		if links++; links > maxLinks {
			return nil
		}
		if path.IsAbs(n.Target) {
			at = "."
		}
		rest = append(strings.Split(strings.Trim(n.Target, "/"), "/"), rest...)
	}
	if f.tree.Lookup(at).Type != tree.File {
		return nil
	}
	return passed
}

// Request is what a module asks for.
type Request struct {
	Module string
	Files  []string // names below Dir; patterns too
}

// Missing returns what is not to be found and not waived, by module, and the
// waivers that nothing needed: those of which no module lacks a file. A waiver
// is a glob, see Match.
func (f *Finder) Missing(requests []Request, waivers []string) (missing []Request, idle []string) {
	needed := map[string]bool{}
	for _, r := range requests {
		lacks := Request{Module: r.Module}
		for _, name := range r.Files {
			if f.Find(name) != nil {
				continue
			}
			waived := false
			for _, w := range waivers {
				if Match(w, name) {
					waived, needed[w] = true, true
				}
			}
			if !waived {
				lacks.Files = append(lacks.Files, name)
			}
		}
		if lacks.Files != nil {
			slices.Sort(lacks.Files)
			missing = append(missing, lacks)
		}
	}
	for _, w := range waivers {
		if !needed[w] {
			idle = append(idle, w)
		}
	}
	return missing, idle
}

// Match says if a glob, a pattern of path.Match below Dir, names a file or a
// directory that it lies in.
func Match(glob, name string) bool {
	for p := name; p != "." && p != "/"; p = path.Dir(p) {
		if ok, _ := path.Match(glob, p); ok || glob == p {
			return true
		}
	}
	return false
}

// Check says whether a glob makes sense.
func Check(glob string) error {
	if _, err := path.Match(glob, ""); err != nil {
		return err
	}
	if glob == "" || glob == "." || path.IsAbs(glob) || path.Clean(glob) != glob || glob == ".." || strings.HasPrefix(glob, "../") {
		return fmt.Errorf("not a path below %s", Dir)
	}
	return nil
}

// Trim drops from b those files below Dir that the kernel does not find for
// what is asked for, unless one of the globs names them. The number of files
// that stay is returned, and their size in bytes.
func Trim(b *tree.Builder, release string, requests []Request, globs []string) (files int, size int64) {
	f := NewFinder(b.Tree(), release)
	keep := map[string]bool{}
	take := func(paths []string) {
		for _, p := range paths {
			for q := p; q != "." && !keep[q]; q = path.Dir(q) {
				keep[q] = true
				if n := f.tree.Lookup(q); n.Type == tree.File {
					files++
					size += n.Size()
				}
			}
		}
	}
	for _, r := range requests {
		for _, name := range r.Files {
			take(f.Find(name))
		}
	}
	for _, p := range f.paths {
		if slices.ContainsFunc(globs, func(g string) bool { return Match(g, p) }) {
			take(f.follow(path.Join(Dir, p)))
		}
	}
	b.RemoveFunc(func(p string, _ *tree.Node) bool { return strings.HasPrefix(p, Dir+"/") && !keep[p] })
	return files, size
}
