package document_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/diag"
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
		{"an empty element", "packages: [a, ~]\n", `f.yaml:1:15: packages[1] is empty (remove it, or give it a value)`},
		{"a list cut short", "packages:\n  -\n  - a\n", `f.yaml:2:4: packages[0] is empty (remove it, or give it a value)`},
		{"key given twice in a map", "labels: {a: x, b: y, a: z}\n", `f.yaml:1:22: field "a" is given twice`},
		{"key that is no word", "? [a]\n: b\n", `f.yaml:1:3: a field's name must be a plain word`},
		{"merge key", "inner: {<<: {size: 1}}\n", `f.yaml:1:9: merge keys are not allowed (write the fields out)`},
		{"free: merge key", "inner:\n  free:\n    <<: {a: 1}\n", `f.yaml:3:5: merge keys are not allowed (write the fields out)`},
		{"free: key given twice", "inner:\n  free:\n    a: {b: 1, b: 2}\n", `f.yaml:3:15: field "b" is given twice`},
		{"free: anchor", "inner: {free: {a: &x [1], b: 2}}\n", `f.yaml:1:19: anchors and aliases are not allowed (write the value out)`},
		{"free: alias", "inner: {free: {a: [*x]}}\n", `f.yaml:1:20: not valid YAML: unknown anchor 'x' referenced (in quotes, if the star belongs to the value)`},
		{"alias after what looks like it", "# *x\nname: '*x'\ninner:\n  free: {ä: *x, b: *x} # *x\n", `f.yaml:4:13: not valid YAML: unknown anchor 'x' referenced (in quotes, if the star belongs to the value)`},
		{"alias before a longer one", "name: \"*xy\"\npackages:\n  - *x\n  - *xy\n", `f.yaml:3:5: not valid YAML: unknown anchor 'x' referenced (in quotes, if the star belongs to the value)`},
		{"alias after a longer one", "name: &xy a\npackages:\n  - *xy\n  - *x\n", `f.yaml:4:5: not valid YAML: unknown anchor 'x' referenced (in quotes, if the star belongs to the value)`},
		{"alias as a name", "*x : a\n", `f.yaml:1:1: not valid YAML: unknown anchor 'x' referenced (in quotes, if the star belongs to the value)`},
		{"star that is no alias", "inner:\n  tags: ['*.a', *.b]\n", `f.yaml:2:17: not valid YAML: did not find expected alphabetic or numeric character (in quotes, if the star belongs to the value)`},
		{"star that is no alias, on the first line", "packages: [*.example.net]\n", `f.yaml:1:12: not valid YAML: did not find expected alphabetic or numeric character (in quotes, if the star belongs to the value)`},
		{"star before a letter of more bytes", "packages:\n  # *ä\n  - a\n  - *ä\n", `f.yaml:4:5: not valid YAML: did not find expected alphabetic or numeric character (in quotes, if the star belongs to the value)`},
		{"star alone", "name: a\npackages:\n  - a\n  - *", `f.yaml:4:5: not valid YAML: did not find expected alphabetic or numeric character (in quotes, if the star belongs to the value)`},
		{"ampersand that is no anchor", "name: a\npackages: [a, &.b, *.c]\n", `f.yaml:2:15: not valid YAML: did not find expected alphabetic or numeric character (in quotes, if the ampersand belongs to the value)`},
		{"free: a number for a key", "inner: {free: {a: {8080: b}}}\n", `f.yaml:1:20: a field's name must be a string, not the number 8080 (write "8080", with the quotes)`},
		{"free: a date", "inner: {free: {a: [2026-01-01]}}\n", `f.yaml:1:20: inner.free.a[0] must not be a date (write "2026-01-01", with the quotes)`},
		{"free: no number", "inner: {free: {a: .nan}}\n", `f.yaml:1:19: inner.free.a must be a finite number, not .nan`},
		{"not UTF-8", "name: a\n# caf\xe9\n", `f.yaml:2:6: not valid YAML: byte 0xe9 is not UTF-8 (save the file as UTF-8)`},
		{"control character", "näme: \x1b[2J\n", `f.yaml:1:7: not valid YAML: control character U+001B (remove it, or escape it in double quotes)`},
		{"control character of Latin 1", "name: a\ninner: {tags: [\"ä\u0081\"]}\n", `f.yaml:2:18: not valid YAML: control character U+0081 (remove it, or escape it in double quotes)`},
		{"no character", "name: a\uffff\n", `f.yaml:1:8: not valid YAML: control character U+FFFF (remove it, or escape it in double quotes)`},
		{"never closed", "name: [ä\n\n", `f.yaml:1:9: not valid YAML: did not find expected ',' or ']'`},
		{"never closed, further down", "inner:\n  tags: [a\n", `f.yaml:2:3: not valid YAML: did not find expected ',' or ']'`},
		{"indented too little", "inner:\n  size: 1\n tags: [a]\n", `f.yaml:3:2: not valid YAML: did not find expected key`},
		{"indented too little, far down", "name: a\npackages:\n" + strings.Repeat("  - b: c # d\n", 100) + "   e: f\n" + strings.Repeat("  - g: h\n", 100), `f.yaml:103:4: not valid YAML: did not find expected '-' indicator`},
		{"indented too little at the end", "name: a\ninner:\n  tags:\n    - a\n    - b\n   - c", `f.yaml:6:4: not valid YAML: did not find expected key`},
		{"element in a mapping", "name: a\ninner:\n  size: 1\n  free:\n    b: c\n  - d\n", `f.yaml:6:3: not valid YAML: did not find expected key`},
		{"in a second document", "name: a\n---\ninner:\n  tags:\n    - a\n    - b\n   - c\n", `f.yaml:7:4: not valid YAML: did not find expected key`},
		{"in a file too large to search", "name: a\ninner:\n  tags:\n    - a\n   - b\n" + strings.Repeat("#", 2<<20), `f.yaml:3:3: not valid YAML: did not find expected key`},
		{"a colon too many", "name: a\npackages: b: c\n", `f.yaml:2:1: not valid YAML: mapping values are not allowed in this context`},
		{"second document that is none", "name: a\n---\n}\n", `f.yaml:3:1: not valid YAML: did not find expected node content`},
		{"too large", strings.Repeat("#", 5<<20), `f.yaml: larger than 4 MiB`},
		{"too many values", "packages: [" + strings.Repeat("a,", 200_001) + "]\n", `f.yaml:1:400008: more than 200000 values`},
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

