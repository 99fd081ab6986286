package initramfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// units is where the machine's config overrides systemd's units.
const units = "/etc/systemd/system"

// handOver does what systemd would start programs for, or do twice, each time
// it starts. What the machine's config says otherwise is left to systemd, and so
// is what an error tells of.
func handOver(root string) error {
	var errs []error
	for _, m := range []struct{ unit, kind, at, data string }{
		{"dev-hugepages.mount", "hugetlbfs", "/dev/hugepages", ""},
		{"dev-mqueue.mount", "mqueue", "/dev/mqueue", ""},
		{"sys-kernel-debug.mount", "debugfs", "/sys/kernel/debug", ""},
		{"sys-kernel-tracing.mount", "tracefs", "/sys/kernel/tracing", ""},
		// Of these two, where they are modules, udev's rules see to it later.
		{"sys-fs-fuse-connections.mount", "fusectl", "/sys/fs/fuse/connections", ""},
		{"sys-kernel-config.mount", "configfs", "/sys/kernel/config", ""},
		{"run-lock.mount", "tmpfs", "/run/lock", "mode=1777,size=5242880"},
	} {
		if overridden(root, m.unit) {
			continue
		}
		flags := uintptr(unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC)
		if m.kind == "hugetlbfs" {
			flags &^= unix.MS_NOEXEC
		}
		at := filepath.Join(root, m.at)
		if !strings.HasPrefix(m.at, "/sys/") { // where the kernel makes what it has
			if err := os.Mkdir(at, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
				errs = append(errs, err)
				continue
			}
		}
		switch err := unix.Mount(m.kind, at, m.kind, flags, m.data); {
		case err == nil, errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENOENT): // the kernel has none
		default:
			errs = append(errs, fmt.Errorf("mounting %s: %w", m.at, err))
		}
	}
	if varIsOurs(root) {
		file := filepath.Join(root, "run/systemd/journal/flushed")
		errs = append(errs, os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, nil, 0o644))
	}
	return errors.Join(errs...)
}

// varIsOurs tells that nothing is mounted over the state partition's /var, so
// that the journal can be there from the first. (Otherwise it is written to
// /run and copied: systemd-journald.service(8), on /run/systemd/journal/flushed.)
func varIsOurs(root string) bool {
	if found, err := filepath.Glob(filepath.Join(root, units, "var*.mount")); err != nil || len(found) != 0 {
		return false
	}
	fstab, err := os.ReadFile(filepath.Join(root, "etc/fstab"))
	return err == nil && !strings.Contains(string(fstab), "/var")
}

// overridden tells whether the machine's config has something to say on a unit.
func overridden(root, unit string) bool {
	for _, name := range []string{unit, unit + ".d"} {
		if _, err := os.Lstat(filepath.Join(root, units, name)); err == nil {
			return true
		}
	}
	return false
}
