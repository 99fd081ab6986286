// Package container assembles the container images that are baked into a
// node, from definitions in images/.
package container

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/document"
	"github.com/slipway-os/slipway/pkg/rootfs"
)

// Set is a file of images/sets: which images a profile bakes in.
type Set struct {
	Images []string `yaml:"images" doc:"Names of files in images/."`
	// Said one by one, so that an image that a later kubeadm wants is not forgotten.
	Without []string `yaml:"without" doc:"Images that kubeadm wants and no node of this set runs."`
}

// Image is a file of images/: one container image.
type Image struct {
	Name string `yaml:"-"`

	Component        string   `yaml:"component" doc:"The component whose version the tag must be."`
	Tag              string   `yaml:"tag" doc:"The tag. Default: the one that kubeadm wants, else the version of the component that its programs are of."`
	Layers           []string `yaml:"layers" doc:"Names of files in images/layers, the lowest first."`
	Entrypoint       []string `yaml:"entrypoint" doc:"The program, with its first arguments."`
	Command          []string `yaml:"command" doc:"Default arguments."`
	Environment      []string `yaml:"environment" doc:"NAME=value."`
	User             string   `yaml:"user" doc:"Who runs it: uid:gid. Default: root."`
	WorkingDirectory string   `yaml:"workingDirectory" doc:"Where it starts. Default: /."`

	document *document.Document
}

// Layer is a file of images/layers.
type Layer struct {
	Name string `yaml:"-"`

	Packages     []string          `yaml:"packages" doc:"Debian packages; what they depend on comes along."`
	Exclude      []string          `yaml:"exclude" doc:"Packages (globs) left out even where others depend on them."`
	Prune        []string          `yaml:"prune" doc:"Files of packages left out: path globs, a directory takes all in it."`
	Certificates bool              `yaml:"certificates" doc:"Join the certificates of ca-certificates into one file."`
	Programs     []Program         `yaml:"programs" doc:"Programs of components."`
	Files        map[string]string `yaml:"files" doc:"Files, by path."`
	Links        map[string]string `yaml:"links" doc:"Symbolic links, by path."`
	Directories  map[string]string `yaml:"directories" doc:"Directories: path to mode, in octal."`

	document *document.Document
}

// Program is a program of a component in a layer.
type Program struct {
	Component    string   `yaml:"component" doc:"Name of a directory in profiles/components."`
	Program      string   `yaml:"program" doc:"Name of a program of it."`
	Paths        []string `yaml:"paths" doc:"Where it lies; each path is a hard link."`
	Capabilities []string `yaml:"capabilities" doc:"What it may do though it does not run as root: net_bind_service."`
}

// Definitions are the images of a set with the layers they use.
type Definitions struct {
	Images []Image
	Layers []Layer // each once, in the order of first use

	without []string
}

// Load reads a set from the directory images/.
func Load(dir, set string) (*Definitions, error) {
	var s Set
	setDoc, err := read(dir, "sets", set, "image set", diag.Position{}, &s)
	if err != nil {
		return nil, err
	}
	d := &Definitions{without: s.Without}
	var problems []error
	for i, name := range s.Without {
		if slices.Contains(s.Images, name) {
			problems = append(problems, setDoc.Errorf(fmt.Sprintf("without[%d]", i), "name it in one of the two", "image %q is in the set and left out of it", name))
		}
	}
	layers := map[string]bool{} // that were read, the wrong ones too
	for i, name := range s.Images {
		at := fmt.Sprintf("images[%d]", i)
		if slices.Index(s.Images, name) < i {
			problems = append(problems, setDoc.Errorf(at, "", "image %q is named twice", name))
			continue
		}
		img := Image{Name: name}
		img.document, err = read(dir, "", name, "image", setDoc.Position(at), &img)
		if err == nil {
			err = img.check()
		}
		if err != nil {
			problems = append(problems, err)
			continue
		}
		d.Images = append(d.Images, img)
		for j, layer := range img.Layers {
			if layers[layer] {
				continue
			}
			layers[layer] = true
			l := Layer{Name: layer}
			l.document, err = read(dir, "layers", layer, "layer", img.document.Position(fmt.Sprintf("layers[%d]", j)), &l)
			if err == nil {
				err = l.check()
			}
			if err != nil {
				problems = append(problems, err)
				continue
			}
			d.Layers = append(d.Layers, l)
		}
	}
	return d, errors.Join(problems...)
}

