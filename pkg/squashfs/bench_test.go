package squashfs_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/slipway-os/slipway/pkg/squashfs"
	"github.com/slipway-os/slipway/pkg/store"
	"github.com/slipway-os/slipway/pkg/tree"
)

// BenchmarkWrite writes the tree at SQUASHFS_BENCH, or the Go toolchain's.
// Compare: mksquashfs DIR FILE -comp zstd -Xcompression-level 9.
func BenchmarkWrite(b *testing.B) {
	dir := os.Getenv("SQUASHFS_BENCH")
	if dir == "" {
		out, err := exec.Command("go", "env", "GOROOT").Output()
		if err != nil {
			b.Fatal(err)
		}
		dir = strings.TrimSpace(string(out))
	}
	tr, err := tree.FromDir(dir, epoch)
	if err != nil {
		b.Fatal(err)
	}
	var total int64
	tr.Walk(func(_ string, n *tree.Node) error { total += n.Size(); return nil })
	run := func(opts squashfs.Options) func(*testing.B) {
		return func(b *testing.B) {
			f, err := os.Create(filepath.Join(b.TempDir(), "image"))
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			b.SetBytes(total)
			b.ReportAllocs()
			for b.Loop() {
				size, err := squashfs.Write(context.Background(), f, tr, opts)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(size)/1e6, "MB/image")
			}
		}
	}
	for _, level := range []zstd.EncoderLevel{zstd.SpeedFastest, zstd.SpeedDefault, zstd.SpeedBetterCompression} {
		b.Run(level.String(), run(squashfs.Options{Level: level}))
	}
	b.Run("one worker", run(squashfs.Options{Workers: 1}))
	s, err := store.Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	cached := squashfs.Options{Cache: squashfs.NewStoreCache(s)}
	run(cached)(b)
	b.Run("cached", run(cached))
}
