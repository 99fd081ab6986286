package ignition

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"golang.org/x/sys/unix"
)

// Source is where a machine's config comes from.
type Source struct {
	Platform string // ignition's name of it
	Medium   string // device labelled SLIPWAY, or ""
	What     string // for people
}

// Label marks a partition, ISO or disk that carries a config.
const Label = "SLIPWAY"

// ConfigName is the config's file name on such a medium.
const ConfigName = "config.ign"

// Detect looks for a config: named on the kernel's command line, in QEMU's
// firmware configuration, on a labelled medium, or on a platform that the
// command line names. It does not wait; false means that there is none now.
func Detect(commandLine map[string]string) (Source, bool) {
	platform := commandLine["ignition.platform.id"]
	if commandLine["ignition.config.url"] != "" {
		if platform == "" {
			platform = "metal"
		}
		return Source{Platform: platform, What: "the kernel argument ignition.config.url"}, true
	}
	if _, err := os.Stat("/sys/firmware/qemu_fw_cfg/by_name/opt/com.coreos/config/raw"); err == nil {
		return Source{Platform: "qemu", What: "the hypervisor (fw_cfg)"}, true
	}
	if device := disk("virtio-ignition"); device != "" {
		return Source{Platform: "qemu", What: "the disk with serial number \"ignition\""}, true
	}
	if device := labelled(); device != "" {
		return Source{Platform: "metal", Medium: device, What: device + ", labelled " + Label}, true
	}
	if platform != "" && platform != "metal" && platform != "qemu" {
		return Source{Platform: platform, What: "platform " + platform}, true
	}
	return Source{}, false
}

// disk returns the disk whose serial number makes udev call it by that name.
func disk(id string) string {
	serials, _ := filepath.Glob("/sys/block/*/serial")
	for _, name := range serials {
		data, err := os.ReadFile(name)
		if err == nil && "virtio-"+strings.TrimSpace(string(data)) == id {
			return filepath.Join("/dev", filepath.Base(filepath.Dir(name)))
		}
	}
	return ""
}

// labelled returns the first block device that bears the label.
func labelled() string {
	devices, _ := filepath.Glob("/sys/class/block/*")
	sort.Strings(devices)
	for _, sys := range devices {
		name := filepath.Base(sys)
		if strings.HasPrefix(name, "loop") || strings.HasPrefix(name, "ram") || strings.HasPrefix(name, "dm-") {
			continue
		}
		f, err := os.Open(filepath.Join("/dev", name))
		if err != nil {
			continue
		}
		_, label := probe(f)
		f.Close()
		if strings.EqualFold(label, Label) {
			return filepath.Join("/dev", name)
		}
	}
	return ""
}

// probe returns the kind and label of a file system: ISO 9660 (ECMA-119,
// 8.4.7), FAT (boot sector) or ext4 (superblock).
func probe(r io.ReaderAt) (kind, label string) {
	b := make([]byte, 2048)
	if _, err := r.ReadAt(b, 32768); err == nil && string(b[1:6]) == "CD001" {
		return "iso9660", strings.TrimRight(string(b[40:72]), " \x00")
	}
	if _, err := r.ReadAt(b, 0); err != nil {
		return "", ""
	}
	if b[510] == 0x55 && b[511] == 0xaa {
		if bytes.HasPrefix(b[82:], []byte("FAT32")) {
			return "vfat", fatLabel(r, b, strings.TrimRight(string(b[71:82]), " "))
		}
		if bytes.HasPrefix(b[54:], []byte("FAT1")) {
			return "vfat", fatLabel(r, b, strings.TrimRight(string(b[43:54]), " "))
		}
	}
	if binary.LittleEndian.Uint16(b[1024+56:]) == 0xef53 {
		return "ext4", strings.TrimRight(string(b[1024+120:1024+136]), "\x00")
	}
	return "", ""
}

// fatLabel returns the volume label: the root directory's entry, which some
// tools alone set, else the boot sector's.
func fatLabel(r io.ReaderAt, boot []byte, otherwise string) string {
	le := binary.LittleEndian
	sector, cluster := int64(le.Uint16(boot[11:])), int64(boot[13])
	reserved, fats := int64(le.Uint16(boot[14:])), int64(boot[16])
	var at int64
	if perFAT := int64(le.Uint16(boot[22:])); perFAT != 0 {
		at = (reserved + fats*perFAT) * sector
	} else {
		at = (reserved + fats*int64(le.Uint32(boot[36:])) + (int64(le.Uint32(boot[44:]))-2)*cluster) * sector
	}
	entries := make([]byte, 512)
	if _, err := r.ReadAt(entries, at); err != nil {
		return otherwise
	}
	for ; len(entries) >= 32 && entries[0] != 0; entries = entries[32:] {
		if entries[11] == 0x08 && entries[0] != 0xe5 {
			return strings.TrimRight(string(entries[:11]), " ")
		}
	}
	return otherwise
}

// Read copies the config of a medium to a directory, where Ignition takes it
// as the user's (user.ign). A platform's config Ignition fetches itself.
func (s Source) Read(to string) error {
	if s.Medium == "" {
		return nil
	}
	f, err := os.Open(s.Medium)
	if err != nil {
		return err
	}
	kind, _ := probe(f)
	f.Close()
	const at = "/run/slipway/medium"
	if err := os.MkdirAll(at, 0o700); err != nil {
		return err
	}
	if err := unix.Mount(s.Medium, at, kind, unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mounting %s: %w", s.Medium, err)
	}
	defer unix.Unmount(at, unix.MNT_DETACH)
	data, err := readMedium(at)
	if err != nil {
		return fmt.Errorf("reading %s of %s: %w", ConfigName, s.Medium, err)
	}
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(to, "user.ign"), data, 0o600)
}

// readMedium reads the config whatever case the file system gives its name.
func readMedium(dir string) ([]byte, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if name, _, _ := strings.Cut(e.Name(), ";"); !strings.EqualFold(strings.TrimSuffix(name, "."), ConfigName) {
			continue
		}
		f, err := os.Open(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		defer f.Close()
		const most = 32 << 20
		data, err := io.ReadAll(io.LimitReader(f, most+1))
		if err == nil && len(data) > most {
			err = fmt.Errorf("larger than %d MiB", most>>20)
		}
		return data, err
	}
	return nil, errors.New("there is no such file")
}
