package kmod

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/slipway-os/slipway/pkg/tree"
)

// maxOrder bounds modules.order and its like.
const maxOrder = 16 << 20

// graph is the modules of a set as depmod sees them. Its order is that of
// modules.order, and the index of a module in it is the module's priority.
type graph struct {
	modules []*Module
	owners  map[string]int // symbol to the module that exports it
	deps    [][]int        // direct dependencies
	rank    []int          // in an order in which nothing comes before what needs it
}

// graph puts the modules in order. Dependencies that go in a circle are an
// error, as they are to depmod.
func (s *Set) graph() (*graph, error) {
	if len(s.modules) >= math.MaxUint16 {
		return nil, fmt.Errorf("%d modules are more than depmod takes", len(s.modules))
	}
	order, err := s.order()
	if err != nil {
		return nil, err
	}
	g := &graph{}
	for _, i := range order {
		g.modules = append(g.modules, &s.modules[i])
	}
	g.owners = owners(g.modules)
	g.deps = dependencies(g.modules, g.owners)
	return g, g.sort()
}

// link returns each module's direct dependencies, by index in s.modules. These
// are the modules that export what it needs, which is what modprobe goes by;
// what modinfo says under depends= is the same but where modules were replaced.
func (s *Set) link() [][]int {
	modules := make([]*Module, len(s.modules))
	for i := range modules {
		modules[i] = &s.modules[i]
	}
	return dependencies(modules, owners(modules))
}

// order returns the indexes of modules as modules.order, the order of the
// kernel's Makefiles, has them: of two that match a device, the earlier one is
// loaded first. Those it does not name come last.
func (s *Set) order() ([]int, error) {
	byName := s.byName()
	names := make([]string, 0, len(byName))
	for name := range byName {
		names = append(names, name)
	}
	hashOrder(names, moduleBuckets)
	order := make([]int, len(names))
	for i, name := range names {
		order[i] = byName[name]
	}
	text, err := s.read(fileOrder)
	if err != nil || !wellFormed(text) {
		return order, err // depmod does not sort by a damaged file either
	}
	byPath := make(map[string]int, len(s.modules))
	for i := range s.modules {
		byPath[s.modules[i].orderPath()] = i
	}
	place := make(map[int]int)
	for n, line := range bytes.Split(text, []byte("\n")) {
		if i, ok := byPath[string(line)]; ok {
			place[i] = n
		}
	}
	at := func(i int) int {
		if n, ok := place[i]; ok {
			return n
		}
		return math.MaxInt
	}
	slices.SortStableFunc(order, func(a, b int) int { return at(a) - at(b) })
	return order, nil
}

// wellFormed says if text consists of lines that fit depmod's buffer.
func wellFormed(text []byte) bool {
	for line := range bytes.Lines(text) {
		if !bytes.HasSuffix(line, []byte("\n")) || len(line) >= maxLine || bytes.IndexByte(line, 0) >= 0 {
			return false
		}
	}
	return true
}

// orderPath is how modules.order names the module, as depmod reckons: as many
// bytes of the path as the module's name and ".ko" need.
func (m *Module) orderPath() string {
	base := strings.LastIndexByte(m.Path, '/') + 1
	return m.Path[:base+len(m.Name)+len(".ko")]
}

// read returns a file that the kernel package shipped, nil if it did not.
func (s *Set) read(name string) ([]byte, error) {
	n := s.shipped[name]
	if n == nil || n.Content == nil {
		return nil, nil
	}
	data, err := tree.ReadAll(n.Content, maxOrder)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return data, nil
}

// owners maps symbols to who exports them; of several the last.
func owners(modules []*Module) map[string]int {
	owners := make(map[string]int)
	for i, m := range modules {
		for _, name := range m.exports {
			owners[name] = i
		}
	}
	return owners
}

// dependencies returns the modules that export what each needs, in the order
// in which its symbols have it. A leading dot is that of a function's entry in
// the first ABI of 64-bit POWER.
func dependencies(modules []*Module, owners map[string]int) [][]int {
	deps := make([][]int, len(modules))
	for i, m := range modules {
		seen := make(map[int]bool)
		for _, name := range m.needs {
			owner, ok := owners[strings.TrimPrefix(name, ".")]
			if ok && !seen[owner] {
				seen[owner] = true
				deps[i] = append(deps[i], owner)
			}
		}
	}
	return deps
}

// sort ranks the modules: those that no other needs first. It is
// depmod_calculate_dependencies, with its stack, as the lines of modules.dep
// follow its order.
func (g *graph) sort() error {
	users := make([][]int, len(g.modules))
	for i, deps := range g.deps {
		for _, d := range deps {
			users[d] = append(users[d], i)
		}
	}
	left := make([]int, len(users))
	var roots []int
	for i := range users {
		if left[i] = len(users[i]); left[i] == 0 {
			roots = append(roots, i)
		}
	}
	g.rank = make([]int, len(users))
	ranked := 0
	for len(roots) > 0 {
		i := roots[len(roots)-1]
		roots = roots[:len(roots)-1]
		g.rank[i] = ranked
		ranked++
		for _, d := range g.deps[i] {
			if left[d]--; left[d] == 0 {
				roots = append(roots, d)
			}
		}
	}
	if ranked == len(users) {
		return nil
	}
	return g.circle(users, left)
}

// circle says which modules need each other. Each that is left has a user that
// is left too, so going from one to the next ends in a circle.
func (g *graph) circle(users [][]int, left []int) error {
	at := slices.IndexFunc(left, func(n int) bool { return n > 0 })
	path := []int{}
	for !slices.Contains(path, at) {
		path = append(path, at)
		at = users[at][slices.IndexFunc(users[at], func(u int) bool { return left[u] > 0 })]
	}
	path = append(path[slices.Index(path, at):], at)
	slices.Reverse(path)
	names := make([]string, len(path))
	for i, p := range path {
		names[i] = g.modules[p].Name
	}
	return fmt.Errorf("modules depend on each other: %s", strings.Join(names, " -> "))
}

// line returns a module's line of modules.dep: its path, and those of all that
// must be loaded before, the last first.
func (g *graph) line(i int) string {
	var all []int
	seen := make(map[int]bool)
	var visit func(i int)
	visit = func(i int) {
		for _, d := range g.deps[i] {
			if !seen[d] {
				seen[d] = true
				all = append(all, d)
				visit(d)
			}
		}
	}
	visit(i)
	slices.SortFunc(all, func(a, b int) int { return g.rank[a] - g.rank[b] })
	var line strings.Builder
	line.WriteString(g.modules[i].Path + ":")
	for _, d := range all {
		line.WriteString(" " + g.modules[d].Path)
	}
	return line.String()
}
