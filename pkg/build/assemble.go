package build

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"github.com/slipway-os/slipway/pkg/boot"
	"github.com/slipway-os/slipway/pkg/cpio"
	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/ext4"
	"github.com/slipway-os/slipway/pkg/gpt"
	"github.com/slipway-os/slipway/pkg/manifest"
	"github.com/slipway-os/slipway/pkg/microcode"
	"github.com/slipway-os/slipway/pkg/progress"
	"github.com/slipway-os/slipway/pkg/squashfs"
	"github.com/slipway-os/slipway/pkg/tree"
	"github.com/slipway-os/slipway/pkg/verity"
)

// Partitions of the system in the order in which they lie on the disk, behind
// those of the boot method.
const (
	rootA = iota
	verityA
	rootB
	verityB
	state
	systemPartitions
)

// assemble composes trees and writes each payload at its final offset.
func (r *run) assemble(ctx context.Context, in *inputs) (*Result, error) {
	c, err := r.compose(ctx, in)
	if err != nil {
		return nil, r.mend(ctx, err)
	}
	f, err := os.CreateTemp(r.Out, ".disk-*.raw")
	if err != nil {
		return nil, diag.IO(err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	result, err := r.write(ctx, f, c)
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		err = fmt.Errorf("writing the disk: %w; free some space, or name another folder with --out", err)
	}
	if err != nil {
		return nil, r.mend(ctx, err)
	}
	final := filepath.Join(r.Out, diskName)
	err = errors.Join(f.Chmod(0o644), f.Sync())
	if err == nil {
		err = os.Rename(f.Name(), final)
	}
	if err != nil {
		return nil, diag.IO(fmt.Errorf("writing %q: %w", final, err))
	}
	result.Disk, result.Lock = final, filepath.Join(r.Out, lockName)
	return result, nil
}

// mend drops what is damaged in the store if an error tells of damage: only the
// store's blobs can have changed behind our back, and which of them a file was
// part of nobody knows.
func (r *run) mend(ctx context.Context, err error) error {
	var damaged *tree.DamagedError
	if !errors.As(err, &damaged) {
		return err
	}
	dropped, scrubErr := r.Store.Scrub(ctx)
	r.forget()
	switch {
	case scrubErr != nil:
		return errors.Join(err, scrubErr)
	case dropped == 0: // an overlay changed while it was read
		return diag.IO(fmt.Errorf("%w; build again", err))
	}
	return diag.IO(fmt.Errorf("%w: the store was damaged, and what was (%d entries) is dropped; build again to fetch or compile it anew", err, dropped))
}

func (r *run) write(ctx context.Context, f *os.File, c *composed) (*Result, error) {
	method, err := boot.For(r.arch)
	if err != nil {
		return nil, err
	}
	all, size, err := r.layout(method)
	if err != nil {
		return nil, err
	}
	starting, parts := all[:len(all)-systemPartitions], all[len(all)-systemPartitions:]
	if err := f.Truncate(size); err != nil {
		return nil, diag.IO(fmt.Errorf("making a disk of %s: %w", progress.Size(size), err))
	}
	at := func(i int) *io.OffsetWriter { return io.NewOffsetWriter(f, parts[i].Offset) }
	rootSize, err := r.writeRoot(ctx, at(rootA), c, parts[rootA].Size)
	if err != nil {
		return nil, err
	}
	stage := r.board.Start("verity", 0, progress.Bytes)
	if need := verity.Size(rootSize); need > parts[verityA].Size {
		return nil, r.tooSmall("disk.verity", need)
	}
	tree, err := verity.Build(ctx, io.NewSectionReader(f, parts[rootA].Offset, rootSize), rootSize, at(verityA), nil, manifest.VerityUUID())
	if err != nil {
		return nil, diag.IO(err)
	}
	stage.Done(progress.Result{Bytes: tree.Size})
	rootHash := hex.EncodeToString(tree.RootHash[:])
	parts[rootA].UUID, parts[verityA].UUID = verity.PartUUIDs(tree.RootHash)
	id := func(what string) string { return uuid.NewSHA1(manifest.Namespace(), []byte(what+rootHash)).String() }
	for i := range all {
		if all[i].UUID == "" {
			all[i].UUID = id(all[i].Name)
		}
	}
	if err := r.writeBoot(ctx, f, method, starting, c, manifest.Initrd{
		RootHash: rootHash, DataBlocks: tree.DataBlocks, Epoch: r.lock.Epoch, Architecture: r.arch, Profile: r.Profile.Name,
	}); err != nil {
		return nil, err
	}
	stage = r.board.Start("disk", 0, progress.Bytes)
	err = ext4.Write(at(state), ext4.Options{
		Size: parts[state].Size, Label: "state", UUID: [16]byte(uuid.NewSHA1(manifest.Namespace(), []byte("state"+rootHash))),
		HashSeed: [16]byte(uuid.NewSHA1(manifest.Namespace(), []byte("hash seed"+rootHash))), Epoch: r.lock.Epoch,
	})
	if err != nil {
		return nil, diag.IO(fmt.Errorf("writing the state partition: %w", err))
	}
	if err := gpt.Write(f, size, id("disk"), all); err != nil {
		return nil, diag.IO(err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, diag.IO(err)
	}
	stage.Done(progress.Result{Bytes: st.Blocks * 512})
	return &Result{
		Profile: r.Profile.Name, Size: size, Allocated: st.Blocks * 512, RootSize: rootSize, RootHash: rootHash, Image: c.image,
	}, nil
}

// layout returns the partitions of the boot method and, behind them, those of
// the system, each at its place, and the size of the disk.
func (r *run) layout(method boot.Method) ([]gpt.Partition, int64, error) {
	root, hash, err := gpt.RootTypes(r.arch)
	if err != nil {
		return nil, 0, diag.Input(err)
	}
	d := r.Profile.Disk
	parts, err := method.Partitions(int64(d.Boot))
	if err != nil {
		return nil, 0, r.fault(err)
	}
	const slot = gpt.ReadOnly | gpt.NoAuto
	system := [systemPartitions]gpt.Partition{
		rootA:   {Name: "root-a", Type: root, Size: int64(d.Root), Attributes: slot},
		verityA: {Name: "verity-a", Type: hash, Size: int64(d.Verity), Attributes: slot},
		rootB:   {Name: "root-b", Type: root, Size: int64(d.Root), Attributes: slot},
		verityB: {Name: "verity-b", Type: hash, Size: int64(d.Verity), Attributes: slot},
		state:   {Name: "state", Type: gpt.TypeVar, Size: int64(d.State), Attributes: gpt.NoAuto},
	}
	parts = append(parts, system[:]...)
	return parts, gpt.Layout(parts), nil
}

// fault gives a fault of the profile its place there.
func (r *run) fault(err error) error {
	var f *boot.Fault
	if errors.As(err, &f) {
		return diag.At(r.Profile.Origin(f.Field, ""), f.Hint, "%v", f)
	}
	return err
}

func (r *run) tooSmall(field string, need int64) error {
	return diag.At(r.Profile.Origin(field, ""), "make it larger", "%s is too small: %s are needed", field, progress.Size(need))
}

// writeRoot encodes the root file system.
func (r *run) writeRoot(ctx context.Context, w io.WriterAt, c *composed, limit int64) (int64, error) {
	stage := r.board.Start("root", 0, progress.Bytes)
	opts := squashfs.Options{BlockSize: 256 << 10, Epoch: r.lock.Epoch, Cache: squashfs.NewStoreCache(r.Store), Progress: func(done, total int64) {
		stage.SetTotal(total)
		stage.Set(done)
	}}
	size, err := squashfs.Write(ctx, bounded{w, limit}, c.root, opts)
	switch {
	case errors.Is(err, errFull):
		return 0, r.tooSmall("disk.root", limit+1)
	case err != nil:
		return 0, diag.IO(fmt.Errorf("writing the root file system: %w", err))
	}
	stage.Done(progress.Result{Bytes: size, Note: fmt.Sprintf("%d files", c.root.Len())})
	return size, nil
}

var errFull = errors.New("the partition is full")

// bounded keeps a payload within its partition.
type bounded struct {
	w     io.WriterAt
	limit int64
}

func (b bounded) WriteAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > b.limit {
		return 0, errFull
	}
	return b.w.WriteAt(p, off)
}

// writeBoot makes the disk start.
func (r *run) writeBoot(ctx context.Context, f *os.File, method boot.Method, partitions []gpt.Partition, c *composed, m manifest.Initrd) error {
	stage := r.board.Start("boot", 0, progress.Bytes)
	initrd, err := r.initrd(c, m)
	if err != nil {
		return fmt.Errorf("making the initrd: %w", err)
	}
	release := tree.String("ID=slipway\n")
	if at, ok := c.root.Resolve("etc/os-release"); ok {
		release = c.root.Lookup(at).Content
	}
	size, err := method.Write(ctx, f, partitions, boot.Payload{
		Kernel: c.kernel, Initrd: initrd, CommandLine: strings.Join(r.Profile.Kernel.CommandLine, " "),
		Title: "Slipway " + r.Profile.Name, Release: c.image.KernelRelease, OSRelease: release,
		File: c.file, Seed: sha256.Sum256([]byte(m.RootHash)), Epoch: r.lock.Epoch,
	})
	if err != nil {
		return r.fault(fmt.Errorf("making the disk start: %w", err))
	}
	stage.Done(progress.Result{Bytes: size, Note: "initrd " + progress.Size(initrd.Size())})
	return nil
}

// initrd returns the initrd: CPU microcode if a package has some, then the
// compressed cpio archive with firstboot as init, modules, and what is needed
// to verify the root.
func (r *run) initrd(c *composed, m manifest.Initrd) (tree.Content, error) {
	b := tree.NewBuilder(r.lock.Epoch)
	if err := b.PutTree(".", c.modules); err != nil {
		return nil, err
	}
	description, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	for p, n := range map[string]*tree.Node{
		"init":              {Type: tree.File, Mode: 0o755, ModTime: r.lock.Epoch, Content: c.init},
		manifest.InitrdPath: {Type: tree.File, Mode: 0o644, ModTime: r.lock.Epoch, Content: tree.Bytes(description)},
	} {
		if err := b.Put(p, n); err != nil {
			return nil, err
		}
	}
	for _, d := range []string{"dev", "proc", "sys", "run", "sysroot"} {
		if err := b.Put(d, &tree.Node{Type: tree.Dir, Mode: 0o755, ModTime: r.lock.Epoch}); err != nil {
			return nil, err
		}
	}
	b.ClampTimes(r.lock.Epoch)
	var trees []*tree.Tree
	for _, p := range c.packages {
		trees = append(trees, p.Tree)
	}
	early, err := microcode.Archive(trees, r.lock.Epoch)
	if err != nil {
		return nil, err
	}
	out := bytes.NewBuffer(early)
	// One thread: with several the bytes would depend on their number.
	z, err := zstd.NewWriter(out, zstd.WithEncoderLevel(zstd.SpeedBetterCompression), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(8<<20))
	if err != nil {
		return nil, err
	}
	if err := cpio.Write(z, b.Tree()); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return tree.Bytes(out.Bytes()), nil
}
