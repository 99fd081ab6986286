package boot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/slipway-os/slipway/pkg/fat"
	"github.com/slipway-os/slipway/pkg/gpt"
	"github.com/slipway-os/slipway/pkg/tree"
	"github.com/slipway-os/slipway/pkg/uki"
)

// uefi starts a unified kernel image that lies in the EFI system partition at
// the path where every firmware looks by itself (UEFI Specification, section
// 3.5.1.1, "Removable Media Boot Behavior").
type uefi struct {
	stub        string // of systemd-boot-efi
	path        string
	commandLine int // its longest
}

func (u uefi) Partitions(size int64) ([]gpt.Partition, error) {
	return []gpt.Partition{{Name: "boot", Type: gpt.TypeESP, Size: size}}, nil
}

func (u uefi) Write(ctx context.Context, disk io.WriterAt, partitions []gpt.Partition, p Payload) (int64, error) {
	if err := checkLine(p.CommandLine, u.commandLine); err != nil {
		return 0, err
	}
	// A PE program, not for example a compressed one.
	if err := checkStart(p.Kernel, "MZ", "name one with CONFIG_EFI_STUB", "UEFI"); err != nil {
		return 0, err
	}
	stub, err := p.file(u.stub, "systemd-boot-efi")
	if err != nil {
		return 0, err
	}
	image, err := uki.New(stub, []uki.Section{
		{Name: ".osrel", Content: p.OSRelease},
		{Name: ".cmdline", Content: tree.String(p.CommandLine + "\x00")},
		{Name: ".uname", Content: tree.String(p.Release)},
		{Name: ".initrd", Content: p.Initrd},
		{Name: ".linux", Content: p.Kernel},
	})
	if err != nil {
		return 0, fmt.Errorf("making the unified kernel image: %w", err)
	}
	return image.Size(), writeFAT(ctx, disk, partitions[0], map[string]tree.Content{u.path: image}, p)
}

func (u uefi) Loader(file func(string) tree.Content) (string, error) {
	stub, err := readFile(file, u.stub, "systemd-boot-efi")
	if err != nil {
		return "", err
	}
	return uki.StubDigest(bytes.NewReader(stub), sectionNames())
}

// sectionNames are the sections that are added to a stub, in order.
func sectionNames() []string { return []string{".osrel", ".cmdline", ".uname", ".initrd", ".linux"} }

func (u uefi) Read(disk Disk, partitions []gpt.Partition) (*Contents, error) {
	part, ok := partition(partitions, gpt.TypeESP)
	if !ok {
		return nil, ErrNone
	}
	v, err := openFAT(disk, part)
	if errors.Is(err, fat.ErrNone) {
		return nil, ErrNone
	}
	if err != nil {
		return nil, fmt.Errorf("reading the EFI system partition: %w", err)
	}
	f, err := v.File(u.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNone
	}
	if err != nil {
		return nil, fmt.Errorf("reading the EFI system partition: %w", err)
	}
	c := &Contents{Method: "UEFI"}
	if c.Loader, err = uki.StubDigest(f, sectionNames()); err != nil {
		return nil, err
	}
	if c.Kernel, err = uki.ReadSection(f, ".linux"); err != nil {
		return nil, err
	}
	if c.Initrd, err = uki.ReadSection(f, ".initrd"); err != nil {
		return nil, err
	}
	line, err := uki.ReadSection(f, ".cmdline")
	if err != nil {
		return nil, err
	}
	text, err := readText(line)
	if err != nil {
		return nil, fmt.Errorf("reading the command line: %w", err)
	}
	c.CommandLine = strings.TrimRight(text, "\x00\n")
	return c, nil
}
