package deb

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

// Bounds on the control archive; the largest of Debian's stay far below.
const (
	maxControlArchive = 64 << 20
	maxControlFile    = 8 << 20
)

// readControl reads the control archive: the files control and conffiles.
func (r *record) readControl(archive io.Reader) error {
	limited := &io.LimitedReader{R: archive, N: maxControlArchive}
	t := tar.NewReader(limited)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if limited.N == 0 {
			return fmt.Errorf("more than %d bytes", maxControlArchive)
		}
		if err != nil {
			return err
		}
		name := path.Clean(h.Name)
		if h.Typeflag != tar.TypeReg || (name != "control" && name != "conffiles") {
			continue
		}
		if h.Size > maxControlFile {
			return fmt.Errorf("%q has %d bytes: more than the limit of %d", h.Name, h.Size, maxControlFile)
		}
		text, err := io.ReadAll(t)
		if err != nil {
			return err
		}
		if name == "control" {
			r.Control = parseControl(string(text))
		} else {
			r.Conffiles = parseConffiles(string(text))
		}
	}
	if r.Control["Package"] == "" {
		return errors.New("no control file that names the package")
	}
	return nil
}

// parseControl reads the fields of a control file (Debian policy, section 5.1).
func parseControl(text string) map[string]string {
	values := map[string]*strings.Builder{}
	var last *strings.Builder
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n\t ")
		switch {
		case line == "" || line[0] == '#':
		case line[0] == ' ' || line[0] == '\t':
			if last != nil {
				last.WriteString("\n" + strings.TrimLeft(line, " \t"))
			}
		default:
			last = nil
			if name, value, ok := strings.Cut(line, ":"); ok {
				last = &strings.Builder{}
				last.WriteString(strings.TrimSpace(value))
				values[name] = last
			}
		}
	}
	fields := make(map[string]string, len(values))
	for name, value := range values {
		fields[name] = value.String()
	}
	return fields
}

// parseConffiles reads the list of configuration files (deb-conffiles(5)).
// Files to be removed on upgrade are no part of the package.
func parseConffiles(text string) []string {
	var files []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if name := path.Clean(line); path.IsAbs(name) && name != "/" {
			files = append(files, strings.TrimLeft(name, "/"))
		}
	}
	return files
}
