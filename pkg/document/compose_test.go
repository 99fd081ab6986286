package document_test

import (
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/slipway-os/slipway/pkg/document"
)

func TestMerge(t *testing.T) {
	for _, c := range []struct{ name, under, over, want string }{
		{"mappings", "{a: {b: 1, c: 2}}", "{a: {c: 3, d: 4}, e: 5}", "{a: {b: 1, c: 3, d: 4}, e: 5}"},
		{"a list", "{a: [1, 2]}", "{a: [3]}", "{a: [3]}"},
		{"a mapping over a value", "{a: 1}", "{a: {b: 2}}", "{a: {b: 2}}"},
		{"nothing over a mapping", "{a: {b: 1}}", "{a: }", "{a: {b: 1}}"},
		{"nothing over a mapping further in", "{a: {b: {c: 1}}}", "{a: {b: ~}}", "{a: {b: {c: 1}}}"},
		{"nothing over a list", "{a: [1]}", "{a: ~}", "{a: null}"},
		{"nothing over a value", "{a: 1}", "{a: }", "{a: null}"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var nodes [2]yaml.Node
			for i, text := range []string{c.under, c.over} {
				if err := yaml.Unmarshal([]byte(text), &nodes[i]); err != nil {
					t.Fatal(err)
				}
			}
			got, err := document.Encode(document.Merge(nodes[0].Content[0], nodes[1].Content[0]), yaml.FlowStyle)
			if err != nil || strings.TrimSpace(string(got)) != c.want {
				t.Errorf("got  %s (%v)\nwant %s", got, err, c.want)
			}
		})
	}
}
