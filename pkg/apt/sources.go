package apt

import (
	"bufio"
	"bytes"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// source is one repository in apt's configuration: one URI and one suite.
type source struct {
	file       string // of the configuration
	uri        string
	suite      string
	components []string
}

// Bounds on what is read of a configuration.
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
		if fields := strings.Fields(line); len(fields) > 0 && Usable(fields[0]) {
			return fields[0]
		}
	}
	return uri
}

// parseList reads the one-line format (sources.list(5), "One-line-style
// format"): deb [options] uri suite component...
func parseList(data []byte) []source {
	var found []source
	for line := range lines(data) {
		w := words(line)
		if len(w) == 0 || w[0] != "deb" {
			continue
		}
		w = w[1:]
		if len(w) > 0 && w[0][0] == '[' {
			w = w[1:]
		}
		if len(w) >= 2 && len(found) < maxSources {
			found = append(found, source{uri: w[0], suite: w[1], components: w[2:]})
		}
	}
	return found
}

// words splits a line as apt does: what stands in brackets or quotes is not
// split, and a number sign elsewhere starts a comment.
func words(line string) []string {
	var all []string
	start, closing := -1, byte(0) // of the word; what ends brackets or quotes
	i := 0
	for ; i < len(line) && (closing != 0 || line[i] != '#'); i++ {
		c := line[i]
		blank := closing == 0 && (c == ' ' || c == '\t')
		switch {
		case blank && start >= 0:
			all, start = append(all, line[start:i]), -1
		case !blank && start < 0:
			start = i
		}
		switch {
		case c == closing:
			closing = 0
		case closing != 0:
		case c == '[':
			closing = ']'
		case c == '"':
			closing = '"'
		}
	}
	if closing != 0 {
		return nil // apt takes it for an error
	}
	if start >= 0 {
		all = append(all, line[start:i])
	}
	return all
}

// lines yields the lines without what ends them.
func lines(data []byte) iter.Seq[string] {
	return func(yield func(string) bool) {
		s := bufio.NewScanner(bytes.NewReader(data))
		s.Buffer(nil, maxSourceFile)
		for s.Scan() && yield(strings.TrimRight(s.Text(), " \t\r")) {
		}
	}
}

// parseDeb822 reads the stanza format (sources.list(5), "deb822-style format").
func parseDeb822(data []byte) []source {
	var found []source
	fields := map[string][]string{} // words by name, in lower case
	last := ""
	flush := func() {
		off := slices.ContainsFunc(fields["enabled"], func(w string) bool {
			return slices.Contains([]string{"no", "false", "0", "off", "without", "disable"}, strings.ToLower(w))
		})
		if !off && slices.Contains(fields["types"], "deb") {
			for _, uri := range fields["uris"] {
				for _, suite := range fields["suites"] {
					if len(found) < maxSources {
						found = append(found, source{uri: uri, suite: suite, components: fields["components"]})
					}
				}
			}
		}
		fields, last = map[string][]string{}, ""
	}
	for line := range lines(data) {
		switch {
		case line == "":
			flush()
		case line[0] == '#':
		case line[0] == ' ' || line[0] == '\t':
			fields[last] = append(fields[last], strings.Fields(line)...)
		default:
			name, value, _ := strings.Cut(line, ":")
			last = strings.ToLower(name)
			fields[last] = strings.Fields(value)
		}
	}
	flush()
	return found
}
