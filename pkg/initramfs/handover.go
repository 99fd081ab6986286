package initramfs

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// units is where the machine's config overrides systemd's units.
const units = "/etc/systemd/system"

// handOver does what systemd would start programs for, or do twice, each time
// it starts. What the machine's config says otherwise is left to systemd; what
// fails, it does itself.
func handOver(root string) {
	for _, m := range []struct{ unit, kind, at, data string }{
		{"dev-hugepages.mount", "hugetlbfs", "/dev/hugepages", ""},
		{"dev-mqueue.mount", "mqueue", "/dev/mqueue", ""},
		{"sys-kernel-debug.mount", "debugfs", "/sys/kernel/debug", ""},
		{"sys-kernel-tracing.mount", "tracefs", "/sys/kernel/tracing", ""},
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
		os.Mkdir(at, 0o755)
		unix.Mount(m.kind, at, m.kind, flags, m.data)
	}
	if varIsOurs(root) {
		leave(root, "run/systemd/journal/flushed", "")
	}
	// systemd-udevd would start ten times as many for each processor: to start
	// one takes longer than most of what it then does.
	if n := runtime.NumCPU(); n < 8 {
		leave(root, "run/udev/udev.conf.d/10-slipway.conf", fmt.Sprintf("children_max=%d\n", 4+2*n))
	}
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

func leave(root, name, text string) {
	file := filepath.Join(root, name)
	if os.MkdirAll(filepath.Dir(file), 0o755) == nil {
		os.WriteFile(file, []byte(text), 0o644)
	}
}
