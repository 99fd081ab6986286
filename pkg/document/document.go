// Package document reads the YAML files that users write, strictly: a field
// that does not exist, a value of the wrong type, a key given twice is an
// error with file, line and column.
package document

import (
	"bytes"
	"errors"
	"io"
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
	cut  bool
	// where says the places of values that come from several files.
	where func(*yaml.Node) diag.Position
}

// Of returns a document that a program made of values of other documents.
// where tells the place that each comes from.
func Of(root *yaml.Node, where func(*yaml.Node) diag.Position) *Document {
	return &Document{root: root, at: map[string]*yaml.Node{}, where: where}
}

// Root returns the whole document as the YAML library has it; nil if it is
// empty. It must not be changed.
func (d *Document) Root() *yaml.Node { return d.root }

// Cut reports whether Decode gave up: of what follows so many values nothing is
// known.
func (d *Document) Cut() bool { return d.cut }

// place is where a value was written.
func (d *Document) place(n *yaml.Node) diag.Position {
	if d.where != nil {
		return d.where(n)
	}
	return diag.Position{File: d.file, Line: n.Line, Column: n.Column}
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
	n, more, err := read(data)
	if err != nil {
		return nil, syntaxError(file, data, err)
	}
	if more != nil {
		return nil, diag.At(diag.Position{File: file, Line: more.Line, Column: more.Column}, "keep one document in a file", "a second YAML document begins here")
	}
	d := &Document{file: file, at: map[string]*yaml.Node{}}
	if n != nil && len(n.Content) == 1 {
		d.root = n.Content[0]
	}
	return d, nil
}

// read reads what there is of a first YAML document and of a second one.
func read(data []byte) (first, second *yaml.Node, err error) {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	for _, n := range []**yaml.Node{&first, &second} {
		var read yaml.Node
		if err := dec.Decode(&read); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, nil, err
		}
		*n = &read
	}
	return first, second, nil
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
		case isControl(r):
			return diag.At(pos, "remove it, or escape it in double quotes", "not valid YAML: control character %U", r)
		}
		if column++; r == '\n' {
			line, column = line+1, 1
		}
		data = data[size:]
	}
	return nil
}

// isControl tells the characters that YAML has no place for (YAML 1.1, section
// 4.1.1).
func isControl(r rune) bool {
	switch r {
	case '\t', '\n', '\r', 0x85:
		return false
	}
	return r < ' ' || 0x7f <= r && r < 0xa0 || r == 0xfffe || r == 0xffff
}

// Position returns the place of the value at a path such as
// "cluster.podSubnets[0]" or "node.labels.zone"; where there is no such value,
// the place of the nearest one above it.
func (d *Document) Position(path string) diag.Position {
	for p := path; ; {
		if n := d.at[p]; n != nil {
			return d.place(n)
		}
		cut := max(strings.LastIndexByte(p, '.'), strings.LastIndexByte(p, '['))
		if cut < 0 {
			break
		}
		p = p[:cut]
	}
	if d.root != nil {
		return d.place(d.root)
	}
	return diag.Position{File: d.file, Line: 1, Column: 1}
}

// Has reports whether the file itself gives a value at a path.
func (d *Document) Has(path string) bool { return d.at[path] != nil }

// Node returns the value at a path as the YAML library has it, or nil: for
// making another document of parts of this one. It must not be changed.
func (d *Document) Node(path string) *yaml.Node { return d.at[path] }

// Errorf returns an error at the place of a path.
func (d *Document) Errorf(path, hint, format string, args ...any) error {
	return diag.At(d.Position(path), hint, format, args...)
}
