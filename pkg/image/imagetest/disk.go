// Package imagetest makes small disks for tests, with the encoders that write
// the real ones.
package imagetest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/slipway-os/slipway/pkg/boot"
	"github.com/slipway-os/slipway/pkg/container"
	"github.com/slipway-os/slipway/pkg/cpio"
	"github.com/slipway-os/slipway/pkg/ext4"
	"github.com/slipway-os/slipway/pkg/gpt"
	"github.com/slipway-os/slipway/pkg/kernel"
	"github.com/slipway-os/slipway/pkg/manifest"
	"github.com/slipway-os/slipway/pkg/squashfs"
	"github.com/slipway-os/slipway/pkg/tree"
	"github.com/slipway-os/slipway/pkg/verity"
)

// Epoch is the time of everything on a disk, in seconds since 1970.
const Epoch = 1_700_000_000

// CommandLine is the kernel's.
const CommandLine = "gpt quiet console=ttyS0"

// Disk is a disk, and what it was made from.
type Disk struct {
	File           string
	Parts          []gpt.Partition
	Root           *tree.Tree
	RootSize       int64
	RootHash       string // hex
	Kernel, Initrd []byte
	Release        string
	Inventory      manifest.Inventory
	Images         []container.Baked
}

// Part returns the partition of a name.
func (d *Disk) Part(t testing.TB, name string) gpt.Partition {
	t.Helper()
	for _, p := range d.Parts {
		if p.Name == name {
			return p
		}
	}
	t.Fatalf("no partition %q", name)
	return gpt.Partition{}
}

// Flip flips a bit of the byte at an offset of a partition.
func (d *Disk) Flip(t testing.TB, partition string, offset int64) {
	t.Helper()
	b := make([]byte, 1)
	d.change(t, func(f *os.File) error {
		at := d.Part(t, partition).Offset + offset
		if _, err := f.ReadAt(b, at); err != nil {
			return err
		}
		b[0] ^= 0x10
		_, err := f.WriteAt(b, at)
		return err
	})
}

// Overwrite writes over a partition from an offset on.
func (d *Disk) Overwrite(t testing.TB, partition string, offset int64, data []byte) {
	t.Helper()
	d.change(t, func(f *os.File) error {
		_, err := f.WriteAt(data, d.Part(t, partition).Offset+offset)
		return err
	})
}

