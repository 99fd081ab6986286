package document

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/slipway-os/slipway/pkg/diag"
)

// Unmarshaler is what a type implements that reads itself from a scalar.
type Unmarshaler interface {
	UnmarshalText(text []byte) error
}

// Decode reads the document into the struct that into points to, by its
// `yaml:"name"` tags. Fields that the document does not give are left as they
// are. All problems are returned together, each a *diag.Error. Kinds known:
// string, bool, integers, float64, slices, maps with string keys, structs,
// pointers, Unmarshaler, and any (which takes whatever is there).
func (d *Document) Decode(into any) error {
	if d.root == nil {
		return nil
	}
	dec := decoder{doc: d, into: reflect.TypeOf(into).Elem()}
	dec.value(d.root, reflect.ValueOf(into).Elem(), "")
	return errors.Join(dec.problems...)
}

type decoder struct {
	doc      *Document
	into     reflect.Type
	problems []error
	nodes    int
}

func (d *decoder) problem(n *yaml.Node, hint, format string, args ...any) {
	d.problems = append(d.problems, diag.At(d.doc.place(n), hint, format, args...))
}

// enter records where a value is, and refuses what no value may be.
func (d *decoder) enter(n *yaml.Node, path string) bool {
	if d.nodes++; d.nodes > maxNodes {
		d.doc.cut = true
		if d.nodes == maxNodes+1 {
			d.problem(n, "", "more than %d values", maxNodes)
		}
		return false
	}
	if path != "" {
		d.doc.at[path] = n
	}
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		d.problem(n, "write the value out", "anchors and aliases are not allowed")
		return false
	}
	return true
}

func (d *decoder) value(n *yaml.Node, v reflect.Value, path string) {
	if !d.enter(n, path) || n.Tag == "!!null" { // an empty value leaves the default
		return
	}
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		v = v.Elem()
	}
	if u, ok := v.Addr().Interface().(Unmarshaler); ok {
		if d.want(n, yaml.ScalarNode, "a value", path) {
			if err := u.UnmarshalText([]byte(n.Value)); err != nil {
				d.problem(n, "", "%s: %v", path, err)
			}
		}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.structure(n, v, path)
	case reflect.Map:
		d.mapping(n, v, path)
	case reflect.Slice:
		if !d.want(n, yaml.SequenceNode, "a list", path) {
			return
		}
		s := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
		for i, c := range n.Content {
			at := fmt.Sprintf("%s[%d]", path, i)
			if c.Tag == "!!null" && d.enter(c, at) {
				d.problem(c, "remove it, or give it a value", "%s is empty", at)
				continue
			}
			d.value(c, s.Index(i), at)
		}
		v.Set(s)
	case reflect.Interface:
		if x := d.free(n, path); x != nil {
			v.Set(reflect.ValueOf(x))
		}
	default:
		d.scalar(n, v, path)
	}
}

// free returns a value of any shape, in the types of encoding/json. YAML has
// more: dates, numbers without end, keys that are no strings.
func (d *decoder) free(n *yaml.Node, path string) any {
	switch n.Kind {
	case yaml.MappingNode:
		m := make(map[string]any, len(n.Content)/2)
		seen := map[string]bool{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, val := n.Content[i], n.Content[i+1]
			if !d.key(key, seen) {
				continue
			}
			if key.Tag != "!!str" {
				d.problem(key, quote(key), "a field's name must be a string, not %s", describe(key))
				continue
			}
			if at := join(path, key.Value); d.enter(val, at) {
				m[key.Value] = d.free(val, at)
			}
		}
		return m
	case yaml.SequenceNode:
		s := make([]any, len(n.Content))
		for i, c := range n.Content {
			if at := fmt.Sprintf("%s[%d]", path, i); d.enter(c, at) {
				s[i] = d.free(c, at)
			}
		}
		return s
	}
	if n.Tag == "!!timestamp" {
		d.problem(n, quote(n), "%s must not be a date", path)
		return nil
	}
	var x any
	if err := n.Decode(&x); err != nil {
		d.problem(n, "", "%s: %v", path, err)
		return nil
	}
	if f, ok := x.(float64); ok && (math.IsNaN(f) || math.IsInf(f, 0)) {
		d.problem(n, "", "%s must be a finite number, not %s", path, n.Value)
		return nil
	}
	return x
}

