package clusterapi

import (
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/slipway-os/slipway/pkg/diag"
)

var (
	jinjaHeader = regexp.MustCompile(`^##\s*template:\s*jinja\s*$`)
	// ds.meta_data.name, ds.meta_data["name"], v1.name; and the first label of
	// a host name.
	jinjaName   = regexp.MustCompile(`^(?:ds\.meta_data|v1)(?:\.([A-Za-z_][A-Za-z0-9_]*)|\[['"]([A-Za-z0-9_-]+)['"]\])(\.split\(['"]\.['"]\)\[0\])?$`)
	jinjaTag    = regexp.MustCompile(`\{\{-?|\{%-?|\{#`)
	jinjaRaw    = regexp.MustCompile(`^\{%-?\s*raw\s*-?%\}`)
	jinjaEndRaw = regexp.MustCompile(`\{%-?\s*endraw\s*-?%\}`)
	// A value that is nothing but itself in YAML and in a shell.
	harmless = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/@+-]*$`)
)

// render fills in the names of a template (cloud-init, "Instance metadata").
// Lines stay where they are.
func (r *reader) render(in string) string {
	first, _, _ := strings.Cut(in, "\n")
	if !jinjaHeader.MatchString(strings.TrimRight(first, " \t\r")) {
		return in
	}
	var out strings.Builder
	for at := 0; ; {
		tag := jinjaTag.FindStringIndex(in[at:])
		if tag == nil {
			out.WriteString(in[at:])
			return out.String()
		}
		start := at + tag[0]
		out.WriteString(in[at:start])
		line := strings.Count(in[:start], "\n") + 1
		pos := diag.Position{File: r.name, Line: line, Column: utf8.RuneCountInString(in[strings.LastIndexByte(in[:start], '\n')+1:start]) + 1}
		if raw := jinjaRaw.FindString(in[start:]); raw != "" {
			at = start + len(raw)
			end := jinjaEndRaw.FindStringIndex(in[at:])
			if end == nil {
				r.refuse(pos, "", "{%% raw %%} has no end")
				return out.String()
			}
			out.WriteString(in[at : at+end[0]])
			at += end[1]
			continue
		}
		if !strings.HasPrefix(in[start:], "{{") {
			r.refuse(pos, "{{ ds.meta_data.NAME }} is understood, and {% raw %}", "of Jinja, only names are understood here")
			return out.String()
		}
		end := strings.Index(in[start:], "}}")
		if end < 0 {
			r.refuse(pos, "", "{{ has no end")
			return out.String()
		}
		expression := strings.Trim(in[start+2:start+end], "- \t\r\n")
		out.WriteString(r.value(pos, expression))
		at = start + end + 2
	}
}

// value returns what the machine's platform says under a name.
func (r *reader) value(pos diag.Position, expression string) string {
	m := jinjaName.FindStringSubmatch(expression)
	if m == nil {
		if !utf8.ValidString(expression) || len(expression) > 100 {
			expression = "…"
		}
		r.refuse(pos, "{{ ds.meta_data.NAME }} is understood", "{{ %s }} is not understood here", expression)
		return "unknown"
	}
	name := strings.ReplaceAll(m[1]+m[2], "-", "_")
	value, known := r.metadata()[name]
	switch {
	case !known:
		r.refuse(pos, "see docs/cluster-api.md for where it is looked for", "the machine does not know its ds.meta_data.%s", name)
		return "unknown"
	case !harmless.MatchString(value):
		r.refuse(pos, "", "the machine's ds.meta_data.%s is not a plain word", name)
		return "unknown"
	}
	if m[3] != "" {
		value, _, _ = strings.Cut(value, ".")
	}
	return value
}
