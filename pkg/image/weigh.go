package image

import (
	"path"
	"strings"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/manifest"
)

// Kinds of files in the root, the one first that counts what several share.
// The layers of container images follow.
const (
	ofComponents = iota
	ofModules
	ofFirmware
	ofSystem
	ofLayers
)

// weigh says what each part takes.
func (d *Disk) weigh(r *Report) error {
	root, err := d.openRoot()
	if err != nil {
		return err
	}
	programs := map[string]bool{}
	for _, c := range r.Components {
		for _, p := range c.Paths {
			programs[p] = true
		}
	}
	layers := map[string]int{}
	for i, l := range r.Layers {
		layers[strings.TrimPrefix(l.Digest, "sha256:")] = ofLayers + i
	}
	unpacked := path.Join(manifest.ImagesDir, "layers") + "/"
	weights, err := root.fs.Weigh(root.tree, ofLayers+len(r.Layers), func(p string) int {
		if programs[p] {
			return ofComponents
		}
		if in, ok := strings.CutPrefix(p, unpacked); ok {
			digest, _, _ := strings.Cut(in, "/")
			if kind, ok := layers[digest]; ok {
				return kind
			}
		}
		switch {
		case strings.HasPrefix(p, "usr/lib/modules/"):
			return ofModules
		case strings.HasPrefix(p, "usr/lib/firmware/"):
			return ofFirmware
		}
		return ofSystem
	})
	if err != nil {
		return diag.Inputf("reading the root of image %q: %w", d.name, err)
	}
	parts := []Part{
		{Name: "kernel", Stored: r.Boot.Kernel.Size},
		{Name: "initrd", Stored: r.Boot.Initrd.Size, Uncompressed: r.Boot.Initrd.Uncompressed},
		ofComponents + 2: {Name: "components"},
		ofModules + 2:    {Name: "kernel modules"},
		ofFirmware + 2:   {Name: "firmware"},
		ofSystem + 2:     {Name: "operating system"},
		ofLayers + 2:     {Name: "container layers"},
	}
	rest := root.fs.Size()
	for kind, w := range weights {
		p := &parts[min(kind, ofLayers)+2]
		p.Stored += w.Packed
		p.Uncompressed += w.Size
		rest -= w.Packed
		if kind >= ofLayers {
			r.Layers[kind-ofLayers].Stored = w.Packed
		}
	}
	r.Sizes = append(parts, Part{Name: "directories", Stored: rest}, Part{Name: "hash tree", Stored: r.Root.TreeSize})
	return nil
}
