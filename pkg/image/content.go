package image

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/slipway-os/slipway/pkg/container"
	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/gpt"
	"github.com/slipway-os/slipway/pkg/manifest"
)

// inspectRoot describes the root and what is in it.
func (d *Disk) inspectRoot(r *Report) error {
	root, err := d.openRoot()
	if err != nil {
		return err
	}
	r.Root.Size, r.Root.Files = root.fs.Size(), root.tree.Len()
	m, err := d.Describe()
	if err != nil {
		return err
	}
	r.Profile, r.KubernetesVersion, r.Epoch = m.Profile, m.KubernetesVersion, m.Epoch
	if m.Roles != nil {
		r.Roles = m.Roles
	}
	var inventory manifest.Inventory
	found, err := d.document(manifest.InventoryPath, &inventory)
	if err != nil {
		return err
	}
	if found {
		if err := d.compare(r, m, inventory); err != nil {
			return err
		}
	}
	if err := d.containers(r); err != nil {
		return err
	}
	return d.weigh(r)
}

// compare takes over the inventory, and compares what is started with it.
func (d *Disk) compare(r *Report, m manifest.Image, inventory manifest.Inventory) error {
	if inventory.Format != manifest.InventoryFormat {
		return diag.Inputf("reading /%s of image %q: it is of format %d; this builder reads %d", manifest.InventoryPath, d.name, inventory.Format, manifest.InventoryFormat)
	}
	if inventory.Packages != nil {
		r.Packages = inventory.Packages
	}
	if inventory.Components != nil {
		r.Components = inventory.Components
	}
	r.Boot.Kernel.Package = inventory.Kernel.Package
	if d.start().contents == nil {
		return nil
	}
	part, loader := d.bootPartition(), d.bootPartition()
	for _, p := range d.parts {
		if p.Type == gpt.TypePReP {
			loader = p.Name
		}
	}
	if m.Architecture != d.arch {
		r.damaged("", fmt.Sprintf("its partitions are for %s, its root for %q", d.arch, m.Architecture))
	}
	if k := r.Boot.Kernel; k.SHA256 != inventory.Kernel.SHA256 {
		r.damaged(part, "its kernel is not the one that the image was built with")
	}
	if want := inventory.Loader; want != "" && r.Boot.Loader != want {
		r.damaged(loader, "its loader is not the one that the image was built with")
	}
	if r.Boot.CommandLine != inventory.Kernel.CommandLine {
		r.damaged(part, fmt.Sprintf("its command line is not the one that the image was built with: %q", inventory.Kernel.CommandLine))
	}
	return nil
}

// containers reads the OCI image layout of the baked images.
func (d *Disk) containers(r *Report) error {
	var index v1.IndexManifest
	if _, err := d.document(path.Join(manifest.ImagesDir, "index.json"), &index); err != nil {
		return err
	}
	// More than any node has, so that the report stays of a size.
	const maxImages, maxLayers = 256, 128
	if len(index.Manifests) > maxImages {
		return diag.Inputf("reading the container images of image %q: there are %d", d.name, len(index.Manifests))
	}
	seen := map[string]bool{}
	for _, descriptor := range index.Manifests {
		var m v1.Manifest
		var config v1.ConfigFile
		if err := d.blob(descriptor.Digest, &m); err != nil {
			return err
		}
		if err := d.blob(m.Config.Digest, &config); err != nil {
			return err
		}
		if n := len(config.RootFS.DiffIDs); n > maxLayers {
			return diag.Inputf("reading the container images of image %q: one has %d layers", d.name, n)
		}
		image := ContainerImage{Reference: descriptor.Annotations[container.RefName], Digest: descriptor.Digest.String(), Config: m.Config.Digest.String(), Layers: []string{}}
		for i, id := range config.RootFS.DiffIDs {
			image.Layers = append(image.Layers, id.String())
			if seen[id.Hex] {
				continue
			}
			seen[id.Hex] = true
			l := Layer{Digest: id.String()}
			if i < len(config.History) {
				l.Name, _ = strings.CutPrefix(config.History[i].CreatedBy, "layer ")
			}
			if i < len(m.Layers) {
				l.Size = m.Layers[i].Size
			}
			r.Layers = append(r.Layers, l)
		}
		r.Images = append(r.Images, image)
	}
	return nil
}

// blob reads a JSON blob of the baked images, and compares it with its digest.
func (d *Disk) blob(digest v1.Hash, v any) error {
	at := path.Join(manifest.ImagesDir, "blobs", digest.Algorithm, digest.Hex)
	data, err := d.readFile(at)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(data)
	if digest.Algorithm != "sha256" || digest.Hex != hex.EncodeToString(sum[:]) {
		return diag.Inputf("reading the container images of image %q: /%s is missing, or not what its name says", d.name, clip(at))
	}
	if err := json.Unmarshal(data, v); err != nil {
		return diag.Inputf("reading the container images of image %q: %w", d.name, err)
	}
	return nil
}
