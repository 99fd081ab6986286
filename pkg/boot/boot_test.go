package boot_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/boot"
	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/gpt"
	"github.com/slipway-os/slipway/pkg/image/imagetest"
	"github.com/slipway-os/slipway/pkg/tree"
)

func architectures() []string { return []string{"amd64", "arm64", "ppc64le", "s390x"} }

func payload(arch string) boot.Payload {
	return boot.Payload{
		Kernel: tree.Bytes(imagetest.KernelImage(arch, "6.12.107")), Initrd: tree.String(strings.Repeat("initrd ", 3000)),
		CommandLine: "gpt quiet console=hvc0", Title: "Slipway test", Release: "6.12.107", OSRelease: tree.String("ID=slipway\n"),
		File: imagetest.Loaders, Seed: [32]byte{0x12, 0x34, 0xab, 0xcd}, Epoch: 1.7e9,
	}
}

// disk is a disk in memory.
type disk []byte

func (d disk) WriteAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > int64(len(d)) {
		return 0, fmt.Errorf("writing %d bytes at %d: behind the end of the disk", len(p), off)
	}
	return copy(d[off:], p), nil
}
func (d disk) ReadAt(p []byte, off int64) (int, error) { return bytes.NewReader(d).ReadAt(p, off) }
func (d disk) Size() int64                             { return int64(len(d)) }

// area is what the boot partitions have together.
const area = 48 << 20

// layout returns the partitions of an architecture and one more behind them,
// placed, and a disk for them.
func layout(t testing.TB, arch string) (boot.Method, []gpt.Partition, disk) {
	t.Helper()
	method, err := boot.For(arch)
	if err != nil {
		t.Fatal(err)
	}
	parts, err := method.Partitions(area)
	if err != nil {
		t.Fatal(err)
	}
	parts = append(parts, gpt.Partition{Name: "root", Type: "4f68bce3-e8cd-4db1-96e7-fbcaf984b709", Size: 1 << 20})
	return method, parts, make(disk, gpt.Layout(parts))
}

func write(t testing.TB, arch string, p boot.Payload) ([]gpt.Partition, disk) {
	t.Helper()
	method, parts, d := layout(t, arch)
	if _, err := method.Write(t.Context(), d, parts, p); err != nil {
		t.Fatal(err)
	}
	return parts, d
}

func TestPartitions(t *testing.T) {
	for arch, want := range map[string]string{
		"amd64":   "boot c12a7328-f81f-11d2-ba4b-00a0c93ec93b 48",
		"arm64":   "boot c12a7328-f81f-11d2-ba4b-00a0c93ec93b 48",
		"ppc64le": "prep 9e1a2d38-c612-4316-aa26-8b49521e5a8b 8, boot bc13c2ff-59e6-4262-a352-b275fd6f7172 40",
		"s390x":   "boot 8da63339-0007-60c0-c436-083ac8230908 48",
	} {
		method, err := boot.For(arch)
		if err != nil {
			t.Fatal(err)
		}
		parts, err := method.Partitions(area)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, p := range parts {
			got = append(got, fmt.Sprintf("%s %s %d", p.Name, p.Type, p.Size>>20))
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("%s: got %s, want %s", arch, strings.Join(got, ", "), want)
		}
	}
}

func TestWhatIsWrittenReadsBack(t *testing.T) {
	for _, arch := range architectures() {
		t.Run(arch, func(t *testing.T) {
			p := payload(arch)
			parts, d := write(t, arch, p)
			c, err := boot.Read(d, parts)
			if err != nil {
				t.Fatal(err)
			}
			if c.CommandLine != p.CommandLine {
				t.Errorf("command line %q, want %q", c.CommandLine, p.CommandLine)
			}
			for name, got := range map[string]struct {
				part *io.SectionReader
				want tree.Content
			}{"kernel": {c.Kernel, p.Kernel}, "initrd": {c.Initrd, p.Initrd}} {
				want, err := tree.ReadAll(got.want, 1<<30)
				if err != nil {
					t.Fatal(err)
				}
				data, err := io.ReadAll(got.part)
				if err != nil {
					t.Fatal(err)
				}
				if name == "kernel" && arch == "s390x" {
					// Changed where it says what its command line is, and without what only card readers load.
					data, want = data[0x2000:len(want)-0x10000], want[0x12000:]
				}
				if !bytes.Equal(data, want) {
					t.Errorf("the %s of %d bytes is not the one of %d that was written", name, len(data), len(want))
				}
			}
		})
	}
}

