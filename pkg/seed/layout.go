package seed

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// refName gives an image in an index its reference (OCI Image Specification,
// annotations).
const refName = "org.opencontainers.image.ref.name"

// Manifests and configs are read whole; containerd refuses larger ones too.
const maxBlob = 8 << 20

type image struct {
	reference        string // "registry.k8s.io/pause:3.10.2"
	manifest, config blob
	layers           []layer // lowest first
}

type blob struct {
	digest    string // "sha256:…"
	mediaType string
	data      []byte
}

// layer is a layer in its place in an image.
type layer struct {
	dir    string
	chain  string // the digest of this layer and all below it
	parent string // chain of the one below; "" for the lowest
}

type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Annotations map[string]string `json:"annotations"`
}

// readImages reads the OCI image layout (OCI Image Layout Specification) of
// the baked images. A root without any is fine.
func readImages(dir string) ([]image, error) {
	path := filepath.Join(dir, "index.json")
	data, err := readSmall(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("reading the index of the baked images: %w", err)
	}
	var index struct {
		Manifests []descriptor `json:"manifests"`
	}
	if err := json.Unmarshal(data, &index); err != nil {
		return nil, fmt.Errorf("reading the index of the baked images %s: %w", path, err)
	}
	var images []image
	seen := map[string]bool{}
	for _, d := range index.Manifests {
		img, err := readImage(dir, d)
		if err != nil {
			return nil, fmt.Errorf("reading baked image %q: %w", d.Annotations[refName], err)
		}
		if seen[img.reference] {
			return nil, fmt.Errorf("reading the index of the baked images %s: the reference %q is there twice", path, img.reference)
		}
		seen[img.reference] = true
		images = append(images, img)
	}
	return images, nil
}

func readImage(dir string, d descriptor) (image, error) {
	img := image{reference: d.Annotations[refName]}
	if img.reference == "" {
		return img, fmt.Errorf("manifest %s has no annotation %s", d.Digest, refName)
	}
	switch d.MediaType {
	case "application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json":
	default:
		return img, fmt.Errorf("manifest %s is of type %q: only single images can be baked", d.Digest, d.MediaType)
	}
	var err error
	if img.manifest, err = readBlob(dir, d); err != nil {
		return img, err
	}
	var manifest struct {
		Config descriptor   `json:"config"`
		Layers []descriptor `json:"layers"`
	}
	if err := json.Unmarshal(img.manifest.data, &manifest); err != nil {
		return img, fmt.Errorf("reading manifest %s: %w", d.Digest, err)
	}
	if img.config, err = readBlob(dir, manifest.Config); err != nil {
		return img, err
	}
	var config struct {
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if err := json.Unmarshal(img.config.data, &config); err != nil {
		return img, fmt.Errorf("reading config %s: %w", img.config.digest, err)
	}
	ids := config.RootFS.DiffIDs
	if len(ids) == 0 || len(ids) != len(manifest.Layers) {
		return img, fmt.Errorf("config %s has %d diff IDs, the manifest %d layers", img.config.digest, len(ids), len(manifest.Layers))
	}
	for i, id := range ids {
		name, err := encoded(id)
		if err != nil {
			return img, fmt.Errorf("reading config %s: %w", img.config.digest, err)
		}
		// OCI Image Specification, config: Layer ChainID.
		l := layer{dir: filepath.Join(dir, "layers", name), chain: id}
		if i > 0 {
			l.parent = img.layers[i-1].chain
			l.chain = digest([]byte(l.parent + " " + id))
		}
		if info, err := os.Stat(l.dir); err != nil {
			return img, fmt.Errorf("finding layer %s: %w", id, err)
		} else if !info.IsDir() {
			return img, fmt.Errorf("finding layer %s: %s is no directory", id, l.dir)
		}
		img.layers = append(img.layers, l)
	}
	return img, nil
}

func readBlob(dir string, d descriptor) (blob, error) {
	name, err := encoded(d.Digest)
	if err != nil {
		return blob{}, err
	}
	b := blob{digest: d.Digest, mediaType: d.MediaType}
	if b.data, err = readSmall(filepath.Join(dir, "blobs", "sha256", name)); err != nil {
		return blob{}, fmt.Errorf("reading blob %s: %w", d.Digest, err)
	}
	if got := digest(b.data); got != d.Digest || int64(len(b.data)) != d.Size {
		return blob{}, fmt.Errorf("checking blob %s of %d bytes: it is %s of %d bytes", d.Digest, d.Size, got, len(b.data))
	}
	return b, nil
}

func readSmall(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxBlob+1))
	if err == nil && len(data) > maxBlob {
		err = fmt.Errorf("reading %s: it is larger than %d bytes", path, maxBlob)
	}
	return data, err
}

// names are the references that CRI gives an image it pulls: the tag, the
// digest, and the image ID. Only the first is needed: CRI would make the last
// one when it starts. It is made here so that it bears Label, and an image
// that is no longer baked does not live on under it; the digest, for pods
// that pin one.
func (img image) names() []string {
	names := []string{img.reference}
	if !strings.Contains(img.reference, "@") {
		repository := img.reference
		if i := strings.LastIndexByte(repository, ':'); i > strings.LastIndexByte(repository, '/') {
			repository = repository[:i]
		}
		names = append(names, repository+"@"+img.manifest.digest)
	}
	return append(names, img.config.digest)
}

// layers are the distinct layers of all images, each after its parent. The
// same directory is there several times if it lies on different ones.
func layers(images []image) []layer {
	var all []layer
	seen := map[string]bool{}
	for _, img := range images {
		for _, l := range img.layers {
			if !seen[l.chain] {
				seen[l.chain] = true
				all = append(all, l)
			}
		}
	}
	return all
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// encoded is the hex part of a digest.
func encoded(d string) (string, error) {
	name, ok := strings.CutPrefix(d, "sha256:")
	if b, err := hex.DecodeString(name); !ok || err != nil || len(b) != sha256.Size || strings.ToLower(name) != name {
		return "", fmt.Errorf("parsing digest %q: it is no lower-case sha256 digest", d)
	}
	return name, nil
}
