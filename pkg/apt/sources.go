// Package apt finds a Debian mirror: the one that was given, or else the one
// that the building machine's own apt uses.
package apt

import (
	"bufio"
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// source is one repository in apt's configuration: one URI and one suite.
type source struct {
	file       string // of the configuration
	uri        string
	suite      string
	components []string
}

// maxSources bounds what is read of a configuration.
const (
	maxSources    = 10_000
	maxSourceFile = 1 << 20
)

// readSources reads sources.list and sources.list.d below a directory, in the
// order apt reads them. What cannot be read or understood is passed over: the
// machine's apt may know more than this.
func readSources(dir string) []source {
	files := []string{filepath.Join(dir, "sources.list")}
	entries, _ := os.ReadDir(filepath.Join(dir, "sources.list.d")) // sorted; none is fine
	for _, e := range entries {
		files = append(files, filepath.Join(dir, "sources.list.d", e.Name()))
	}
	var all []source
	for _, name := range files {
		var parse func([]byte) []source
		switch filepath.Ext(name) {
		case ".list":
			parse = parseList
		case ".sources":
			parse = parseDeb822
		default:
			continue
		}
		data, err := readFile(name)
		if err != nil {
			continue
		}
		for _, s := range parse(data) {
			if s.uri, s.file = mirrorFile(s.uri), name; len(all) < maxSources {
				all = append(all, s)
			}
		}
	}
	return all
}

func readFile(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxSourceFile {
		return nil, fs.ErrInvalid
	}
	return os.ReadFile(name)
}

// mirrorFile returns the first mirror of a list of mirrors, as the images of
// several clouds use it (apt-transport-mirror(1)); any other URI as it is.
func mirrorFile(uri string) string {
	name, ok := strings.CutPrefix(uri, "mirror+file:")
	if !ok {
		return uri
	}
	data, err := readFile("/" + strings.TrimLeft(name, "/"))
	if err != nil {
		return uri
	}
	for line := range strings.Lines(string(data)) {
		if fields := strings.Fields(line); len(fields) > 0 && usable(fields[0]) {
			return fields[0]
		}
	}
	return uri
}

// parseList reads the one-line format (sources.list(5), "One-line-style
// format"): deb [options] uri suite component...
func parseList(data []byte) []source {
	var found []source
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, maxSourceFile)
	for lines.Scan() {
		line, _, _ := strings.Cut(lines.Text(), "#")
		kind, rest, ok := strings.Cut(strings.Join(strings.Fields(line), " "), " ")
		if !ok || kind != "deb" {
			continue
		}
		if strings.HasPrefix(rest, "[") {
			_, rest, ok = strings.Cut(rest, "]")
			if !ok {
				continue
			}
		}
		if fields := strings.Fields(rest); len(fields) >= 2 && len(found) < maxSources {
			found = append(found, source{uri: fields[0], suite: fields[1], components: fields[2:]})
		}
	}
	return found
}

// parseDeb822 reads the stanza format (sources.list(5), "deb822-style format").
func parseDeb822(data []byte) []source {
	var found []source
	fields := map[string]string{}
	last := ""
	flush := func() {
		enabled := strings.ToLower(fields["enabled"])
		off := enabled == "no" || enabled == "false" || enabled == "0" || enabled == "off" || enabled == "without" || enabled == "disable"
		if !off && contains(fields["types"], "deb") {
			for _, uri := range strings.Fields(fields["uris"]) {
				for _, suite := range strings.Fields(fields["suites"]) {
					if len(found) < maxSources {
						found = append(found, source{uri: uri, suite: suite, components: strings.Fields(fields["components"])})
					}
				}
			}
		}
		fields, last = map[string]string{}, ""
	}
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, maxSourceFile)
	for lines.Scan() {
		line := strings.TrimRight(lines.Text(), " \t\r")
		switch {
		case line == "":
			flush()
		case line[0] == '#':
		case line[0] == ' ' || line[0] == '\t':
			if last != "" {
				fields[last] += " " + strings.TrimSpace(line)
			}
		default:
			name, value, _ := strings.Cut(line, ":")
			last = strings.ToLower(name)
			fields[last] = strings.TrimSpace(value)
		}
	}
	flush()
	return found
}

func contains(list, word string) bool {
	for _, w := range strings.Fields(list) {
		if w == word {
			return true
		}
	}
	return false
}
