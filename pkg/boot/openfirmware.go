package boot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/slipway-os/slipway/pkg/fat"
	"github.com/slipway-os/slipway/pkg/gpt"
	"github.com/slipway-os/slipway/pkg/grub"
	"github.com/slipway-os/slipway/pkg/tree"
)

// openFirmware starts GRUB from a PReP partition, which the firmware reads as
// a whole. GRUB finds the kernel, and a configuration that names it, in a FAT
// file system beside it. Petitboot, the other firmware of POWER, finds that
// configuration by itself.
type openFirmware struct {
	commandLine int // its longest
}

const (
	prepSize   = 8 << 20
	grubFolder = "usr/lib/grub/powerpc-ieee1275/"

	kernelPath = "vmlinux"
	initrdPath = "initrd"
	configPath = "grub/grub.cfg"
)

// grubModules are the modules that it takes to find and start the kernel.
func grubModules() []string {
	return []string{"part_gpt", "fat", "search_fs_uuid", "linux", "normal"}
}

func (o openFirmware) Partitions(size int64) ([]gpt.Partition, error) {
	if size <= prepSize {
		return nil, &Fault{"disk.boot", "for example 512MiB", fmt.Errorf("disk.boot is too small: the loader alone takes %d MiB", prepSize>>20)}
	}
	return []gpt.Partition{
		{Name: "prep", Type: gpt.TypePReP, Size: prepSize},
		{Name: "boot", Type: gpt.TypeXBOOTLDR, Size: size - prepSize},
	}, nil
}

func (o openFirmware) Write(ctx context.Context, disk io.WriterAt, partitions []gpt.Partition, p Payload) (int64, error) {
	if err := checkLine(p.CommandLine, o.commandLine); err != nil {
		return 0, err
	}
	if err := checkStart(p.Kernel, "\x7fELF\x02", "name one for ppc64el", "GRUB"); err != nil {
		return 0, err
	}
	prep, files := partitions[0], partitions[1]
	// The file system's own number: that of another disk cannot stand in.
	serial := p.serial()
	commands := fmt.Sprintf("search.fs_uuid %04X-%04X root\nset prefix=($root)/grub\n", serial>>16, serial&0xffff)
	core, err := grubCore(p.File, commands)
	if err != nil {
		return 0, err
	}
	if int64(len(core)) > prep.Size {
		return 0, fmt.Errorf("writing GRUB: its core image has %d bytes, the PReP partition %d", len(core), prep.Size)
	}
	config, err := grub.Entry{Title: p.Title, Kernel: "/" + kernelPath, Initrd: "/" + initrdPath, CommandLine: p.CommandLine}.Config()
	if errors.Is(err, grub.ErrQuote) {
		err = &Fault{"kernel.commandLine", "write it without", err}
	}
	if err != nil {
		return 0, err
	}
	if _, err := disk.WriteAt(core, prep.Offset); err != nil {
		return 0, err
	}
	return int64(len(core)) + p.Kernel.Size() + p.Initrd.Size(), writeFAT(ctx, disk, files, map[string]tree.Content{
		kernelPath: p.Kernel,
		initrdPath: p.Initrd,
		configPath: tree.String(config),
	}, p)
}

func grubCore(file func(string) tree.Content, commands string) ([]byte, error) {
	return grub.Core(func(name string) ([]byte, error) { return readFile(file, grubFolder+name, "grub-ieee1275-bin") }, grubModules(), commands)
}

func (openFirmware) Loader(file func(string) tree.Content) (string, error) {
	core, err := grubCore(file, "")
	if err != nil {
		return "", err
	}
	c, err := grub.ReadCore(bytes.NewReader(core))
	if err != nil {
		return "", err
	}
	return c.Digest, nil
}

func (o openFirmware) Read(disk Disk, partitions []gpt.Partition) (*Contents, error) {
	prep, ok := partition(partitions, gpt.TypePReP)
	if !ok {
		return nil, ErrNone
	}
	core, err := grub.ReadCore(io.NewSectionReader(disk, prep.Offset, prep.Size))
	if errors.Is(err, grub.ErrNone) {
		return nil, ErrNone
	}
	if err != nil {
		return nil, err
	}
	part, ok := partition(partitions, gpt.TypeXBOOTLDR)
	if !ok {
		return nil, ErrNone
	}
	v, err := openFAT(disk, part)
	if errors.Is(err, fat.ErrNone) {
		return nil, ErrNone
	}
	if err != nil {
		return nil, fmt.Errorf("reading the boot partition: %w", err)
	}
	c, err := readEntry(v)
	if err != nil {
		return nil, fmt.Errorf("reading the boot partition: %w", err)
	}
	c.Loader = core.Digest
	return c, nil
}

// readEntry returns what the configuration of a boot partition starts.
func readEntry(v *fat.Volume) (*Contents, error) {
	f, err := v.File(configPath)
	if err != nil {
		return nil, err
	}
	text, err := readText(f)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", configPath, err)
	}
	entry, err := grub.ReadConfig(text)
	if err != nil {
		return nil, err
	}
	c := &Contents{Method: "Open Firmware", CommandLine: entry.CommandLine}
	if c.Kernel, err = v.File(entry.Kernel); err != nil {
		return nil, err
	}
	if c.Initrd, err = v.File(entry.Initrd); err != nil {
		return nil, err
	}
	return c, nil
}
