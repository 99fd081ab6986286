package role

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/document"
)

// ErrOtherRole is the kind of a problem: what is said goes with other roles only.
var ErrOtherRole = errors.New("goes with other roles")

// checker collects problems.
type checker struct {
	doc      *document.Document
	problems []*diag.Error
	mistyped map[diag.Position]bool // values that could not even be decoded
	empty    map[string]bool        // elements of lists without a value, which have no place
}

// decoded takes the problems that decoding found. A value that is wrong by its
// type is not complained about a second time for what it says.
func (c *checker) decoded(err error) {
	c.mistyped, c.empty = map[diag.Position]bool{}, map[string]bool{}
	for _, err := range split(err) {
		var d *diag.Error
		if !errors.As(err, &d) {
			d = diag.At(c.doc.Position(""), "", "%v", err)
		}
		if strings.Contains(d.Msg, "PRIVATE KEY") || strings.Contains(d.Hint, "PRIVATE KEY") {
			d = diag.At(d.Pos, "remove it, and take it for stolen", "a private key is in the wrong place")
		}
		if d.Hint == "known: " {
			d.Hint = "write {}"
		}
		c.mistyped[d.Pos] = true
		if path, is := strings.CutSuffix(d.Msg, " is empty"); is {
			c.empty[path] = true
		}
		c.problems = append(c.problems, d)
	}
}

// split takes apart what errors.Join joined.
func split(err error) []error {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, split(e)...)
	}
	return all
}

func (c *checker) errorf(path, hint, format string, args ...any) {
	c.tell(path, nil, diag.At(c.doc.Position(path), hint, format, args...))
}

// foreignf is errorf for what only nodes of other roles do.
func (c *checker) foreignf(path, hint, format string, args ...any) {
	c.tell(path, ErrOtherRole, diag.At(c.doc.Position(path), hint, format, args...))
}

func (c *checker) tell(path string, kind error, problem *diag.Error) {
	if !c.unread(path) {
		problem.Field, problem.Kind = path, kind
		c.problems = append(c.problems, problem)
	}
}

// unread reports whether a value could not be decoded, or what it would be a part
// of.
func (c *checker) unread(path string) bool {
	for p := path; p != ""; p = p[:max(0, strings.LastIndexAny(p, ".["))] {
		if n := c.doc.Node(p); n != nil {
			// A mapping begins where its first field does, which may be unknown.
			return c.mistyped[c.doc.Position(p)] && (p == path || n.Kind != yaml.MappingNode)
		}
		if c.empty[p] {
			return true
		}
	}
	return false
}

// given reports whether the file gives an optional string, and complains of
// one that is given empty.
func (c *checker) given(path, value string) bool {
	if !c.doc.Has(path) {
		return false
	}
	if value == "" {
		c.errorf(path, "leave it out, or give it a value", "%s is empty", path)
	}
	return value != ""
}

// sort sorts the problems by their places.
func (c *checker) sort() {
	slices.SortStableFunc(c.problems, func(a, b *diag.Error) int {
		return cmp.Or(cmp.Compare(a.Pos.Line, b.Pos.Line), cmp.Compare(a.Pos.Column, b.Pos.Column))
	})
}

func (c *checker) err() error {
	c.sort()
	var all []error
	for _, p := range c.problems {
		all = append(all, p)
	}
	return errors.Join(all...)
}

// at is the path of an element of a list.
func at(list string, i int) string { return fmt.Sprintf("%s[%d]", list, i) }

func (r *Role) check(c *checker) {
	if r.Version == 0 {
		hint := "write version: 1"
		if !c.doc.Has("version") {
			c.errorf("version", hint, "version is missing")
		} else {
			c.errorf("version", hint, "version must be 1")
		}
	}
	r.checkKind(c)
	r.checkCluster(c)
	r.checkPodNetwork(c)
	r.checkNode(c)
	r.checkLinks(c)
	r.checkVirtualIP(c)
	r.checkEtcdAddresses(c)
	r.checkAPIServer(c)
	r.checkPatches(c)
	r.checkProxy(c)
	r.checkCertSANs(c)
	r.checkRaw(c)
	r.checkKeys(c)
	r.checkManifests(c)
	r.checkResolvers(c, "dns.servers", r.DNS.Servers)
	seen := map[string]bool{}
	for i, s := range r.Time.Servers {
		path := at("time.servers", i)
		switch {
		case !isHost(s):
			c.errorf(path, "for example time.example.net", "%s: %q is neither a host name nor an IP address", path, s)
		case nobody(s):
			c.errorf(path, "for example time.example.net", "%s: nobody can answer at %s", path, s)
		case seen[strings.ToLower(s)]:
			c.errorf(path, "", "%s: %q is given twice", path, s)
		}
		seen[strings.ToLower(s)] = true
	}
}
