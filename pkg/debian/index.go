package debian

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/mikelolasagasti/xz"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/tree"
)

const (
	maxIndex    = 512 << 20 // bytes of a Packages file, packed or not
	maxLine     = 1 << 20
	indexFormat = 1 // of what reduce keeps
)

// Index is the package index of a suite for one architecture.
type Index struct {
	Suite string
	Date  int64 // of the Release file, in seconds

	arch     string
	stanzas  []stanza
	byName   map[string][]*stanza
	provided map[string][]*stanza // by names that packages provide
}

// stanza is what an index says of a package, in the words of the index.
type stanza struct {
	suite                       string
	name, version, architecture string
	source, priority            string
	depends, preDepends         string
	provides                    string
	filename, size, sha256      string
}

// field returns where a field's value is kept, nil for one that is not needed.
func (s *stanza) field(name string) *string {
	switch name {
	case "Package":
		return &s.name
	case "Version":
		return &s.version
	case "Architecture":
		return &s.architecture
	case "Source":
		return &s.source
	case "Priority":
		return &s.priority
	case "Depends":
		return &s.depends
	case "Pre-Depends":
		return &s.preDepends
	case "Provides":
		return &s.provides
	case "Filename":
		return &s.filename
	case "Size":
		return &s.size
	case "SHA256":
		return &s.sha256
	}
	return nil
}

// reduce unpacks a Packages file and returns the fields that are needed of the
// packages for that architecture and for all.
func reduce(ctx context.Context, blob tree.Content, suffix, arch string) (string, error) {
	file, err := blob.Open()
	if err != nil {
		return "", diag.IO(err)
	}
	defer file.Close()
	var r io.Reader = bufio.NewReaderSize(io.NewSectionReader(file, 0, blob.Size()), 1<<16)
	switch suffix {
	case ".xz":
		r, err = xz.NewReader(r, xz.DefaultDictMax)
	case ".gz":
		r, err = gzip.NewReader(r)
	}
	if err != nil {
		return "", diag.Dependency(err)
	}
	text, err := reduceText(ctx, r, arch)
	if err != nil && ctx.Err() == nil {
		err = diag.Dependency(err)
	}
	return text, err
}

func reduceText(ctx context.Context, r io.Reader, arch string) (string, error) {
	lines := bufio.NewReaderSize(io.LimitReader(r, maxIndex+1), maxLine)
	var out, current []byte
	var total int64
	var probe stanza
	keep, wanted := false, false // the field the line belongs to, the stanza
	flush := func() {
		if wanted {
			out = append(append(out, current...), '\n')
		}
		current, keep, wanted = current[:0], false, false
	}
	for n := 0; ; n++ {
		if n%4096 == 0 && ctx.Err() != nil {
			return "", ctx.Err()
		}
		line, err := lines.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			return "", fmt.Errorf("line %d is longer than %d bytes", n+1, maxLine)
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return "", err
		}
		if total += int64(len(line)); total > maxIndex {
			return "", fmt.Errorf("more than %d bytes unpacked", int64(maxIndex))
		}
		trimmed := bytes.TrimRight(line, "\r\n \t")
		switch {
		case len(trimmed) == 0:
			flush()
		case trimmed[0] == ' ' || trimmed[0] == '\t':
			if keep { // a folded field becomes one line
				current = append(append(current[:len(current)-1], ' '), bytes.TrimSpace(trimmed)...)
				current = append(current, '\n')
			}
		default:
			name, value, _ := bytes.Cut(trimmed, []byte(":"))
			if keep = probe.field(string(name)) != nil; keep {
				current = append(append(current, trimmed...), '\n')
			}
			if string(name) == "Architecture" {
				a := string(bytes.TrimSpace(value))
				wanted = a == arch || a == "all"
			}
		}
		if err != nil {
			flush()
			return string(out), nil
		}
	}
}

// add adds the stanzas of a reduced Packages file.
func (x *Index) add(text string) error {
	s := stanza{suite: x.Suite}
	for len(text) > 0 {
		line, rest, _ := strings.Cut(text, "\n")
		text = rest
		if line != "" {
			name, value, ok := strings.Cut(line, ":")
			if p := s.field(name); ok && p != nil {
				*p = strings.TrimSpace(value)
			}
			if text != "" {
				continue
			}
		}
		if s.name != "" {
			if err := s.check(); err != nil {
				return err
			}
			x.stanzas = append(x.stanzas, s)
		}
		s = stanza{suite: x.Suite}
	}
	return nil
}

var (
	namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9+.-]*$`)
	sizePattern = regexp.MustCompile(`^[1-9][0-9]{0,11}$`) // below a terabyte
)

// check says whether what later steps rely on makes sense.
func (s *stanza) check() error {
	s.filename = path.Clean(s.filename) // some write ./pool/…
	for _, field := range []struct {
		name, value string
		ok          bool
	}{
		{"Package", s.name, namePattern.MatchString(s.name)},
		{"Version", s.version, s.version != ""},
		{"Filename", s.filename, filepath.IsLocal(s.filename) && s.filename != "."},
		{"Size", s.size, sizePattern.MatchString(s.size)},
		{"SHA256", s.sha256, isDigest(s.sha256)},
	} {
		if !field.ok {
			return diag.Dependencyf("package %q: %s %q makes no sense", s.name, field.name, field.value)
		}
	}
	return nil
}

// names makes the index searchable by name.
func (x *Index) names() {
	x.byName = make(map[string][]*stanza, len(x.stanzas))
	x.provided = map[string][]*stanza{}
	for i := range x.stanzas {
		s := &x.stanzas[i]
		x.byName[s.name] = append(x.byName[s.name], s)
		for p := range strings.SplitSeq(s.provides, ",") {
			name, _, _ := strings.Cut(strings.TrimSpace(p), " ")
			name, _, _ = strings.Cut(name, "(")
			name, _, _ = strings.Cut(name, ":")
			if name != "" {
				x.provided[name] = append(x.provided[name], s)
			}
		}
	}
}

// Len returns the number of packages in the index.
func (x *Index) Len() int { return len(x.stanzas) }

// toPackage returns the form that callers see.
func (s *stanza) toPackage() Package {
	size, _ := strconv.ParseInt(s.size, 10, 64) // add checked it
	return Package{
		Name: s.name, Version: s.version, Architecture: s.architecture, Source: s.source,
		Suite: s.suite, Filename: s.filename, Size: size, SHA256: s.sha256,
	}
}
