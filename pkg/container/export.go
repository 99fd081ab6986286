package container

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/manifest"
	"github.com/slipway-os/slipway/pkg/tree"
)

// containerdName is what containerd takes an image's reference from; it takes
// RefName for a tag.
const containerdName = "io.containerd.image.name"

// maxBlob bounds manifests and configs, in bytes, as containerd does.
const maxBlob = 8 << 20

// Root is a root that images were baked into.
type Root struct {
	Name string // for errors: the disk's
	Tree *tree.Tree
}

// Archive is images that can be written as one file.
type Archive struct {
	References []string // sorted

	index []byte
	blobs []blob
	have  map[v1.Hash]bool
}

// blob is a file of an archive; of data and layer one is given.
type blob struct {
	descriptor v1.Descriptor
	data       []byte
	layer      *tree.Tree
	root       string
}

// NewArchive collects the images that were baked into roots. What bears one
// reference in several of them, for several platforms, becomes an image index.
func NewArchive(roots []Root) (*Archive, error) {
	a := &Archive{have: map[v1.Hash]bool{}}
	byReference := map[string][]found{}
	for _, r := range roots {
		images, err := a.collect(r)
		if err != nil {
			return nil, fmt.Errorf("reading the container images of %q: %w", r.Name, err)
		}
		for _, f := range images {
			ref := f.descriptor.Annotations[RefName]
			known, err := add(byReference[ref], f)
			if err != nil {
				return nil, fmt.Errorf("joining the images %s: %w", ref, err)
			}
			byReference[ref] = known
		}
	}
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{}}
	for ref := range byReference {
		a.References = append(a.References, ref)
	}
	slices.Sort(a.References)
	for _, ref := range a.References {
		d, err := a.entry(byReference[ref])
		if err != nil {
			return nil, err
		}
		d.Annotations = map[string]string{RefName: ref, containerdName: ref}
		index.Manifests = append(index.Manifests, d)
	}
	var err error
	a.index, err = json.MarshalIndent(index, "", "  ")
	return a, err
}

// found is an image of a root.
type found struct {
	root       string
	descriptor v1.Descriptor
}

// add adds an image to those that have its reference, of which one platform
// may have but one.
func add(known []found, f found) ([]found, error) {
	for _, k := range known {
		if k.descriptor.Digest == f.descriptor.Digest {
			return known, nil
		}
		if k.descriptor.Platform.Equals(*f.descriptor.Platform) {
			return nil, diag.Inputf("%q and %q have different ones for %s; export them apart", k.root, f.root, f.descriptor.Platform)
		}
	}
	return append(known, f), nil
}

// entry describes what bears one reference: an image, or an index of several.
func (a *Archive) entry(images []found) (v1.Descriptor, error) {
	if len(images) == 1 {
		return images[0].descriptor, nil
	}
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex}
	for _, f := range images {
		f.descriptor.Annotations = nil
		index.Manifests = append(index.Manifests, f.descriptor)
	}
	slices.SortFunc(index.Manifests, func(x, y v1.Descriptor) int {
		return strings.Compare(x.Platform.String(), y.Platform.String())
	})
	data, err := json.MarshalIndent(index, "", "  ")
	if err != nil {
		return v1.Descriptor{}, err
	}
	sum := sha256.Sum256(data)
	d := v1.Descriptor{MediaType: types.OCIImageIndex, Size: int64(len(data)), Digest: v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}}
	a.put(blob{descriptor: d, data: data})
	return d, nil
}

func (a *Archive) put(b blob) {
	if !a.have[b.descriptor.Digest] {
		a.have[b.descriptor.Digest] = true
		a.blobs = append(a.blobs, b)
	}
}

// collect takes the images of a root, and what they consist of.
func (a *Archive) collect(r Root) ([]found, error) {
	var index v1.IndexManifest
	n := r.Tree.Lookup(path.Join(manifest.ImagesDir, "index.json"))
	if n == nil || n.Type != tree.File {
		return nil, nil
	}
	data, err := tree.ReadAll(n.Content, maxBlob)
	if err == nil {
		err = json.Unmarshal(data, &index)
	}
	if err != nil {
		return nil, diag.Input(err)
	}
	var images []found
	for _, d := range index.Manifests {
		ref := d.Annotations[RefName]
		if ref == "" || d.Platform == nil {
			return nil, diag.Inputf("%s has no name or no platform", d.Digest)
		}
		if err := a.collectImage(r, d); err != nil {
			return nil, fmt.Errorf("%s: %w", ref, err)
		}
		images = append(images, found{r.Name, d})
	}
	return images, nil
}

