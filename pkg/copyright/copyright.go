// Package copyright reads machine-readable debian/copyright files (Debian
// Policy, "Machine-readable debian/copyright file", copyright-format 1.0).
package copyright

import (
	"slices"
	"strings"
)

// Licences returns the licences that a file names for what is in its package:
// short names, or expressions of them where there is a choice ("Artistic or
// GPL-1+"), sorted, each once. It returns false for a file that is not
// machine-readable.
func Licences(text string) ([]string, bool) {
	paragraphs := parse(text)
	if len(paragraphs) == 0 || !machineReadable(paragraphs[0]["format"]) {
		return nil, false
	}
	names := map[string]string{} // by lower case: names are case-insensitive
	for i, p := range paragraphs {
		// A paragraph of its own only gives the text of a licence, and there
		// are some that nothing is under.
		if _, files := p["files"]; !files && i > 0 {
			continue
		}
		for _, name := range split(p["license"]) {
			key := strings.ToLower(name)
			if old, ok := names[key]; name != "" && (!ok || name < old) {
				names[key] = name
			}
		}
	}
	list := make([]string, 0, len(names))
	for _, name := range names {
		list = append(list, name)
	}
	slices.Sort(list)
	return list, true
}

// machineReadable reports whether a format is the one of the specification, or
// its last draft.
func machineReadable(format string) bool {
	return strings.Contains(format, "/copyright-format/1.") || strings.Contains(format, "/deps/dep5")
}

// split takes an expression apart into what all applies. "and" binds closer
// than "or", unless there is a comma before it.
func split(expression string) []string {
	var all []string
	for _, part := range strings.Split(expression, ", and ") {
		if choice := splitWord(part, "or"); len(choice) > 1 {
			all = append(all, strings.Join(choice, " or "))
			continue
		}
		all = append(all, splitWord(part, "and")...)
	}
	return all
}

// splitWord splits at a word, and makes single blanks of all white space.
func splitWord(s, word string) []string {
	var parts []string
	start := 0
	fields := strings.Fields(s)
	for i, f := range fields {
		if strings.EqualFold(f, word) {
			parts = append(parts, strings.Join(fields[start:i], " "))
			start = i + 1
		}
	}
	return append(parts, strings.Join(fields[start:], " "))
}

// parse returns the paragraphs of a file in the syntax of control files: the
// first line of each value, by the field's name in lower case.
func parse(text string) []map[string]string {
	var paragraphs []map[string]string
	inside := false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, " \t\r\n")
		if line == "" {
			inside = false
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || strings.ContainsAny(line[:1], "# \t") {
			continue
		}
		if !inside {
			paragraphs = append(paragraphs, map[string]string{})
			inside = true
		}
		paragraphs[len(paragraphs)-1][strings.ToLower(name)] = strings.TrimSpace(value)
	}
	return paragraphs
}
