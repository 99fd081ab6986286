package debian

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"pault.ag/go/debian/dependency"
	"pault.ag/go/debian/version"

	"github.com/slipway-os/slipway/pkg/diag"
)

// PackageError says that a wanted package cannot be had. It is bad input.
type PackageError struct {
	Package string // as it was wanted
	Msg     string // what is wrong; it names the package
	Hint    string // what to do, or ""
	Unknown bool   // it does not exist
}

func (e *PackageError) Error() string {
	if e.Hint == "" {
		return e.Msg
	}
	return e.Msg + " (" + e.Hint + ")"
}

// Resolve returns the wanted packages and all that they depend on (Depends and
// Pre-Depends), sorted by name. Of a package that several indexes have, the
// highest version is taken. Dependencies that match an exclude (path.Match on
// the name) count as met by nothing; a wanted package is never excluded. Among
// alternatives, one that is taken anyway is preferred, then the first. The
// result depends on the sets alone, not on their order.
//
// The error is a *PackageError, marked as bad input, if a package does not
// exist or its dependencies cannot be met.
func Resolve(indexes []*Index, want, exclude []string, goarch string) ([]Package, error) {
	arch, err := Architecture(goarch)
	if err != nil {
		return nil, err
	}
	for _, glob := range exclude {
		if _, err := path.Match(glob, ""); err != nil {
			return nil, diag.Inputf("exclude %q: not a glob", glob)
		}
	}
	native, err := dependency.ParseArch(arch)
	if err != nil {
		return nil, fmt.Errorf("architecture %q: %w", arch, err)
	}
	r := &resolver{
		indexes: indexes, exclude: exclude, native: native.CPU,
		candidates: map[string]*stanza{}, taken: map[string]*choice{}, providedBy: map[string][]*choice{},
	}
	if err := r.run(slices.Compact(slices.Sorted(slices.Values(want)))); err != nil {
		return nil, diag.Input(err)
	}
	packages := make([]Package, 0, len(r.taken))
	for _, name := range slices.Sorted(maps.Keys(r.taken)) {
		packages = append(packages, r.taken[name].toPackage())
	}
	return packages, nil
}

type resolver struct {
	indexes    []*Index
	exclude    []string
	native     string // CPU
	candidates map[string]*stanza
	taken      map[string]*choice
	providedBy map[string][]*choice // taken packages by the names they provide
	queue      []*choice            // taken, dependencies not looked at yet
}

// choice is a package that was taken, and for whose sake.
type choice struct {
	*stanza
	wanter *choice // nil: it is wanted itself
}

// need is a dependency of a taken package.
type need struct {
	of *choice
	dependency.Relation
}

func (r *resolver) run(want []string) error {
	for _, name := range want {
		s := r.candidate(name)
		if s == nil {
			return r.unknown(name)
		}
		r.take(s, nil)
	}
	// Dependencies that leave a choice wait until those that leave none are
	// met: what the latter take decides many of the former.
	var open []need
	for len(r.queue) > 0 || len(open) > 0 {
		if len(r.queue) > 0 {
			next := r.queue[0]
			r.queue = r.queue[1:]
			needs, err := r.needs(next)
			if err != nil {
				return err
			}
			for _, n := range needs {
				if len(n.Possibilities) > 1 || r.candidate(n.Possibilities[0].Name) == nil {
					open = append(open, n)
				} else if err := r.meet(n); err != nil {
					return err
				}
			}
			continue
		}
		next := open[0]
		open = open[1:]
		if err := r.meet(next); err != nil {
			return err
		}
	}
	return nil
}

// candidate returns the highest version of a package; nil if there is none.
func (r *resolver) candidate(name string) *stanza {
	best, ok := r.candidates[name]
	if ok {
		return best
	}
	for _, x := range r.indexes {
		for _, s := range x.byName[name] {
			if best == nil || compare(s.version, best.version) > 0 {
				best = s
			}
		}
	}
	r.candidates[name] = best
	return best
}

func (r *resolver) take(s *stanza, by *choice) {
	if r.taken[s.name] != nil {
		return
	}
	c := &choice{s, by}
	r.taken[s.name] = c
	r.queue = append(r.queue, c)
	for _, p := range provisions(s) {
		r.providedBy[p.Name] = append(r.providedBy[p.Name], c)
	}
}

