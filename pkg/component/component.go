// Package component makes the programs that are baked into an image: each is
// compiled from a Go module at the version that its directory pins.
package component

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/document"
	"github.com/slipway-os/slipway/pkg/lock"
	"github.com/slipway-os/slipway/pkg/tree"
)

// Source is where components come from. Compiling them (Catalog) is one;
// taking official releases is another.
type Source interface {
	// Component returns the named component for an architecture (GOARCH).
	Component(ctx context.Context, name, arch string) (Result, error)
}

// Result is a component, made.
type Result struct {
	Name    string
	Version string // with the v: "v1.37.2"
	Module  string // path of the module that the version is of
	Files   []File
	Modules []lock.Module // all that is linked in, sorted by path
	Cached  bool          // nothing had to be compiled
}

// File is a program of a component. Paths has every path at which it lies in
// the root, all of them one inode; it is empty for a program that only goes
// into container images.
type File struct {
	Name    string // "kubelet"
	Paths   []string
	Mode    uint32
	Content tree.Content
}

// File returns the program of that name.
func (r Result) File(name string) (File, error) {
	var names []string
	for _, f := range r.Files {
		if f.Name == name {
			return f, nil
		}
		names = append(names, f.Name)
	}
	return File{}, diag.Inputf("component %s has no program %q: it has %s", r.Name, name, strings.Join(names, ", "))
}

// Component is what profiles/components/<name> says: component.yaml, beside
// the go.mod and go.sum that pin every module.
type Component struct {
	Name    string `yaml:"-"`
	Dir     string `yaml:"-"`
	Version string `yaml:"version" doc:"The version, with the v. Default: that of the module, from go.mod."`

	Module   string            `yaml:"module" doc:"The module whose version in go.mod is the component's."`
	Source   string            `yaml:"source" doc:"The directory that holds the main module, relative to this one. Default: this one."`
	Programs []Program         `yaml:"programs" doc:"What is compiled."`
	Tags     []string          `yaml:"tags" doc:"Build tags."`
	Stamps   map[string]string `yaml:"stamps" doc:"String variables set by the linker. ${version}, ${major} and ${minor} stand for the component's."`
	Replace  []Replacement     `yaml:"replace" doc:"Modules of which some files are replaced by ours."`

	document *document.Document
	mod      *modfile.File
}

// Program is a main package, or several that become one program, and where it
// goes.
type Program struct {
	Name     string   `yaml:"name" doc:"Default: as go build names it."`
	Package  string   `yaml:"package" doc:"Import path, or a path in the main module that starts with a dot."`
	Packages []string `yaml:"packages" doc:"In place of package: import paths of main packages of which one program is made. It runs the package whose name it is called by. Their variables are stamped by import path, not as main."`
	Paths    []string `yaml:"paths" doc:"Where it lies in the root file system; each path is a hard link. None: only in container images."`
}

// Replacement lays files of ours over a module that is fetched.
type Replacement struct {
	Module  string   `yaml:"module" doc:"The module's path, as in go.mod."`
	Remove  []string `yaml:"remove" doc:"Files and directories of the module that are dropped first."`
	Overlay string   `yaml:"overlay" doc:"A directory beside component.yaml whose files are laid over the module."`
}

// fileName is the description of a component.
const fileName = "component.yaml"

// Load reads the component in dir, whose base name is the component's.
func Load(dir string) (Component, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Component{}, diag.IO(err)
	}
	c := Component{Name: filepath.Base(dir), Dir: dir, Source: "."}
	file := filepath.Join(dir, fileName)
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return c, diag.Inputf("unknown component %q: there is no %s", c.Name, file)
	}
	if err != nil {
		return c, diag.IO(fmt.Errorf("reading component %q: %w", c.Name, err))
	}
	if c.document, err = document.Parse(file, data); err != nil {
		return c, err
	}
	if err := c.document.Decode(&c); err != nil {
		return c, err
	}
	if err := c.readModules(); err != nil {
		return c, err
	}
	return c, errors.Join(c.resolveVersion(), c.validate())
}

func (c *Component) readModules() error {
	file := filepath.Join(c.sourceDir(), "go.mod")
	data, err := os.ReadFile(file)
	if err != nil {
		return diag.Input(fmt.Errorf("reading the modules of component %q: %w", c.Name, err))
	}
	c.mod, err = modfile.Parse(file, data, nil)
	if err == nil && c.mod.Module == nil {
		err = fmt.Errorf("%s has no module line", file)
	}
	if err != nil {
		return diag.Input(fmt.Errorf("reading the modules of component %q: %w", c.Name, err))
	}
	return nil
}

