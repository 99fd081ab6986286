package cluster

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"unicode"

	"github.com/google/uuid"
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
}

func (c *checker) add(p *diag.Error) {
	if !c.seen[p.Error()] {
		c.seen[p.Error()] = true
		c.problems = append(c.problems, p)
	}
}

func (c *checker) errorf(path, hint, format string, args ...any) {
	c.add(diag.At(c.doc.Position(path), hint, format, args...))
}

func (c *checker) warnf(path, hint, format string, args ...any) {
	c.cluster.Warnings = append(c.cluster.Warnings, diag.At(c.doc.Position(path), hint, format, args...))
}

// check checks what is not a matter of one node's role.
func (c *checker) check(f *file) {
	if f.Version == 0 {
		c.errorf("version", "write version: 1", "version is missing")
	}
	if f.Name == "" {
		c.errorf("name", "the one that was given to builder cluster new --name", "name is missing")
	} else if c.doc.Has("cluster.name") && f.Cluster.Name != f.Name {
		c.errorf("cluster.name", "leave it out", "cluster.name is %q, but name is %q", f.Cluster.Name, f.Name)
	}
	count := map[string]int{}
	for i, e := range f.Nodes {
		count[e.Role]++
		c.entry(i, e)
	}
	switch {
	case len(f.Nodes) == 0:
		c.errorf("nodes", "nodes: [{name: cp1, role: control-plane}]", "there are no nodes")
	case count[role.ControlPlane] == 0:
		c.errorf("nodes", "give one of them role: control-plane", "there is no control plane")
	}
	if len(f.Nodes) > 1 && f.Cluster.Endpoint == "" && (c.sharedAddress() == nil || c.doc.Has("cluster.endpoint")) {
		c.errorf("cluster.endpoint", "a name or address, with a port if it is not 6443, that leads to the control planes; or let them share one: virtualIP", "cluster.endpoint must be given if there is more than one node")
	}
	c.fields("all")
	for _, r := range roles() {
		section := shared()[r]
		c.fields(section)
		if c.doc.Has(section) && count[r] == 0 {
			c.warnf(section, "", "%s is given, but there is no node of role %q", section, r)
		}
	}
	c.unique(f)
	switch stores, members := count[role.ControlPlane], count[role.Etcd]; {
	case members > 0 && members%2 == 0:
		c.warnf("nodes", "an odd number", "%d etcd members stand the loss of no more of them than %d", members, members-1)
	case members == 0 && stores > 0 && stores%2 == 0:
		c.warnf("nodes", "an odd number", "%d control planes, whose etcd stands the loss of no more of them than that of %d", stores, stores-1)
	}
}

