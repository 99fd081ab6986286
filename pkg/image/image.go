// Package image reads what `builder build` wrote: what a disk says of itself,
// and its kernel.
package image

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem/fat32"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/gpt"
	"github.com/slipway-os/slipway/pkg/manifest"
	"github.com/slipway-os/slipway/pkg/squashfs"
	"github.com/slipway-os/slipway/pkg/tree"
	"github.com/slipway-os/slipway/pkg/uki"
)

// Disk is an image that is open for reading.
type Disk struct {
	name  string
	file  *os.File
	parts []gpt.Partition
}

// Open opens a raw disk. One that Slipway did not write is bad input.
func Open(name string) (*Disk, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, diag.Inputf("opening image: %w", err)
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		f.Close()
		return nil, diag.Inputf("opening image %q: %w", name, err)
	}
	parts, err := gpt.Read(f, size)
	if err != nil {
		f.Close()
		return nil, diag.Inputf("opening image %q: %w; is it a raw disk that builder wrote?", name, err)
	}
	return &Disk{name: name, file: f, parts: parts}, nil
}

// Close closes the disk.
func (d *Disk) Close() error { return d.file.Close() }

func (d *Disk) partition(name string) (*io.SectionReader, error) {
	for _, p := range d.parts {
		if p.Name == name {
			return io.NewSectionReader(d.file, p.Offset, p.Size), nil
		}
	}
	return nil, diag.Inputf("image %q has no partition %q; is it a disk that builder wrote?", d.name, name)
}

// Root returns the root file system of the first slot.
func (d *Disk) Root() (*tree.Tree, error) {
	part, err := d.partition("root-a")
	if err != nil {
		return nil, err
	}
	fs, err := squashfs.Open(part)
	if err != nil {
		return nil, diag.Inputf("reading the root of image %q: %w", d.name, err)
	}
	t, err := fs.Tree()
	if err != nil {
		return nil, diag.Inputf("reading the root of image %q: %w", d.name, err)
	}
	return t, nil
}

// Describe returns what the image says of itself.
func (d *Disk) Describe() (manifest.Image, error) {
	var m manifest.Image
	root, err := d.Root()
	if err != nil {
		return m, err
	}
	n := root.Lookup(manifest.ImagePath)
	if n == nil {
		return m, diag.Inputf("image %q has no /%s; is it a disk that builder wrote?", d.name, manifest.ImagePath)
	}
	data, err := tree.ReadAll(n.Content, 1<<20)
	if err == nil {
		err = json.Unmarshal(data, &m)
	}
	if err != nil {
		return m, diag.Inputf("reading /%s of image %q: %w", manifest.ImagePath, d.name, err)
	}
	return m, nil
}

// Kernel returns the kernel of a disk that boots by UEFI.
func (d *Disk) Kernel() (io.ReadCloser, error) {
	for _, p := range d.parts {
		if p.Type != gpt.TypeESP {
			continue
		}
		fs, err := fat32.Read(file.New(d.file, true), p.Size, p.Offset, 0)
		if err != nil {
			return nil, fmt.Errorf("reading the boot partition of image %q: %w", d.name, err)
		}
		for _, name := range []string{"/EFI/BOOT/BOOTX64.EFI", "/EFI/BOOT/BOOTAA64.EFI"} {
			f, err := fs.OpenFile(name, os.O_RDONLY)
			if err != nil {
				continue
			}
			const most = 256 << 20
			data, err := io.ReadAll(io.LimitReader(f, most))
			if err != nil {
				return nil, fmt.Errorf("reading %s of image %q: %w", name, d.name, err)
			}
			kernel, err := uki.ReadSection(bytes.NewReader(data), ".linux")
			if err != nil {
				return nil, err
			}
			return io.NopCloser(kernel), nil
		}
	}
	return nil, diag.Inputf("image %q has no kernel in a boot partition", d.name)
}
