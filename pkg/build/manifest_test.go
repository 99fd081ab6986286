package build_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/slipway-os/slipway/pkg/container"
	"github.com/slipway-os/slipway/pkg/gpt"
	"github.com/slipway-os/slipway/pkg/manifest"
	"github.com/slipway-os/slipway/pkg/profile"
	"github.com/slipway-os/slipway/pkg/squashfs"
	"github.com/slipway-os/slipway/pkg/tree"
)

var update = flag.Bool("update", false, "write the golden manifests anew, of the images in out/")

const project = "../.."

// TestManifest compares the root of every image in out/ that has a golden
// manifest in testdata/, so that a change shows what it alters: paths, types,
// modes, owners, links and attributes, and of what is ours the content too.
// What moves with every update of a package or kernel is left out.
func TestManifest(t *testing.T) {
	disks, err := filepath.Glob(filepath.Join(project, "out", "*", "disk.raw"))
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for _, disk := range disks {
		name := filepath.Base(filepath.Dir(disk))
		golden := filepath.Join("testdata", name+".manifest")
		want, err := os.ReadFile(golden)
		if errors.Is(err, fs.ErrNotExist) {
			continue // an image of the user's own; an empty file there makes it one of these
		}
		compared++
		t.Run(name, func(t *testing.T) {
			got := describe(t, name, disk)
			if *update {
				if err := errors.Join(os.MkdirAll("testdata", 0o755), os.WriteFile(golden, []byte(got), 0o644)); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := difference(string(want), got); diff != "" {
				t.Errorf("%s is not what %s says. If that is meant to be, look through it and run\n\tgo test ./pkg/build -run TestManifest -update\n%s", disk, golden, diff)
			}
		})
	}
	if compared == 0 {
		t.Skip("there is no image to compare: run make image")
	}
}

// describe returns the manifest of a disk: its partitions, and a line for
// each path of its root.
func describe(t *testing.T, name, disk string) string {
	t.Helper()
	f, err := os.Open(disk)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	parts, err := gpt.Read(f, info.Size())
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	var root *tree.Tree
	for _, p := range parts {
		fmt.Fprintf(&out, "partition %s, type %s, %d MiB, attributes %#x\n", p.Name, p.Type, p.Size>>20, p.Attributes)
		if p.Name != "root-a" {
			continue
		}
		r, err := squashfs.Open(io.NewSectionReader(f, p.Offset, p.Size))
		if err != nil {
			t.Fatal(err)
		}
		if root, err = r.Tree(); err != nil {
			t.Fatal(err)
		}
	}
	d := &describer{own: ownFiles(t, name), links: map[*tree.Node]string{}, names: names(t, root)}
	nodes := map[string]*tree.Node{}
	err = root.Walk(func(p string, n *tree.Node) error {
		if n.Type == tree.Symlink && dangling(root, p) {
			marked := *n
			marked.Target += " (missing)"
			n = &marked
		}
		p = d.normal(p)
		if !slices.ContainsFunc(collections, func(c *regexp.Regexp) bool { return c.MatchString(p) }) {
			nodes[p] = n
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range slices.Sorted(maps.Keys(nodes)) {
		out.WriteString(d.line(p, nodes[p]) + "\n")
	}
	return out.String()
}

// dangling reports whether a link leads nowhere, but for what only a running
// system has; links in container images lead through these.
func dangling(root *tree.Tree, p string) bool {
	if strings.HasPrefix(p, manifest.ImagesDir) {
		return false
	}
	to, ok := root.Resolve(p)
	if ok {
		return false
	}
	top, _, _ := strings.Cut(to, "/")
	return !slices.Contains([]string{"dev", "proc", "run", "sys"}, top)
}

// describer makes lines of paths.
type describer struct {
	own   map[string]bool       // whose content is this repository's: normalised paths
	names *strings.Replacer     // for what changes with every build
	links map[*tree.Node]string // the first path of what has several
}

// collections are directories of data whose files come and go with updates.
var collections = []*regexp.Regexp{
	regexp.MustCompile(`(^|/)usr/share/zoneinfo/`),
	regexp.MustCompile(`(^|/)usr/share/ca-certificates/`),
	regexp.MustCompile(`(^|/)usr/share/terminfo/`),
	regexp.MustCompile(`(^|/)usr/lib/locale/`),
	// Of the modules, only which kinds there are.
	regexp.MustCompile(`^usr/lib/modules/[^/]+/kernel/[^/]+/[^/]+/`),
	regexp.MustCompile(`^usr/lib/modules/.*\.ko(\.xz|\.zst)?$`),
}

// library matches the part of a library's version that an update may change.
var library = regexp.MustCompile(`(\.so\.[0-9]+)(\.[0-9]+)+`)

func (d *describer) normal(p string) string {
	return library.ReplaceAllString(d.names.Replace(p), "$1.*")
}

// line describes a node at a normalised path.
func (d *describer) line(p string, n *tree.Node) string {
	line := fmt.Sprintf("%s %04o %d:%d %s", n.Type, n.Mode, n.UID, n.GID, p)
	switch n.Type {
	case tree.Symlink:
		line += " -> " + d.normal(n.Target)
	case tree.CharDevice, tree.BlockDevice:
		line += fmt.Sprintf(" device %d:%d", n.Major, n.Minor)
	case tree.File:
		if first, ok := d.links[n]; ok {
			return line + " = " + first
		}
		d.links[n] = p
		if d.own[p] {
			line += " sha256:" + n.Digest().String()[:12]
		}
	}
	for _, x := range n.Xattrs {
		line += fmt.Sprintf(" %s=%x", x.Name, x.Value)
	}
	return line
}

// names returns what replaces the kernel's release and the digests of
// container images and layers.
func names(t *testing.T, root *tree.Tree) *strings.Replacer {
	t.Helper()
	decode := func(p string, into any) {
		n := root.Lookup(p)
		if n == nil {
			t.Fatalf("there is no %s", p)
		}
		data, err := tree.ReadAll(n.Content, 1<<20)
		if err == nil {
			err = json.Unmarshal(data, into)
		}
		if err != nil {
			t.Fatalf("reading %s: %v", p, err)
		}
	}
	var image manifest.Image
	decode(manifest.ImagePath, &image)
	replace := []string{image.KernelRelease, "<kernel>"}
	var index v1.IndexManifest
	decode(path.Join(manifest.ImagesDir, "index.json"), &index)
	for _, m := range index.Manifests {
		reference := m.Annotations[container.RefName]
		short, _, _ := strings.Cut(path.Base(reference), ":")
		var description v1.Manifest
		decode(path.Join(manifest.ImagesDir, "blobs/sha256", m.Digest.Hex), &description)
		var config v1.ConfigFile
		decode(path.Join(manifest.ImagesDir, "blobs/sha256", description.Config.Digest.Hex), &config)
		replace = append(replace, m.Digest.Hex, "<manifest of "+short+">", description.Config.Digest.Hex, "<config of "+short+">")
		for i, diff := range config.RootFS.DiffIDs {
			replace = append(replace, diff.Hex, "<"+config.History[i].CreatedBy+">")
		}
	}
	return strings.NewReplacer(replace...)
}

// ownFiles returns the paths whose content this repository determines: those
// of overlays and of image definitions, and the accounts.
func ownFiles(t *testing.T, name string) map[string]bool {
	t.Helper()
	p, err := profile.Dir{Root: project}.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	own := map[string]bool{}
	for _, p := range []string{"etc/passwd", "etc/group", "etc/shadow", "etc/gshadow", "etc/machine-id"} {
		own[p] = true
	}
	for _, o := range p.Overlays {
		overlay, err := tree.FromDir(filepath.Join(project, "overlays", o), 0)
		if err != nil {
			t.Fatal(err)
		}
		overlay.Walk(func(p string, _ *tree.Node) error {
			own[p] = true
			return nil
		})
	}
	set, err := container.Load(filepath.Join(project, "images"), p.Images)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range set.Layers {
		for file := range l.Files {
			own[path.Join(manifest.ImagesDir, "layers", "<layer "+l.Name+">", file)] = true
		}
	}
	return own
}

// difference returns the lines that only one of two texts has, "" if none.
func difference(want, got string) string {
	const most = 100
	a, b := strings.Split(want, "\n"), strings.Split(got, "\n")
	if slices.Equal(a, b) {
		return ""
	}
	var diff []string
	only := func(sign string, lines, others []string) {
		has := map[string]bool{}
		for _, l := range others {
			has[l] = true
		}
		for _, l := range lines {
			if !has[l] {
				diff = append(diff, sign+l)
			}
		}
	}
	only("- ", a, b)
	only("+ ", b, a)
	// Next to each other are the lines of a path.
	slices.SortStableFunc(diff, func(x, y string) int { return strings.Compare(pathOf(x), pathOf(y)) })
	if len(diff) > most {
		diff = append(diff[:most], fmt.Sprintf("… and %d more", len(diff)-most))
	}
	if len(diff) == 0 {
		return "the order of the lines differs"
	}
	return strings.Join(diff, "\n")
}

// pathOf returns the path in a line "- f 0644 0:0 etc/hosts …".
func pathOf(line string) string {
	if f := strings.SplitN(line, " ", 6); len(f) > 4 {
		return f[4]
	}
	return line
}
