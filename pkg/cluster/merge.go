package cluster

import (
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/slipway-os/slipway/pkg/document"
	"github.com/slipway-os/slipway/pkg/role"
)

// roles makes the role of each node and checks it. What is wrong with one is
// blamed on the place in the description that said it.
func (c *checker) roles(f *file) {
	for _, p := range c.problems {
		c.told[p.Pos] = true
	}
	first := slices.IndexFunc(f.Nodes, func(e entry) bool { return e.Role == role.ControlPlane })
	members, planes := c.members(f, role.Etcd), c.members(f, role.ControlPlane)
	common := c.common(f)
	for i, e := range f.Nodes {
		if !c.known(i, e) {
			c.partial = true
			continue
		}
		merged := c.role(f, i, e, i == first, common, members)
		c.share(f, merged, e, planes)
		text, err := document.Encode(merged, 0)
		if err != nil {
			c.errorf(at(i), "", "making the role: %v", err)
			continue
		}
		r, err := role.Parse(e.Name, text)
		if err != nil {
			c.blame(merged, e.Role, err)
			continue
		}
		if r.Node.Name != e.Name { // its credentials, and what others know it by, are of that name
			c.errorf(at(i)+".name", "", "%s: the role has the name %q", at(i), r.Node.Name)
			continue
		}
		n := &Node{Name: e.Name, Select: e.Select, Role: r, RoleFile: text, at: at(i), pos: c.doc.Position(at(i))}
		c.cluster.Nodes = append(c.cluster.Nodes, n)
		c.observe(n, merged)
	}
	c.echoes()
	c.move(f)
	c.warn()
	if !c.partial && first >= 0 {
		c.together(f, first)
	}
}

// members lists the nodes of a role by their names and addresses; nil if there
// are none.
func (c *checker) members(f *file, of string) *yaml.Node {
	var list *yaml.Node
	for i, e := range f.Nodes {
		if e.Role != of || !c.known(i, e) {
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
	if e.SecondIP != "" && e.Role != role.Etcd {
		document.Put(n, "secondIP", c.doc.Node(at(i)+".secondIP"))
	}
}

// share names all control planes to one that shares an address with them,
// unless the description does. Where that cannot be done, nothing is shared.
func (c *checker) share(f *file, merged *yaml.Node, e entry, planes *yaml.Node) {
	shared := document.Value(merged, "virtualIP")
	if e.Role != role.ControlPlane || shared == nil || shared.Kind != yaml.MappingNode || document.Value(shared, "controlPlanes") != nil {
		return
	}
	all := true
	for i, e := range f.Nodes {
		if e.Role == role.ControlPlane && e.IP == "" {
			all = false
			c.missing(at(i)+".ip", "give its ip", "%s: control planes that share a virtualIP must know each other's addresses", at(i))
		}
	}
	place := slices.Index(merged.Content, shared)
	if !all {
		c.partial = true
		merged.Content = slices.Delete(merged.Content, place-1, place+1)
		return
	}
	named := document.Mapping(shared)
	named.Content = append(named.Content, shared.Content...)
	document.Put(named, "controlPlanes", planes)
	merged.Content[place] = named
}

// otherPlanes lists the addresses of the control planes but for one, as far as
// the description says them.
func (c *checker) otherPlanes(f *file, but int) *yaml.Node {
	list := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
	for i, e := range f.Nodes {
		if i != but && e.Role == role.ControlPlane && e.IP != "" && c.known(i, e) {
			list.Content = append(list.Content, c.doc.Node(at(i)+".ip"))
		}
	}
	return list
}

// common is the section cluster of every role.
func (c *checker) common(f *file) *yaml.Node {
	given := c.doc.Node("cluster")
	n := document.Mapping(given)
	if name := c.doc.Node("name"); name != nil {
		document.Put(n, "name", name)
	}
	if shared := c.sharedAddress(); shared != nil && f.Cluster.Endpoint == "" && !c.doc.Has("cluster.endpoint") {
		document.Put(n, "endpoint", shared)
	}
	if given == nil || given.Kind != yaml.MappingNode {
		return n
	}
	given = c.readable(given)
	for i := 0; i+1 < len(given.Content); i += 2 {
		if given.Content[i].Value != "name" {
			n.Content = append(n.Content, given.Content[i], given.Content[i+1])
		}
	}
	return n
}

// sharing are the sections that can say which address all control planes share.
func sharing() []string { return []string{shared()[role.ControlPlane], "all"} }

// sharedAddress is the address that the control planes share, if they do. It
// is where the cluster is, unless the description says otherwise.
func (c *checker) sharedAddress() *yaml.Node {
	for _, section := range sharing() {
		if n := c.doc.Node(section + ".virtualIP.addresses[0]"); n != nil && n.Kind == yaml.ScalarNode {
			return n
		}
	}
	return nil
}

// role merges the role of a node. It is made of the nodes of the description,
// so that each knows where it was written.
func (c *checker) role(f *file, i int, e entry, first bool, common, members *yaml.Node) *yaml.Node {
	here := c.doc.Node(at(i))
	n := document.Mapping(here)
	document.Put(n, "version", &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: "1", Line: here.Line, Column: here.Column})
	document.Put(n, "role", c.doc.Node(at(i)+".role"))
	switch {
	case first:
		init := document.Mapping(here)
		if others := c.otherPlanes(f, i); len(others.Content) > 0 {
			document.Put(init, "others", others)
		}
		document.Put(n, "init", init)
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
			n = document.Merge(n, c.readable(over))
		}
	}
	return n
}
