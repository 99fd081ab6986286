package cluster

import (
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/role"
)

// warning is what should be known about the roles of some nodes.
type warning struct {
	what  *diag.Error
	found map[string]int // at how many nodes of each role
}

// observe notes the warnings about a node's role, at the places of the
// description. Those about lists of the nodes are the description's own.
func (c *checker) observe(n *Node, merged *yaml.Node) {
	if len(n.Role.Warnings()) == 0 {
		return
	}
	text, places, err := c.spread(merged)
	if err != nil {
		return
	}
	r, err := role.Parse("role", text)
	if err != nil { // as a file for the node it was right
		return
	}
	for _, w := range r.Warnings() {
		pos := places[[2]int{w.Pos.Line, w.Pos.Column}]
		if pos.Line == 0 {
			continue
		}
		key := diag.Error{Pos: pos, Msg: w.Msg, Hint: w.Hint}
		if c.warnings[key] == nil {
			c.warnings[key] = &warning{&key, map[string]int{}}
		}
		c.warnings[key].found[n.Role.Role]++
	}
}

// warn passes on what was noted. What a section says in vain for some of its
// nodes is for the others.
func (c *checker) warn() {
	nodes := map[string]int{}
	for _, n := range c.cluster.Nodes {
		nodes[n.Role.Role]++
	}
	for _, w := range c.warnings {
		others := false
		for r, n := range w.found {
			others = others || n < nodes[r]
		}
		if !others || !c.general(w.what.Pos) {
			c.cluster.Warnings = append(c.cluster.Warnings, w.what)
		}
	}
}

// general reports whether a place is in a section that is for several nodes.
func (c *checker) general(pos diag.Position) bool {
	sections := []string{"all"}
	for _, s := range shared() {
		sections = append(sections, s)
	}
	return slices.ContainsFunc(sections, func(s string) bool { return covers(c.doc.Node(s), pos) })
}
