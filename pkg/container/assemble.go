package container

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/manifest"
	"github.com/slipway-os/slipway/pkg/store"
	"github.com/slipway-os/slipway/pkg/tree"
)

// RefName is the annotation that gives an image its reference (OCI Image
// Spec, annotations).
const RefName = "org.opencontainers.image.ref.name"

const layoutVersion = `{"imageLayoutVersion":"1.0.0"}`

// Baked is an image that was assembled.
type Baked struct {
	Reference string
	Image     v1.Image
	layers    []*layer
}

// Assemble makes the images of d under a repository name.
func Assemble(ctx context.Context, st *store.Store, d *Definitions, s Sources, repository, arch string) ([]Baked, error) {
	layers := map[string]*layer{}
	for i := range d.Layers {
		l := &d.Layers[i]
		t, err := l.Tree(s)
		if err != nil {
			return nil, err
		}
		if layers[l.Name], err = newLayer(ctx, st, t); err != nil {
			return nil, fmt.Errorf("making layer %q: %w", l.Name, err)
		}
	}
	created := v1.Time{Time: time.Unix(s.Epoch, 0).UTC()}
	var baked []Baked
	for _, def := range d.Images {
		b := Baked{Reference: repository + "/" + def.Name + ":" + def.Tag}
		if _, err := name.NewTag(b.Reference, name.StrictValidation); err != nil {
			return nil, diag.Inputf("image repository %q: %w (for example registry.example/slipway)", repository, err)
		}
		image := mutate.MediaType(mutate.ConfigMediaType(empty.Image, types.OCIConfigJSON), types.OCIManifestSchema1)
		for _, layer := range def.Layers {
			l := layers[layer]
			b.layers = append(b.layers, l)
			var err error
			image, err = mutate.Append(image, mutate.Addendum{Layer: l, History: v1.History{Created: created, CreatedBy: "layer " + layer}, MediaType: types.OCIUncompressedLayer})
			if err != nil {
				return nil, fmt.Errorf("assembling image %q: %w", def.Name, err)
			}
		}
		config, err := image.ConfigFile()
		if err != nil {
			return nil, fmt.Errorf("assembling image %q: %w", def.Name, err)
		}
		config = config.DeepCopy()
		config.Architecture, config.OS, config.Created = arch, "linux", created
		config.Config = v1.Config{
			Entrypoint: def.Entrypoint, Cmd: def.Command, User: def.User, WorkingDir: def.WorkingDirectory,
			Env: append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"}, def.Environment...),
		}
		if b.Image, err = mutate.ConfigFile(image, config); err != nil {
			return nil, fmt.Errorf("assembling image %q: %w", def.Name, err)
		}
		baked = append(baked, b)
	}
	return baked, nil
}

// Tree returns the images as they lie in a root: an OCI image layout (OCI
// Image Layout Specification) of manifests and configs, and each layer
// unpacked, once, below layers/ by its diff id.
func Tree(images []Baked, epoch int64) (*tree.Tree, error) {
	b := tree.NewBuilder(epoch)
	put := func(p string, data []byte) error {
		return b.Put(path.Join(manifest.ImagesDir, p), &tree.Node{Type: tree.File, Mode: 0o644, ModTime: epoch, Content: tree.Bytes(data)})
	}
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex}
	for _, img := range images {
		raw, err := img.Image.RawManifest()
		if err != nil {
			return nil, fmt.Errorf("describing image %s: %w", img.Reference, err)
		}
		digest, err := img.Image.Digest()
		if err != nil {
			return nil, err
		}
		config, err := img.Image.RawConfigFile()
		if err != nil {
			return nil, err
		}
		configDigest, err := img.Image.ConfigName()
		if err != nil {
			return nil, err
		}
		file, err := img.Image.ConfigFile()
		if err != nil {
			return nil, err
		}
		if err := put("blobs/sha256/"+digest.Hex, raw); err != nil {
			return nil, err
		}
		if err := put("blobs/sha256/"+configDigest.Hex, config); err != nil {
			return nil, err
		}
		for _, l := range img.layers {
			if err := b.PutTree(path.Join(manifest.ImagesDir, "layers", l.digest.Hex), l.tree); err != nil {
				return nil, err
			}
		}
		index.Manifests = append(index.Manifests, v1.Descriptor{
			MediaType: types.OCIManifestSchema1, Digest: digest, Size: int64(len(raw)),
			Platform: &v1.Platform{OS: file.OS, Architecture: file.Architecture}, Annotations: map[string]string{RefName: img.Reference},
		})
	}
	data, err := json.MarshalIndent(index, "", "  ")
	if err != nil {
		return nil, err
	}
	if err := put("oci-layout", []byte(layoutVersion)); err != nil {
		return nil, err
	}
	if err := put("index.json", append(data, '\n')); err != nil {
		return nil, err
	}
	return b.Tree(), nil
}