func TestNothingIsWrittenOutsideThePartitions(t *testing.T) {
	for _, arch := range architectures() {
		t.Run(arch, func(t *testing.T) {
			parts, d := write(t, arch, payload(arch))
			root := parts[len(parts)-1]
			for _, r := range [][2]int64{{440, parts[0].Offset}, {root.Offset, d.Size()}} {
				if i := slices.IndexFunc(d[r[0]:r[1]], func(b byte) bool { return b != 0 }); i >= 0 {
					t.Errorf("byte %d was written", r[0]+int64(i))
				}
			}
		})
	}
}

func TestSameBytesTwice(t *testing.T) {
	for _, arch := range architectures() {
		_, first := write(t, arch, payload(arch))
		_, second := write(t, arch, payload(arch))
		if !bytes.Equal(first, second) {
			t.Errorf("%s: the bytes differ", arch)
		}
	}
}

// What mtools see on POWER's boot partition is what GRUB and Petitboot look for.
func TestPetitbootFindsItsConfiguration(t *testing.T) {
	mcopy, err := exec.LookPath("mcopy")
	if err != nil {
		t.Fatal("mcopy is not installed (on Debian: apt-get install mtools)")
	}
	p := payload("ppc64le")
	parts, d := write(t, "ppc64le", p)
	name := filepath.Join(t.TempDir(), "fat")
	if err := os.WriteFile(name, d[parts[1].Offset:parts[1].Offset+parts[1].Size], 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(mcopy, "-n", "-i", name, "::grub/grub.cfg", "-").Output()
	if err != nil {
		t.Fatal(err)
	}
	const want = `set default=0
set timeout=0
menuentry 'Slipway test' {
	linux /vmlinux gpt quiet console=hvc0
	initrd /initrd
}
`
	if string(out) != want {
		t.Errorf("grub.cfg is\n%s\nwant\n%s", out, want)
	}
	// GRUB finds the partition by the number of its file system.
	if core := d[parts[0].Offset : parts[0].Offset+parts[0].Size]; !bytes.Contains(core, []byte("search.fs_uuid 1234-ABCD root\n")) {
		t.Error("the core image does not look for the file system's number")
	}
}

func TestFaultsOfAProfile(t *testing.T) {
	without := func(suffix string) func(*boot.Payload) {
		return func(p *boot.Payload) {
			p.File = func(path string) tree.Content {
				if strings.HasSuffix(path, suffix) {
					return nil
				}
				return imagetest.Loaders(path)
			}
		}
	}
	long := func(n int) func(*boot.Payload) {
		return func(p *boot.Payload) { p.CommandLine = strings.Repeat("x", n) }
	}
	kernel := func(k string) func(*boot.Payload) {
		return func(p *boot.Payload) { p.Kernel = tree.String(k) }
	}
	// initrd has more bytes than the partition.
	large := func(p *boot.Payload) { p.Initrd = tree.Bytes(make([]byte, area)) }
	for _, c := range []struct {
		name, arch  string
		change      func(*boot.Payload)
		field, want string
	}{
		{"no stub", "amd64", without(".stub"), "os.packages", "no package has usr/lib/systemd/boot/efi/linuxx64.efi.stub"},
		{"no stub", "arm64", without(".stub"), "os.packages", "no package has usr/lib/systemd/boot/efi/linuxaa64.efi.stub"},
		{"no GRUB", "ppc64le", without("moddep.lst"), "os.packages", "no package has usr/lib/grub/powerpc-ieee1275/moddep.lst"},
		{"long command line", "amd64", long(2048), "kernel.commandLine", "the command line has 2048 bytes, and the kernel takes 2047"},
		{"long command line", "arm64", long(2048), "kernel.commandLine", "the command line has 2048 bytes, and the kernel takes 2047"},
		{"long command line", "ppc64le", long(2028), "kernel.commandLine", "the command line has 2028 bytes, and the kernel takes 2027"},
		{"long command line", "s390x", long(4096), "kernel.commandLine", "command line too long: it has 4096 bytes, and this kernel takes 4095"},
		{"quote that GRUB would change", "ppc64le", func(p *boot.Payload) { p.CommandLine = `a="b"` }, "kernel.commandLine", "GRUB would change it"},
		{"compressed kernel", "arm64", kernel("\x1f\x8bgzip"), "kernel.package", "the kernel is no program that UEFI can start: it begins with 1f8b"},
		{"kernel of another architecture", "ppc64le", kernel("MZ\x00\x00\x00\x00"), "kernel.package", "the kernel is no program that GRUB can start: it begins with 4d5a000000"},
		{"kernel of another architecture", "s390x", kernel("MZ"), "kernel.package", "no kernel image for s390x"},
		{"partition too small", "amd64", large, "disk.boot", "the boot partition of 50.3 MB is too small for the kernel of 240.0 kB and the initrd of 50.3 MB"},
		{"partition too small", "arm64", large, "disk.boot", "the boot partition of 50.3 MB is too small for the kernel of 240.0 kB and the initrd of 50.3 MB"},
		{"partition too small", "ppc64le", large, "disk.boot", "the boot partition of 41.9 MB is too small for the kernel of 240.0 kB and the initrd of 50.3 MB"},
		{"partition too small", "s390x", large, "disk.boot", "the boot partition of 50.3 MB is too small for the kernel of 240.0 kB and the initrd of 50.3 MB"},
	} {
		t.Run(c.arch+"/"+c.name, func(t *testing.T) {
			method, parts, d := layout(t, c.arch)
			p := payload(c.arch)
			c.change(&p)
			_, err := method.Write(t.Context(), d, parts, p)
			var fault *boot.Fault
			if !errors.As(err, &fault) {
				t.Fatalf("no fault: %v", err)
			}
			if fault.Field != c.field || !strings.Contains(fault.Error(), c.want) || fault.Hint == "" {
				t.Errorf("got  %s: %v (%s)\nwant %s: %s", fault.Field, fault, fault.Hint, c.field, c.want)
			}
		})
	}
}

func TestBootPartitionThatHoldsNoLoader(t *testing.T) {
	method, err := boot.For("ppc64le")
	if err != nil {
		t.Fatal(err)
	}
	var fault *boot.Fault
	if _, err := method.Partitions(8 << 20); !errors.As(err, &fault) || fault.Field != "disk.boot" {
		t.Errorf("%v", err)
	}
}

func TestUnknownArchitecture(t *testing.T) {
	if _, err := boot.For("riscv64"); diag.ExitCode(err) != diag.ExitInput {
		t.Errorf("%v", err)
	}
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, arch := range architectures() {
		method, parts, d := layout(t, arch)
		if _, err := method.Write(ctx, d, parts, payload(arch)); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", arch, err)
		}
	}
}

