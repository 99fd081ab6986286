package main

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/slipway-os/slipway/pkg/image"
	"github.com/slipway-os/slipway/pkg/manifest"
	"github.com/slipway-os/slipway/pkg/progress"
	"github.com/slipway-os/slipway/pkg/tree"
)

// printReport prints a report for people.
func printReport(w io.Writer, r *image.Report) error {
	p := newPage(w)
	p.heading(r.File)
	p.table(table{rows: summary(r)})
	partitions := table{title: "Partitions", header: []string{"#", "NAME", "SIZE", "STARTS AT", "CONTENT", "UUID"}, right: "0 2 3"}
	for _, q := range r.Partitions {
		partitions.add(fmt.Sprint(q.Number), q.Name, progress.Size(q.Size), fmt.Sprint(q.Offset), q.Content, q.UUID)
	}
	p.table(partitions)
	sizes := table{title: "Sizes", header: []string{"PART", "ON THE DISK", "UNCOMPRESSED"}, right: "1 2"}
	for _, s := range r.Sizes {
		uncompressed := ""
		if s.Uncompressed > 0 {
			uncompressed = progress.Size(s.Uncompressed)
		}
		sizes.add(s.Name, progress.Size(s.Stored), uncompressed)
	}
	p.table(sizes)
	images := table{title: "Container images", header: []string{"REFERENCE", "MANIFEST", "CONFIG", "LAYERS"}}
	names := map[string]string{}
	layers := table{title: "Their layers", header: []string{"NAME", "DIGEST", "UNCOMPRESSED", "ADDS TO THE DISK"}, right: "2 3"}
	for _, l := range r.Layers {
		names[l.Digest] = l.Name
		layers.add(l.Name, short(l.Digest), progress.Size(l.Size), progress.Size(l.Stored))
	}
	for _, i := range r.Images {
		var of []string
		for _, digest := range i.Layers {
			of = append(of, names[digest])
		}
		images.add(i.Reference, short(i.Digest), short(i.Config), strings.Join(of, " "))
	}
	p.table(images)
	p.table(layers)
	components := table{title: "Components", header: []string{"NAME", "VERSION", "MODULE"}}
	for _, c := range r.Components {
		components.add(c.Name, c.Version, c.Module)
	}
	p.table(components)
	packages := table{title: "Packages", header: []string{"NAME", "VERSION", "IN", "LICENCES"}}
	for _, q := range r.Packages {
		packages.add(q.Name, q.Version, strings.Join(q.In, " "), licences(q))
	}
	p.table(packages)
	return p.err
}

func licences(p manifest.Package) string {
	switch {
	case p.Licences != nil:
		return strings.Join(p.Licences, ", ")
	case len(p.In) > 0 && p.In[0] == "root":
		return "see /usr/share/doc/" + p.Name + "/copyright"
	}
	return "in its copyright file, as prose"
}

// summary is what there is one of.
func summary(r *image.Report) [][]string {
	var rows [][]string
	add := func(name, value string) {
		if value != "" {
			rows = append(rows, []string{name, value})
		}
	}
	add("profile", r.Profile)
	add("architecture", r.Architecture)
	add("roles", strings.Join(r.Roles, ", "))
	add("Kubernetes", r.KubernetesVersion)
	if r.Epoch > 0 {
		add("packages as of", time.Unix(r.Epoch, 0).UTC().Format(time.DateOnly))
	}
	if r.Profile != "" && len(r.Packages) == 0 {
		add("packages", "not listed: an earlier builder made this image")
	}
	add("disk", progress.Size(r.Size))
	add("starts by", r.Boot.Method)
	kernel := r.Boot.Kernel.Release
	if r.Boot.Kernel.Package != "" {
		kernel += " from package " + r.Boot.Kernel.Package
	}
	add("kernel", strings.TrimSpace(kernel))
	add("command line", r.Boot.CommandLine)
	root := "partition " + r.Root.Partition
	if r.Root.Files > 0 {
		root += fmt.Sprintf(", a squashfs of %s, %d files", progress.Size(r.Root.Size), r.Root.Files)
	}
	add("root", root)
	add("root hash", r.Root.Hash)
	add("hash tree", "partition "+r.Root.VerityPartition+", "+treeState(r))
	return rows
}

// treeState says whether the root is what its hash stands for.
func treeState(r *image.Report) string {
	for _, d := range r.Damage {
		if d.Partition == r.Root.Partition || d.Partition == r.Root.VerityPartition {
			return "DAMAGED"
		}
	}
	if r.Verified {
		return "which every block of the root matches"
	}
	return "which belongs to the root hash (--verify reads every block)"
}

// short is a digest as people tell them apart.
func short(digest string) string {
	const letters = len("sha256:") + 12
	return digest[:min(letters, len(digest))]
}

// printEntries lists files as ls -l does.
func printEntries(w io.Writer, entries []entry, paths bool) error {
	p := newPage(w)
	t := table{right: "1 2"}
	for _, e := range entries {
		name := e.Path
		if !paths {
			name = path.Base(name)
		}
		name = printable(name)
		if e.Target != "" {
			name += " -> " + printable(e.Target)
		}
		size := fmt.Sprint(e.Size)
		if e.node.Type == tree.CharDevice || e.node.Type == tree.BlockDevice {
			size = fmt.Sprintf("%d,%d", e.Major, e.Minor)
		}
		t.add(modeText(e.node), fmt.Sprintf("%d:%d", e.UID, e.GID), size, time.Unix(e.ModTime, 0).UTC().Format("2006-01-02 15:04"), name)
	}
	p.plain(t)
	return p.err
}

// modeText is a mode as ls writes it: "drwxr-xr-x".
func modeText(n *tree.Node) string {
	text := []byte(fs.FileMode(n.Mode & 0o777).String())
	text[0] = n.Type.String()[0]
	for _, s := range []struct {
		bit         uint32
		at          int
		with, alone byte // execution
	}{{0o4000, 3, 's', 'S'}, {0o2000, 6, 's', 'S'}, {0o1000, 9, 't', 'T'}} {
		if n.Mode&s.bit == 0 {
			continue
		}
		if text[s.at] == 'x' {
			text[s.at] = s.with
		} else {
			text[s.at] = s.alone
		}
	}
	return string(text)
}

// terminalWidth returns the width of a terminal, 0 for anything else.
func terminalWidth(w io.Writer) int {
	file, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return 0
	}
	width, _, err := term.GetSize(int(file.Fd()))
	if err != nil {
		return 0
	}
	return width
}
