package profile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/slipway-os/slipway/pkg/apt"
	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/document"
	"github.com/slipway-os/slipway/pkg/ext4"
	"github.com/slipway-os/slipway/pkg/firmware"
)

// Dir is the project directory that profiles, components, overlays and image
// definitions lie in.
type Dir struct{ Root string }

// Names returns the names of all profiles in profiles/, sorted.
func (d Dir) Names() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(d.Root, "profiles"))
	if err != nil {
		return nil, fmt.Errorf("listing profiles: %w", err)
	}
	var names []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".yaml"); ok && e.Type().IsRegular() {
			names = append(names, name)
		}
	}
	return names, nil
}

// Load reads a profile by its name in profiles/, or by the path of a file
// (anything with a slash or that ends in .yaml), merges what it extends, merges
// others over it, in order, and checks that it can be built.
func (d Dir) Load(name string, over ...string) (*Profile, error) {
	p, err := d.Read(name, over...)
	if err != nil {
		return nil, err
	}
	return p, errors.Join(p.check(d)...)
}

// Read is Load without the check: for profiles that are only extended.
func (d Dir) Read(name string, over ...string) (*Profile, error) {
	p := &Profile{origins: map[string]diag.Position{}}
	m := merger{dir: d, into: p, merged: map[string]bool{}}
	for _, n := range append([]string{name}, over...) {
		if err := m.merge(n, d.file(n), diag.Position{}, nil); err != nil {
			return nil, err
		}
	}
	p.Name = strings.TrimSuffix(filepath.Base(name), ".yaml")
	p.Extends = nil
	return p, nil
}

// LockFile returns where the lock of a profile lies if it has one: beside it.
func (d Dir) LockFile(name string) string {
	return strings.TrimSuffix(d.file(name), ".yaml") + ".lock"
}

func (d Dir) file(name string) string {
	if isPath(name) {
		return filepath.Clean(name)
	}
	return filepath.Join(d.Root, "profiles", name+".yaml")
}

func isPath(name string) bool {
	return strings.ContainsRune(name, filepath.Separator) || strings.HasSuffix(name, ".yaml")
}

// shown is the file name in messages: relative to the working directory if that is shorter.
func shown(file string) string {
	if wd, err := os.Getwd(); err == nil {
		if rel, err := filepath.Rel(wd, file); err == nil && len(rel) < len(file) {
			return rel
		}
	}
	return file
}

// merger merges a profile and what it extends.
type merger struct {
	dir    Dir
	into   *Profile
	merged map[string]bool // files, so that none is merged twice
}

// merge merges a profile that lies in file and is named at a position, by a
// chain of files that extend one another.
func (m *merger) merge(name, file string, from diag.Position, chain []string) error {
	if i := slices.Index(chain, file); i >= 0 {
		var names []string
		for _, f := range append(chain[i:], file) {
			names = append(names, strings.TrimSuffix(filepath.Base(f), ".yaml"))
		}
		return diag.At(from, "remove one of these from extends", "profiles extend one another in a circle: %s", strings.Join(names, " -> "))
	}
	if m.merged[file] {
		return nil
	}
	m.merged[file] = true
	chain = append(chain, file)
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return m.dir.unknown(name, file, from)
	}
	if err != nil {
		return diag.At(from, "", "reading profile %q: %v", name, err)
	}
	doc, err := document.Parse(shown(file), data)
	if err != nil {
		return err
	}
	var own Profile
	if err := doc.Decode(&own); err != nil {
		return err
	}
	for i, parent := range own.Extends {
		of := m.dir.file(parent)
		if isPath(parent) && !filepath.IsAbs(parent) { // as seen from this file
			of = filepath.Join(filepath.Dir(file), parent)
		}
		if err := m.merge(parent, of, doc.Position(fmt.Sprintf("extends[%d]", i)), chain); err != nil {
			return err
		}
	}
	m.into.files = append(m.into.files, shown(file))
	m.into.take(&own, doc)
	return nil
}

