package squashfs

import (
	"fmt"

	"github.com/slipway-os/slipway/pkg/tree"
)

// The data area is a row of units. A unit is one large file, or a group of
// smaller ones that share fragment blocks. What a unit compresses to depends
// on its files' content alone, which makes it the piece that a cache holds.
const (
	largeFile = 4 << 20 // from here on a file is a unit of its own

	// A group ends, once it holds minGroup bytes, before a file whose digest
	// says so (one in groupCut), and at maxGroup in any case: after a change
	// groups soon fall in step again with those of the build before.
	minGroup = 4 << 20
	maxGroup = 16 << 20
	groupCut = 64
)

// plan says where everything goes. Sizes and digests are known before any
// content is read, and so is all but the length of compressed blocks.
type plan struct {
	units []*unit
	files map[tree.Digest]*file
	total int64 // bytes of distinct content
}

// file is a distinct content. Every inode with that content refers to it.
type file struct {
	path    string // the first that has the content, for messages
	content tree.Content
	digest  tree.Digest
	size    int64
	blocks  int // number of data blocks

	tail       int // bytes in a fragment block, 0 if none
	fragment   int // counted over the whole file system
	tailOffset int // of the tail in the fragment block

	// Known when the data has been written.
	start  uint64
	words  []uint32 // size words of the data blocks
	sparse int64    // bytes in blocks that are left out, all zero
}

type unit struct {
	files  []*file
	blocks []*file // in the order of the output: a file for its data block, nil for a fragment block
	size   int64   // bytes of content
}

func newPlan(t *tree.Tree, blockSize int) (*plan, error) {
	p := &planner{blockSize: int64(blockSize), plan: plan{files: map[tree.Digest]*file{}}}
	err := t.Walk(func(path string, n *tree.Node) error {
		if n.Type != tree.File || n.Size() == 0 {
			return nil
		}
		if n.Size() < 0 {
			return fmt.Errorf("%q has a negative size", path)
		}
		d := n.Digest()
		if f, ok := p.files[d]; ok {
			if f.size != n.Size() {
				return fmt.Errorf("%q and %q have one digest but %d and %d bytes", f.path, path, f.size, n.Size())
			}
			return nil
		}
		f := &file{path: path, content: n.Content, digest: d, size: n.Size()}
		p.files[d] = f
		p.add(f)
		return nil
	})
	if err != nil {
		return nil, err
	}
	p.endGroup()
	return &p.plan, nil
}

type planner struct {
	plan
	blockSize int64
	group     *unit
	fill      int64 // of the group's open fragment block
	fragments int   // blocks that were begun
}

func (p *planner) add(f *file) {
	p.total += f.size
	if f.size >= largeFile {
		f.blocks = int((f.size + p.blockSize - 1) / p.blockSize)
		u := &unit{files: []*file{f}, size: f.size, blocks: make([]*file, f.blocks)}
		for i := range u.blocks {
			u.blocks[i] = f
		}
		p.units = append(p.units, u)
		return
	}
	if p.group != nil && (p.group.size >= maxGroup || p.group.size >= minGroup && f.digest[0]%groupCut == 0) {
		p.endGroup()
	}
	if p.group == nil {
		p.group = &unit{}
	}
	u := p.group
	u.files = append(u.files, f)
	u.size += f.size
	f.blocks = int(f.size / p.blockSize)
	for range f.blocks {
		u.blocks = append(u.blocks, f)
	}
	if tail := f.size % p.blockSize; tail > 0 {
		if p.fill > 0 && p.fill+tail > p.blockSize {
			p.endFragment()
		}
		f.tail, f.tailOffset, f.fragment = int(tail), int(p.fill), p.fragments
		p.fill += tail
	}
}

func (p *planner) endFragment() {
	if p.fill > 0 {
		p.group.blocks = append(p.group.blocks, nil)
		p.fragments++
		p.fill = 0
	}
}

func (p *planner) endGroup() {
	if p.group != nil {
		p.endFragment()
		p.units = append(p.units, p.group)
		p.group = nil
	}
}
