package document

import (
	"fmt"
	"reflect"
	"strings"
)

// Field is a field of what Decode accepts, for a reference.
type Field struct {
	Path    string // "cluster.podSubnets", "network.links[].name"
	Type    string // "string", "list of strings", "object"
	Doc     string // tag `doc`
	Becomes string // tag `becomes`: what it turns into elsewhere
}

// Reference returns the fields of a struct and of all below it, in their order.
func Reference(v any) []Field { return fieldsOf("", reflect.TypeOf(v)) }

func fieldsOf(prefix string, t reflect.Type) []Field {
	var fields []Field
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if name == "" || name == "-" {
			continue
		}
		path := prefix + name
		fields = append(fields, Field{path, typeName(f.Type), f.Tag.Get("doc"), f.Tag.Get("becomes")})
		inner := f.Type
		for inner.Kind() == reflect.Pointer || inner.Kind() == reflect.Slice {
			if inner.Kind() == reflect.Slice {
				path += "[]"
			}
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Struct && !reflect.PointerTo(inner).Implements(textUnmarshaler) {
			fields = append(fields, fieldsOf(path+".", inner)...)
		}
	}
	return fields
}

// typeName says what a value is, as a person would.
func typeName(t reflect.Type) string {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if reflect.PointerTo(t).Implements(textUnmarshaler) {
		return "string"
	}
	switch t.Kind() {
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Interface {
			return "list"
		}
		return "list of " + typeName(t.Elem()) + "s"
	case reflect.Map:
		if t.Elem().Kind() == reflect.String {
			return "object of strings"
		}
		return "object"
	case reflect.Struct:
		return "object"
	case reflect.Interface:
		return "anything"
	}
	if name, ok := schemaTypes[t.Kind()]; ok {
		return name
	}
	return "integer"
}

// Markdown returns fields as a table. There is no column for what none becomes.
func Markdown(fields []Field) string {
	cell := func(s string) string { return strings.ReplaceAll(s, "|", "\\|") }
	becomes := false
	for _, f := range fields {
		becomes = becomes || f.Becomes != ""
	}
	var b strings.Builder
	row := func(name, kind, doc, into string) {
		fmt.Fprintf(&b, "| %s | %s | %s |", name, kind, doc)
		if becomes {
			fmt.Fprintf(&b, " %s |", into)
		}
		b.WriteByte('\n')
	}
	row("field", "type", "meaning", "becomes")
	b.WriteString("|---|---|---|")
	if becomes {
		b.WriteString("---|")
	}
	b.WriteByte('\n')
	for _, f := range fields {
		row("`"+f.Path+"`", f.Type, cell(f.Doc), cell(f.Becomes))
	}
	return b.String()
}