func (d Dir) unknown(name, file string, from diag.Position) error {
	if isPath(name) {
		return diag.At(from, "", "reading profile %q: there is no file %s", name, shown(file))
	}
	names, err := d.Names()
	if err != nil {
		return err
	}
	hint := diag.Suggest(name, names)
	if hint == "" {
		hint = "`builder profiles` lists them"
	}
	return diag.At(from, hint, "unknown profile %q", name)
}

// take merges one file over what the files it extends gave.
func (p *Profile) take(own *Profile, doc *document.Document) {
	given := func(field string) bool {
		if doc.Has(field) {
			p.origins[field] = doc.Position(field)
		}
		return doc.Has(field)
	}
	scalar := func(field string, to *string, value string) {
		if given(field) {
			*to = value
		}
	}
	size := func(field string, to *Size, value Size) {
		if given(field) {
			*to = value
		}
	}
	list := func(field string, to *[]string, values []string) {
		for i, v := range values {
			if !slices.Contains(*to, v) {
				*to = append(*to, v)
			}
			p.origins[field+"="+v] = doc.Position(fmt.Sprintf("%s[%d]", field, i))
		}
		given(field)
	}
	scalar("description", &p.Description, own.Description)
	scalar("architecture", &p.Architecture, own.Architecture)
	list("roles", &p.Roles, own.Roles)
	scalar("os.suite", &p.OS.Suite, own.OS.Suite)
	list("os.components", &p.OS.Components, own.OS.Components)
	scalar("os.mirror", &p.OS.Mirror, own.OS.Mirror)
	scalar("os.securityMirror", &p.OS.SecurityMirror, own.OS.SecurityMirror)
	scalar("os.keyring", &p.OS.Keyring, own.OS.Keyring)
	if given("os.frozen") {
		p.OS.Frozen = own.OS.Frozen
	}
	list("os.packages", &p.OS.Packages, own.OS.Packages)
	list("os.exclude", &p.OS.Exclude, own.OS.Exclude)
	list("os.prune", &p.OS.Prune, own.OS.Prune)
	scalar("kernel.package", &p.Kernel.Package, own.Kernel.Package)
	list("kernel.commandLine", &p.Kernel.CommandLine, own.Kernel.CommandLine)
	list("kernel.options", &p.Kernel.Options, own.Kernel.Options)
	list("kernel.prune", &p.Kernel.Prune, own.Kernel.Prune)
	list("kernel.require", &p.Kernel.Require, own.Kernel.Require)
	list("kernel.firmware.keep", &p.Kernel.Firmware.Keep, own.Kernel.Firmware.Keep)
	list("kernel.firmware.waive", &p.Kernel.Firmware.Waive, own.Kernel.Firmware.Waive)
	list("kernel.initrd", &p.Kernel.Initrd, own.Kernel.Initrd)
	scalar("kubernetes.version", &p.Kubernetes.Version, own.Kubernetes.Version)
	scalar("kubernetes.imageRepository", &p.Kubernetes.ImageRepository, own.Kubernetes.ImageRepository)
	list("components", &p.Components, own.Components)
	scalar("images", &p.Images, own.Images)
	list("overlays", &p.Overlays, own.Overlays)
	size("disk.boot", &p.Disk.Boot, own.Disk.Boot)
	size("disk.root", &p.Disk.Root, own.Disk.Root)
	size("disk.verity", &p.Disk.Verity, own.Disk.Verity)
	size("disk.state", &p.Disk.State, own.Disk.State)
}

var versionPattern = regexp.MustCompile(`^v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.]+)?$`)

// maxPartition is the size of the largest partition, that which the state's
// file system can have.
const maxPartition Size = ext4.MaxSize