// Some characters that look like control characters are none.
func TestCharactersOfText(t *testing.T) {
	for _, in := range []string{"\ufeffname: a\n", "name: \"a\ufeffb\"\n", "name: \"a\u0085b\"\n", "name: \"a\u00a0\ufffd\U0001f6a2\"\r\n"} {
		if _, err := document.Parse("f.yaml", []byte(in)); err != nil {
			t.Errorf("%q: %v", in, err)
		}
	}
}

// An empty value leaves the default, an empty file all of them.
func TestEmptyValuesLeaveDefaults(t *testing.T) {
	for _, in := range []string{"", "# nothing\n", "---\n", "name:\ninner: ~\npackages: null\n"} {
		o := outer{Name: "default", Packages: []string{"bash"}}
		d, err := document.Parse("f.yaml", []byte(in))
		if err == nil {
			err = d.Decode(&o)
		}
		if err != nil || o.Name != "default" || len(o.Packages) != 1 || o.Inner != nil {
			t.Errorf("%q: got %+v, %v", in, o, err)
		}
	}
}

// All problems come at once, in the order of the file.
func TestAllProblemsAreReported(t *testing.T) {
	d, err := document.Parse("f.yaml", []byte("nmae: a\non: 1\ninner:\n  size: x\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := `f.yaml:1:1: unknown field "nmae" (did you mean "name"?)
f.yaml:2:5: on must be true or false, not the number 1
f.yaml:4:9: inner.size must be a whole number, not "x"`
	err = d.Decode(&outer{})
	if err == nil || err.Error() != want || diag.ExitCode(err) != diag.ExitInput {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

// What is read freely can be written as JSON again.
func TestFreeFormValues(t *testing.T) {
	d, err := document.Parse("f.yaml", []byte("inner:\n  free: {a: [1, -2.5, yes, true, ~, 0x10, \"2026-01-01\"], b: {c: \"text\\nmore\"}, \"1\": {}, d: []}\n"))
	if err != nil {
		t.Fatal(err)
	}
	var o outer
	if err := d.Decode(&o); err != nil {
		t.Fatal(err)
	}
	const want = `{"1":{},"a":[1,-2.5,"yes",true,null,16,"2026-01-01"],"b":{"c":"text\nmore"},"d":[]}`
	if got, err := json.Marshal(o.Inner.Free); err != nil || string(got) != want {
		t.Errorf("got  %s (%v)\nwant %s", got, err, want)
	}
}

func TestSchema(t *testing.T) {
	type field struct {
		Name string `yaml:"name" doc:"What it is called."`
		Skip string `yaml:"-"`
		outer
	}
	got, err := json.Marshal(document.Schema("Test", struct {
		List []field          `yaml:"list"`
		Map  map[string]int64 `yaml:"map"`
		Any  map[string]any   `yaml:"any"`
		On   *bool            `yaml:"on"`
	}{}))
	const want = `{"$schema":"https://json-schema.org/draft/2020-12/schema","additionalProperties":false,"properties":{` +
		`"any":{"additionalProperties":{},"type":"object"},` +
		`"list":{"items":{"additionalProperties":false,"properties":{"name":{"description":"What it is called.","type":"string"}},"type":"object"},"type":"array"},` +
		`"map":{"additionalProperties":{"type":"integer"},"type":"object"},` +
		`"on":{"type":"boolean"}},"title":"Test","type":"object"}`
	if err != nil || string(got) != want {
		t.Errorf("got  %s (%v)\nwant %s", got, err, want)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("name: a\npackages: [b]\ninner: {size: 3, free: {a: [1, {b: null}]}}\n")
	f.Add("a: &a [*a]\n")
	f.Add("? {x: y}\n: z\n")
	place := regexp.MustCompile(`^f\.yaml:[0-9]+:[0-9]+: `)
	f.Fuzz(func(t *testing.T, in string) {
		d, err := document.Parse("f.yaml", []byte(in))
		var o outer
		if err == nil {
			err = d.Decode(&o)
		}
		if err == nil {
			if _, err := json.Marshal(o); err != nil {
				t.Errorf("accepted what is no JSON: %v", err)
			}
			return
		}
		for line := range strings.Lines(err.Error()) {
			if !place.MatchString(line) {
				t.Errorf("no place in %q", line)
			}
		}
	})
}
