package build

import (
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/slipway-os/slipway/pkg/deb"
	"github.com/slipway-os/slipway/pkg/lock"
	"github.com/slipway-os/slipway/pkg/profile"
	"github.com/slipway-os/slipway/pkg/progress"
	"github.com/slipway-os/slipway/pkg/rootfs"
	"github.com/slipway-os/slipway/pkg/squashfs"
	"github.com/slipway-os/slipway/pkg/store"
	"github.com/slipway-os/slipway/pkg/tree"
	"github.com/slipway-os/slipway/pkg/verity"
)

// BenchmarkOS makes the verified root of the operating system alone (packages,
// kernel modules, overlays; no Kubernetes) from fetched packages, with nothing
// of it remembered. It needs a built image, for its lock and its packages.
func BenchmarkOS(b *testing.B) {
	name := "cp-" + runtime.GOARCH
	project := profile.Dir{Root: filepath.Join("..", "..")}
	l, err := lock.Read(filepath.Join(project.Root, "out", name, lockName))
	if err != nil || l == nil {
		b.Skipf("no image was baked: make image (%v)", err)
	}
	p, err := project.Load(name)
	if err != nil {
		b.Fatal(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		b.Fatal(err)
	}
	packages, err := store.Open(filepath.Join(cache, "slipway"))
	if err != nil {
		b.Fatal(err)
	}
	in := &inputs{blobs: map[string]tree.Content{}}
	for _, q := range l.Packages {
		digest, err := hex.DecodeString(q.SHA256)
		if err != nil {
			b.Fatal(err)
		}
		if in.blobs[q.Name], err = packages.Blob(tree.Digest(digest), q.Size); err != nil {
			b.Skipf("package %s is not in the store: %v", q.Name, err)
		}
	}
	overlay, err := tree.FromDir(filepath.Join(project.Root, "overlays", "base"), l.Epoch)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		fresh, err := store.Open(b.TempDir())
		if err != nil {
			b.Fatal(err)
		}
		r := &run{
			Session: NewSession(Options{Project: project, Store: fresh}), Target: Target{Profile: p}, board: progress.New(io.Discard, progress.Options{}),
			arch: runtime.GOARCH, lock: l,
		}
		all, err := r.unpack(b.Context(), in)
		if err != nil {
			b.Fatal(err)
		}
		var list []*deb.Package
		for _, s := range l.Sets {
			if s.Name == lock.RootSet {
				for _, name := range s.Packages {
					list = append(list, all[name])
				}
			}
		}
		modules, err := r.kernel(b.Context(), &composed{}, list)
		if err != nil {
			b.Fatal(err)
		}
		root, err := rootfs.Compose(rootfs.Sources{
			Packages: list, Prune: p.OS.Prune, Overlays: []*tree.Tree{overlay}, Trees: []*tree.Tree{modules},
			Settings: map[string]string{"sandboxImage": "none"}, Epoch: l.Epoch,
		})
		if err != nil {
			b.Fatal(err)
		}
		f, err := os.Create(filepath.Join(b.TempDir(), "root"))
		if err != nil {
			b.Fatal(err)
		}
		size, err := squashfs.Write(b.Context(), f, root, squashfs.Options{BlockSize: 256 << 10, Epoch: l.Epoch})
		if err != nil {
			b.Fatal(err)
		}
		hashes, err := os.Create(filepath.Join(b.TempDir(), "hashes"))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := verity.Build(b.Context(), f, size, hashes, nil, [16]byte{}); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(size)/1e6, "MB")
		b.ReportMetric(float64(len(list)), "packages")
	}
}
