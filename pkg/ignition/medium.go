package ignition

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/slipway-os/slipway/pkg/diag"
)

// probe returns the kind and label of a file system: ISO 9660 (ECMA-119,
// 8.4.7), FAT (boot sector) or ext4 (superblock).
func probe(r io.ReaderAt) (kind, label string) {
	b := make([]byte, 2048)
	if _, err := r.ReadAt(b, 32768); err == nil && string(b[:6]) == "\x01CD001" {
		return "iso9660", strings.TrimRight(string(b[40:72]), " \x00")
	}
	if _, err := r.ReadAt(b, 0); err != nil {
		return "", ""
	}
	if b[510] == 0x55 && b[511] == 0xaa {
		if bytes.HasPrefix(b[82:], []byte("FAT32")) {
			return "vfat", fatLabel(r, b, b[71:82])
		}
		if bytes.HasPrefix(b[54:], []byte("FAT1")) {
			return "vfat", fatLabel(r, b, b[43:54])
		}
	}
	if binary.LittleEndian.Uint16(b[1024+56:]) == 0xef53 {
		label, _, _ := strings.Cut(string(b[1024+120:1024+136]), "\x00")
		return "ext4", label
	}
	return "", ""
}

// fatLabel returns the volume label: the root directory's entry, which some
// tools alone set, else the boot sector's.
func fatLabel(r io.ReaderAt, boot, otherwise []byte) string {
	le := binary.LittleEndian
	sector, cluster := int64(le.Uint16(boot[11:])), int64(boot[13])
	reserved, fats := int64(le.Uint16(boot[14:])), int64(boot[16])
	var at, size int64
	if perFAT := int64(le.Uint16(boot[22:])); perFAT != 0 {
		at, size = (reserved+fats*perFAT)*sector, int64(le.Uint16(boot[17:]))*32
	} else {
		at = (reserved + fats*int64(le.Uint32(boot[36:])) + (int64(le.Uint32(boot[44:]))-2)*cluster) * sector
		size = cluster * sector // of its first cluster
	}
	entries := make([]byte, min(size, 64<<10))
	n, err := r.ReadAt(entries, at)
	if err != nil && !errors.Is(err, io.EOF) {
		n = 0
	}
	for entries = entries[:n]; len(entries) >= 32 && entries[0] != 0; entries = entries[32:] {
		// The attributes of a label, not of a part of a long name.
		if attr := entries[11]; attr&0x18 == 0x08 && attr&0x3f != 0x0f && entries[0] != 0xe5 {
			return strings.TrimRight(string(entries[:11]), " ")
		}
	}
	return strings.TrimRight(string(otherwise), " \x00")
}

// Read copies the config of a medium or disk to a directory, where Ignition
// takes it as the user's (user.ign): of a disk, it would do so on some
// architectures only. A platform's config Ignition fetches itself.
func (s Source) Read(to string) error {
	switch {
	case s.Medium != "":
		return s.read("/run/slipway/medium", to)
	case s.Disk != "":
		data := s.local()
		switch {
		case len(bytes.TrimSpace(data)) == 0:
			return diag.Inputf("reading the config of %s: it is empty", s.Disk)
		case len(data) >= most:
			return diag.Inputf("reading the config of %s: it is larger than %d MiB", s.Disk, most>>20)
		}
		return keep(data, to)
	}
	return nil
}

// keep lays a config down where Ignition takes it as the user's.
func keep(data []byte, to string) error {
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(to, "user.ign"), data, 0o600)
}

func (s Source) read(at, to string) error {
	return mounted(s.Medium, at, func() error {
		data, err := readMedium(at)
		if err != nil {
			return fmt.Errorf("reading %s of %s: %w", ConfigName, s.Medium, err)
		}
		return keep(data, to)
	})
}

// mounted does something while a device is mounted, to be read only.
func mounted(device, at string, do func() error) error {
	f, err := os.Open(device)
	if err != nil {
		return err
	}
	kind, _ := probe(f)
	f.Close()
	if err := os.MkdirAll(at, 0o700); err != nil {
		return err
	}
	if err := unix.Mount(device, at, kind, unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mounting %s (%s): %w", device, kind, err)
	}
	defer unix.Unmount(at, unix.MNT_DETACH)
	return do()
}

// readMedium reads the config whatever case the file system gives its name.
func readMedium(dir string) ([]byte, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	found := ""
	for _, e := range entries {
		name, _, _ := strings.Cut(e.Name(), ";") // ISO 9660 has versions
		if name = strings.TrimSuffix(name, "."); strings.EqualFold(name, ConfigName) && found != ConfigName {
			found = e.Name()
		}
	}
	if found == "" {
		return nil, diag.Inputf("there is no such file at the top of it")
	}
	// Nothing but a file: to open a pipe would be to wait for its other end.
	f, err := os.OpenFile(filepath.Join(dir, found), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ELOOP) {
		return nil, diag.Inputf("it is a link, not a file")
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := readRegular(f, most)
	if err == nil && len(bytes.TrimSpace(data)) == 0 {
		return nil, diag.Inputf("it is empty")
	}
	return data, err
}

// readRegular reads what must be a file of at most that many bytes.
func readRegular(f *os.File, most int64) ([]byte, error) {
	if info, err := f.Stat(); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, diag.Inputf("it is not a file")
	}
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	switch {
	case err != nil:
		return nil, err
	case int64(len(data)) > most:
		return nil, diag.Inputf("it is larger than %d MiB", most>>20)
	}
	return data, nil
}
