package qemutests

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// imports has a node import its images from a disk, as nodes do that may pull
// nothing and have none baked in.
const imports = `variant: fcos
version: 1.5.0
systemd:
  units:
    - name: slipway-seed.service
      dropins:
        - name: none.conf
          contents: |
            [Service]
            ExecStart=
            ExecStart=/usr/bin/true
    - name: import.service
      enabled: true
      contents: |
        [Unit]
        Requires=containerd.service
        After=containerd.service
        Before=slipway-configure.service
        [Service]
        Type=oneshot
        ExecStart=/usr/bin/mount --mkdir -o ro /dev/disk/by-label/archives /run/archives
        ExecStart=/usr/bin/ctr --namespace k8s.io images import /run/archives/images.tar
        [Install]
        RequiredBy=slipway-configure.service
`

// compressed makes an OCI archive anew with layers under gzip, as registries
// serve them and tools save them.
func compressed(t *testing.T, from, to string) {
	t.Helper()
	old, made := t.TempDir(), t.TempDir()
	tool(t, "tar", "-C", old, "-xf", from)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	index, err := layout.ImageIndexFromPath(old)
	must(err)
	manifest, err := index.IndexManifest()
	must(err)
	archive, err := layout.Write(made, empty.Index)
	must(err)
	for _, d := range manifest.Manifests {
		image, err := index.Image(d.Digest)
		must(err)
		config, err := image.ConfigFile()
		must(err)
		layers, err := image.Layers()
		must(err)
		again := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
		for _, l := range layers {
			zipped, err := tarball.LayerFromOpener(l.Uncompressed, tarball.WithMediaType(types.OCILayer))
			must(err)
			again, err = mutate.AppendLayers(again, zipped)
			must(err)
		}
		again, err = mutate.ConfigFile(again, config)
		must(err)
		again = mutate.ConfigMediaType(again, types.OCIConfigJSON)
		must(archive.AppendImage(again, layout.WithAnnotations(d.Annotations)))
	}
	tool(t, "tar", "-C", made, "-cf", to, ".")
}

// TestArchives starts a node with its baked images, and one that has to import
// the same images from an archive first. Nothing else differs; what it takes
// them to be Ready is printed side by side.
func TestArchives(t *testing.T) {
	if testing.Short() {
		t.Skip("not run: the time for two first boots, ten minutes and more, is missing in `make test`; `make qemu-test RUN=TestArchives` bakes the image, installs what this needs and runs it")
	}
	dir := t.TempDir()
	archives, disk := filepath.Join(dir, "archives"), filepath.Join(dir, "archives.raw")
	if err := os.Mkdir(archives, 0o755); err != nil {
		t.Fatal(err)
	}
	exported := filepath.Join(dir, "exported.tar")
	tool(t, "../bin/builder", "export", image(t), "--out", exported)
	compressed(t, exported, filepath.Join(archives, "images.tar"))
	tool(t, "mkfs.ext4", "-q", "-L", "archives", "-d", archives, disk, "1G")

	ready := func(name string, s *scene) float64 {
		m := s.start()
		line, err := m.console.match(m.ctx, m.vm, regexp.MustCompile(`the node is Ready [0-9]+ s after the start`))
		if err != nil {
			t.Fatalf("%s: %v; the console ends with:\n%s", name, err, m.console.end())
		}
		m.ready()
		blobs := m.run("du -sm /var/lib/containerd/io.containerd.content.v1.content | cut -f1")
		t.Logf("%s: %s; containerd's store holds %s MB of blobs", name, line, blobs)
		seconds, err := strconv.ParseFloat(regexp.MustCompile(`[0-9]+`).FindString(line), 64)
		if err != nil {
			t.Fatal(err)
		}
		if copied := blobs != "0" && blobs != "1"; copied != (name == "imported") {
			t.Errorf("%s: images were copied: %v", name, copied)
		}
		m.cut()
		return seconds
	}
	baked := ready("baked", newSceneNamed(t, t.Name()+"-baked", architecture(), image(t)).config(singleNode))
	late := newSceneNamed(t, t.Name()+"-imported", architecture(), image(t)).config(singleNode, imports)
	late.opts.ExtraDisks = []string{disk}
	imported := ready("imported", late)
	t.Logf("Ready after %.0f s with baked images, after %.0f s with imported ones: %.1f times as long", baked, imported, imported/baked)
}
