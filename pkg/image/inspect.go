package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/gpt"
	"github.com/slipway-os/slipway/pkg/kernel"
	"github.com/slipway-os/slipway/pkg/manifest"
	"github.com/slipway-os/slipway/pkg/verity"
)

// InspectOptions say how closely to look.
type InspectOptions struct {
	// Verify reads every block of the root.
	Verify bool
	// Progress is called from several goroutines with the bytes of the root
	// that were verified since the last call, and all there are. May be nil.
	Progress func(bytes, total int64)
}

// Inspect returns what the disk is. What is damaged is in the report, which is
// then as complete as it can be; Report.Err makes an error of it. What cannot
// be described at all is bad input.
func (d *Disk) Inspect(ctx context.Context, o InspectOptions) (*Report, error) {
	r := &Report{
		Format: ReportFormat, File: d.name, Size: d.disk.Size(), Architecture: d.arch, Roles: []string{},
		Sizes: []Part{}, Packages: []manifest.Package{}, Components: []manifest.Component{}, Images: []ContainerImage{}, Layers: []Layer{}, Damage: []Damage{},
	}
	r.Partitions = d.partitions()
	if err := gpt.Check(d.disk, d.disk.Size()); err != nil {
		r.damaged("", err.Error())
	}
	if err := d.inspectBoot(r); err != nil {
		return nil, err
	}
	s, err := d.slot()
	if err != nil {
		return nil, err
	}
	if s.verity.Size == 0 {
		return nil, diag.Inputf("image %q has no partition %q: it is no disk that builder wrote", d.name, verityName)
	}
	r.Root = Root{Partition: s.root.Name, VerityPartition: s.verity.Name, Hash: hex.EncodeToString(s.hash[:])}
	if err := d.checkTree(ctx, r, s, o); err != nil {
		return nil, err
	}
	if err := d.inspectRoot(r); err != nil {
		if len(r.Damage) == 0 {
			return nil, err
		}
		r.unreadable(err)
	}
	return r, nil
}

func (d *Disk) partitions() []Partition {
	list := []Partition{}
	for i, p := range d.parts {
		list = append(list, Partition{
			Number: i + 1, Name: p.Name, Type: p.Type, UUID: p.UUID, Offset: p.Offset, Size: p.Size,
			Content: recognise(d.content(p)),
		})
	}
	return list
}

// inspectBoot describes what is started. That it cannot be read is damage.
func (d *Disk) inspectBoot(r *Report) error {
	s := d.start()
	if s.err != nil {
		r.unreadable(s.err)
	}
	if s.contents == nil {
		return nil
	}
	c := s.contents
	for i := range r.Partitions {
		p := &r.Partitions[i]
		switch {
		case c.Method == "Open Firmware" && p.Type == gpt.TypePReP:
			p.Content = "GRUB"
		case c.Method == "IBM Z" && p.Name == d.bootPartition():
			p.Content = "zIPL"
		}
	}
	release, err := kernel.Release(c.Kernel)
	if err != nil && !errors.Is(err, kernel.ErrRelease) {
		return d.unreadable(d.bootPartition(), "the kernel", err)
	}
	digest, err := kernel.Digest(c.Kernel)
	if err != nil {
		return d.unreadable(d.bootPartition(), "the kernel", err)
	}
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(c.Initrd, 0, c.Initrd.Size())); err != nil {
		return d.unreadable(d.bootPartition(), "the initrd", err)
	}
	r.Boot = Boot{
		Method: c.Method, CommandLine: c.CommandLine, Loader: c.Loader,
		Kernel: Kernel{Release: release, Size: c.Kernel.Size(), SHA256: digest.String()},
		Initrd: Initrd{Size: c.Initrd.Size(), Uncompressed: s.initrd.size, SHA256: hex.EncodeToString(h.Sum(nil))},
	}
	return nil
}

// checkTree compares the hash tree with the root hash, and all of the root
// with the tree if asked to.
func (d *Disk) checkTree(ctx context.Context, r *Report, s slot, o InspectOptions) error {
	tree := d.content(s.verity)
	if s.dataBlocks <= 0 || s.dataBlocks > s.root.Size/verity.BlockSize || verity.Size(s.dataBlocks*verity.BlockSize) > s.verity.Size {
		r.damaged(s.verity.Name, fmt.Sprintf("it would be of %d blocks, which do not fit", s.dataBlocks))
		return nil
	}
	r.Root.TreeSize = verity.Size(s.dataBlocks * verity.BlockSize)
	err := verity.VerifyTop(ctx, tree, s.hash, s.dataBlocks)
	if sb, sbErr := verity.ReadSuperblock(tree); err == nil && sbErr == nil && sb.UUID != manifest.VerityUUID() {
		err = errors.New("the UUID in its superblock is not the one that every image has")
	}
	r.Root.TreeBelongs = err == nil
	if err == nil && o.Verify {
		total := s.dataBlocks * verity.BlockSize
		var progress func(int64)
		if o.Progress != nil {
			progress = func(blocks int64) { o.Progress(blocks*verity.BlockSize, total) }
		}
		err = verity.Verify(ctx, d.content(s.root), tree, s.hash, s.dataBlocks, progress)
		r.Verified = true
	}
	var m *verity.Mismatch
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &m):
		damage := Damage{Partition: s.root.Name, Offset: m.Block * verity.BlockSize, Blocks: m.Count, Problem: "does not match the hash tree"}
		if m.Tree {
			damage.Partition, damage.Problem = s.verity.Name, "does not match the root hash"
		}
		r.Damage = append(r.Damage, damage)
	default:
		r.Damage = append(r.Damage, Damage{Partition: s.verity.Name, Offset: 0, Blocks: 1, Problem: err.Error()})
	}
	return nil
}

func (r *Report) damaged(partition, problem string) {
	r.Damage = append(r.Damage, Damage{Partition: partition, Offset: -1, Problem: problem})
}

// unreadable makes damage of what cannot be read, unless it is known that the
// partition is damaged.
func (r *Report) unreadable(err error) {
	var u *unreadable
	if !errors.As(err, &u) {
		r.damaged("", err.Error())
		return
	}
	if !slices.ContainsFunc(r.Damage, func(d Damage) bool { return d.Partition == u.partition }) {
		r.damaged(u.partition, "reading "+u.what+": "+u.err.Error())
	}
}

// Err returns what is damaged as bad input, a line each; nil if nothing is.
func (r *Report) Err() error {
	var errs []error
	for _, d := range r.Damage {
		place := fmt.Sprintf("image %q is damaged", r.File)
		if d.Partition != "" {
			place = fmt.Sprintf("partition %q of image %q is damaged", d.Partition, r.File)
		}
		if d.Offset >= 0 {
			place += fmt.Sprintf(" at byte %d", d.Offset)
		}
		if d.Blocks > 1 {
			place += fmt.Sprintf(" and in %d more blocks", d.Blocks-1)
		}
		errs = append(errs, diag.Inputf("%s: %s", place, d.Problem))
	}
	return errors.Join(errs...)
}