func (c *checker) entry(i int, e entry) {
	path := at(i)
	if e.Name == "" {
		c.errorf(path, "name: cp1", "%s has no name", path)
	}
	switch {
	case e.Role == "":
		c.errorf(path, "one of "+strings.Join(roles(), ", "), "%s has no role", path)
	case !slices.Contains(roles(), e.Role):
		hint := diag.Suggest(e.Role, roles())
		if hint == "" {
			hint = "known: " + strings.Join(roles(), ", ")
		}
		c.errorf(path+".role", hint, "unknown role %q", e.Role)
	}
	if e.Role == role.Etcd && e.IP == "" {
		c.errorf(path, "give its ip", "%s is an etcd member without an address: the others could not find it", path)
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
	if path := path + ".select"; c.doc.Has(path) && e.Select == (Select{}) && !c.selects(path) {
		c.errorf(path, "give its mac, serial, uuid or hostname, or leave select out", "%s matches no machine", path)
	}
	c.fields(path + ".with")
}

// selects reports whether a select gives any field, though it be empty.
func (c *checker) selects(path string) bool {
	return slices.ContainsFunc([]string{"mac", "serial", "uuid", "hostname"}, func(field string) bool { return c.doc.Has(path + "." + field) })
}

// fields checks the names of the fields of a section that is merged into roles.
func (c *checker) fields(section string) {
	n := c.doc.Node(section)
	if n == nil || n.Kind != yaml.MappingNode {
		return
	}
	known := slices.DeleteFunc(fieldNames(), func(name string) bool { return slices.Contains(ownFields(), name) })
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		pos := c.doc.Position(section)
		pos.Line, pos.Column = key.Line, key.Column
		hint := ""
		switch name := key.Value; {
		case name == "cluster":
			hint = "give it in the section cluster"
		case slices.Contains(ownFields(), name):
			hint = "it follows from the list of nodes"
		case !slices.Contains(known, name):
			if hint = diag.Suggest(name, known); hint == "" {
				hint = "known: " + strings.Join(known, ", ")
			}
			c.add(diag.At(pos, hint, "unknown field %q", name))
			continue
		default:
			continue
		}
		c.add(diag.At(pos, hint, "%s cannot be given here", key.Value))
	}
	for _, field := range []string{"name", "ip", "secondIP"} {
		if path := section + ".node." + field; c.doc.Has(path) {
			c.errorf(path, "give the node's own "+field+", beside its role", "node.%s cannot be given here", field)
		}
	}
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

// differ is the hint about what only one node can have.
const differ = "give it another"

// unique refuses what two nodes have, but only one can.
func (c *checker) unique(f *file) {
	owners := map[string]string{}
	claim := func(path, what, value string, i int) {
		if value == "" {
			return
		}
		key := what + " " + value
		if owner, taken := owners[key]; taken {
			c.errorf(path, differ, "%s has the %s of %s, %s", at(i), what, owner, value)
			return
		}
		owners[key] = at(i)
	}
	for i := range f.Nodes {
		e, path := &f.Nodes[i], at(i)
		claim(path+".name", "name", e.Name, i)
		for _, a := range []struct{ field, text string }{{"ip", e.IP}, {"secondIP", e.SecondIP}} {
			if ip, err := netip.ParseAddr(a.text); err == nil { // the role's checks judge it
				claim(path+"."+a.field, "address", ip.String(), i)
			}
		}
		for _, s := range []struct {
			field string
			value *string
			usual func(string) (string, error)
		}{
			{"mac", &e.Select.MAC, usualMAC},
			{"serial", &e.Select.Serial, plain},
			{"uuid", &e.Select.UUID, usualUUID},
			{"hostname", &e.Select.Hostname, plain},
		} {
			at := path + ".select." + s.field
			if !c.doc.Has(at) {
				continue
			}
			usual, err := s.usual(*s.value)
			if err != nil {
				c.errorf(at, "as the machine itself has it", "%s: %v", at, err)
				continue
			}
			*s.value = usual
			claim(at, s.field, strings.ToLower(usual), i) // machines differ in how they write them
		}
	}
}

func usualMAC(s string) (string, error) {
	mac, err := net.ParseMAC(s)
	if err != nil || len(mac) != 6 {
		return "", fmt.Errorf("%q is not like 52:54:00:12:34:56", s)
	}
	if mac[0]&1 != 0 || mac.String() == "00:00:00:00:00:00" {
		return "", fmt.Errorf("%s is no card's own", mac)
	}
	return mac.String(), nil
}

func usualUUID(s string) (string, error) {
	id, err := uuid.Parse(s)
	if err != nil || len(s) != 36 {
		return "", fmt.Errorf("%q is not a UUID", s)
	}
	if id == uuid.Nil || id == uuid.Max {
		return "", fmt.Errorf("%s is what machines say that have none", id)
	}
	return id.String(), nil
}

func plain(s string) (string, error) {
	if s == "" {
		return "", errors.New("is empty")
	}
	if strings.ContainsFunc(s, unicode.IsControl) || strings.TrimSpace(s) != s {
		return "", fmt.Errorf("%q has characters that no machine tells", s)
	}
	return s, nil
}