func (a *Archive) collectImage(r Root, d v1.Descriptor) error {
	var m v1.Manifest
	var config v1.ConfigFile
	if err := a.document(r, d, &m); err != nil {
		return err
	}
	if err := a.document(r, m.Config, &config); err != nil {
		return err
	}
	if len(m.Layers) != len(config.RootFS.DiffIDs) {
		return diag.Inputf("its manifest has %d layers, its config %d", len(m.Layers), len(config.RootFS.DiffIDs))
	}
	for i, l := range m.Layers {
		// A layer is made anew from its files, which gives a plain tar.
		if l.Digest != config.RootFS.DiffIDs[i] {
			return diag.Inputf("its layer %s is compressed", l.Digest)
		}
		if a.have[l.Digest] {
			continue
		}
		files, err := r.Tree.Sub(path.Join(manifest.ImagesDir, "layers", l.Digest.Hex))
		if err != nil {
			return diag.Input(err)
		}
		a.put(blob{descriptor: l, layer: files, root: r.Name})
	}
	return nil
}

// document takes a blob that is JSON, and reads it.
func (a *Archive) document(r Root, d v1.Descriptor, v any) error {
	n := r.Tree.Lookup(path.Join(manifest.ImagesDir, "blobs", d.Digest.Algorithm, d.Digest.Hex))
	if n == nil || n.Type != tree.File {
		return diag.Inputf("its blob %s is missing", d.Digest)
	}
	data, err := tree.ReadAll(n.Content, maxBlob)
	if err != nil {
		return diag.Input(err)
	}
	if sum := sha256.Sum256(data); d.Digest.Algorithm != "sha256" || hex.EncodeToString(sum[:]) != d.Digest.Hex || int64(len(data)) != d.Size {
		return diag.Inputf("its blob %s is not what its name says", d.Digest)
	}
	if err := json.Unmarshal(data, v); err != nil {
		return diag.Inputf("its blob %s: %w", d.Digest, err)
	}
	a.put(blob{descriptor: d, data: data, root: r.Name})
	return nil
}

// Size is the size of what Write writes, in bytes, but for the headers.
func (a *Archive) Size() int64 {
	size := int64(len(a.index))
	for _, b := range a.blobs {
		size += b.descriptor.Size
	}
	return size
}

// Write writes the images as an archive of an OCI image layout (OCI Image
// Layout Specification), layers uncompressed. The same images give the same bytes.
func (a *Archive) Write(ctx context.Context, w io.Writer) error {
	out := tar.NewWriter(w)
	file := func(name string, size int64) error {
		return out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, Format: tar.FormatPAX})
	}
	put := func(name string, data []byte) error {
		if err := file(name, int64(len(data))); err != nil {
			return err
		}
		_, err := out.Write(data)
		return err
	}
	if err := put("oci-layout", []byte(layoutVersion)); err != nil {
		return err
	}
	if err := put("index.json", a.index); err != nil {
		return err
	}
	for _, b := range a.blobs {
		name := path.Join("blobs", b.descriptor.Digest.Algorithm, b.descriptor.Digest.Hex)
		if b.layer == nil {
			if err := put(name, b.data); err != nil {
				return err
			}
			continue
		}
		if err := file(name, b.descriptor.Size); err != nil {
			return err
		}
		if err := b.writeLayer(ctx, out); err != nil {
			return fmt.Errorf("exporting layer %s of %q: %w", b.descriptor.Digest, b.root, err)
		}
	}
	return out.Close()
}

// writeLayer makes a layer's archive from its files, and compares it with what
// it was when the image was built.
func (b blob) writeLayer(ctx context.Context, w io.Writer) error {
	sum := sha256.New()
	err := writeTar(ctx, io.MultiWriter(sum, w), b.layer)
	if errors.Is(err, tar.ErrWriteTooLong) || err == nil && hex.EncodeToString(sum.Sum(nil)) != b.descriptor.Digest.Hex {
		return diag.Inputf("its files are not those that the image was built with, or a builder made with another version of Go wrote it")
	}
	return err
}
