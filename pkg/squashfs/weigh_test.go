package squashfs_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/squashfs"
	"github.com/slipway-os/slipway/pkg/tree"
)

// weigh writes a tree and weighs the files whose paths begin with each prefix;
// all others count for the kind behind these.
func weigh(t *testing.T, tr *tree.Tree, prefixes ...string) (weights []squashfs.Weight, size int64) {
	t.Helper()
	r, err := squashfs.Open(bytes.NewReader(read(t, write(t, tr, squashfs.Options{BlockSize: 4096, Epoch: epoch}))))
	if err != nil {
		t.Fatal(err)
	}
	back, err := r.Tree()
	if err != nil {
		t.Fatal(err)
	}
	weights, err = r.Weigh(back, len(prefixes)+1, func(p string) int {
		for i, prefix := range prefixes {
			if strings.HasPrefix(p, prefix) {
				return i
			}
		}
		return len(prefixes)
	})
	if err != nil {
		t.Fatal(err)
	}
	return weights, r.Size()
}

func TestWeigh(t *testing.T) {
	shared := file(noise(3, 40_000))
	weights, size := weigh(t, build(t, map[string]*tree.Node{
		"a/noise":  file(noise(1, 50_000)), // does not compress
		"a/linked": shared,
		"b/linked": shared,
		"b/same":   file(noise(1, 50_000)),
		"b/text":   file(text(1, 100_000)),
		"b/empty":  file(nil),
		"c/small":  file(noise(4, 300)), // tails alone
		"c/tiny":   file(noise(5, 100)),
	}), "a/", "b/")
	for i, want := range []int64{90_000, 100_000, 400} {
		if weights[i].Size != want {
			t.Errorf("kind %d has %d bytes, want %d", i, weights[i].Size, want)
		}
	}
	var packed int64
	for _, w := range weights {
		packed += w.Packed
	}
	if packed > size || packed < size-2000 {
		t.Errorf("of %d bytes, %d are of files", size, packed)
	}
	if a, b := weights[0], weights[1]; a.Packed < 85_000 || a.Packed > 92_000 || b.Packed > 20_000 || b.Packed < 1000 {
		t.Errorf("noise of %+v, text of %+v", a, b)
	}
}

func TestWeighNothing(t *testing.T) {
	weights, _ := weigh(t, build(t, map[string]*tree.Node{"a/empty": file(nil)}), "a/")
	for _, w := range weights {
		if w != (squashfs.Weight{}) {
			t.Errorf("got %+v", w)
		}
	}
}
