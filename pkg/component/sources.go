package component

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"go/build"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/slipway-os/slipway/pkg/diag"
)

// sources are the files of a main module, by slash-separated path. They are
// read once, so that what is hashed is what is compiled.
type sources map[string][]byte

// maxSource bounds a file of a main module, in bytes.
const maxSource = 64 << 20

func (s sources) add(root, name string) error {
	if _, ok := s[name]; ok {
		return nil
	}
	file := filepath.Join(root, filepath.FromSlash(name))
	info, err := os.Stat(file)
	if err == nil && (!info.Mode().IsRegular() || info.Size() > maxSource) {
		return diag.Inputf("reading sources: %s is not a regular file of at most %d bytes", file, maxSource)
	}
	if err != nil {
		return diag.Input(fmt.Errorf("reading sources: %w", err))
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return diag.IO(fmt.Errorf("reading sources: %w", err))
	}
	s[name] = data
	return nil
}

// digest names the files and all they hold.
func (s sources) digest() string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(s)) {
		fmt.Fprintf(h, "%q %x\n", name, sha256.Sum256(s[name]))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// write writes the files below dir.
func (s sources) write(dir string) error {
	for name, data := range s {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return diag.IO(err)
		}
		if err := os.WriteFile(file, data, 0o644); err != nil {
			return diag.IO(err)
		}
	}
	return nil
}

// readSources reads what a component is compiled from: its directory without
// tests; for this repository's own programs the packages they import.
// What is generated is among them.
func (c *Component) readSources(arch string) (sources, error) {
	s := sources{}
	for _, p := range c.Programs {
		if len(p.Packages) > 0 {
			s[path.Join(p.multicall(), "main.go")] = p.multicallSource()
		}
	}
	if !c.local() {
		return s, s.addTree(c.Dir, ".")
	}
	root := c.sourceDir()
	for _, name := range []string{"go.mod", "go.sum"} {
		if err := s.add(root, name); err != nil {
			return nil, err
		}
	}
	seen := map[string]bool{}
	for _, p := range c.Programs {
		if len(p.Packages) > 0 {
			continue // of other modules
		}
		if err := c.addPackage(s, arch, path.Clean(p.Package), seen); err != nil {
			return nil, err
		}
	}
	// The description lies outside that module, but its flags count.
	description, err := os.ReadFile(filepath.Join(c.Dir, fileName))
	if err != nil {
		return nil, diag.IO(err)
	}
	s[fileName] = description
	return s, nil
}

func (s sources) addTree(root, dir string) error {
	return fs.WalkDir(os.DirFS(root), dir, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return diag.IO(fmt.Errorf("reading sources: %w", err))
		case d.IsDir() && d.Name() == "testdata":
			return fs.SkipDir
		case d.IsDir(), strings.HasSuffix(name, "_test.go"):
			return nil
		}
		return s.add(root, name)
	})
}

// buildContext decides which files of a package are compiled.
func (c *Component) buildContext(arch string) *build.Context {
	return &build.Context{
		GOOS: "linux", GOARCH: arch, Compiler: "gc",
		BuildTags: c.Tags, ReleaseTags: build.Default.ReleaseTags,
	}
}

// addPackage adds the package in a directory of the main module and, from
// there, every package of that module that it imports.
func (c *Component) addPackage(s sources, arch, dir string, seen map[string]bool) error {
	if seen[dir] {
		return nil
	}
	seen[dir] = true
	root := c.sourceDir()
	p, err := c.buildContext(arch).ImportDir(filepath.Join(root, filepath.FromSlash(dir)), 0)
	var none *build.NoGoError
	if errors.As(err, &none) || errors.Is(err, fs.ErrNotExist) {
		return diag.Inputf("reading sources: package %s of component %q has no Go files", dir, c.Name)
	}
	if err != nil {
		return diag.Input(fmt.Errorf("reading sources: %w", err))
	}
	for _, name := range slices.Concat(p.GoFiles, p.SFiles, p.HFiles) {
		if err := s.add(root, path.Join(dir, name)); err != nil {
			return err
		}
	}
	for _, pattern := range p.EmbedPatterns {
		matches, err := fs.Glob(os.DirFS(root), path.Join(dir, strings.TrimPrefix(pattern, "all:")))
		if err != nil {
			return diag.Input(fmt.Errorf("reading what %s embeds: %w", dir, err))
		}
		for _, m := range matches {
			if err := s.addTree(root, m); err != nil {
				return err
			}
		}
	}
	prefix := c.mod.Module.Mod.Path + "/"
	for _, imported := range p.Imports {
		if rest, ok := strings.CutPrefix(imported, prefix); ok {
			if err := c.addPackage(s, arch, rest, seen); err != nil {
				return err
			}
		}
	}
	return nil
}
