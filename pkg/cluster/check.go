package cluster

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/document"
	"github.com/slipway-os/slipway/pkg/role"
)

// checker collects problems.
type checker struct {
	doc      *document.Document
	cluster  *Cluster
	problems []*diag.Error
	seen     map[string]bool // what is wrong for many nodes is said once
	// unread are the places of what could not be decoded, or is refused as it is:
	// there is no sense in checking what it says.
	unread map[diag.Position]*diag.Error
	told   map[diag.Position]bool // where the description's own checks found something: that is enough
	// partial says that not all is known of the nodes that they are to be.
	partial bool
	// misplaced are findings about what only nodes of other roles do, by their
	// places in the section all.
	misplaced map[diag.Position]*misplaced
	warnings  map[diag.Error]*warning
}

func newChecker(doc *document.Document, c *Cluster) *checker {
	return &checker{
		doc: doc, cluster: c,
		seen: map[string]bool{}, unread: map[diag.Position]*diag.Error{}, told: map[diag.Position]bool{}, misplaced: map[diag.Position]*misplaced{}, warnings: map[diag.Error]*warning{},
	}
}

// decoded takes the problems that decoding found.
func (c *checker) decoded(err error) {
	for _, err := range split(err) {
		var d *diag.Error
		if !errors.As(err, &d) {
			d = diag.At(c.doc.Position(""), "", "%v", err)
		}
		c.partial = true
		c.unread[d.Pos] = d
		c.add(d)
	}
}

// add adds a problem. Keys that were pasted where something else belongs are
// not shown.
func (c *checker) add(p *diag.Error) {
	if strings.Contains(p.Error(), "PRIVATE KEY") {
		p = diag.At(p.Pos, "remove it, and take it for stolen", "a private key is in the wrong place")
	}
	if !c.seen[p.Error()] {
		c.seen[p.Error()] = true
		c.problems = append(c.problems, p)
	}
}

func (c *checker) errorf(path, hint, format string, args ...any) {
	if pos := c.doc.Position(path); !c.doc.Has(path) || c.unread[pos] == nil && !c.told[pos] {
		c.add(diag.At(pos, hint, format, args...))
	}
}

// missing complains of a field that is not given, unless it is but misspelt.
func (c *checker) missing(path, hint, format string, args ...any) {
	if !c.misspelt(path) {
		c.errorf(path, hint, format, args...)
	}
}

// misspelt reports whether there is an unknown field that stands for another.
func (c *checker) misspelt(path string) bool {
	parent, name := c.doc.Root(), path
	if dot := strings.LastIndexByte(path, '.'); dot >= 0 {
		parent, name = c.doc.Node(path[:dot]), path[dot+1:]
	}
	return c.suggests(parent, name) || c.suggests(c.doc.Root(), path)
}

// suggests reports whether a mapping has an unknown field that may be meant to
// be another, or a merge key, which may stand for any.
func (c *checker) suggests(n *yaml.Node, name string) bool {
	for i := 0; isMapping(n) && i+1 < len(n.Content); i += 2 {
		p := c.unread[c.place(n.Content[i])]
		if p != nil && (p.Hint == fmt.Sprintf("did you mean %q?", name) || n.Content[i].Tag == "!!merge") {
			return true
		}
	}
	return false
}

func (c *checker) warnf(path, hint, format string, args ...any) {
	c.cluster.Warnings = append(c.cluster.Warnings, diag.At(c.doc.Position(path), hint, format, args...))
}

// place is where a value of the description stands.
func (c *checker) place(n *yaml.Node) diag.Position {
	return diag.Position{File: c.doc.Position("").File, Line: n.Line, Column: n.Column}
}

// isMapping reports whether a value is a mapping that was read.
func isMapping(n *yaml.Node) bool {
	return n != nil && n.Kind == yaml.MappingNode && n.Anchor == ""
}

