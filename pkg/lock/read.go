package lock

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/document"
)

// Read reads a lock file. One that does not exist gives nil and no error.
func Read(file string) (*Lock, error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, diag.Input(fmt.Errorf("reading lock %q: %w", file, err))
	}
	return Parse(file, data)
}

// anew is what to do about a lock that cannot be read.
const anew = "remove the lock to resolve anew"

// Parse reads what came from the named lock file. It is JSON, and thereby YAML
// too: it is read as strictly as what users write.
func Parse(file string, data []byte) (*Lock, error) {
	d, err := document.Parse(file, data)
	if wrong := (*diag.Error)(nil); errors.As(err, &wrong) {
		return nil, diag.At(wrong.Pos, anew, "not a lock: %s", strings.TrimPrefix(wrong.Msg, "not valid YAML: "))
	}
	if err != nil {
		return nil, err
	}
	var l Lock
	err = d.Decode(&l)
	if l.Format != Format && (err == nil || l.Format != 0) {
		return nil, d.Errorf("format", anew, "lock of format %d; this builder reads format %d", l.Format, Format)
	}
	if err != nil {
		return nil, err
	}
	c := checker{doc: d}
	if c.lock(&l); len(c.problems) > 0 {
		return nil, errors.Join(c.problems...)
	}
	return &l, nil
}

type checker struct {
	doc      *document.Document
	problems []error
}

func (c *checker) want(ok bool, path, format string, args ...any) {
	if !ok {
		c.problems = append(c.problems, c.doc.Errorf(path, anew, format, args...))
	}
}

func (c *checker) named(path, name string) { c.want(name != "", path, "%s is missing", path) }

var digestPattern = regexp.MustCompile(`^[0-9a-f]{64}$`)

func (c *checker) lock(l *Lock) {
	c.named("profile", l.Profile)
	c.named("architecture", l.Architecture)
	c.named("toolchain", l.Toolchain)
	c.want(l.Epoch > 0 && l.Epoch <= math.MaxUint32, "epoch", "epoch %d is not within 1970 to 2106", l.Epoch)
	suites, packages := map[string]bool{}, map[string]bool{}
	for i, s := range l.Suites {
		c.named(fmt.Sprintf("suites[%d].name", i), s.Name)
		suites[s.Name] = true
	}
	for i, p := range l.Packages {
		at := func(field string) string { return fmt.Sprintf("packages[%d].%s", i, field) }
		c.named(at("name"), p.Name)
		c.named(at("version"), p.Version)
		c.want(!packages[p.Name], at("name"), "package %q is given twice", p.Name)
		packages[p.Name] = true
		c.want(suites[p.Suite], at("suite"), "unknown suite %q", p.Suite)
		c.want(filepath.IsLocal(p.Filename), at("filename"), "%q is not a path inside a repository", p.Filename)
		c.want(p.Size > 0, at("size"), "size %d makes no sense", p.Size)
		c.want(digestPattern.MatchString(p.SHA256), at("sha256"), "%q is not a sha256", p.SHA256)
	}
	for i, s := range l.Sets {
		c.named(fmt.Sprintf("sets[%d].name", i), s.Name)
		for j, name := range s.Packages {
			c.want(packages[name], fmt.Sprintf("sets[%d].packages[%d]", i, j), "unknown package %q", name)
		}
	}
	for i, m := range l.Components {
		c.named(fmt.Sprintf("components[%d].name", i), m.Name)
		c.named(fmt.Sprintf("components[%d].version", i), m.Version)
	}
}
