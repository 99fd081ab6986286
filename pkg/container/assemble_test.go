package container_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/slipway-os/slipway/pkg/container"
	"github.com/slipway-os/slipway/pkg/deb"
	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/manifest"
	"github.com/slipway-os/slipway/pkg/store"
	"github.com/slipway-os/slipway/pkg/tree"
)

const epoch = 1_700_000_000

// program is a program that the root and a layer share.
var program = &tree.Node{Type: tree.File, Mode: 0o755, ModTime: epoch, Content: tree.String("a program")}

// definitions are two images that share their lowest layer.
func definitions(t testing.TB) *container.Definitions {
	t.Helper()
	images(t, map[string]string{
		"sets/s":      "images: [web, dns]\n",
		"web":         "layers: [base, web]\nentrypoint: [/usr/bin/web, --serve]\ncommand: [a]\nenvironment: [HOME=/tmp]\nworkingDirectory: /tmp\ntag: v1\n",
		"dns":         "layers: [base, dns]\nentrypoint: [/dns]\nuser: \"65532:65532\"\ntag: v2\n",
		"layers/base": "packages: [p]\nprune: [usr/share/doc]\nfiles: {etc/passwd: \"root:x:0:0\", lib/y: y}\nlinks: {bin: usr/bin, bin/sh: tool}\ndirectories: {tmp: \"1777\", usr/lib: \"0755\"}\n",
		"layers/web":  "programs: [{component: c, program: web, paths: [usr/bin/web, usr/bin/web2]}]\n",
		"layers/dns":  "programs: [{component: c, program: web, paths: [dns], capabilities: [net_bind_service]}]\n",
	})
	d, err := container.Load("images", "s")
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Complete(nil, nil); err != nil {
		t.Fatal(err)
	}
	return d
}

func sources(t testing.TB) container.Sources {
	t.Helper()
	b := tree.NewBuilder(epoch)
	for p, n := range map[string]*tree.Node{
		"lib":              {Type: tree.Symlink, Mode: 0o777, Target: "usr/lib"},
		"usr/bin/tool":     {Type: tree.File, Mode: 0o4755, UID: 7, ModTime: epoch + 5, Content: tree.String("#!")},
		"usr/lib/x":        {Type: tree.File, Mode: 0o644, ModTime: 3, Content: tree.String("x")},
		"usr/lib/empty":    {Type: tree.File, Mode: 0o600, GID: 9, ModTime: 3},
		"usr/share/doc/no": {Type: tree.File, Mode: 0o644},
	} {
		if err := b.Put(p, n); err != nil {
			t.Fatal(err)
		}
	}
	return container.Sources{
		Packages: map[string][]*deb.Package{"base": {{Control: map[string]string{"Package": "p"}, Tree: b.Tree()}}},
		Program: func(component, name string) (*tree.Node, error) {
			if component != "c" || name != "web" {
				return nil, fmt.Errorf("no program %q of component %q", name, component)
			}
			return program, nil
		},
		Epoch: epoch,
	}
}

func openStore(t testing.TB) *store.Store {
	t.Helper()
	s, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func assemble(t testing.TB) []container.Baked {
	t.Helper()
	baked, err := container.Assemble(t.Context(), openStore(t), definitions(t), sources(t), "slipway.local", "arm64")
	if err != nil {
		t.Fatal(err)
	}
	return baked
}

func TestConfig(t *testing.T) {
	baked := assemble(t)
	if baked[0].Reference != "slipway.local/web:v1" || baked[1].Reference != "slipway.local/dns:v2" {
		t.Errorf("references %s, %s", baked[0].Reference, baked[1].Reference)
	}
	config := func(b container.Baked) *v1.ConfigFile {
		c, err := b.Image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	web, dns := config(baked[0]), config(baked[1])
	if got, want := fmt.Sprintf("%q %q %q %q %q", web.Config.Entrypoint, web.Config.Cmd, web.Config.WorkingDir, web.Config.User, web.Config.Env), `["/usr/bin/web" "--serve"] ["a"] "/tmp" "" ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt" "HOME=/tmp"]`; got != want {
		t.Errorf("web runs\n%s, not\n%s", got, want)
	}
	if dns.Config.User != "65532:65532" {
		t.Errorf("dns runs as %q", dns.Config.User)
	}
	for _, c := range []*v1.ConfigFile{web, dns} {
		if c.OS != "linux" || c.Architecture != "arm64" || c.Created.Unix() != epoch {
			t.Errorf("platform %s/%s, made %v", c.OS, c.Architecture, c.Created)
		}
		if len(c.History) != 2 || c.History[0].CreatedBy != "layer base" || c.History[0].Created.Unix() != epoch || len(c.RootFS.DiffIDs) != 2 {
			t.Errorf("history %+v of layers %v", c.History, c.RootFS.DiffIDs)
		}
	}
	if web.RootFS.DiffIDs[0] != dns.RootFS.DiffIDs[0] {
		t.Error("the layer that both have is two")
	}
	media, err := baked[0].Image.MediaType()
	if err != nil || media != types.OCIManifestSchema1 {
		t.Errorf("media type %s, %v", media, err)
	}
}

// entries lists a layer's archive, one line for each entry.
func entries(t *testing.T, l v1.Layer) string {
	t.Helper()
	r, err := l.Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var s strings.Builder
	archive := tar.NewReader(r)
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return s.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&s, "%c %04o %d:%d +%d %s %q", h.Typeflag, h.Mode, h.Uid, h.Gid, h.ModTime.Unix()-epoch, h.Name, string(data)+h.Linkname)
		if x := h.PAXRecords["SCHILY.xattr.security.capability"]; x != "" {
			fmt.Fprintf(&s, " %x", x)
		}
		s.WriteByte('\n')
	}
}

