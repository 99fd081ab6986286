package boot

import (
	"context"
	"errors"
	"io"

	"github.com/slipway-os/slipway/pkg/gpt"
	"github.com/slipway-os/slipway/pkg/tree"
	"github.com/slipway-os/slipway/pkg/zipl"
)

// ibmZ lets the firmware load the kernel itself, from blocks that a record in
// the disk's first one leads to. They lie in a partition without a file
// system.
type ibmZ struct{}

func (ibmZ) Partitions(size int64) ([]gpt.Partition, error) {
	return []gpt.Partition{{Name: "boot", Type: gpt.TypeReserved, Size: size}}, nil
}

func (ibmZ) Write(ctx context.Context, disk io.WriterAt, partitions []gpt.Partition, p Payload) (int64, error) {
	part := partitions[0]
	err := zipl.Write(ctx, disk, part.Offset, part.Size, zipl.Program{Kernel: p.Kernel, Initrd: p.Initrd, CommandLine: p.CommandLine})
	switch {
	case errors.Is(err, zipl.ErrSpace):
		err = tooSmall(part.Size, p)
	case errors.Is(err, zipl.ErrCommandLine):
		err = &Fault{"kernel.commandLine", "shorten it", err}
	case errors.Is(err, zipl.ErrKernel):
		err = &Fault{"kernel.package", "for example linux-image-s390x", err}
	}
	return p.Kernel.Size() + p.Initrd.Size(), err
}

func (ibmZ) Loader(func(string) tree.Content) (string, error) { return "", nil }

func (ibmZ) Read(disk Disk, _ []gpt.Partition) (*Contents, error) {
	c, err := zipl.Read(disk, disk.Size())
	if errors.Is(err, zipl.ErrNone) {
		return nil, ErrNone
	}
	if err != nil {
		return nil, err
	}
	return &Contents{Method: "IBM Z", Kernel: c.Kernel, Initrd: c.Initrd, CommandLine: c.CommandLine}, nil
}