func (d *Disk) change(t testing.TB, change func(*os.File) error) {
	t.Helper()
	f, err := os.OpenFile(d.File, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := change(f); err != nil {
		t.Fatal(err)
	}
}

// Write writes a disk of an architecture into a temporary file.
func Write(t testing.TB, arch string) *Disk {
	t.Helper()
	d := &Disk{File: filepath.Join(t.TempDir(), "disk.raw"), Release: "6.12.107-" + arch}
	d.Kernel = KernelImage(arch, d.Release)
	d.Inventory = inventory(t, arch, d.Kernel)
	d.Images = images(t, arch)
	d.Root = rootTree(t, d, arch)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	method, err := boot.For(arch)
	must(err)
	starting, err := method.Partitions(44 << 20)
	must(err)
	rootType, verityType, err := gpt.RootTypes(arch)
	must(err)
	const slot = gpt.ReadOnly | gpt.NoAuto
	d.Parts = append(starting,
		gpt.Partition{Name: "root-a", Type: rootType, Size: 2 << 20, Attributes: slot},
		gpt.Partition{Name: "verity-a", Type: verityType, Size: 1 << 20, Attributes: slot},
		gpt.Partition{Name: "root-b", Type: rootType, UUID: uuid(3), Size: 1 << 20, Attributes: slot},
		gpt.Partition{Name: "verity-b", Type: verityType, UUID: uuid(4), Size: 1 << 20, Attributes: slot},
		gpt.Partition{Name: "state", Type: gpt.TypeVar, UUID: uuid(5), Size: 16 << 20, Attributes: gpt.NoAuto},
	)
	size := gpt.Layout(d.Parts)
	f, err := os.Create(d.File)
	must(err)
	defer f.Close()
	must(f.Truncate(size))
	root, tree := &d.Parts[len(starting)], &d.Parts[len(starting)+1]
	d.RootSize, err = squashfs.Write(t.Context(), io.NewOffsetWriter(f, root.Offset), d.Root, squashfs.Options{Epoch: Epoch, BlockSize: 4096, Workers: 1})
	must(err)
	hashes, err := verity.Build(t.Context(), io.NewSectionReader(f, root.Offset, d.RootSize), d.RootSize, io.NewOffsetWriter(f, tree.Offset), nil, manifest.VerityUUID())
	must(err)
	d.RootHash = hex.EncodeToString(hashes.RootHash[:])
	root.UUID, tree.UUID = verity.PartUUIDs(hashes.RootHash)
	for i := range starting {
		d.Parts[i].UUID = uuid(byte(0x10 + i))
	}
	d.Initrd = initrd(t, manifest.Initrd{RootHash: d.RootHash, DataBlocks: hashes.DataBlocks, Epoch: Epoch, Architecture: arch, Profile: "test-" + arch})
	_, err = method.Write(t.Context(), f, d.Parts[:len(starting)], payload(d))
	must(err)
	state := d.Parts[len(d.Parts)-1]
	must(ext4.Write(io.NewOffsetWriter(f, state.Offset), ext4.Options{Size: state.Size, Label: "state", Epoch: Epoch}))
	must(gpt.Write(f, size, uuid(1), d.Parts))
	return d
}

func uuid(n byte) string { return "00000000-0000-4000-8000-0000000000" + hex.EncodeToString([]byte{n}) }

func payload(d *Disk) boot.Payload {
	return boot.Payload{
		Kernel: tree.Bytes(d.Kernel), Initrd: tree.Bytes(d.Initrd), CommandLine: CommandLine, Title: "test",
		Release: d.Release, OSRelease: tree.String("ID=slipway\n"), File: Loaders, Seed: sha256.Sum256([]byte(d.RootHash)), Epoch: Epoch,
	}
}

// initrd returns a compressed archive, as a build makes it.
func initrd(t testing.TB, m manifest.Initrd) []byte {
	t.Helper()
	description, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	b := tree.NewBuilder(Epoch)
	put(t, b, "init", file("the first program"))
	put(t, b, manifest.InitrdPath, file(string(description)))
	put(t, b, "usr/lib/modules/x/virtio_blk.ko", file("module"))
	var out bytes.Buffer
	z, err := zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	if err := cpio.Write(z, b.Tree()); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func inventory(t testing.TB, arch string, image []byte) manifest.Inventory {
	t.Helper()
	method, err := boot.For(arch)
	if err != nil {
		t.Fatal(err)
	}
	loader, err := method.Loader(Loaders)
	if err != nil {
		t.Fatal(err)
	}
	digest, err := kernel.Digest(io.NewSectionReader(bytes.NewReader(image), 0, int64(len(image))))
	if err != nil {
		t.Fatal(err)
	}
	return manifest.Inventory{
		Format: manifest.InventoryFormat, Loader: loader,
		Kernel: manifest.Kernel{Package: "linux-image-test", SHA256: digest.String(), CommandLine: CommandLine},
		Packages: []manifest.Package{
			{Name: "bash", Version: "5.2.37-2+b10", Architecture: "amd64", Source: "bash", SourceVersion: "5.2.37-2", Licences: []string{"GPL-3+"}, In: []string{"root"}},
			{Name: "libcrypt1", Version: "1:4.4.38-1", Architecture: "amd64", Source: "libxcrypt", SourceVersion: "1:4.4.38-1", In: []string{"root", "layer/base"}},
		},
		Components: []manifest.Component{{Name: "kubernetes", Version: "v1.37.2", Module: "k8s.io/kubernetes", Paths: []string{"usr/bin/kubelet"}}},
	}
}
