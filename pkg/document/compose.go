package document

import (
	"bytes"
	"errors"
	"fmt"

	"go.yaml.in/yaml/v3"
)

// Mapping returns an empty mapping at the place of another value.
func Mapping(at *yaml.Node) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	if at != nil {
		n.Line, n.Column = at.Line, at.Column
	}
	return n
}

// Put adds a field to a mapping.
func Put(n *yaml.Node, key string, value *yaml.Node) {
	n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: key, Line: value.Line, Column: value.Column}, value)
}

// Value returns the value of a field of a mapping, or nil.
func Value(n *yaml.Node, name string) *yaml.Node {
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return n.Content[i+1]
		}
	}
	return nil
}

// Merge lays a value over another: mappings are merged, the rest is replaced. An
// empty value leaves a mapping as it is. Neither is changed.
func Merge(under, over *yaml.Node) *yaml.Node {
	if under.Kind == yaml.MappingNode && over.Tag == "!!null" {
		return under
	}
	if under.Kind != yaml.MappingNode || over.Kind != yaml.MappingNode {
		return over
	}
	n := Mapping(under)
	n.Content = append(n.Content, under.Content...)
	places := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		places[n.Content[i].Value] = i
	}
	for i := 0; i+1 < len(over.Content); i += 2 {
		key, value := over.Content[i], over.Content[i+1]
		if place, there := places[key.Value]; there {
			n.Content[place], n.Content[place+1] = key, Merge(n.Content[place+1], value)
			continue
		}
		n.Content = append(n.Content, key, value)
	}
	return n
}

// Encode writes a value as YAML, plainly: without comments, and with all
// collections in a style, of which 0 is one field on each line.
func Encode(n *yaml.Node, style yaml.Style) ([]byte, error) {
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := errors.Join(enc.Encode(restyled(n, style)), enc.Close()); err != nil {
		return nil, fmt.Errorf("writing YAML: %w", err)
	}
	return out.Bytes(), nil
}

// restyled returns a copy without comments and with all collections in a
// style. Quotes stay, for they say what is a string.
func restyled(n *yaml.Node, style yaml.Style) *yaml.Node {
	copied := &yaml.Node{Kind: n.Kind, Tag: n.Tag, Value: n.Value, Style: style}
	if n.Kind == yaml.ScalarNode {
		if n.Tag == "!!null" && style == yaml.FlowStyle {
			copied.Value = "null" // an empty one would be written in quotes
		}
		copied.Style = n.Style & (yaml.DoubleQuotedStyle | yaml.SingleQuotedStyle)
	}
	for _, c := range n.Content {
		copied.Content = append(copied.Content, restyled(c, style))
	}
	return copied
}
