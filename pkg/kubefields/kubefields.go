// Package kubefields knows the fields of Kubernetes' configuration documents,
// so that a typo in one is found before a node is started with it.
package kubefields

//go:generate sh -c "cd ../../profiles/components/kubernetes && go run ../../../pkg/kubefields/generate.go > ../../../pkg/kubefields/new.json && mv ../../../pkg/kubefields/new.json ../../../pkg/kubefields/fields.json"

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/slipway-os/slipway/pkg/diag"
)

// fieldsJSON is what generate.go prints: of each struct the types of its fields,
// which are "string", "bool", "int", "number", "duration", "any", the name of a
// struct, or "[]" or "map " before one of these.
//
//go:embed fields.json
var fieldsJSON []byte

type table struct {
	Version string                       `json:"version"`
	Types   map[string]map[string]string `json:"types"`
	// Gates are the feature gates of "kubernetes" and of "kubeadm", with what those
	// are that cannot be set: "true", "false", or "".
	Gates map[string]map[string]string `json:"gates"`
}

var read = sync.OnceValue(func() table {
	var t table
	if err := json.Unmarshal(fieldsJSON, &t); err != nil {
		panic(err) // what is embedded is tested
	}
	return t
})

// Version is the version of Kubernetes that the fields are of: "v1.37.2".
func Version() string { return read().Version }

// Field is a field of a document.
type Field struct {
	Path string // "apiServer.extraArgs[].name"
	Type string // "string", "list of string", "mapping to bool"
}

// Fields returns the fields of a kind that are no objects themselves, or objects
// of the types that are whole, sorted.
func Fields(kind string, whole ...string) []Field {
	fields := read().fields("", kind, whole)
	slices.SortFunc(fields, func(a, b Field) int { return strings.Compare(a.Path, b.Path) })
	return fields
}

func (t table) fields(path, kind string, whole []string) []Field {
	var fields []Field
	for name, of := range t.Types[kind] {
		at := strings.TrimPrefix(path+"."+name, ".")
		element, list := strings.CutPrefix(of, "[]")
		switch {
		case t.Types[element] == nil || slices.Contains(whole, element):
			fields = append(fields, Field{at, strings.NewReplacer("[]", "list of ", "map ", "mapping to ").Replace(of)})
		case list:
			fields = append(fields, t.fields(at+"[]", element, whole)...)
		default:
			fields = append(fields, t.fields(at, element, whole)...)
		}
	}
	return fields
}

// Problem is what is wrong with a field.
type Problem struct {
	Path string // "authentication.anonymous.enabled", "plugins[0].name"
	Text string // `must be true or false, not "yes"`
	Hint string // what to do, if that is known
}

// Check compares the fields of a document with what Kubernetes takes there. It
// knows names, types, and what single values may be; of which go together it knows
// little, the rest Kubernetes itself must say. A kind that is not known has no problems.
func Check(kind string, document map[string]any) []Problem {
	c := checker{types: read().Types, rules: rules()}
	c.object("", kind, document)
	return c.problems
}

type checker struct {
	types    map[string]map[string]string
	rules    map[string]rule
	problems []Problem
}

func (c *checker) add(path, hint, format string, args ...any) {
	c.problems = append(c.problems, Problem{Path: path, Text: fmt.Sprintf(format, args...), Hint: hint})
}

func (c *checker) object(path, kind string, fields map[string]any) {
	known := c.types[kind]
	if known == nil {
		return
	}
	before := len(c.problems)
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		at := strings.TrimPrefix(path+"."+name, ".")
		if of, ok := known[name]; ok {
			found := len(c.problems)
			c.value(at, of, fields[name])
			if rule := c.rules[kind+"."+name]; rule != nil && len(c.problems) == found {
				c.judge(at, rule, fields[name])
			}
			continue
		}
		c.add(at, suggest(name, known), "is no field of %s", kind)
	}
	if len(c.problems) > before {
		return // what is missing may be what was meant
	}
	for _, p := range whole(kind, fields) {
		p.Path = strings.TrimPrefix(path+"."+p.Path, ".")
		c.problems = append(c.problems, p)
	}
}

// judge says what is wrong with a value of the right type.
func (c *checker) judge(at string, rule rule, v any) {
	if v == nil {
		return
	}
	if list, is := v.([]any); is {
		for i, e := range list {
			c.judge(fmt.Sprintf("%s[%d]", at, i), rule, e)
		}
		return
	}
	if m, is := v.(map[string]any); is {
		for _, name := range slices.Sorted(maps.Keys(m)) {
			c.judge(at+"."+name, rule, entry{name, m[name]})
		}
		return
	}
	if text, hint := rule(v); text != fine {
		c.add(at, hint, "%s", text)
	}
}

// suggest names the field that was meant; all of them, if they are few.
func suggest(name string, known map[string]string) string {
	names := slices.Sorted(maps.Keys(known))
	if hint := diag.Suggest(name, names); hint != "" || len(names) > 12 {
		return hint
	}
	return "known: " + strings.Join(names, ", ")
}

func (c *checker) value(path, of string, v any) {
	if v == nil || of == "any" {
		return
	}
	if of, ok := strings.CutPrefix(of, "[]"); ok {
		list, is := v.([]any)
		if !is {
			c.add(path, "", "must be a list, not %s", shown(v))
		}
		for i, e := range list {
			c.value(fmt.Sprintf("%s[%d]", path, i), of, e)
		}
		return
	}
	if of, ok := strings.CutPrefix(of, "map "); ok {
		m, is := v.(map[string]any)
		if !is {
			c.add(path, "", "must be a mapping, not %s", shown(v))
		}
		for _, name := range slices.Sorted(maps.Keys(m)) {
			c.value(path+"."+name, of, m[name])
		}
		return
	}
	if wanted := scalar(of, v); wanted != "" {
		c.add(path, "", "must be %s, not %s", wanted, shown(v))
		return
	}
	if c.types[of] == nil {
		return
	}
	m, is := v.(map[string]any)
	if !is {
		c.add(path, "", "must be a mapping, not %s", shown(v))
		return
	}
	c.object(path, of, m)
}

// scalar returns what a value must be that is not; "" if it is, or is no scalar.
func scalar(of string, v any) (wanted string) {
	switch of {
	case "string":
		if _, ok := v.(string); !ok {
			return "text (in quotes)"
		}
	case "bool":
		if _, ok := v.(bool); !ok {
			return "true or false"
		}
	case "int":
		if !isInt(v) {
			return "a whole number"
		}
	case "number":
		if _, ok := v.(float64); !ok && !isInt(v) {
			return "a number"
		}
	case "duration":
		s, ok := v.(string)
		if _, err := time.ParseDuration(s); !ok || err != nil {
			return "a duration as in 1h30m"
		}
	}
	return ""
}

func isInt(v any) bool {
	switch v.(type) {
	case int, int64, uint64:
		return true
	}
	return false
}

// shown writes a value for a message, without what may be a secret in depth.
func shown(v any) string {
	switch v := v.(type) {
	case map[string]any:
		return "a mapping"
	case []any:
		return "a list"
	case string:
		return fmt.Sprintf("%.40q", v)
	}
	return fmt.Sprint(v)
}
