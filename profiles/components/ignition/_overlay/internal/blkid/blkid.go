// Package blkid asks the programs of util-linux what is on a disk.
package blkid

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
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
	case status == 0:
		return parseBlkid(out)
	case status != blkidNothing && status != blkidAmbiguous:
		return FilesystemInfo{}, fmt.Errorf("querying the filesystem of %q: blkid exited with status %d", device, status)
	}
	// util-linux 2.41 has one status for nothing and for too much to choose
	// from: only the second must not be formatted.
	list, err := signatures(device)
	if err != nil {
		return FilesystemInfo{}, err
	}
	list = slices.DeleteFunc(list, func(s signature) bool { return s.usage == partitionTable })
	switch {
	case len(list) == 0:
		return FilesystemInfo{}, nil
	case allowAmbivalent || !slices.ContainsFunc(list, func(s signature) bool { return s.Type != list[0].Type }):
		return list[0].FilesystemInfo, nil
	}
	return FilesystemInfo{}, fmt.Errorf("querying the filesystem of %q: found multiple filesystem types", device)
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

// signature is one that wipefs finds: there may be several of one file system.
type signature struct {
	usage string // "filesystem", "raid", "crypto", "other", partitionTable
	FilesystemInfo
}

const partitionTable = "partition-table"

// signatures returns all that are on a device.
func signatures(device string) ([]signature, error) {
	out, status, err := output("wipefs", "--no-act", "--noheadings", "--parsable", "--output", "USAGE,TYPE,UUID,LABEL", device)
	if err == nil && status != 0 {
		err = fmt.Errorf("wipefs exited with status %d", status)
	}
	var list []signature
	if err == nil {
		list, err = parseWipefs(out)
	}
	if err != nil {
		return nil, fmt.Errorf("querying the signatures on %q: %w", device, err)
	}
	return list, nil
}

func parseWipefs(out string) (list []signature, err error) {
	for line := range strings.Lines(out) {
		c := strings.SplitN(strings.TrimSuffix(line, "\n"), ",", 4) // a label may have commas
		if len(c) != 4 {
			return nil, fmt.Errorf("wipefs printed %q", line)
		}
		s := signature{usage: c[0]}
		for i, to := range []*string{&s.Type, &s.UUID, &s.Label} {
			if *to, err = unescape(c[1+i]); err != nil {
				return nil, fmt.Errorf("reading the output of wipefs: %w", err)
			}
		}
		list = append(list, s)
	}
	return list, nil
}

// DumpDisk reads the partition table of a disk. A disk without any has no
// partitions; one of another kind than GPT is an error.
func DumpDisk(device string) (DiskInfo, error) {
	size, err := sectorSize(device)
	if err != nil {
		return DiskInfo{}, err
	}
	info := DiskInfo{LogicalSectorSize: size}
	// partx says the same for a disk with no table and for a failure.
	list, err := signatures(device)
	if err != nil {
		return DiskInfo{}, err
	}
	list = slices.DeleteFunc(list, func(s signature) bool { return s.usage != partitionTable })
	switch {
	case len(list) == 0:
		return info, nil
	case !slices.ContainsFunc(list, func(s signature) bool { return s.Type == "gpt" }):
		return DiskInfo{}, fmt.Errorf("querying the partition table of %q: disk does not have a GPT but %s", device, list[0].Type)
	}
	out, status, err := output("partx", "--noheadings", "--raw", "--output", "NR,START,SECTORS,SCHEME,TYPE,UUID,NAME", device)
	if err == nil && status != 0 {
		err = fmt.Errorf("partx exited with status %d", status)
	}
	if err == nil {
		info.Partitions, err = parsePartx(out, size)
	}
	if err != nil {
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
	// The kernel writes an int of C: IoctlGetInt would misread it on s390x.
	size, err := unix.IoctlGetUint32(int(f.Fd()), unix.BLKSSZGET)
	if errors.Is(err, unix.ENOTTY) {
		return 512, nil // a file, not a device
	}
	if err == nil && (size < 512 || size%512 != 0) {
		err = fmt.Errorf("%d bytes", size)
	}
	if err != nil {
		return 0, fmt.Errorf("getting the sector size of %q: %w", device, err)
	}
	return int(size), nil
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
