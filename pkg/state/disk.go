package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/slipway-os/slipway/pkg/gpt"
)

// Disk is a disk with a Slipway system: the partitions that a root hash
// names, and the state partition beside them.
type Disk struct {
	Device string // "/dev/vda"
	Root   string
	Verity string
	State  string // "" if it has none
	state  gpt.Partition
}

// ErrNotFound says that no disk has the partitions.
var ErrNotFound = errors.New("no disk has them")

// Find looks on all disks for partitions with the UUIDs of a root and its
// hash tree. The state partition counts only on the disk that has both: a
// second disk must not be able to stand in for a part of the first.
func Find(rootUUID, verityUUID string) (*Disk, error) {
	return machine{"/sys", "/dev"}.find(rootUUID, verityUUID)
}

// machine is where the kernel shows disks.
type machine struct{ sys, dev string }

func (m machine) find(rootUUID, verityUUID string) (*Disk, error) {
	names, err := filepath.Glob(m.sys + "/block/*")
	if err != nil {
		return nil, err
	}
	sort.Strings(names)
	for _, sys := range names {
		d, err := m.inspect(sys, rootUUID, verityUUID)
		if err == nil {
			return d, nil
		}
	}
	return nil, ErrNotFound
}

func (m machine) inspect(sys, rootUUID, verityUUID string) (*Disk, error) {
	d := &Disk{Device: filepath.Join(m.dev, filepath.Base(sys))}
	f, err := os.Open(d.Device)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	parts, err := gpt.Read(f, size)
	if err != nil {
		return nil, err
	}
	for _, p := range parts {
		switch {
		case p.UUID == rootUUID:
			d.Root = m.partition(sys, p)
		case p.UUID == verityUUID:
			d.Verity = m.partition(sys, p)
		case p.Type == gpt.TypeVar:
			d.State, d.state = m.partition(sys, p), p
		}
	}
	if d.Root == "" || d.Verity == "" {
		return nil, ErrNotFound
	}
	return d, nil
}

// partition returns the device of a partition, which it knows by its place.
func (m machine) partition(sys string, p gpt.Partition) string {
	starts, err := filepath.Glob(sys + "/*/start")
	if err != nil {
		return ""
	}
	for _, name := range starts {
		data, err := os.ReadFile(name)
		if err == nil && strings.TrimSpace(string(data)) == strconv.FormatInt(p.Offset/gpt.SectorSize, 10) {
			return filepath.Join(m.dev, filepath.Base(filepath.Dir(name)))
		}
	}
	return ""
}

// Grow extends the state partition to the end of the disk, in the table and
// in the kernel. It may be called again after a power cut.
func (d *Disk) Grow() (grown bool, err error) {
	f, err := os.OpenFile(d.Device, os.O_RDWR, 0)
	if err != nil {
		return false, fmt.Errorf("growing the state partition: %w", err)
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return false, fmt.Errorf("growing the state partition: %w", err)
	}
	if grown, err = gpt.Grow(f, size); err != nil {
		return false, err
	}
	parts, err := gpt.Read(f, size)
	if err != nil {
		return false, err
	}
	sys := filepath.Join("/sys/class/block", filepath.Base(d.State))
	number, err := readInt(sys + "/partition")
	if err != nil {
		return false, fmt.Errorf("growing the state partition: %w", err)
	}
	sectors, err := readInt(sys + "/size")
	if err != nil {
		return false, fmt.Errorf("growing the state partition: %w", err)
	}
	for _, p := range parts {
		if p.Type != gpt.TypeVar || p.Offset != d.state.Offset || sectors*gpt.SectorSize == p.Size {
			continue
		}
		// struct blkpg_partition and blkpg_ioctl_arg, include/uapi/linux/blkpg.h
		part := unix.BlkpgPartition{Start: p.Offset, Length: p.Size, Pno: int32(number)}
		arg := unix.BlkpgIoctlArg{Op: unix.BLKPG_RESIZE_PARTITION, Datalen: int32(unsafe.Sizeof(part)), Data: (*byte)(unsafe.Pointer(&part))}
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), unix.BLKPG, uintptr(unsafe.Pointer(&arg))); errno != 0 {
			return false, fmt.Errorf("telling the kernel that %s grew: %w", d.State, errno)
		}
		grown = true
	}
	return grown, nil
}

func readInt(name string) (int64, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
}

// Mount mounts the state partition and lets its file system fill it. What fails
// leaves it unmounted.
func (d *Disk) Mount(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := unix.Mount(d.State, dir, "ext4", unix.MS_NOATIME, ""); err != nil {
		return fmt.Errorf("mounting the state partition %s: %w", d.State, damage(err))
	}
	if err := d.fill(dir); err != nil {
		return errors.Join(err, unix.Unmount(dir, 0))
	}
	return nil
}

// fill lets the mounted file system of the state partition fill it.
func (d *Disk) fill(dir string) error {
	sectors, err := readInt(filepath.Join("/sys/class/block", filepath.Base(d.State), "size"))
	if err != nil {
		return err
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	// EXT4_IOC_RESIZE_FS: _IOW('f', 16, __u64) in blocks; the same size again
	// does nothing.
	blocks := uint64(sectors * gpt.SectorSize / 4096)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), resizeRequest(), uintptr(unsafe.Pointer(&blocks))); errno != 0 {
		return fmt.Errorf("growing the state file system to %d blocks: %w", blocks, errno)
	}
	return nil
}

// LastWrite returns when the state partition was last written to, by the clock
// of that time: a time that has passed, whatever the clock says now.
func (d *Disk) LastWrite() (time.Time, error) {
	super, err := d.superblock()
	if err != nil {
		return time.Time{}, err
	}
	// s_wtime and s_wtime_hi
	return time.Unix(int64(super[0x274])<<32|int64(binary.LittleEndian.Uint32(super[0x30:])), 0), nil
}
