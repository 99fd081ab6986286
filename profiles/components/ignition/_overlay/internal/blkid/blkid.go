// Package blkid asks the programs of util-linux what is on a disk.
package blkid

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// DiskInfo is the partition table of a disk.
type DiskInfo struct {
	LogicalSectorSize int // bytes
	Partitions        []PartitionInfo
}

// GetPartition returns the partition of that number.
func (d DiskInfo) GetPartition(n int) (PartitionInfo, bool) {
	for _, p := range d.Partitions {
		if p.Number == n {
			return p, true
		}
	}
	return PartitionInfo{}, false
}

// PartitionInfo is a partition of a GPT. Sectors are logical ones of the
// disk, GUIDs in capitals.
type PartitionInfo struct {
	Label         string
	GUID          string
	TypeGUID      string
	StartSector   int64
	SizeInSectors int64
	Number        int
}

// FilesystemInfo is what is known of a file system without mounting it; what
// is not known is empty.
type FilesystemInfo struct {
	Type  string
	UUID  string
	Label string
}

// Exit statuses of blkid(8).
const (
	blkidNothing   = 2
	blkidAmbiguous = 8
)

// GetFilesystemInfo looks what file system is on a device. Signatures of
// several are an error, or with allowAmbivalent the first of them is taken.
func GetFilesystemInfo(device string, allowAmbivalent bool) (FilesystemInfo, error) {
	if err := readable(device); err != nil {
		return FilesystemInfo{}, err
	}
	// This format alone has every byte that is not plain escaped.
	out, status, err := output("blkid", "-p", "-o", "udev", device)
	switch {
	case err != nil:
		return FilesystemInfo{}, fmt.Errorf("querying the filesystem of %q: %w", device, err)
	case status == blkidNothing:
		return FilesystemInfo{}, nil
	case status == blkidAmbiguous && allowAmbivalent:
		return firstSignature(device)
	case status == blkidAmbiguous:
		return FilesystemInfo{}, fmt.Errorf("querying the filesystem of %q: found multiple filesystem types", device)
	case status != 0:
		return FilesystemInfo{}, fmt.Errorf("querying the filesystem of %q: blkid exited with status %d", device, status)
	}
	return parseBlkid(out)
}

func parseBlkid(out string) (info FilesystemInfo, err error) {
	for line := range strings.Lines(out) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		to := map[string]*string{"ID_FS_TYPE": &info.Type, "ID_FS_UUID_ENC": &info.UUID, "ID_FS_LABEL_ENC": &info.Label}[name]
		if to == nil {
			continue
		}
		if *to, err = unescape(value); err != nil {
			return FilesystemInfo{}, fmt.Errorf("reading %s of blkid: %w", name, err)
		}
	}
	return info, nil
}

// firstSignature returns the first of several file systems on a device.
func firstSignature(device string) (FilesystemInfo, error) {
	out, status, err := output("wipefs", "--no-act", "--noheadings", "--raw", "--output", "TYPE,UUID,LABEL", device)
	if err == nil && status != 0 {
		err = fmt.Errorf("wipefs exited with status %d", status)
	}
	if err != nil {
		return FilesystemInfo{}, fmt.Errorf("querying the filesystems of %q: %w", device, err)
	}
	return parseWipefs(out)
}

func parseWipefs(out string) (info FilesystemInfo, err error) {
	line, _, _ := strings.Cut(out, "\n")
	columns := append(strings.Split(line, " "), "", "")
	for i, to := range []*string{&info.Type, &info.UUID, &info.Label} {
		if *to, err = unescape(columns[i]); err != nil {
			return FilesystemInfo{}, fmt.Errorf("reading the output of wipefs: %w", err)
		}
	}
	return info, nil
}