func read(dir, sub, name, kind string, from diag.Position, into any) (*document.Document, error) {
	file := filepath.Join(dir, sub, name+".yaml")
	if strings.ContainsAny(name, "/\\") {
		return nil, diag.At(from, "name a file without its directory", "unknown %s %q", kind, name)
	}
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		var names []string
		entries, _ := os.ReadDir(filepath.Join(dir, sub))
		for _, e := range entries {
			if n, ok := strings.CutSuffix(e.Name(), ".yaml"); ok {
				names = append(names, n)
			}
		}
		hint := diag.Suggest(name, names)
		if hint == "" {
			hint = "there are: " + strings.Join(names, ", ")
		}
		return nil, diag.At(from, hint, "unknown %s %q", kind, name)
	}
	if err != nil {
		return nil, diag.IO(fmt.Errorf("reading %s %q: %w", kind, name, err))
	}
	doc, err := document.Parse(file, data)
	if err != nil {
		return nil, err
	}
	return doc, doc.Decode(into)
}

// capabilities that a program may be given, by their bits (capability.h).
func capabilities() map[string]uint { return map[string]uint{"net_bind_service": 10} }

var (
	userPattern        = regexp.MustCompile(`^[0-9]+(:[0-9]+)?$`)
	environmentPattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*=`)
)

func (img *Image) check() error {
	var problems []error
	problem := func(at, hint, format string, args ...any) {
		problems = append(problems, img.document.Errorf(at, hint, format, args...))
	}
	if len(img.Layers) == 0 {
		problem("layers", "name files of images/layers", "image %q has no layers", img.Name)
	}
	for i, name := range img.Layers {
		if slices.Index(img.Layers, name) < i {
			problem(fmt.Sprintf("layers[%d]", i), "", "layer %q is named twice", name)
		}
	}
	if len(img.Entrypoint) == 0 {
		problem("entrypoint", "give the program's path", "image %q has no entrypoint", img.Name)
	}
	// A name would be looked up in whichever layer comes last.
	if img.User != "" && !userPattern.MatchString(img.User) {
		problem("user", `for example "65532:65532"`, "user %q is not uid:gid", img.User)
	}
	if dir := img.WorkingDirectory; dir != "" && !path.IsAbs(dir) {
		problem("workingDirectory", "start it with a slash", "working directory %q is not absolute", dir)
	}
	for i, v := range img.Environment {
		if !environmentPattern.MatchString(v) {
			problem(fmt.Sprintf("environment[%d]", i), "for example HOME=/root", "%q is not NAME=value", v)
		}
	}
	return errors.Join(problems...)
}

// Position returns the place of a value of the layer's file: "packages[0]".
func (l *Layer) Position(path string) diag.Position { return l.document.Position(path) }

func (l *Layer) check() error {
	var problems []error
	problem := func(at, hint, format string, args ...any) {
		problems = append(problems, l.document.Errorf(at, hint, format, args...))
	}
	place := func(at, p string) {
		if !fs.ValidPath(p) || p == "." {
			problem(at, "relative to the root: usr/bin/x", "bad path %q", p)
		}
	}
	for i, g := range l.Prune {
		if _, err := rootfs.Glob(g); err != nil {
			problem(fmt.Sprintf("prune[%d]", i), "", "bad glob %q", g)
		}
	}
	for i, p := range l.Programs {
		at := fmt.Sprintf("programs[%d]", i)
		if p.Component == "" || p.Program == "" || len(p.Paths) == 0 {
			problem(at, "", "a program needs component, program and paths")
		}
		for j, to := range p.Paths {
			place(fmt.Sprintf("%s.paths[%d]", at, j), to)
		}
		for j, c := range p.Capabilities {
			if _, ok := capabilities()[c]; !ok {
				problem(fmt.Sprintf("%s.capabilities[%d]", at, j), "known: net_bind_service", "unknown capability %q", c)
			}
		}
	}
	for _, p := range slices.Sorted(maps.Keys(l.Files)) {
		place("files."+p, p)
	}
	for _, p := range slices.Sorted(maps.Keys(l.Links)) {
		place("links."+p, p)
		if l.Links[p] == "" {
			problem("links."+p, "", "link %q leads nowhere", p)
		}
	}
	for _, p := range slices.Sorted(maps.Keys(l.Directories)) {
		place("directories."+p, p)
		if _, err := parseMode(l.Directories[p]); err != nil {
			problem("directories."+p, `for example "0755"`, "%v", err)
		}
	}
	return errors.Join(problems...)
}

func parseMode(s string) (uint32, error) {
	m, err := strconv.ParseUint(s, 8, 32)
	if err != nil || m > 0o7777 {
		return 0, fmt.Errorf("%q is not a mode in octal", s)
	}
	return uint32(m), nil
}

// Complete checks that the set has every image of a list that kubeadm wants
// ("repository/name:tag"), and gives those images their tags.
func (d *Definitions) Complete(wanted []string, versions map[string]string) error {
	var problems []error
	for _, ref := range wanted {
		name, tag := ref[strings.LastIndexByte(ref, '/')+1:], ""
		if at := strings.LastIndexByte(name, ':'); at >= 0 {
			name, tag = name[:at], name[at+1:]
		}
		i := slices.IndexFunc(d.Images, func(img Image) bool { return img.Name == name })
		if i < 0 && slices.Contains(d.without, name) {
			continue
		}
		if i < 0 {
			problems = append(problems, diag.Inputf("the image set has no %q, which kubeadm wants as %s; add images/%s.yaml and name it in the set, or in its \"without\" if no node of it runs that", name, ref, name))
			continue
		}
		img := &d.Images[i]
		if img.Tag == "" {
			img.Tag = tag
		}
		if img.Tag != tag {
			problems = append(problems, img.document.Errorf("tag", "leave it out", "image %q has the tag %s, but kubeadm wants %s", name, img.Tag, tag))
		}
	}
	for i := range d.Images {
		img := &d.Images[i]
		if img.Tag == "" {
			img.Tag = d.version(img, versions)
		}
		if img.Tag == "" {
			problems = append(problems, img.document.Errorf("", "neither kubeadm nor one component names one", "image %q has no tag", img.Name))
			continue
		}
		if _, err := name.NewTag("localhost/"+img.Name+":"+img.Tag, name.StrictValidation); err != nil {
			problems = append(problems, img.document.Errorf("tag", "", "%q is not a name and tag of an image", img.Name+":"+img.Tag))
		}
		if img.Component == "" {
			continue
		}
		version, known := versions[img.Component]
		if !known {
			problems = append(problems, img.document.Errorf("component", "add it to the profile's components", "image %q is of component %q, which the profile does not have", img.Name, img.Component))
		} else if !isOf(img.Tag, version) {
			problems = append(problems, img.document.Errorf("component", "pin that version in profiles/components/"+img.Component, "image %q must be %s, but component %q is %s", img.Name, img.Tag, img.Component, version))
		}
	}
	return errors.Join(problems...)
}

// version returns the version of the component that the programs of an image
// are of; "" if they are of several, or of none.
func (d *Definitions) version(img *Image, versions map[string]string) string {
	of := ""
	for _, l := range d.Layers {
		if !slices.Contains(img.Layers, l.Name) {
			continue
		}
		for _, p := range l.Programs {
			if of != "" && p.Component != of {
				return ""
			}
			of = p.Component
		}
	}
	return versions[of]
}

// isOf reports whether a tag is that of a version, or of a build of it:
// "3.7.0-0" is of v3.7.0.
func isOf(tag, version string) bool {
	tag, version = strings.TrimPrefix(tag, "v"), strings.ReplaceAll(strings.TrimPrefix(version, "v"), "+", "_")
	return tag == version || strings.HasPrefix(tag, version+"-")
}