// check checks what is not a matter of one node's role.
func (c *checker) check(f *file) {
	if f.Version == 0 {
		what := "must be 1"
		if !c.doc.Has("version") {
			what = "is missing"
		}
		c.missing("version", "write version: 1", "version %s", what)
	}
	if f.Name == "" {
		c.missing("name", "the one that was given to builder cluster new --name", "name is missing")
	} else if c.doc.Has("cluster.name") && f.Cluster.Name != f.Name {
		c.errorf("cluster.name", "leave it out", "cluster.name is %q, but name is %q", f.Cluster.Name, f.Name)
	}
	count := map[string]int{}
	for i, e := range f.Nodes {
		count[e.Role]++
		c.entry(i, e)
	}
	switch known := count[role.ControlPlane] + count[role.Worker] + count[role.Etcd]; {
	case len(f.Nodes) == 0:
		c.missing("nodes", "nodes: [{name: cp1, role: control-plane}]", "there are no nodes")
	case count[role.ControlPlane] == 0 && known == len(f.Nodes): // no role is misspelt
		c.errorf("nodes", "give one of them role: control-plane", "there is no control plane")
	}
	c.findable(f)
	c.fields("all")
	for _, r := range roles() {
		section := shared()[r]
		c.fields(section)
		if c.doc.Has(section) && count[r] == 0 {
			c.warnf(section, "", "%s is given, but there is no node of role %q", section, r)
		}
	}
	c.unique(f)
	c.selects(f)
	switch stores, members := count[role.ControlPlane], count[role.Etcd]; {
	case members > 0 && members%2 == 0:
		c.warnf("nodes", "an odd number", "%d etcd members stand the loss of no more of them than %d", members, members-1)
	case members == 0 && stores > 0 && stores%2 == 0:
		c.warnf("nodes", "an odd number", "%d control planes, whose etcd stands the loss of no more of them than that of %d", stores, stores-1)
	}
}

// findable sees that nodes are told where the control planes are.
func (c *checker) findable(f *file) {
	if len(f.Nodes) < 2 || f.Cluster.Endpoint != "" {
		return
	}
	if n := c.doc.Node("cluster"); n != nil && !isMapping(n) && c.unread[c.place(n)] != nil {
		return
	}
	for _, section := range sharing() {
		if c.doc.Has(section+".virtualIP.addresses") && !c.doc.Has("cluster.endpoint") {
			return // what is wrong with it, the roles' checks find
		}
	}
	c.missing("cluster.endpoint", "a name or address, with a port if it is not 6443, that leads to the control planes; or let them share one: virtualIP", "cluster.endpoint must be given if there is more than one node")
}

func (c *checker) entry(i int, e entry) {
	path := at(i)
	if !isMapping(c.doc.Node(path)) {
		return
	}
	if e.Name == "" {
		c.missing(path+".name", "name: cp1", "%s has no name", path)
	}
	switch {
	case e.Role == "":
		c.missing(path+".role", "one of "+strings.Join(roles(), ", "), "%s has no role", path)
	case !slices.Contains(roles(), e.Role):
		hint := cmp.Or(diag.Suggest(e.Role, roles()), "known: "+strings.Join(roles(), ", "))
		c.errorf(path+".role", hint, "unknown role %q", e.Role)
	}
	if e.Role == role.Etcd && e.IP == "" {
		c.missing(path+".ip", "give its ip", "%s is an etcd member without an address: the others could not find it", path)
	}
	if c.doc.Has(path+".ip") && e.IP == "" && e.Role != role.Etcd {
		c.errorf(path+".ip", "leave it out, or give it a value", "%s.ip is empty", path)
	}
	switch {
	case !c.doc.Has(path + ".secondIP"):
	case e.SecondIP == "":
		c.errorf(path+".secondIP", "leave it out, or give it a value", "%s.secondIP is empty", path)
	case e.Role == role.Etcd:
		c.errorf(path+".secondIP", "leave it out", "%s.secondIP does not go with role %q: etcd members have one address", path, e.Role)
	}
	if path := path + ".select"; c.doc.Has(path) && len(c.doc.Node(path).Content) == 0 {
		c.errorf(path, "give its mac, serial, uuid or hostname, or leave select out", "%s matches no machine", path)
	}
	c.fields(path + ".with")
}

// known reports whether enough is known of a node to make its role.
func (c *checker) known(i int, e entry) bool {
	return isMapping(c.doc.Node(at(i))) && e.Name != "" && slices.Contains(roles(), e.Role) && (e.Role != role.Etcd || e.IP != "")
}

// differ is the hint about what only one node can have.
const differ = "give it another"

// unique refuses names and addresses that two nodes have.
func (c *checker) unique(f *file) {
	owners := map[string]int{}
	claim := func(i int, field, what, value string) {
		if value == "" {
			return
		}
		if owner, taken := owners[what+" "+value]; taken {
			c.errorf(at(i)+"."+field, differ, "%s has the %s of %s, %s", at(i), what, at(owner), value)
			return
		}
		owners[what+" "+value] = i
	}
	for i, e := range f.Nodes {
		claim(i, "name", "name", e.Name)
		for _, a := range []struct{ field, text string }{{"ip", e.IP}, {"secondIP", e.SecondIP}} {
			if ip, err := netip.ParseAddr(a.text); err == nil { // the role's checks judge it
				claim(i, a.field, "address", ip.String())
			}
		}
	}
}
