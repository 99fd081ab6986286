// Package boot makes disks start. For each architecture it knows how the
// firmware finds a kernel, which partitions that takes, and what lies in them;
// and it finds the kernel of such a disk again.
package boot

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/gpt"
	"github.com/slipway-os/slipway/pkg/progress"
	"github.com/slipway-os/slipway/pkg/tree"
)

// Method is a way from the firmware to the kernel.
type Method interface {
	// Partitions returns the partitions that it takes, which share a number
	// of bytes. They are the first on the disk.
	Partitions(size int64) ([]gpt.Partition, error)

	// Write makes a disk start p. The partitions have their places by now,
	// and the disk holds zeros there. Outside of them nothing is written but
	// at most the first 440 bytes of the disk. The number of bytes in use is
	// returned.
	Write(ctx context.Context, disk io.WriterAt, partitions []gpt.Partition, p Payload) (int64, error)

	// Loader returns the digest of the program that Write puts before the
	// kernel, from the packages' files, as Read returns it.
	Loader(file func(path string) tree.Content) (string, error)

	// Read returns what a disk with those partitions starts: ErrNone if it
	// does not start this way.
	Read(disk Disk, partitions []gpt.Partition) (*Contents, error)
}

// Payload is what is started.
type Payload struct {
	Kernel, Initrd tree.Content
	CommandLine    string

	Title     string       // for menus
	Release   string       // of the kernel: "6.12.107+deb13-s390x"
	OSRelease tree.Content // os-release(5) of the root

	// File returns a file of the packages by its path; nil if none has it.
	File func(path string) tree.Content

	// Seed makes the identifiers of file systems: the same for the same image.
	Seed  [32]byte
	Epoch int64 // the time of all files, seconds since 1970
}

// Disk is a disk that is read.
type Disk interface {
	io.ReaderAt
	Size() int64
}

// Contents is what a disk starts.
type Contents struct {
	Method         string // "UEFI", "Open Firmware", "IBM Z"
	Kernel, Initrd *io.SectionReader
	CommandLine    string
	// Loader is the SHA-256, in hexadecimal, of the program before the kernel,
	// without what depends on the image. "" if the firmware needs none.
	Loader string
}

// ErrNone says that a disk does not start in a way that is known.
var ErrNone = errors.New("nothing to start")

// methods is the table of architectures, by Go's names of them. The limits
// are COMMAND_LINE_SIZE of their kernels (arch/*/include/uapi/asm/setup.h),
// less the zero at the end, and what a loader adds.
func methods() map[string]Method {
	return map[string]Method{
		"amd64": uefi{
			stub:        "usr/lib/systemd/boot/efi/linuxx64.efi.stub",
			path:        "EFI/BOOT/BOOTX64.EFI",
			commandLine: 2047,
		},
		"arm64": uefi{
			stub:        "usr/lib/systemd/boot/efi/linuxaa64.efi.stub",
			path:        "EFI/BOOT/BOOTAA64.EFI",
			commandLine: 2047,
		},
		// GRUB begins it with "BOOT_IMAGE=/vmlinux ".
		"ppc64le": openFirmware{commandLine: 2047 - len("BOOT_IMAGE=/"+kernelPath+" ")},
		"s390x":   ibmZ{},
	}
}

// For returns the method of an architecture.
func For(arch string) (Method, error) {
	m, ok := methods()[arch]
	if !ok {
		return nil, diag.Inputf("booting architecture %q: not supported", arch)
	}
	return m, nil
}

// Read returns what a disk with those partitions starts, in whatever way.
func Read(disk Disk, partitions []gpt.Partition) (*Contents, error) {
	for _, m := range methods() {
		c, err := m.Read(disk, partitions)
		if !errors.Is(err, ErrNone) {
			return c, err
		}
	}
	return nil, ErrNone
}

// Fault is a fault of the profile: something that it asks for cannot be done.
type Fault struct {
	Field string // "disk.boot"
	Hint  string // what to do
	Err   error
}

func (f *Fault) Error() string { return f.Err.Error() }

// Unwrap implements errors.Unwrap.
func (f *Fault) Unwrap() error { return f.Err }

// tooSmall says that a partition does not hold a payload.
func tooSmall(size int64, p Payload) error {
	return &Fault{"disk.boot", "make it larger", fmt.Errorf("the boot partition of %s is too small for the kernel of %s and the initrd of %s",
		progress.Size(size), progress.Size(p.Kernel.Size()), progress.Size(p.Initrd.Size()))}
}

// checkLine checks the length of a command line.
func checkLine(line string, limit int) error {
	if len(line) <= limit {
		return nil
	}
	return &Fault{"kernel.commandLine", "shorten it", fmt.Errorf("the command line has %d bytes, and the kernel takes %d", len(line), limit)}
}

// checkStart checks by its first bytes that a kernel is one that a loader can
// start.
func checkStart(kernel tree.Content, magic, hint, loader string) error {
	r, err := kernel.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	b := make([]byte, len(magic))
	if _, err := r.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("reading the kernel: %w", err)
	}
	if string(b) != magic {
		return &Fault{"kernel.package", hint, fmt.Errorf("the kernel is no program that %s can start: it begins with %x", loader, b)}
	}
	return nil
}

// file returns a file that a package is known to have.
func (p Payload) file(path, pkg string) ([]byte, error) { return readFile(p.File, path, pkg) }

func readFile(file func(string) tree.Content, path, pkg string) ([]byte, error) {
	c := file(path)
	if c == nil {
		return nil, &Fault{"os.packages", "add package " + pkg, fmt.Errorf("no package has %s", path)}
	}
	const limit = 16 << 20
	return tree.ReadAll(c, limit)
}

// partition returns the first partition of a type.
func partition(partitions []gpt.Partition, kind string) (gpt.Partition, bool) {
	for _, p := range partitions {
		if p.Type == kind {
			return p, true
		}
	}
	return gpt.Partition{}, false
}
