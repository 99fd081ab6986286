package image

import (
	"fmt"
	"io"
	"strings"
)

// format is something that a disk or partition may hold, by the bytes that it
// has at a place.
type format struct {
	name   string
	offset int64
	magic  string
}

// fileSystems are what a partition may hold.
func fileSystems() []format {
	return []format{
		{luks, 0, "LUKS\xba\xbe"},
		{"squashfs", 0, "hsqs"},
		{"verity", 0, "verity\x00\x00"},
		{"ext4", 1080, "\x53\xef"},
		{"FAT32", 82, "FAT32   "},
		{"FAT", 54, "FAT1"},
		{"NTFS", 3, "NTFS    "},
		{"BitLocker encryption", 3, "-FVE-FS-"},
		{"XFS", 0, "XFSB"},
		{"btrfs", 65600, "_BHRfS_M"},
		{"EROFS", 1024, "\xe2\xe1\xf5\xe0"},
		{"swap", 4086, "SWAPSPACE2"},
		{"an LVM volume", 512, "LABELONE"},
		{"an ELF program", 0, "\x7fELF"},
	}
}

const luks = "LUKS encryption"

// images are what a file may be that is no raw disk.
func images() []format {
	return []format{
		{"a qcow2 image", 0, "QFI\xfb"},
		{"a VMDK image", 0, "KDMV"},
		{"a VHDX image", 0, "vhdxfile"},
		{"a VHD image", 0, "conectix"},
		{"a VDI image", 64, "\x7f\x10\xda\xbe"},
		{"compressed by gzip", 0, "\x1f\x8b"},
		{"compressed by zstd", 0, "\x28\xb5\x2f\xfd"},
		{"compressed by xz", 0, "\xfd7zXZ\x00"},
		{"compressed by bzip2", 0, "BZh"},
		{"a zip archive", 0, "PK\x03\x04"},
		{"a tar archive", 257, "ustar"},
		{"an ISO image", 32769, "CD001"},
	}
}

func find(formats []format, r io.ReaderAt) string {
	for _, f := range formats {
		b := make([]byte, len(f.magic))
		if n, _ := r.ReadAt(b, f.offset); n == len(b) && string(b) == f.magic {
			return f.name
		}
	}
	return ""
}

// recognise returns what a partition holds; "" if that is not known. What
// holds nothing but zeros, as far as one looks, is "nothing".
func recognise(r io.ReaderAt) string {
	if name := find(fileSystems(), r); name != "" {
		return name
	}
	b := make([]byte, 128<<10)
	n, _ := r.ReadAt(b, 0)
	if strings.Trim(string(b[:n]), "\x00") == "" {
		return "nothing"
	}
	return ""
}

// foreign says what a file is that has no readable partition table.
func foreign(name string, disk io.ReaderAt, err error) error {
	what := recognise(disk)
	switch image := find(images(), disk); {
	case what == luks || what == "BitLocker encryption":
		return fmt.Errorf("image %q is encrypted (%s): unlock it, for example with cryptsetup open, and name the device that appears", name, strings.TrimSuffix(what, " encryption"))
	case strings.HasPrefix(image, "compressed"):
		return fmt.Errorf("image %q is %s: uncompress it first", name, image)
	case image != "":
		return fmt.Errorf("image %q is %s, not a raw disk", name, image)
	case what == "nothing":
		return fmt.Errorf("image %q has nothing but zeros where a partition table would be", name)
	case what != "":
		return fmt.Errorf("image %q has no partition table: it holds %s", name, what)
	case find([]format{{"MBR", 510, "\x55\xaa"}}, disk) != "" && find([]format{{"GPT", 512, "EFI PART"}}, disk) == "":
		return fmt.Errorf("image %q has an MBR and no GPT: it is no disk that builder wrote", name)
	}
	return fmt.Errorf("opening image %q: %w; is it a raw disk that builder wrote?", name, err)
}
