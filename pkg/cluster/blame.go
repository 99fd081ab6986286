package cluster

import (
	"errors"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/document"
	"github.com/slipway-os/slipway/pkg/role"
)

// blame finds what is wrong with a role once more, in a text of which each
// value has a place of its own, and tells it at the places of the description.
func (c *checker) blame(merged *yaml.Node, of string, found error) {
	text, places, err := c.spread(merged)
	if err != nil {
		c.errorf("nodes", "", "making the roles: %v", err)
		return
	}
	if _, err = role.Parse("role", text); err == nil {
		err = found
	}
	useless := diag.Position{} // whatever else is wrong with what does not go with the role
	for _, e := range split(err) {
		var d *diag.Error
		if !errors.As(e, &d) {
			c.errorf("nodes", "", "%v", e)
			continue
		}
		if d.Pos == useless {
			continue
		}
		if errors.Is(d, role.ErrOtherRole) {
			useless = d.Pos
		}
		pos, known := places[[2]int{d.Pos.Line, d.Pos.Column}]
		if !known {
			pos = c.place(merged)
		}
		if c.unread[pos] != nil || c.told[pos] {
			continue
		}
		msg := d.Msg
		if c.doc.Has("name") && pos == c.doc.Position("name") {
			msg = strings.TrimPrefix(msg, "cluster.") // as it is called here
		}
		c.found(&diag.Error{Pos: pos, Msg: msg, Hint: d.Hint, Field: d.Field, Kind: d.Kind}, of)
	}
}

// spread writes a role so that each value has a place of its own, and says what
// its places are in the description.
func (c *checker) spread(merged *yaml.Node) ([]byte, map[[2]int]diag.Position, error) {
	text, err := document.Encode(merged, yaml.FlowStyle)
	if err != nil {
		return nil, nil, err
	}
	var written yaml.Node
	if err := yaml.Unmarshal(text, &written); err != nil || len(written.Content) != 1 {
		return nil, nil, errors.New("they are no YAML")
	}
	places := map[[2]int]diag.Position{}
	c.locate(places, merged, written.Content[0])
	return text, places, nil
}

// locate maps the places of a text to those that its values come from.
func (c *checker) locate(places map[[2]int]diag.Position, from, written *yaml.Node) {
	places[[2]int{written.Line, written.Column}] = c.place(from)
	for i := range min(len(from.Content), len(written.Content)) {
		c.locate(places, from.Content[i], written.Content[i])
	}
}

// misplaced is a finding about what only nodes of other roles do, in the
// section all.
type misplaced struct {
	problem *diag.Error
	refused []string // roles that it does not go with
}

// found adds what was found in a node's role.
func (c *checker) found(p *diag.Error, of string) {
	if !errors.Is(p, role.ErrOtherRole) || !covers(c.doc.Node("all"), p.Pos) {
		c.add(p)
		return
	}
	m := c.misplaced[p.Pos]
	if m == nil {
		m = &misplaced{problem: p}
		c.misplaced[p.Pos] = m
		c.add(p)
	}
	m.refused = append(m.refused, of)
}

// move says where what is misplaced belongs: to the nodes that did not refuse it.
func (c *checker) move(f *file) {
	for _, m := range c.misplaced {
		var to []string
		for _, r := range roles() {
			there := false
			for i, e := range f.Nodes {
				there = there || e.Role == r && c.known(i, e)
			}
			if there && !slices.Contains(m.refused, r) {
				to = append(to, shared()[r])
			}
		}
		if len(to) > 0 {
			m.problem.Hint = "move it to " + strings.Join(to, " and ")
		}
	}
}

// echoes leaves out what other roles, which list the node, say of a name or an
// address that its own role complains of.
func (c *checker) echoes() {
	own := map[diag.Position]bool{}
	for _, p := range c.problems {
		own[p.Pos] = own[p.Pos] || strings.HasPrefix(p.Field, "node.")
	}
	c.problems = slices.DeleteFunc(c.problems, func(p *diag.Error) bool {
		return own[p.Pos] && slices.ContainsFunc([]string{"init.others[", "etcd.members[", "virtualIP.controlPlanes["}, func(list string) bool { return strings.HasPrefix(p.Field, list) })
	})
}

// covers reports whether something in a value stands at a place.
func covers(n *yaml.Node, pos diag.Position) bool {
	if n == nil {
		return false
	}
	return n.Line == pos.Line && n.Column == pos.Column || slices.ContainsFunc(n.Content, func(c *yaml.Node) bool { return covers(c, pos) })
}