// resolveVersion takes the version from go.mod, so that it is written once.
func (c *Component) resolveVersion() error {
	if c.Module == "" {
		if c.Version == "" {
			return c.document.Errorf("", "give version, or module to take it from go.mod", "no version")
		}
		return nil
	}
	if c.Version != "" {
		return c.document.Errorf("version", "remove it: module says which one of go.mod it is", "version given twice")
	}
	version, ok := c.required(c.Module)
	if !ok {
		return c.document.Errorf("module", "", "go.mod does not require module %q", c.Module)
	}
	c.Version = version
	return nil
}

// module returns the path of the module that the version is of.
func (c *Component) module() string {
	if c.Module != "" {
		return c.Module
	}
	return c.mod.Module.Mod.Path
}

// required returns the version at which go.mod requires a module.
func (c *Component) required(path string) (string, bool) {
	for _, r := range c.mod.Require {
		if r.Mod.Path == path {
			return r.Mod.Version, true
		}
	}
	return "", false
}

func (c *Component) sourceDir() string { return filepath.Join(c.Dir, c.Source) }

// local reports whether the component is this repository's own program.
func (c *Component) local() bool { return filepath.Clean(c.Source) != "." }

func (c *Component) validate() error {
	var problems []error
	problem := func(at, hint, format string, args ...any) {
		problems = append(problems, c.document.Errorf(at, hint, format, args...))
	}
	if len(c.Programs) == 0 {
		problem("", "", "no programs")
	}
	names, outputs, paths := map[string]bool{}, map[string]bool{}, map[string]bool{}
	packages := map[string]int{}
	for _, p := range c.Programs {
		for _, pkg := range slices.Concat(p.Packages, []string{p.Package}) {
			packages[pkg]++
		}
	}
	for i := range c.Programs {
		p, at := &c.Programs[i], fmt.Sprintf("programs[%d]", i)
		if len(p.Packages) > 0 {
			if err := c.validateMulticall(at, *p, packages); err != nil {
				problems = append(problems, err)
				continue
			}
		} else if !validPackage(p.Package) {
			problem(at+".package", `an import path, or one that starts with "./"`, "%q is no package", p.Package)
			continue
		}
		if p.Name == "" {
			p.Name = c.output(*p)
		}
		if names[p.Name] || outputs[c.output(*p)] {
			problem(at, "", "two programs of the name %q", p.Name)
		}
		names[p.Name], outputs[c.output(*p)] = true, true
		for j, file := range p.Paths {
			if !fs.ValidPath(file) || file == "." || paths[file] {
				problem(fmt.Sprintf("%s.paths[%d]", at, j), "relative to the root, and each only once", "bad path %q", file)
			}
			paths[file] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Stamps)) {
		if value := c.Stamps[name]; strings.ContainsAny(name+value, "'\"\n") {
			problem("stamps."+name, "", "quotes and line breaks cannot be stamped: %q", value)
		}
	}
	for i, r := range c.Replace {
		for j, file := range append([]string{r.Overlay}, r.Remove...) {
			if !fs.ValidPath(file) || file == "." {
				problem(fmt.Sprintf("replace[%d]", i), "relative, inside the module", "bad path %q (entry %d)", file, j)
			}
		}
	}
	return errors.Join(problems...)
}

func validPackage(p string) bool {
	return p == "." || strings.HasPrefix(p, "./") && fs.ValidPath(p[2:]) || module.CheckImportPath(p) == nil
}

// output is the file name that go build gives a program.
func (c *Component) output(p Program) string {
	if name := p.main(); name != "." {
		return baseName(name)
	}
	return baseName(c.mod.Module.Mod.Path)
}

// main is the package that go build is given.
func (p Program) main() string {
	if len(p.Packages) > 0 {
		return p.multicall()
	}
	return p.Package
}

// baseName is the last element of an import path that is not a major version.
func baseName(importPath string) string {
	if prefix, _, ok := module.SplitPathVersion(importPath); ok {
		importPath = prefix
	}
	return path.Base(importPath)
}

// flags returns the linker's flags.
func (c *Component) flags() string {
	v := strings.SplitN(strings.TrimPrefix(c.Version, "v"), ".", 3)
	v = append(v, "", "")
	expand := strings.NewReplacer("${version}", c.Version, "${major}", v[0], "${minor}", v[1])
	flags := []string{"-s", "-w", "-buildid="}
	for _, name := range slices.Sorted(maps.Keys(c.Stamps)) {
		flags = append(flags, "-X", "'"+name+"="+expand.Replace(c.Stamps[name])+"'")
	}
	return strings.Join(flags, " ")
}