// DumpDisk reads the partition table of a disk. A disk without any has no
// partitions; one of another kind than GPT is an error.
func DumpDisk(device string) (DiskInfo, error) {
	size, err := sectorSize(device)
	if err != nil {
		return DiskInfo{}, err
	}
	info := DiskInfo{LogicalSectorSize: size}
	// partx says the same for a disk with no table and for a failure; blkid does not.
	table, status, err := output("blkid", "-p", "-o", "value", "-s", "PTTYPE", device)
	switch {
	case err != nil:
		return DiskInfo{}, fmt.Errorf("querying the partition table of %q: %w", device, err)
	case status == blkidNothing, status == 0 && table == "":
		return info, nil
	case status != 0 && status != blkidAmbiguous:
		return DiskInfo{}, fmt.Errorf("querying the partition table of %q: blkid exited with status %d", device, status)
	case status == 0 && strings.TrimSpace(table) != "gpt":
		return DiskInfo{}, fmt.Errorf("querying the partition table of %q: disk does not have a GPT but %s", device, strings.TrimSpace(table))
	}
	out, status, err := output("partx", "--show", "--noheadings", "--raw", "--output", "NR,START,SECTORS,SCHEME,TYPE,UUID,NAME", device)
	if err != nil {
		return DiskInfo{}, fmt.Errorf("querying the partitions of %q: %w", device, err)
	}
	if status != 0 {
		if table == "" {
			return info, nil // several file systems, and no partition table
		}
		return DiskInfo{}, fmt.Errorf("querying the partitions of %q: partx exited with status %d", device, status)
	}
	if info.Partitions, err = parsePartx(out, size); err != nil {
		return DiskInfo{}, fmt.Errorf("querying the partitions of %q: %w", device, err)
	}
	return info, nil
}

func parsePartx(out string, sectorSize int) (partitions []PartitionInfo, err error) {
	for line := range strings.Lines(out) {
		c := append(strings.Split(strings.TrimSuffix(line, "\n"), " "), "")
		if len(c) < 7 {
			return nil, fmt.Errorf("partx printed %q", line)
		}
		if c[3] != "gpt" {
			return nil, fmt.Errorf("disk does not have a GPT but %s", c[3])
		}
		p := PartitionInfo{TypeGUID: strings.ToUpper(c[4]), GUID: strings.ToUpper(c[5])}
		number, numberErr := strconv.Atoi(c[0])
		start, startErr := strconv.ParseInt(c[1], 10, 64)
		sectors, sectorsErr := strconv.ParseInt(c[2], 10, 64)
		label, labelErr := unescape(c[6])
		if err := errors.Join(numberErr, startErr, sectorsErr, labelErr); err != nil {
			return nil, fmt.Errorf("partx printed %q: %w", line, err)
		}
		// partx counts in sectors of 512 bytes on every disk.
		ratio := int64(sectorSize / 512)
		p.Number, p.StartSector, p.SizeInSectors, p.Label = number, start/ratio, sectors/ratio, label
		partitions = append(partitions, p)
	}
	return partitions, nil
}

// GetBlockDevices returns every device with that file system.
func GetBlockDevices(fstype string) ([]string, error) {
	out, status, err := output("blkid", "-c", "/dev/null", "-t", "TYPE="+fstype, "-o", "device")
	if err == nil && status != 0 && status != blkidNothing {
		err = fmt.Errorf("blkid exited with status %d", status)
	}
	if err != nil {
		return nil, fmt.Errorf("looking for %s filesystems: %w", fstype, err)
	}
	return strings.Fields(out), nil
}

// sectorSize returns the size of a disk's logical sectors in bytes.
func sectorSize(device string) (int, error) {
	f, err := os.Open(device)
	if err != nil {
		return 0, fmt.Errorf("getting the sector size: %w", err)
	}
	defer f.Close()
	size, err := unix.IoctlGetInt(int(f.Fd()), unix.BLKSSZGET)
	if errors.Is(err, unix.ENOTTY) {
		return 512, nil // a file, not a device
	}
	if err != nil || size < 512 || size%512 != 0 {
		return 0, fmt.Errorf("getting the sector size of %q: %d bytes, %w", device, size, err)
	}
	return size, nil
}

func readable(device string) error {
	f, err := os.Open(device)
	if err != nil {
		return fmt.Errorf("querying the filesystem: %w", err)
	}
	return f.Close()
}

// output runs a program of the root's and returns what it printed and its
// exit status.
func output(name string, args ...string) (string, int, error) {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		return string(out), exit.ExitCode(), nil
	}
	return string(out), 0, err
}

// unescape decodes the \xNN that util-linux writes for bytes that are not plain.
func unescape(s string) (string, error) {
	var b strings.Builder
	for {
		plain, rest, found := strings.Cut(s, `\x`)
		b.WriteString(plain)
		if !found {
			return b.String(), nil
		}
		if len(rest) < 2 {
			return "", fmt.Errorf("bad escape in %q", s)
		}
		c, err := strconv.ParseUint(rest[:2], 16, 8)
		if err != nil {
			return "", fmt.Errorf("bad escape in %q", s)
		}
		b.WriteByte(byte(c))
		s = rest[2:]
	}
}
