package container_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/slipway-os/slipway/pkg/container"
	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/manifest"
	"github.com/slipway-os/slipway/pkg/tree"
)

// rootOf is a root that images for an architecture were baked into.
func rootOf(t testing.TB, arch string) container.Root {
	t.Helper()
	baked, err := container.Assemble(t.Context(), openStore(t), definitions(t), sources(t), "slipway.local", arch)
	if err != nil {
		t.Fatal(err)
	}
	root, err := container.Tree(baked, epoch)
	if err != nil {
		t.Fatal(err)
	}
	return container.Root{Name: arch + ".raw", Tree: root}
}

// exported writes the images of roots, and unpacks the archive.
func exported(t *testing.T, roots ...container.Root) (data []byte, dir string) {
	t.Helper()
	a, err := container.NewArchive(roots)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := a.Write(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	in := tar.NewReader(bytes.NewReader(out.Bytes()))
	for {
		h, err := in.Next()
		if err == io.EOF {
			return out.Bytes(), dir
		} else if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, h.Name)
		content, err := io.ReadAll(in)
		if err = errors.Join(err, os.MkdirAll(filepath.Dir(file), 0o755)); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(file); err == nil {
			t.Errorf("%s is there twice", h.Name)
		}
		if err := os.WriteFile(file, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestExportedImagesAreThoseOfTheRoot(t *testing.T) {
	root := rootOf(t, "arm64")
	data, dir := exported(t, root)
	if again, _ := exported(t, root); !bytes.Equal(data, again) {
		t.Error("exported again, the archive has other bytes")
	}
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	m, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]v1.Hash{}
	for _, b := range assemble(t) {
		if want[b.Reference], err = b.Image.Digest(); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range m.Manifests {
		ref := d.Annotations[container.RefName]
		if d.Digest != want[ref] || d.Annotations["io.containerd.image.name"] != ref {
			t.Errorf("%s is %s, want %s", ref, d.Digest, want[ref])
		}
		delete(want, ref)
		img, err := index.Image(d.Digest)
		if err != nil {
			t.Fatal(err)
		}
		checkLayers(t, ref, img)
	}
	if len(want) > 0 {
		t.Errorf("not exported: %v", want)
	}
}

func TestImagesOfSeveralArchitecturesBecomeOne(t *testing.T) {
	amd64, arm64 := rootOf(t, "amd64"), rootOf(t, "arm64")
	data, dir := exported(t, arm64, amd64, arm64)
	if twice, _ := exported(t, arm64, amd64); !bytes.Equal(data, twice) {
		t.Error("naming a disk twice changes the archive")
	}
	all, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	m, err := all.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Manifests) != 2 {
		t.Fatalf("%d images, want 2", len(m.Manifests))
	}
	for _, d := range m.Manifests {
		if d.MediaType != types.OCIImageIndex {
			t.Fatalf("%s is of type %s", d.Annotations[container.RefName], d.MediaType)
		}
		one, err := all.ImageIndex(d.Digest)
		if err != nil {
			t.Fatal(err)
		}
		platforms, err := one.IndexManifest()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, p := range platforms.Manifests {
			got = append(got, p.Platform.String())
			img, err := one.Image(p.Digest)
			if err != nil {
				t.Fatal(err)
			}
			config, err := img.ConfigFile()
			if err != nil || "linux/"+config.Architecture != p.Platform.String() {
				t.Errorf("the image for %s is for %s (%v)", p.Platform, config.Architecture, err)
			}
		}
		if !slices.Equal(got, []string{"linux/amd64", "linux/arm64"}) {
			t.Errorf("platforms %q", got)
		}
	}
}

func TestWhatCannotBeExported(t *testing.T) {
	good := rootOf(t, "arm64")
	find := func(dir string, has func(path string) bool) string {
		for _, name := range good.Tree.Children(dir) {
			if has(dir + "/" + name) {
				return dir + "/" + name
			}
		}
		t.Fatalf("nothing in %s is meant", dir)
		return ""
	}
	web := find(manifest.ImagesDir+"/layers", func(p string) bool { return good.Tree.Lookup(p+"/usr/bin/web2") != nil })
	var index v1.IndexManifest
	at := manifest.ImagesDir + "/index.json"
	data, err := tree.ReadAll(good.Tree.Lookup(at).Content, 1<<20)
	if err == nil {
		err = json.Unmarshal(data, &index)
	}
	if err != nil {
		t.Fatal(err)
	}
	first := manifest.ImagesDir + "/blobs/sha256/" + index.Manifests[0].Digest.Hex
	for _, c := range []struct {
		name string
		put  map[string]string // files in place of the good ones; "" takes one away
		more []container.Root
		want string
	}{
		{name: "an index that is no JSON", put: map[string]string{at: "{"}, want: "unexpected end of JSON"},
		{name: "a manifest that is missing", put: map[string]string{first: ""}, want: "is missing"},
		{name: "a changed manifest", put: map[string]string{first: "{}"}, want: "is not what its name says"},
		{name: "an image without a name", put: map[string]string{at: `{"manifests":[{"digest":"sha256:` + strings.Repeat("0", 64) + `"}]}`}, want: "has no name or no platform"},
		{name: "a layer that is missing", put: map[string]string{web: ""}, want: "no such directory"},
		{name: "a layer with another file", put: map[string]string{web + "/usr/bin/more": "more"}, want: "its files are not those"},
		{name: "a layer without a file", put: map[string]string{web + "/usr/bin/web2": ""}, want: "its files are not those"},
		{name: "two that differ", more: []container.Root{{Name: "other.raw", Tree: otherRoot(t)}}, want: `"arm64.raw" and "other.raw" have different ones for linux/arm64`},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := tree.NewBuilder(epoch)
			if err := b.PutTree(".", good.Tree); err != nil {
				t.Fatal(err)
			}
			for p, text := range c.put {
				b.Remove(p)
				if text == "" {
					continue
				}
				if err := b.Put(p, &tree.Node{Type: tree.File, Mode: 0o644, ModTime: epoch, Content: tree.String(text)}); err != nil {
					t.Fatal(err)
				}
			}
			a, err := container.NewArchive(append([]container.Root{{Name: "arm64.raw", Tree: b.Tree()}}, c.more...))
			if err == nil {
				err = a.Write(t.Context(), io.Discard)
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || diag.ExitCode(err) != diag.ExitInput {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// otherRoot has images of the same names and architecture as rootOf, with
// another program in them.
func otherRoot(t *testing.T) *tree.Tree {
	t.Helper()
	s := sources(t)
	s.Program = func(string, string) (*tree.Node, error) {
		return &tree.Node{Type: tree.File, Mode: 0o755, ModTime: epoch, Content: tree.String("another program")}, nil
	}
	baked, err := container.Assemble(t.Context(), openStore(t), definitions(t), s, "slipway.local", "arm64")
	if err != nil {
		t.Fatal(err)
	}
	root, err := container.Tree(baked, epoch)
	if err != nil {
		t.Fatal(err)
	}
	return root
}
