package document_test

import (
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/document"
)

type inner struct {
	Size int8           `yaml:"size"`
	Tags []string       `yaml:"tags"`
	Free map[string]any `yaml:"free"`
}

type outer struct {
	Name     string            `yaml:"name"`
	Packages []string          `yaml:"packages"`
	On       bool              `yaml:"on"`
	Inner    *inner            `yaml:"inner"`
	Labels   map[string]string `yaml:"labels"`
}

func TestBadInputIsNamedByItsPlace(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"typo in a field", "name: a\npackges: [x]\n", `f.yaml:2:1: unknown field "packges" (did you mean "packages"?)`},
		{"field nobody knows", "zzzzzzzz: 1\n", `f.yaml:1:1: unknown field "zzzzzzzz" (known: inner, labels, name, on, packages)`},
		{"list where a string belongs", "name: [a]\n", `f.yaml:1:7: name must be a string, not a list`},
		{"number where a string belongs", "name: 12\n", `f.yaml:1:7: name must be a string, not the number 12 (write "12", with the quotes)`},
		{"string where a list belongs", "packages: bash\n", `f.yaml:1:11: packages must be a list, not "bash"`},
		{"yes is no boolean", "on: yes\n", `f.yaml:1:5: on must be true or false, not "yes"`},
		{"number out of range", "inner: {size: 300}\n", `f.yaml:1:15: inner.size: 300 is out of range`},
		{"field given twice", "name: a\nname: b\n", `f.yaml:2:1: field "name" is given twice`},
		{"tab", "inner:\n\tsize: 1\n", `f.yaml:2:1: not valid YAML: found character that cannot start any token (indent with spaces, not tabs)`},
		{"alias", "name: &a x\npackages: [*a]\n", `f.yaml:1:7: anchors and aliases are not allowed (write the value out)`},
		{"second document", "name: a\n---\nname: b\n", `f.yaml:2:1: a second YAML document begins here (keep one document in a file)`},
		{"no mapping", "- a\n", `f.yaml:1:1: the document must be a mapping, not a list`},
		{"deep in a list", "inner:\n  tags:\n    - a\n    - {b: c}\n", `f.yaml:4:7: inner.tags[1] must be a string, not a mapping`},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, err := document.Parse("f.yaml", []byte(c.in))
			if err == nil {
				err = d.Decode(&outer{})
			}
			if err == nil {
				t.Fatal("accepted")
			}
			if got, _, _ := strings.Cut(err.Error(), "\n"); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestPositionsOfValues(t *testing.T) {
	d, err := document.Parse("f.yaml", []byte("inner:\n  tags: [a, b]\n  free:\n    deep: {x: 1}\n"))
	if err != nil {
		t.Fatal(err)
	}
	var o outer
	if err := d.Decode(&o); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"inner.tags[1]":     "f.yaml:2:13",
		"inner.tags[9]":     "f.yaml:2:9", // the nearest there is
		"inner.free.deep.x": "f.yaml:4:15",
		"name":              "f.yaml:1:1",
	} {
		if got := d.Position(path).String(); got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("name: a\npackages: [b]\ninner: {size: 3, free: {a: [1, {b: null}]}}\n")
	f.Add("a: &a [*a]\n")
	f.Add("? {x: y}\n: z\n")
	f.Fuzz(func(_ *testing.T, in string) {
		if d, err := document.Parse("f.yaml", []byte(in)); err == nil {
			d.Decode(&outer{}) // must not panic or run away
		}
	})
}