func (d *decoder) structure(n *yaml.Node, v reflect.Value, path string) {
	if !d.want(n, yaml.MappingNode, "a mapping", path) {
		return
	}
	fields := map[string]reflect.Value{}
	var names []string
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
		if name != "" && name != "-" {
			fields[name] = v.Field(i)
			names = append(names, name)
		}
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, val := n.Content[i], n.Content[i+1]
		if !d.key(key, seen) {
			continue
		}
		f, ok := fields[key.Value]
		if !ok {
			hint := cmp.Or(d.elsewhere(key.Value, path), diag.Suggest(key.Value, names))
			if hint == "" {
				slices.Sort(names)
				hint = "known: " + strings.Join(names, ", ")
			}
			d.problem(key, hint, "unknown field %q", key.Value)
			continue
		}
		d.value(val, f, join(path, key.Value))
	}
}

// elsewhere is a hint where a field would belong that a mapping does not have,
// if there is one such place.
func (d *decoder) elsewhere(name, path string) string {
	if d.into.Kind() != reflect.Struct || strings.Contains(path, "[") {
		return "" // what is in lists has fields of its own
	}
	var places []string
	for _, f := range fieldsOf("", d.into) {
		if f.Path == name || strings.HasSuffix(f.Path, "."+name) {
			places = append(places, f.Path)
		}
	}
	if len(places) != 1 {
		return ""
	}
	return fmt.Sprintf("did you mean %q?", places[0])
}

func (d *decoder) mapping(n *yaml.Node, v reflect.Value, path string) {
	if !d.want(n, yaml.MappingNode, "a mapping", path) {
		return
	}
	m := reflect.MakeMapWithSize(v.Type(), len(n.Content)/2)
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, val := n.Content[i], n.Content[i+1]
		if !d.key(key, seen) {
			continue
		}
		e := reflect.New(v.Type().Elem()).Elem()
		d.value(val, e, join(path, key.Value))
		m.SetMapIndex(reflect.ValueOf(key.Value).Convert(v.Type().Key()), e)
	}
	v.Set(m)
}

func (d *decoder) key(key *yaml.Node, seen map[string]bool) bool {
	switch {
	case key.Tag == "!!merge":
		d.problem(key, "write the fields out", "merge keys are not allowed")
		return false
	case key.Kind != yaml.ScalarNode || key.Anchor != "":
		d.problem(key, "", "a field's name must be a plain word")
		return false
	case seen[key.Value]:
		d.problem(key, "", "field %q is given twice", key.Value)
		return false
	}
	seen[key.Value] = true
	return true
}

func (d *decoder) scalar(n *yaml.Node, v reflect.Value, path string) {
	var err error
	switch v.Kind() {
	case reflect.String:
		if n.Kind != yaml.ScalarNode {
			d.mismatch(n, "a string", path)
			return
		}
		if n.Tag != "!!str" {
			d.problem(n, quote(n), "%s must be a string, not %s", path, describe(n))
			return
		}
		v.SetString(n.Value)
	case reflect.Bool:
		if n.Tag != "!!bool" {
			d.mismatch(n, "true or false", path)
			return
		}
		err = n.Decode(v.Addr().Interface())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if n.Tag != "!!int" {
			d.mismatch(n, "a whole number", path)
			return
		}
		if n.Decode(v.Addr().Interface()) != nil {
			err = fmt.Errorf("%s is out of range", n.Value)
		}
	case reflect.Float64:
		if n.Tag != "!!int" && n.Tag != "!!float" {
			d.mismatch(n, "a number", path)
			return
		}
		err = n.Decode(v.Addr().Interface())
	default:
		panic("document: field of kind " + v.Kind().String())
	}
	if err != nil {
		d.problem(n, "", "%s: %v", path, err)
	}
}

func (d *decoder) want(n *yaml.Node, kind yaml.Kind, what, path string) bool {
	if n.Kind == kind {
		return true
	}
	d.mismatch(n, what, path)
	return false
}

func (d *decoder) mismatch(n *yaml.Node, what, path string) {
	if path == "" {
		path = "the document"
	}
	d.problem(n, "", "%s must be %s, not %s", path, what, describe(n))
}

func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.Tag {
	case "!!int", "!!float":
		return "the number " + n.Value
	case "!!bool":
		return n.Value
	}
	return fmt.Sprintf("%q", n.Value)
}

func quote(n *yaml.Node) string { return fmt.Sprintf("write %q, with the quotes", n.Value) }

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
