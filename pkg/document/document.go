// Package document reads the YAML files that users write, strictly: a field
// that does not exist, a value of the wrong type, a key given twice is an
// error with file, line and column.
package document

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/slipway-os/slipway/pkg/diag"
)

// Document is a YAML file that was read, with the place of each value.
type Document struct {
	file string
	root *yaml.Node // nil for an empty file
	at   map[string]*yaml.Node
}

// maxSize bounds what is parsed; maxNodes what aliases may blow up to.
const (
	maxSize  = 4 << 20
	maxNodes = 200_000
)

// Parse reads data, which came from the named file. More than one YAML
// document, an anchor, alias or merge key is an error.
func Parse(file string, data []byte) (*Document, error) {
	if len(data) > maxSize {
		return nil, diag.At(diag.Position{File: file}, "", "larger than %d MiB", maxSize>>20)
	}
	if err := checkText(file, data); err != nil {
		return nil, err
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var n, more yaml.Node
	err := dec.Decode(&n)
	if errors.Is(err, io.EOF) {
		return &Document{file: file, at: map[string]*yaml.Node{}}, nil
	}
	if err != nil {
		return nil, syntaxError(file, data, err)
	}
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		if err != nil {
			return nil, syntaxError(file, data, err)
		}
		return nil, diag.At(diag.Position{File: file, Line: more.Line, Column: more.Column}, "keep one document in a file", "a second YAML document begins here")
	}
	d := &Document{file: file, at: map[string]*yaml.Node{}}
	if len(n.Content) == 1 {
		d.root = n.Content[0]
	}
	return d, nil
}

// checkText finds what is no text: the parser does not say where that is.
func checkText(file string, data []byte) error {
	line, column := 1, 1
	for len(data) > 0 {
		r, size := utf8.DecodeRune(data)
		pos := diag.Position{File: file, Line: line, Column: column}
		switch {
		case r == utf8.RuneError && size == 1:
			return diag.At(pos, "save the file as UTF-8", "not valid YAML: byte %#02x is not UTF-8", data[0])
		case r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0x7f:
			return diag.At(pos, "remove it, or escape it in double quotes", "not valid YAML: control character %U", r)
		}
		if column++; r == '\n' {
			line, column = line+1, 1
		}
		data = data[size:]
	}
	return nil
}

var (
	yamlLine = regexp.MustCompile(`^line (\d+): (.*)`)
	// Lines are counted from zero where the library's parser, not its scanner,
	// finds what is wrong. These are the parser's words.
	yamlParser = regexp.MustCompile(`^did not find expected (<|node|'-'|key|','|',' or)|^found (undefined tag handle|duplicate %|incompatible)`)
)

// syntaxError says where data is no YAML. The library knows the line at best.
func syntaxError(file string, data []byte, err error) error {
	line := 1
	msg := strings.TrimPrefix(err.Error(), "yaml: ")
	if m := yamlLine.FindStringSubmatch(msg); m != nil {
		line, _ = strconv.Atoi(m[1])
		if msg = m[2]; yamlParser.MatchString(msg) {
			line++
		}
	}
	hint := ""
	if strings.Contains(msg, "cannot start any token") {
		hint = "indent with spaces, not tabs"
	}
	return diag.At(place(file, data, line), hint, "not valid YAML: %s", msg)
}

// place returns where a line's text begins; where there is none any more, the
// end of all text.
func place(file string, data []byte, line int) diag.Position {
	lines := bytes.Split(bytes.TrimRight(data, " \t\r\n"), []byte("\n"))
	if line > len(lines) {
		return diag.Position{File: file, Line: len(lines), Column: utf8.RuneCount(lines[len(lines)-1]) + 1}
	}
	text := lines[line-1]
	return diag.Position{File: file, Line: line, Column: len(text) - len(bytes.TrimLeft(text, " ")) + 1}
}

// Position returns the place of the value at a path such as
// "cluster.podSubnets[0]" or "node.labels.zone"; where there is no such value,
// the place of the nearest one above it.
func (d *Document) Position(path string) diag.Position {
	for p := path; ; {
		if n := d.at[p]; n != nil {
			return diag.Position{File: d.file, Line: n.Line, Column: n.Column}
		}
		cut := max(strings.LastIndexByte(p, '.'), strings.LastIndexByte(p, '['))
		if cut < 0 {
			break
		}
		p = p[:cut]
	}
	if d.root != nil {
		return diag.Position{File: d.file, Line: d.root.Line, Column: d.root.Column}
	}
	return diag.Position{File: d.file, Line: 1, Column: 1}
}

// Has reports whether the file itself gives a value at a path.
func (d *Document) Has(path string) bool { return d.at[path] != nil }

// Errorf returns an error at the place of a path.
func (d *Document) Errorf(path, hint, format string, args ...any) error {
	return diag.At(d.Position(path), hint, format, args...)
}

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
	dec := decoder{doc: d}
	dec.value(d.root, reflect.ValueOf(into).Elem(), "")
	return errors.Join(dec.problems...)
}

type decoder struct {
	doc      *Document
	problems []error
	nodes    int
}

func (d *decoder) problem(n *yaml.Node, hint, format string, args ...any) {
	pos := diag.Position{File: d.doc.file, Line: n.Line, Column: n.Column}
	d.problems = append(d.problems, diag.At(pos, hint, format, args...))
}

// enter records where a value is, and refuses what no value may be.
func (d *decoder) enter(n *yaml.Node, path string) bool {
	if d.nodes++; d.nodes > maxNodes {
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
			if c.Tag == "!!null" {
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
			hint := diag.Suggest(key.Value, names)
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
	case key.Kind != yaml.ScalarNode || key.Tag == "!!merge" || key.Anchor != "":
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