func TestLayers(t *testing.T) {
	baked := assemble(t)
	layers := func(b container.Baked) []v1.Layer {
		l, err := b.Image.Layers()
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	for _, c := range []struct {
		name  string
		layer v1.Layer
		want  []string
	}{
		{"base", layers(baked[0])[0], []string{
			`2 0777 0:0 +0 bin "usr/bin"`,
			`5 0755 0:0 +0 etc/ ""`, `0 0644 0:0 +0 etc/passwd "root:x:0:0"`,
			`2 0777 0:0 +-1700000000 lib "usr/lib"`,
			`5 1777 0:0 +0 tmp/ ""`,
			`5 0755 0:0 +0 usr/ ""`, `5 0755 0:0 +0 usr/bin/ ""`,
			`2 0777 0:0 +0 usr/bin/sh "tool"`, `0 4755 7:0 +0 usr/bin/tool "#!"`,
			`5 0755 0:0 +0 usr/lib/ ""`, `0 0600 0:9 +-1699999997 usr/lib/empty ""`, `0 0644 0:0 +-1699999997 usr/lib/x "x"`, `0 0644 0:0 +0 usr/lib/y "y"`,
			`5 0755 0:0 +0 usr/share/ ""`,
		}},
		{"a program is one file under each of its names", layers(baked[0])[1], []string{
			`5 0755 0:0 +0 usr/ ""`, `5 0755 0:0 +0 usr/bin/ ""`, `0 0755 0:0 +0 usr/bin/web "a program"`, `1 0755 0:0 +0 usr/bin/web2 "usr/bin/web"`,
		}},
		{"capabilities: effective, permitted net_bind_service, bit 10", layers(baked[1])[1], []string{
			`0 0755 0:0 +0 dns "a program" 0100000200040000000000000000000000000000`,
		}},
	} {
		if got, want := entries(t, c.layer), strings.Join(c.want, "\n")+"\n"; got != want {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, got, want)
		}
	}
}

// compressed returns the same image with its layers as registries have them,
// which is the only kind that validate knows.
func compressed(t *testing.T, img v1.Image) v1.Image {
	t.Helper()
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	out := mutate.MediaType(mutate.ConfigMediaType(empty.Image, types.OCIConfigJSON), types.OCIManifestSchema1)
	for i, l := range layers {
		gz, err := tarball.LayerFromOpener(l.Uncompressed, tarball.WithMediaType(types.OCILayer))
		if err != nil {
			t.Fatal(err)
		}
		if out, err = mutate.Append(out, mutate.Addendum{Layer: gz, History: config.History[i]}); err != nil {
			t.Fatal(err)
		}
	}
	if out, err = mutate.ConfigFile(out, config); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestValidateAccepts(t *testing.T) {
	for _, b := range assemble(t) {
		// The layers' digests are those of what they hold: the configuration
		// lists them, and validate compares.
		path, err := layout.Write(t.TempDir(), empty.Index)
		if err != nil {
			t.Fatal(err)
		}
		img := compressed(t, b.Image)
		if err := path.AppendImage(img); err != nil {
			t.Fatal(err)
		}
		digest, err := img.Digest()
		if err != nil {
			t.Fatal(err)
		}
		back, err := path.Image(digest)
		if err != nil {
			t.Fatal(err)
		}
		if err := validate.Image(back); err != nil {
			t.Errorf("%s: %v", b.Reference, err)
		}
		checkLayers(t, b.Reference, b.Image)
	}
}

// checkLayers compares what an image's layers hold with what they say.
func checkLayers(t *testing.T, name string, img v1.Image) {
	t.Helper()
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range layers {
		r, err := l.Compressed()
		if err != nil {
			t.Fatal(err)
		}
		digest, size, err := v1.SHA256(r)
		r.Close()
		if want, _ := l.Digest(); err != nil || digest != want {
			t.Errorf("%s: layer %d is %s, and says %s (%v)", name, i, digest, want, err)
		}
		if want, _ := l.Size(); size != want {
			t.Errorf("%s: layer %d has %d bytes, and says %d", name, i, size, want)
		}
	}
}

func digests(t *testing.T, baked []container.Baked) string {
	t.Helper()
	var all []string
	for _, b := range baked {
		d, err := b.Image.Digest()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, d.Hex)
	}
	return strings.Join(all, " ")
}

