package debian

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"pault.ag/go/debian/dependency"

	"github.com/slipway-os/slipway/pkg/diag"
)

// unknown says that a wanted package does not exist.
func (r *resolver) unknown(name string) error {
	e := &PackageError{Package: name, Unknown: true, Msg: fmt.Sprintf("package %q does not exist in %s", name, r.suites())}
	if found := r.providers(name); len(found) > 0 {
		names := map[string]bool{}
		for _, s := range found {
			names[s.name] = true
		}
		e.Hint = "it is provided by " + strings.Join(slices.Sorted(maps.Keys(names)), ", ") + ": name one of them"
		return e
	}
	names := map[string]bool{}
	for _, x := range r.indexes {
		for name := range x.byName {
			names[name] = true
		}
	}
	e.Hint = diag.Suggest(name, slices.Sorted(maps.Keys(names)))
	return e
}

// Elsewhere returns for which architectures (Go's names), other than one, the
// suites have a package. One whose indexes cannot be read is not among them.
func (c *Client) Elsewhere(ctx context.Context, suites []Suite, name, goarch string) []string {
	var found []string
	for _, other := range []string{"amd64", "arm64", "ppc64le", "s390x"} {
		if other == goarch {
			continue
		}
		indexes, err := c.Indexes(ctx, suites, other)
		if err == nil && slices.ContainsFunc(indexes, func(x *Index) bool { return len(x.byName[name]) > 0 }) {
			found = append(found, other)
		}
	}
	return found
}

func (r *resolver) suites() string {
	var names []string
	for _, x := range r.indexes {
		if !slices.Contains(names, x.Suite) {
			names = append(names, x.Suite)
		}
	}
	return strings.Join(names, ", ")
}

// unmet says which chain of dependencies led to one that nothing meets, and
// what there is instead.
func (r *resolver) unmet(n need) error {
	var words, there []string
	for _, p := range n.Possibilities {
		words = append(words, possibility(p))
		for _, x := range r.indexes {
			for _, s := range x.byName[p.Name] {
				there = append(there, fmt.Sprintf("%s %s is in %s", s.name, s.version, x.Suite))
			}
		}
		for _, s := range r.providers(p.Name) {
			there = append(there, fmt.Sprintf("%s %s in %s provides %s", s.name, s.version, s.suite, s.provides))
		}
	}
	what := "no such package"
	if len(there) > 0 {
		what = "no such version; " + strings.Join(there, ", ")
	}
	return r.failed(n.of, strings.Join(words, " | ")+": "+what)
}

// failed says what is wrong behind a taken package.
func (r *resolver) failed(c *choice, what string) error {
	chain := []string{what}
	for ; c.wanter != nil; c = c.wanter {
		chain = append(chain, c.name)
	}
	slices.Reverse(chain)
	return &PackageError{
		Package: c.name,
		Msg:     fmt.Sprintf("package %q -> %s", c.name, strings.Join(chain, " -> ")),
		Hint:    "leave it out, or exclude what it should not need",
	}
}

// possibility writes one alternative of a dependency as control files do.
func possibility(p dependency.Possibility) string {
	if p.Version == nil {
		return p.Name
	}
	return fmt.Sprintf("%s (%s %s)", p.Name, p.Version.Operator, p.Version.Number)
}
