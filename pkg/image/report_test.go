package image_test

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/image"
)

var update = flag.Bool("update", false, "write the description of the report into docs/inspect.md")

// TestReportIsDocumented compares the end of docs/inspect.md with the report's
// fields: what programs read must not change unnoticed.
func TestReportIsDocumented(t *testing.T) {
	const file, start = "../../docs/inspect.md", "| field | type | what it is |\n"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, got, _ := strings.Cut(string(data), start)
	var want strings.Builder
	want.WriteString("|---|---|---|\n")
	describe(&want, "", reflect.TypeFor[image.Report]())
	if *update {
		if err := os.WriteFile(file, []byte(before+start+want.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got != want.String() {
		t.Errorf("%s does not describe the report as it is. Look whether programs that read it can go on, then run\n\tgo test ./pkg/image -run TestReportIsDocumented -update", file)
	}
}

// describe writes a line for each field.
func describe(w *strings.Builder, prefix string, t reflect.Type) {
	for i := range t.NumField() {
		f := t.Field(i)
		name := prefix + f.Tag.Get("json")
		kind, inner := f.Type, f.Type
		text := kind.String()
		if kind.Kind() == reflect.Slice {
			inner = kind.Elem()
			text = "list of " + map[bool]string{true: "objects", false: inner.String() + "s"}[inner.Kind() == reflect.Struct]
			name += "[]"
		} else if kind.Kind() == reflect.Struct {
			text = "object"
		}
		text = strings.NewReplacer("int64", "integer", "int", "integer", "bool", "true or false").Replace(text)
		fmt.Fprintf(w, "| `%s` | %s | %s |\n", name, text, f.Tag.Get("doc"))
		if inner.Kind() == reflect.Struct {
			describe(w, name+".", inner)
		}
	}
}