func TestDigestsAreAlwaysTheSame(t *testing.T) {
	st, d := openStore(t), definitions(t)
	bake := func(s container.Sources) string {
		baked, err := container.Assemble(t.Context(), st, d, s, "slipway.local", "amd64")
		if err != nil {
			t.Fatal(err)
		}
		return digests(t, baked)
	}
	first := bake(sources(t))
	if again := bake(sources(t)); again != first { // from what the store remembers
		t.Errorf("a second time they are %s, not %s", again, first)
	}
	st = openStore(t)
	if again := bake(sources(t)); again != first {
		t.Errorf("from an empty store they are %s, not %s", again, first)
	}
	later := sources(t)
	later.Epoch++
	if bake(later) == first {
		t.Error("another epoch does not show")
	}
}

// A layer's digest is remembered by all that determines its archive.
func TestEveryChangeOfALayerShows(t *testing.T) {
	st, d := openStore(t), definitions(t)
	seen := map[string]string{}
	for name, change := range map[string]func(*tree.Node){
		"nothing": func(*tree.Node) {},
		"content": func(n *tree.Node) { n.Content = tree.String("b program") },
		"mode":    func(n *tree.Node) { n.Mode = 0o700 },
		"owner":   func(n *tree.Node) { n.UID = 1 },
		"group":   func(n *tree.Node) { n.GID = 1 },
		"time":    func(n *tree.Node) { n.ModTime-- },
		"xattr":   func(n *tree.Node) { n.Xattrs = []tree.Xattr{{Name: "user.a", Value: []byte("b")}} },
	} {
		s := sources(t)
		s.Program = func(string, string) (*tree.Node, error) {
			n := *program
			change(&n)
			return &n, nil
		}
		baked, err := container.Assemble(t.Context(), st, d, s, "slipway.local", "amd64")
		if err != nil {
			t.Fatal(err)
		}
		layers, err := baked[0].Image.Layers()
		if err != nil {
			t.Fatal(err)
		}
		digest, _ := layers[1].Digest()
		if other, ok := seen[digest.Hex]; ok {
			t.Errorf("%s and %s make the same layer", name, other)
		}
		seen[digest.Hex] = name
		lower, _ := layers[0].Digest()
		if other, ok := seen[lower.Hex]; ok && other != "base" {
			t.Error("the other layer changes too")
		}
		seen[lower.Hex] = "base"
	}
}

// In the root the images are an OCI layout of manifests and configs, and each
// layer lies there unpacked, once.
func TestTree(t *testing.T) {
	baked := assemble(t)
	root, err := container.Tree(baked, epoch)
	if err != nil {
		t.Fatal(err)
	}
	if layers := root.Children(manifest.ImagesDir + "/layers"); len(layers) != 3 {
		t.Errorf("layers %q", layers)
	}
	if blobs := root.Children(manifest.ImagesDir + "/blobs/sha256"); len(blobs) != 4 {
		t.Errorf("blobs %q", blobs)
	}
	dir := t.TempDir()
	for _, p := range []string{"oci-layout", "index.json"} {
		writeFile(t, root, filepath.Join(manifest.ImagesDir, p), filepath.Join(dir, p))
	}
	for _, name := range root.Children(manifest.ImagesDir + "/blobs/sha256") {
		writeFile(t, root, filepath.Join(manifest.ImagesDir, "blobs/sha256", name), filepath.Join(dir, "blobs/sha256", name))
	}
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	m, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var references []string
	for i, d := range m.Manifests {
		references = append(references, d.Annotations[container.RefName])
		if d.Platform == nil || d.Platform.String() != "linux/arm64" {
			t.Errorf("platform %v", d.Platform)
		}
		img, err := index.Image(d.Digest)
		if err != nil {
			t.Fatal(err)
		}
		config, err := img.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		for _, diff := range config.RootFS.DiffIDs {
			if root.Lookup(filepath.Join(manifest.ImagesDir, "layers", diff.Hex)) == nil {
				t.Errorf("layer %s of %s is not there", diff, references[i])
			}
		}
	}
	if want := []string{"slipway.local/web:v1", "slipway.local/dns:v2"}; !slices.Equal(references, want) {
		t.Errorf("references %q, want %q", references, want)
	}
	// The program is the root's own, so that both are one inode.
	layer := ""
	for _, name := range root.Children(manifest.ImagesDir + "/layers") {
		if p := filepath.Join(manifest.ImagesDir, "layers", name, "usr/bin/web2"); root.Lookup(p) != nil {
			layer = p
		}
	}
	if root.Lookup(layer) != program {
		t.Error("the program is a copy")
	}
	data, err := tree.ReadAll(root.Lookup(manifest.ImagesDir+"/oci-layout").Content, 100)
	var version struct{ ImageLayoutVersion string }
	if err != nil || json.Unmarshal(data, &version) != nil || version.ImageLayoutVersion != "1.0.0" {
		t.Errorf("oci-layout holds %s, %v", data, err)
	}
}

