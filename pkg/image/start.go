package image

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/slipway-os/slipway/pkg/boot"
	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/gpt"
	"github.com/slipway-os/slipway/pkg/verity"
)

// Names of the partitions of the first slot.
const (
	rootName   = "root-a"
	verityName = "verity-a"
	bootName   = "boot"
)

// starts is what a disk starts, as far as it can be read.
type starts struct {
	contents *boot.Contents // nil: see err
	initrd   initrd
	err      error
}

// start reads what the disk starts.
func (d *Disk) start() *starts {
	if d.starts == nil {
		d.starts = d.readStart()
	}
	return d.starts
}

func (d *Disk) readStart() *starts {
	s := &starts{}
	method, err := boot.For(d.arch)
	if err == nil {
		s.contents, err = method.Read(d.disk, d.parts)
	}
	if errors.Is(err, boot.ErrNone) {
		err = fmt.Errorf("there is nothing that the firmware of %s would start", d.arch)
	}
	if err != nil {
		s.err = d.unreadable(d.bootPartition(), "the boot area", err)
		return s
	}
	if s.initrd, err = readInitrd(s.contents.Initrd); err != nil {
		s.err = d.unreadable(d.bootPartition(), "the initrd", err)
	}
	return s
}

// slot is a root with its verity partition.
type slot struct {
	root, verity gpt.Partition
	hash         [sha256.Size]byte
	dataBlocks   int64
}

// slot returns what the initrd would mount: it finds both partitions by the
// root hash that it has. If it cannot be read, the first slot stands in.
func (d *Disk) slot() (slot, error) {
	s := d.start()
	if s.err != nil {
		return d.firstSlot()
	}
	m := s.initrd.manifest
	hash, err := hex.DecodeString(m.RootHash)
	if err != nil || len(hash) != sha256.Size {
		return slot{}, d.unreadable(d.bootPartition(), "the initrd", fmt.Errorf("its root hash %q is none", clip(m.RootHash)))
	}
	result := slot{hash: [sha256.Size]byte(hash), dataBlocks: m.DataBlocks}
	data, tree := verity.PartUUIDs(result.hash)
	for _, p := range d.parts {
		switch p.UUID {
		case data:
			result.root = p
		case tree:
			result.verity = p
		}
	}
	if result.root.Size == 0 || result.verity.Size == 0 {
		return slot{}, diag.Inputf("image %q would not start: its initrd mounts the root with the hash %s, and no partition has that in its UUID", d.name, m.RootHash)
	}
	return result, nil
}

// firstSlot reads the root hash from the UUIDs of the first slot. A root can be
// read without knowing whether it is whole: without a hash tree, verity is of
// no size.
func (d *Disk) firstSlot() (slot, error) {
	var s slot
	s.root, _ = d.named(rootName) // New looked
	tree, ok := d.named(verityName)
	if !ok {
		return s, nil
	}
	s.verity = tree
	hash, err := hex.DecodeString(strings.ReplaceAll(s.root.UUID+s.verity.UUID, "-", ""))
	if err != nil || len(hash) != sha256.Size {
		return s, diag.Inputf("image %q: the UUIDs of partitions %q and %q are no root hash", d.name, rootName, verityName)
	}
	s.hash = [sha256.Size]byte(hash)
	if sb, err := verity.ReadSuperblock(d.content(s.verity)); err == nil {
		s.dataBlocks = sb.DataBlocks
	}
	return s, nil
}

// bootPartition returns the name of the partition that is started from.
func (d *Disk) bootPartition() string {
	if p, ok := d.named(bootName); ok || len(d.parts) == 0 {
		return p.Name
	}
	return d.parts[0].Name
}

// clip keeps what is shown of a text that may be anything short.
func clip(s string) string {
	const longest = 80
	if len(s) > longest {
		return s[:longest] + "…"
	}
	return s
}
