// Package devicemapper sets up dm-verity devices by the kernel's ioctl
// interface (Linux, include/uapi/linux/dm-ioctl.h and
// Documentation/admin-guide/device-mapper/verity.rst).
package devicemapper

import (
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Numbers of the ioctls and flags.
const (
	create  = 3
	remove  = 4
	suspend = 6 // without its flag: resume
	load    = 9

	readOnly = 1

	headerSize = 312
)

// header is struct dm_ioctl.
type header struct {
	Version                      [3]uint32
	DataSize, DataStart, Targets uint32
	OpenCount                    int32
	Flags, EventNumber, Padding  uint32
	Device                       uint64
	Name                         [128]byte
	UUID                         [129]byte
	Data                         [7]byte
}

// Verity describes a dm-verity device over two others.
type Verity struct {
	Name       string // of the device
	Data, Hash string // paths of block devices
	DataBlocks int64  // of 4096 bytes
	RootHash   string // hex, sha256
	Salt       string // hex, or ""
}

// Create makes the device and returns its path. A read of data that does not
// match the root hash panics: nothing of it is ever seen.
func (v Verity) Create() (string, error) {
	control, err := openControl()
	if err != nil {
		return "", fmt.Errorf("setting up dm-verity: %w", err)
	}
	defer control.Close()
	made, err := call(control, create, v.Name, 0, nil)
	if err != nil {
		return "", fmt.Errorf("creating dm device %q: %w", v.Name, err)
	}
	if _, err = call(control, load, v.Name, readOnly, target("verity", v.DataBlocks*8, v.params())); err != nil {
		err = fmt.Errorf("loading the dm-verity table %q: %w", v.params(), err)
	} else if _, err = call(control, suspend, v.Name, readOnly, nil); err != nil {
		err = fmt.Errorf("activating dm device %q: %w", v.Name, err)
	}
	if err != nil {
		call(control, remove, v.Name, 0, nil) // the name is free for another try
		return "", err
	}
	return fmt.Sprintf("/dev/dm-%d", unix.Minor(made.Device)), nil
}

// params are the parameters of the target: version 1, the hash tree behind one
// block of superblock.
func (v Verity) params() string {
	salt := v.Salt
	if salt == "" {
		salt = "-"
	}
	return fmt.Sprintf("1 %s %s 4096 4096 %d 1 sha256 %s %s 1 panic_on_corruption", v.Data, v.Hash, v.DataBlocks, v.RootHash, salt)
}

// target is struct dm_target_spec with its parameters.
func target(kind string, sectors int64, params string) []byte {
	b := make([]byte, 40, 40+len(params)+8)
	binary.NativeEndian.PutUint64(b[8:], uint64(sectors))
	copy(b[24:], kind)
	b = append(append(b, params...), 0)
	for len(b)%8 != 0 {
		b = append(b, 0)
	}
	return b
}

func openControl() (*os.File, error) {
	const node = "/dev/mapper/control"
	if f, err := os.OpenFile(node, os.O_RDWR, 0); err == nil {
		return f, nil
	}
	data, err := os.ReadFile("/sys/class/misc/device-mapper/dev")
	if err != nil {
		return nil, fmt.Errorf("the kernel has no device mapper: %w", err)
	}
	major, minor, _ := strings.Cut(strings.TrimSpace(string(data)), ":")
	a, aErr := strconv.ParseUint(major, 10, 32)
	b, bErr := strconv.ParseUint(minor, 10, 32)
	if aErr != nil || bErr != nil {
		return nil, fmt.Errorf("reading the device mapper's number %q", data)
	}
	if err := os.MkdirAll("/dev/mapper", 0o755); err != nil {
		return nil, err
	}
	if err := unix.Mknod(node, unix.S_IFCHR|0o600, int(unix.Mkdev(uint32(a), uint32(b)))); err != nil {
		return nil, err
	}
	return os.OpenFile(node, os.O_RDWR, 0)
}

func call(control *os.File, number uintptr, name string, flags uint32, data []byte) (header, error) {
	buf := message(name, flags, data)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, control.Fd(), request(number), uintptr(unsafe.Pointer(&buf[0])))
	h := *(*header)(unsafe.Pointer(&buf[0]))
	if errno != 0 {
		return h, errno
	}
	return h, nil
}

// message is what an ioctl takes, with room for what it returns.
func message(name string, flags uint32, data []byte) []byte {
	buf := make([]byte, headerSize+len(data)+4096)
	h := (*header)(unsafe.Pointer(&buf[0]))
	h.Version = [3]uint32{4, 0, 0}
	h.DataSize, h.DataStart, h.Flags = uint32(len(buf)), headerSize, flags
	if data != nil {
		h.Targets = 1
	}
	copy(h.Name[:], name)
	copy(buf[headerSize:], data)
	return buf
}

// request is _IOWR(0xfd, number, struct dm_ioctl). POWER has other bits for
// either direction, and the same for both.
func request(number uintptr) uintptr { return 3<<30 | headerSize<<16 | 0xfd<<8 | number }