func writeFile(t *testing.T, root *tree.Tree, p, file string) {
	t.Helper()
	data, err := tree.ReadAll(root.Lookup(p).Content, 1<<20)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(file), 0o755)
	}
	if err == nil {
		err = os.WriteFile(file, data, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestWhatCannotBeAssembled(t *testing.T) {
	put := func(s container.Sources, p string, n *tree.Node) {
		b := tree.NewBuilder(epoch)
		if err := b.PutTree(".", s.Packages["base"][0].Tree); err != nil {
			t.Fatal(err)
		}
		if err := b.Put(p, n); err != nil {
			t.Fatal(err)
		}
		s.Packages["base"][0].Tree = b.Tree()
	}
	damaged := filepath.Join(t.TempDir(), "damaged")
	if err := os.WriteFile(damaged, []byte("rotten"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, repository string
		change           func(*container.Sources)
		want             string
		status           int
	}{
		{"repository", "Bad Name", nil, `image repository "Bad Name"`, diag.ExitInput},
		{"repository without a registry", "slipway", nil, `image repository "slipway"`, diag.ExitInput},
		{"program", "slipway.local", func(s *container.Sources) {
			s.Program = func(c, p string) (*tree.Node, error) { return nil, fmt.Errorf("no program %q of component %q", p, c) }
		}, `images/layers/web.yaml:1:12: no program "web" of component "c"`, diag.ExitInput},
		{"device", "slipway.local", func(s *container.Sources) {
			put(*s, "dev/null", &tree.Node{Type: tree.CharDevice, Major: 1, Minor: 3})
		}, `making layer "base": archiving "dev/null": a layer holds no device`, diag.ExitBug},
		{"whiteout", "slipway.local", func(s *container.Sources) {
			put(*s, "etc/.wh.x", &tree.Node{Type: tree.File})
		}, `making layer "base": archiving "etc/.wh.x": in a layer this name would take a file away`, diag.ExitBug},
		{"file where a definition has a directory", "slipway.local", func(s *container.Sources) {
			put(*s, "bin/x", &tree.Node{Type: tree.File})
		}, `images/layers/base.yaml:4:14: placing "bin": a directory with content ("bin/x") is in its place`, diag.ExitInput},
		{"damaged content", "slipway.local", func(s *container.Sources) {
			put(*s, "usr/x", &tree.Node{Type: tree.File, Content: tree.Section(damaged, 0, 6, tree.String("sound!").Digest())})
		}, `making layer "base": archiving "usr/x": damaged content`, diag.ExitBug},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, s := definitions(t), sources(t)
			if c.change != nil {
				c.change(&s)
			}
			st := openStore(t)
			_, err := container.Assemble(t.Context(), st, d, s, c.repository, "amd64")
			if err == nil || !strings.HasPrefix(err.Error(), c.want) || diag.ExitCode(err) != c.status {
				t.Fatalf("got  %v (status %d)\nwant %s", err, diag.ExitCode(err), c.want)
			}
			// Nothing wrong is remembered.
			records, err := filepath.Glob(filepath.Join(st.Dir(), "records", "*", "*", "*"))
			if err != nil || strings.HasPrefix(c.want, `making layer "base"`) && len(records) > 0 {
				t.Errorf("the store remembers %q, %v", records, err)
			}
		})
	}
}

// A reader that stops early leaves nothing running, and what it read is the
// beginning of the whole.
func TestALayerMayBeReadInPart(t *testing.T) {
	layers, err := assemble(t)[0].Image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	r, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	head := make([]byte, 512)
	if _, err := io.ReadFull(r, head); err != nil || !bytes.Contains(head, []byte("bin")) {
		t.Errorf("read %.20q, %v", head, err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}