// A damaged payload is noticed, wherever it is.
func TestDamage(t *testing.T) {
	for _, arch := range architectures() {
		for name, change := range map[string]func(*boot.Payload){
			"kernel": func(p *boot.Payload) { p.Kernel = damaged{p.Kernel} },
			"initrd": func(p *boot.Payload) { p.Initrd = damaged{p.Initrd} },
		} {
			method, parts, d := layout(t, arch)
			p := payload(arch)
			change(&p)
			_, err := method.Write(t.Context(), d, parts, p)
			var found *tree.DamagedError
			if !errors.As(err, &found) {
				t.Errorf("%s, %s: %v", arch, name, err)
			}
		}
	}
}

// damaged is content that does not have the digest that it says.
type damaged struct{ tree.Content }

func (damaged) Digest() tree.Digest { return tree.Digest{} }

func TestDisksThatStartNothing(t *testing.T) {
	for _, arch := range architectures() {
		t.Run(arch, func(t *testing.T) {
			_, parts, d := layout(t, arch)
			if c, err := boot.Read(d, parts); !errors.Is(err, boot.ErrNone) {
				t.Errorf("zeros: %+v, %v", c, err)
			}
			if c, err := boot.Read(d, nil); !errors.Is(err, boot.ErrNone) {
				t.Errorf("no partitions: %+v, %v", c, err)
			}
		})
	}
}

// FuzzRead changes the first bytes of the boot partition and of the disk.
func FuzzRead(f *testing.F) {
	type sample struct {
		parts []gpt.Partition
		disk  disk
	}
	var samples []sample
	for i, arch := range architectures() {
		parts, d := write(f, arch, payload(arch))
		samples = append(samples, sample{parts, d})
		f.Add(byte(i), []byte(d[:32]), []byte(d[parts[0].Offset:parts[0].Offset+512]))
	}
	f.Fuzz(func(t *testing.T, arch byte, record, area []byte) {
		s := samples[int(arch)%len(samples)]
		at := s.parts[0].Offset
		record, area = record[:min(len(record), 512)], area[:min(len(area), 8<<10)]
		kept := [][]byte{bytes.Clone(s.disk[:512]), bytes.Clone(s.disk[at : at+8<<10])}
		defer func() {
			copy(s.disk, kept[0])
			copy(s.disk[at:], kept[1])
		}()
		copy(s.disk, record)
		copy(s.disk[at:], area)
		c, err := boot.Read(s.disk, s.parts)
		if err == nil && (c.Kernel == nil || c.Initrd == nil) {
			t.Error("neither contents nor an error")
		}
	})
}
