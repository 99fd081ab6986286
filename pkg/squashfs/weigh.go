package squashfs

import (
	"fmt"
	"maps"
	"slices"

	"github.com/slipway-os/slipway/pkg/tree"
)

// Weight is what files take.
type Weight struct {
	Packed int64 // bytes in the file system, compressed
	Size   int64 // bytes of their contents
}

// Weigh returns what files of t, which Tree yielded, take by the kind that
// kind gives each path, a number below kinds. What several paths have in
// common is stored once and counts for the lowest of their kinds. The block
// that tails of several files share is divided by their lengths. Inodes and
// directories are not counted.
func (s *Reader) Weigh(t *tree.Tree, kinds int, kind func(path string) int) ([]Weight, error) {
	// Files with the same blocks, and tails in the same place.
	type blocks struct{ start, count int64 }
	type tail struct {
		fragment *fragmentEntry
		offset   int64
	}
	type owner struct {
		content *content
		kind    int
	}
	blockSize := int64(s.sb.BlockSize)
	own := map[blocks]owner{}
	tails := map[tail]owner{}
	err := t.Walk(func(p string, n *tree.Node) error {
		c, ok := n.Content.(*content)
		if !ok {
			return nil
		}
		k := kind(p)
		if key := (blocks{c.start, c.blocks}); c.blocks > 0 {
			if o, ok := own[key]; !ok || k < o.kind {
				own[key] = owner{c, k}
			}
		}
		if key := (tail{c.fragment, c.offset}); c.fragment != nil && c.size%blockSize > 0 {
			if o, ok := tails[key]; !ok || k < o.kind {
				tails[key] = owner{c, k}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	weights := make([]Weight, kinds)
	left := int64(maxFileBlocks)
	for key, o := range own {
		if left -= key.count; left < 0 {
			return nil, fmt.Errorf("weighing files: they have more than %d blocks", maxFileBlocks)
		}
		words := o.content.words
		for range key.count {
			var word uint32
			if err := readValues(&words, &word); err != nil {
				return nil, fmt.Errorf("weighing files: %w", err)
			}
			weights[o.kind].Packed += int64(word &^ rawData)
		}
		weights[o.kind].Size += min(key.count*blockSize, o.content.size)
	}
	shares := map[*fragmentEntry]map[int]int64{} // bytes of tails, by kind
	for key, o := range tails {
		if shares[key.fragment] == nil {
			shares[key.fragment] = map[int]int64{}
		}
		size := o.content.size % blockSize
		shares[key.fragment][o.kind] += size
		weights[o.kind].Size += size
	}
	for fragment, sizes := range shares {
		var total, before int64
		for _, size := range sizes {
			total += size
		}
		packed := int64(fragment.Word &^ rawData)
		for _, k := range slices.Sorted(maps.Keys(sizes)) {
			// By the running sum, so that nothing is lost in rounding.
			weights[k].Packed += packed*(before+sizes[k])/total - packed*before/total
			before += sizes[k]
		}
	}
	return weights, nil
}
