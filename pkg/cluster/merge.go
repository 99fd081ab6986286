package cluster

import (
	"errors"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/document"
	"github.com/slipway-os/slipway/pkg/role"
)

// roles makes the role of each node and checks it. What is wrong with one is
// blamed on the place in the description that said it.
func (c *checker) roles(f *file) {
	first := slices.IndexFunc(f.Nodes, func(e entry) bool { return e.Role == role.ControlPlane })
	members, planes := c.members(f, role.Etcd), c.members(f, role.ControlPlane)
	common := c.common(f)
	for i, e := range f.Nodes {
		merged := c.role(i, e, i == first, common, members)
		if !c.share(f, merged, e, planes) {
			continue
		}
		text, err := document.Encode(merged, 0)
		if err != nil {
			c.errorf(at(i), "", "making the role: %v", err)
			continue
		}
		r, err := role.Parse(f.Nodes[i].Name, text)
		if err != nil {
			c.blame(merged, err)
			continue
		}
		c.cluster.Nodes = append(c.cluster.Nodes, &Node{Name: e.Name, Select: e.Select, Role: r, RoleFile: text, pos: c.doc.Position(at(i))})
	}
	if len(c.problems) == 0 {
		c.together()
	}
}

// members lists the nodes of a role by their names and addresses; nil if there
// are none.
func (c *checker) members(f *file, of string) *yaml.Node {
	var list *yaml.Node
	for i, e := range f.Nodes {
		if e.Role != of {
			continue
		}
		if list == nil {
			list = &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		}
		one := document.Mapping(c.doc.Node(at(i)))
		c.identify(one, i, e)
		list.Content = append(list.Content, one)
	}
	return list
}

// identify says the name and the addresses of a node.
func (c *checker) identify(n *yaml.Node, i int, e entry) {
	document.Put(n, "name", c.doc.Node(at(i)+".name"))
	if e.IP != "" {
		document.Put(n, "ip", c.doc.Node(at(i)+".ip"))
	}
	if e.SecondIP != "" {
		document.Put(n, "secondIP", c.doc.Node(at(i)+".secondIP"))
	}
}

// share names all control planes to one that shares an address with them,
// unless the description does. It reports whether that can be done.
func (c *checker) share(f *file, merged *yaml.Node, e entry, planes *yaml.Node) bool {
	shared := document.Value(merged, "virtualIP")
	if e.Role != role.ControlPlane || shared == nil || shared.Kind != yaml.MappingNode || document.Value(shared, "controlPlanes") != nil {
		return true
	}
	for i, e := range f.Nodes {
		if e.Role == role.ControlPlane && e.IP == "" {
			c.errorf(at(i), "give its ip", "%s: control planes that share a virtualIP must know each other's addresses", at(i))
			return false
		}
	}
	named := document.Mapping(shared)
	named.Content = append(named.Content, shared.Content...)
	document.Put(named, "controlPlanes", planes)
	for i := 0; i+1 < len(merged.Content); i += 2 {
		if merged.Content[i+1] == shared {
			merged.Content[i+1] = named
		}
	}
	return true
}

// common is the section cluster of every role.
func (c *checker) common(f *file) *yaml.Node {
	given := c.doc.Node("cluster")
	n := document.Mapping(given)
	document.Put(n, "name", c.doc.Node("name"))
	if shared := c.sharedAddress(); shared != nil && f.Cluster.Endpoint == "" && !c.doc.Has("cluster.endpoint") {
		document.Put(n, "endpoint", shared)
	}
	if given == nil {
		return n
	}
	for i := 0; i+1 < len(given.Content); i += 2 {
		if given.Content[i].Value != "name" {
			n.Content = append(n.Content, given.Content[i], given.Content[i+1])
		}
	}
	return n
}

// sharedAddress is the address that the control planes share, if they do. It
// is where the cluster is, unless the description says otherwise.
func (c *checker) sharedAddress() *yaml.Node {
	for _, section := range []string{shared()[role.ControlPlane], "all"} {
		if n := c.doc.Node(section + ".virtualIP.addresses[0]"); n != nil && n.Kind == yaml.ScalarNode {
			return n
		}
	}
	return nil
}

// role merges the role of a node. It is made of the nodes of the description,
// so that each knows where it was written.
func (c *checker) role(i int, e entry, first bool, common, members *yaml.Node) *yaml.Node {
	here := c.doc.Node(at(i))
	n := document.Mapping(here)
	document.Put(n, "version", &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: "1", Line: here.Line, Column: here.Column})
	document.Put(n, "role", c.doc.Node(at(i)+".role"))
	switch {
	case first:
		document.Put(n, "init", document.Mapping(here))
	case e.Role != role.Etcd:
		document.Put(n, "join", document.Mapping(here))
	}
	if members != nil && e.Role != role.Worker {
		etcd := document.Mapping(here)
		document.Put(etcd, "members", members)
		document.Put(n, "etcd", etcd)
	}
	document.Put(n, "cluster", common)
	node := document.Mapping(here)
	c.identify(node, i, e)
	document.Put(n, "node", node)
	for _, section := range []string{"all", shared()[e.Role], at(i) + ".with"} {
		if over := c.doc.Node(section); over != nil && over.Kind == yaml.MappingNode {
			n = document.Merge(n, over)
		}
	}
	return n
}

// blame finds what is wrong with a role once more, in a text of which each
// value has a place of its own, and tells it at the places of the description.
func (c *checker) blame(merged *yaml.Node, found error) {
	name := c.doc.Position("").File
	text, err := document.Encode(merged, yaml.FlowStyle)
	if err != nil {
		c.errorf("nodes", "", "making the roles: %v", err)
		return
	}
	var written yaml.Node
	if err := yaml.Unmarshal(text, &written); err != nil || len(written.Content) != 1 {
		c.errorf("nodes", "", "making the roles: they are no YAML")
		return
	}
	places := map[[2]int]diag.Position{}
	locate(places, name, merged, written.Content[0])
	if _, err = role.Parse(name, text); err == nil {
		err = found
	}
	for _, e := range split(err) {
		var d *diag.Error
		if !errors.As(e, &d) {
			c.errorf("nodes", "", "%v", e)
			continue
		}
		pos, known := places[[2]int{d.Pos.Line, d.Pos.Column}]
		if !known {
			pos = diag.Position{File: name, Line: merged.Line, Column: merged.Column}
		}
		c.add(diag.At(pos, d.Hint, "%s", d.Msg))
	}
}

// locate maps the places of a text to those that its values come from.
func locate(places map[[2]int]diag.Position, file string, from, written *yaml.Node) {
	places[[2]int{written.Line, written.Column}] = diag.Position{File: file, Line: from.Line, Column: from.Column}
	for i := range min(len(from.Content), len(written.Content)) {
		locate(places, file, from.Content[i], written.Content[i])
	}
}
