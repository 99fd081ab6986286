package cluster

import (
	"cmp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/role"
)

// fields checks the names of the fields of a section that is merged into roles.
func (c *checker) fields(section string) {
	n := c.doc.Node(section)
	if n == nil || n.Kind != yaml.MappingNode {
		return
	}
	known := slices.DeleteFunc(fieldNames(), func(name string) bool { return slices.Contains(ownFields(), name) })
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Kind != yaml.ScalarNode || key.Tag == "!!merge" {
			continue // decoding has found it
		}
		switch name := key.Value; {
		case name == "cluster":
			c.refuse(key, "give it in the section cluster", "cluster cannot be given here")
		case slices.Contains(ownFields(), name):
			c.refuse(key, "it follows from the list of nodes", "%s cannot be given here", name)
		case !slices.Contains(known, name):
			hint := cmp.Or(diag.Suggest(name, known), "known: "+strings.Join(known, ", "))
			c.refuse(key, hint, "unknown field %q", name)
		}
	}
	for _, field := range []string{"name", "ip", "secondIP"} {
		if n := c.doc.Node(section + ".node." + field); n != nil {
			c.refuse(n, "give the node's own "+field+", beside its role", "node.%s cannot be given here", field)
		}
	}
}

// refuse complains of what no section may give, so that it is left out of the
// roles.
func (c *checker) refuse(n *yaml.Node, hint, format string, args ...any) {
	pos := c.place(n)
	if c.unread[pos] != nil {
		return
	}
	c.partial = true
	c.unread[pos] = diag.At(pos, hint, format, args...)
	c.add(c.unread[pos])
}

// fieldNames are the names of a role's fields, sorted.
func fieldNames() []string {
	var names []string
	for name := range role.Schema()["properties"].(map[string]any) {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// readable is a section without what was refused in it. In lists it stays, with
// no value, so that the others keep their places.
func (c *checker) readable(n *yaml.Node) *yaml.Node {
	if len(c.unread) == 0 {
		return n
	}
	if n.Kind == yaml.AliasNode {
		nothing := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null", Line: n.Line, Column: n.Column}
		c.unread[c.place(n)] = diag.At(c.place(n), "", "an alias")
		return nothing
	}
	if n.Kind == yaml.ScalarNode {
		return n
	}
	left := *n
	left.Content = nil
	for i, v := range n.Content {
		switch {
		case n.Kind == yaml.SequenceNode:
			left.Content = append(left.Content, c.readable(v))
		case i%2 == 1 && n.Content[i-1].Kind == yaml.ScalarNode && c.unread[c.place(n.Content[i-1])] == nil && (v.Kind != yaml.ScalarNode || c.unread[c.place(v)] == nil):
			left.Content = append(left.Content, n.Content[i-1], c.readable(v))
		}
	}
	return &left
}
