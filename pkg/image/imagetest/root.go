package imagetest

import (
	"encoding/json"
	"math/rand/v2"
	"testing"

	"github.com/slipway-os/slipway/pkg/container"
	"github.com/slipway-os/slipway/pkg/manifest"
	"github.com/slipway-os/slipway/pkg/store"
	"github.com/slipway-os/slipway/pkg/tree"
)

func file(content string) *tree.Node {
	return &tree.Node{Type: tree.File, Mode: 0o644, ModTime: Epoch, Content: tree.String(content)}
}

func link(target string) *tree.Node {
	return &tree.Node{Type: tree.Symlink, Mode: 0o777, ModTime: Epoch, Target: target}
}

func put(t testing.TB, b *tree.Builder, p string, n *tree.Node) {
	t.Helper()
	if err := b.Put(p, n); err != nil {
		t.Fatal(err)
	}
}

// program is the component's, in the root and in a layer.
var program = &tree.Node{Type: tree.File, Mode: 0o755, ModTime: Epoch, Content: tree.Bytes(noise(300_000))}

// noise returns bytes that do not compress.
func noise(size int) []byte {
	b := make([]byte, size)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

// images returns two container images that share a layer.
func images(t testing.TB, arch string) []container.Baked {
	t.Helper()
	s, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	baked, err := container.Assemble(t.Context(), s, &container.Definitions{
		Layers: []container.Layer{
			{Name: "base", Files: map[string]string{"etc/passwd": "root:x:0:0"}},
			{Name: "kubernetes", Programs: []container.Program{{Component: "kubernetes", Program: "kubernetes", Paths: []string{"usr/bin/kube-proxy"}}}},
		},
		Images: []container.Image{
			{Name: "kube-proxy", Tag: "v1.37.2", Layers: []string{"base", "kubernetes"}},
			{Name: "pause", Tag: "3.10.2", Layers: []string{"base"}},
		},
	}, container.Sources{
		Program: func(string, string) (*tree.Node, error) { return program, nil }, Epoch: Epoch,
	}, "slipway.local", arch)
	if err != nil {
		t.Fatal(err)
	}
	return baked
}

// rootTree returns a root with what is looked for in one, and with symlinks
// of every kind.
func rootTree(t testing.TB, d *Disk, arch string) *tree.Tree {
	t.Helper()
	b := tree.NewBuilder(Epoch)
	document := func(p string, v any) {
		data, err := json.MarshalIndent(v, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		put(t, b, p, file(string(data)))
	}
	m := manifest.Image{
		Profile: "test-" + arch, Architecture: arch, Epoch: Epoch, KernelRelease: d.Release,
		KubernetesVersion: "v1.37.2", ImageRepository: "slipway.local", Roles: []string{"control-plane"},
	}
	for _, img := range d.Images {
		m.Images = append(m.Images, img.Reference)
	}
	document(manifest.ImagePath, m)
	document(manifest.InventoryPath, d.Inventory)
	for p, n := range map[string]*tree.Node{
		"usr/lib/os-release":             file("ID=slipway\n"),
		"etc/os-release":                 link("../usr/lib/os-release"),
		"etc/climbs":                     link("../../../etc/shadow"),
		"etc/absolute":                   link("/usr/lib/os-release"),
		"etc/dangling":                   link("/nowhere"),
		"etc/circle":                     link("circle"),
		"etc/shadow":                     {Type: tree.File, Mode: 0o640, GID: 42, ModTime: Epoch, Content: tree.String("root:*:\n")},
		"etc/empty":                      {Type: tree.File, Mode: 0o644, ModTime: Epoch},
		"etc/with space\x1b[31m":         file("a name that steers a terminal"),
		"dev/console":                    {Type: tree.CharDevice, Mode: 0o600, Major: 5, Minor: 1, ModTime: Epoch},
		"tmp":                            {Type: tree.Dir, Mode: 0o1777, ModTime: Epoch},
		"usr/bin/kubelet":                program,
		"usr/bin/mount":                  {Type: tree.File, Mode: 0o4755, ModTime: Epoch, Content: tree.String("mount")},
		"usr/share/doc/bash/copyright":   file("GPL"),
		"usr/lib/modules/x/kernel/fs.ko": file("a module"),
		"usr/lib/firmware/nic.bin":       file("firmware"),
		"bin":                            link("usr/bin"),
	} {
		put(t, b, p, n)
	}
	baked, err := container.Tree(d.Images, Epoch)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.PutTree(".", baked); err != nil {
		t.Fatal(err)
	}
	return b.Tree()
}