// check finds what keeps a profile from being built.
func (p *Profile) check(d Dir) []error {
	var problems []error
	add := func(err error) {
		if err != nil {
			problems = append(problems, err)
		}
	}
	required := func(field, value, hint string) bool {
		if value != "" {
			return true
		}
		add(p.errorf(field, hint, "%s is missing", field))
		return false
	}
	if required("architecture", p.Architecture, "this profile can only be extended; `builder profiles` lists those that can be built") {
		add(p.known("architecture", "architecture", p.Architecture, Architectures()))
	}
	for _, r := range p.Roles {
		add(p.known("role", "roles", r, []string{"control-plane", "worker", "etcd"}))
	}
	required("os.suite", p.OS.Suite, "for example trixie")
	for _, m := range []struct{ field, uri string }{{"os.mirror", p.OS.Mirror}, {"os.securityMirror", p.OS.SecurityMirror}} {
		if m.uri != "" && !apt.Usable(m.uri) {
			add(p.errorf(m.field, "for example http://mirror.example/debian", "%s: %q is not an http, https or file address", m.field, m.uri))
		}
	}
	if file := p.KeyringFile(); file != "" {
		if _, err := os.Stat(file); err != nil {
			add(p.errorf("os.keyring", "the path is relative to this file", "reading keyring %q: there is no file %s", p.OS.Keyring, file))
		}
	}
	required("kernel.package", p.Kernel.Package, "for example linux-image-cloud-amd64")
	for _, l := range []struct {
		field string
		globs []string
	}{{"kernel.firmware.keep", p.Kernel.Firmware.Keep}, {"kernel.firmware.waive", p.Kernel.Firmware.Waive}} {
		for _, g := range l.globs {
			if err := firmware.Check(g); err != nil {
				add(diag.At(p.Origin(l.field, g), "for example qed/*.bin", "%s: %q: %v", l.field, g, err))
			}
		}
	}
	version := p.Kubernetes.Version
	if version == "" && slices.Contains(p.Components, "kubernetes") {
		required("kubernetes.version", version, "for example v1.37.2")
	}
	if version != "" && !versionPattern.MatchString(version) {
		add(p.errorf("kubernetes.version", "for example v1.37.2", "%q is not a version", version))
	}
	if repository := p.Kubernetes.ImageRepository; required("kubernetes.imageRepository", repository, "for example slipway.local") && upstreams(repository) {
		add(p.errorf("kubernetes.imageRepository", "a name of your own, for example slipway.local", "kubernetes.imageRepository: %q is the registry of Kubernetes itself: images made here are not the ones that bear its name", repository))
	}
	add(p.exists(d, "overlay", "overlays", "overlays", "", p.Overlays))
	add(p.exists(d, "component", "components", filepath.Join("profiles", "components"), "", p.Components))
	if required("images", p.Images, "for example control-plane") {
		add(p.exists(d, "image set", "images", filepath.Join("images", "sets"), ".yaml", []string{p.Images}))
	}
	for _, s := range []struct {
		field     string
		size, min Size
	}{{"disk.boot", p.Disk.Boot, 1 << 20}, {"disk.root", p.Disk.Root, 1 << 20}, {"disk.verity", p.Disk.Verity, 1 << 20}, {"disk.state", p.Disk.State, ext4.MinSize}} {
		if s.size < s.min || s.size > maxPartition || s.size%(1<<20) != 0 {
			add(p.errorf(s.field, "for example 512MiB", "%s must be a whole number of MiB from %s to %s, not %q", s.field, s.min, maxPartition, s.size))
		}
	}
	return problems
}

// upstreams reports whether a repository is in the registry that the Kubernetes
// project publishes its images in.
func upstreams(repository string) bool {
	host, _, _ := strings.Cut(strings.ToLower(repository), "/")
	host, _, _ = strings.Cut(host, ":")
	return strings.TrimSuffix(host, ".") == "registry.k8s.io"
}

// exists checks that each name has its entry in a directory of the project.
func (p *Profile) exists(d Dir, thing, field, dir, suffix string, names []string) error {
	entries, err := os.ReadDir(filepath.Join(d.Root, dir))
	if err != nil {
		return fmt.Errorf("listing %s: %w", dir, err)
	}
	var known []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), suffix); ok && e.IsDir() == (suffix == "") {
			known = append(known, name)
		}
	}
	var problems []error
	for _, name := range names {
		problems = append(problems, p.known(thing, field, name, known))
	}
	return errors.Join(problems...)
}
