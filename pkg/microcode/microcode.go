// Package microcode makes the archive in which Linux looks for microcode of
// x86 CPUs before it starts anything (its Documentation/arch/x86/microcode.rst):
// it stands uncompressed at the start of the initrd.
package microcode

import (
	"bytes"
	"fmt"
	"path"

	"github.com/slipway-os/slipway/pkg/cpio"
	"github.com/slipway-os/slipway/pkg/tree"
)

// maxSize bounds the microcode of a vendor. (Intel's has 14 MB.)
const maxSize = 128 << 20

// alignment that CPUs want microcode to have in memory, in bytes; the initrd
// starts at a page (Intel SDM volume 3, "Microcode Update Loader").
const alignment = 16

// Archive returns the archive with the microcode that lies in the trees where
// the packages of Intel and AMD have it; nil if there is none. The kernel finds
// what fits its CPU among all of a vendor's files, one after another.
func Archive(trees []*tree.Tree, epoch int64) ([]byte, error) {
	b := tree.NewBuilder(epoch)
	found := false
	for _, vendor := range []struct{ dir, pattern, name string }{
		{"usr/lib/firmware/amd-ucode", "microcode_amd*.bin", "AuthenticAMD.bin"}, // beside them lie their signatures
		{"usr/lib/firmware/intel-ucode", "*", "GenuineIntel.bin"},
	} {
		var all []byte
		for _, t := range trees {
			for _, name := range t.Children(vendor.dir) {
				n := t.Lookup(path.Join(vendor.dir, name))
				if ok, _ := path.Match(vendor.pattern, name); !ok || n.Type != tree.File {
					continue
				}
				data, err := tree.ReadAll(n.Content, maxSize-int64(len(all)))
				if err != nil {
					return nil, fmt.Errorf("reading microcode %q: %w", path.Join(vendor.dir, name), err)
				}
				all = append(all, data...)
			}
		}
		if all == nil {
			continue
		}
		found = true
		n := &tree.Node{Type: tree.File, Mode: 0o644, ModTime: epoch, Content: tree.Bytes(all)}
		if err := b.Put("kernel/x86/microcode/"+vendor.name, n); err != nil {
			return nil, err
		}
	}
	if !found {
		return nil, nil
	}
	var out bytes.Buffer
	err := cpio.WriteAligned(&out, b.Tree(), alignment)
	return out.Bytes(), err
}
