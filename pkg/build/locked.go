package build

import (
	"fmt"
	"path/filepath"
	"slices"

	"github.com/slipway-os/slipway/pkg/component"
	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/lock"
)

// anew is what to do about a lock that does not fit.
const anew = "remove the lock to resolve anew"

// notLocked is bad input: the lock is of something else.
func (r *run) notLocked(hint, format string, args ...any) error {
	return diag.At(diag.Position{File: r.LockFile}, hint, format, args...)
}

// readLock reads the lock that is to be built from; nil if there is none.
func (r *run) readLock() (*lock.Lock, error) {
	if r.LockFile == "" {
		if r.Offline {
			return nil, diag.Inputf("--offline needs a lock: name one with --lock, for example %s", filepath.Join(r.Out, lockName))
		}
		return nil, nil
	}
	given, err := lock.Read(r.LockFile)
	if err != nil {
		return nil, err
	}
	if given == nil {
		return nil, diag.Inputf("reading lock %q: no such file", r.LockFile)
	}
	if given.Profile != r.Profile.Name || given.Architecture != r.arch {
		return nil, r.notLocked("name that profile, or another lock", "the lock is of profile %q for %s, not of %q for %s", given.Profile, given.Architecture, r.Profile.Name, r.arch)
	}
	return given, r.covered(given)
}

// covered checks that a lock has all packages that are wanted: the profile may
// have changed since.
func (r *run) covered(given *lock.Lock) error {
	check := func(set, name string, at diag.Position) error {
		i := slices.IndexFunc(given.Sets, func(s lock.Set) bool { return s.Name == set })
		if i >= 0 && slices.Contains(given.Sets[i].Packages, name) {
			return nil
		}
		return diag.At(at, anew, "package %q is not in the lock %s", name, r.LockFile)
	}
	p := r.Profile
	if err := check(lock.RootSet, p.Kernel.Package, p.Origin("kernel.package", "")); err != nil {
		return err
	}
	for _, name := range p.OS.Packages {
		if err := check(lock.RootSet, name, p.Origin("os.packages", name)); err != nil {
			return err
		}
	}
	for i := range r.defs.Layers {
		l := &r.defs.Layers[i]
		for j, name := range l.Packages {
			if err := check(lock.LayerSet+l.Name, name, l.Position(fmt.Sprintf("packages[%d]", j))); err != nil {
				return err
			}
		}
	}
	return nil
}

// lockComponents returns the components for the lock. If a lock was given,
// they must be those in it.
func (r *run) lockComponents(results []component.Result, given *lock.Lock) ([]lock.Component, error) {
	var out []lock.Component
	for _, c := range results {
		out = append(out, lock.Component{Name: c.Name, Version: c.Version, Modules: c.Modules})
	}
	if given == nil {
		return out, nil
	}
	for _, c := range out {
		i := slices.IndexFunc(given.Components, func(g lock.Component) bool { return g.Name == c.Name })
		if i < 0 {
			return nil, r.notLocked(anew, "component %q is not in the lock", c.Name)
		}
		if g := given.Components[i]; g.Version != c.Version || !slices.Equal(g.Modules, c.Modules) {
			return nil, r.notLocked(anew, "component %q is %s with other modules than the lock's %s", c.Name, c.Version, g.Version)
		}
	}
	return out, nil
}