// needs returns the dependencies of a package that are to be met.
func (r *resolver) needs(c *choice) ([]need, error) {
	var needs []need
	for _, field := range []string{c.preDepends, c.depends} {
		d, err := dependency.Parse(field)
		if err != nil {
			return nil, r.failed(c, fmt.Sprintf("its dependencies %q make no sense: %v", field, err))
		}
		for _, relation := range d.Relations {
			if len(relation.Possibilities) > 0 {
				needs = append(needs, need{c, relation})
			}
		}
	}
	return needs, nil
}

// meet takes what a dependency needs, unless it is met already.
func (r *resolver) meet(n need) error {
	for _, p := range n.Possibilities {
		if c := r.taken[p.Name]; c != nil && r.satisfies(c.stanza, p) {
			return nil
		}
		for _, c := range r.providedBy[p.Name] {
			if r.satisfies(c.stanza, p) {
				return nil
			}
		}
	}
	for _, p := range n.Possibilities {
		if r.excluded(p.Name) {
			return nil
		}
		if s := r.best(p); s != nil {
			r.take(s, n.of)
			return nil
		}
	}
	return r.unmet(n)
}

// best returns the package to take for a possibility: the one of that name, or
// else, of those that provide it, the one of the highest priority, then the
// first by name.
func (r *resolver) best(p dependency.Possibility) *stanza {
	if s := r.candidate(p.Name); s != nil && r.satisfies(s, p) {
		return s
	}
	var found []*stanza
	for _, s := range r.providers(p.Name) {
		if r.satisfies(s, p) && !r.excluded(s.name) {
			found = append(found, s)
		}
	}
	if len(found) == 0 {
		return nil
	}
	return slices.MinFunc(found, func(a, b *stanza) int {
		return cmp.Or(cmp.Compare(priority(a), priority(b)), cmp.Compare(a.name, b.name))
	})
}

// providers returns the packages whose highest version provides a name.
func (r *resolver) providers(name string) []*stanza {
	var found []*stanza
	for _, x := range r.indexes {
		for _, s := range x.provided[name] {
			if r.candidate(s.name) == s {
				found = append(found, s)
			}
		}
	}
	return found
}

func priority(s *stanza) int {
	levels := []string{"required", "important", "standard", "optional"}
	if i := slices.Index(levels, s.priority); i >= 0 {
		return i
	}
	return len(levels)
}

// satisfies says whether a package meets a possibility, by its name and
// version or by what it provides. (Of the architecture qualifiers ":any" is
// always met: only one architecture is in use.)
func (r *resolver) satisfies(s *stanza, p dependency.Possibility) bool {
	if p.Arch != nil && p.Arch.CPU != "any" && p.Arch.CPU != r.native {
		return false
	}
	if s.name == p.Name {
		if p.Version == nil || related(s.version, p.Version.Operator, p.Version.Number) {
			return true
		}
	}
	for _, provided := range provisions(s) {
		if provided.Name != p.Name {
			continue
		}
		if p.Version == nil || provided.Version != nil && related(provided.Version.Number, p.Version.Operator, p.Version.Number) {
			return true
		}
	}
	return false
}

// provisions returns what a package provides besides itself.
func provisions(s *stanza) []dependency.Possibility {
	if s.provides == "" {
		return nil
	}
	d, err := dependency.Parse(s.provides)
	if err != nil {
		return nil // it provides nothing that anybody could understand
	}
	return d.GetAllPossibilities()
}

func (r *resolver) excluded(name string) bool {
	return slices.ContainsFunc(r.exclude, func(glob string) bool {
		ok, _ := path.Match(glob, name) // Resolve checked the globs
		return ok
	})
}

// compare compares versions as dpkg does (deb-version(7)). What is no version
// is lower than any that is one.
func compare(a, b string) int {
	x, errX := version.Parse(a)
	y, errY := version.Parse(b)
	switch {
	case errX != nil && errY != nil:
		return strings.Compare(a, b)
	case errX != nil:
		return -1
	case errY != nil:
		return 1
	}
	return version.Compare(x, y)
}

// related says whether a version stands in a relation to another.
func related(have, operator, want string) bool {
	c := compare(have, want)
	switch operator {
	case ">=":
		return c >= 0
	case "<=":
		return c <= 0
	case ">>":
		return c > 0
	case "<<":
		return c < 0
	default:
		return c == 0
	}
}
