package debiantest

import (
	"archive/tar"
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// Package is a package of a suite.
type Package struct {
	Name, Version string
	Architecture  string            // default: all
	Component     string            // default: main; others are there if a package is in them
	Fields        map[string]string // more fields of its control file: Depends, Provides, …
	Files         map[string]string // its files, path to content
}

func (p *Package) arch() string { return cmp.Or(p.Architecture, "all") }

func (p *Package) component() string { return cmp.Or(p.Component, "main") }

// control returns the control file, which is also the start of the index's
// stanza.
func (p *Package) control() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Package: %s\nVersion: %s\nArchitecture: %s\nMaintainer: Nobody <nobody@example.org>\n", p.Name, p.Version, p.arch())
	for _, name := range slices.Sorted(maps.Keys(p.Fields)) {
		fmt.Fprintf(&b, "%s: %s\n", name, p.Fields[name])
	}
	b.WriteString("Description: a package\n that is used in tests\n")
	return b.String()
}

// build makes the package itself (deb(5)): an ar archive of tar archives.
func (p *Package) build(t testing.TB) []byte {
	t.Helper()
	var out bytes.Buffer
	out.WriteString("!<arch>\n")
	for _, m := range []struct {
		name string
		data []byte
	}{
		{"debian-binary", []byte("2.0\n")},
		{"control.tar.gz", zipped(t, archive(t, map[string]string{"control": p.control()}))},
		{"data.tar.gz", zipped(t, archive(t, p.Files))},
	} {
		fmt.Fprintf(&out, "%-16s%-12d%-6d%-6d%-8s%-10d`\n%s", m.name, 0, 0, 0, "100644", len(m.data), m.data)
		if len(m.data)%2 == 1 {
			out.WriteByte('\n')
		}
	}
	return out.Bytes()
}

func archive(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		content := files[name]
		if err := w.WriteHeader(&tar.Header{Name: "./" + name, Mode: 0o644, Size: int64(len(content))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
