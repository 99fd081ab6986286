package initramfs

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// What the machine's config says of mounts is systemd's to do.
func TestConfigsMountsAreLeftAlone(t *testing.T) {
	for _, c := range []struct {
		name, file, text string
		journal, mount   bool // whether handOver does its part
	}{
		{"nothing of it", "etc/hostname", "cp1\n", true, true},
		{"a mount unit over /var/log", "etc/systemd/system/var-log.mount", "[Mount]\n", false, true},
		{"fstab with /var", "etc/fstab", "/dev/vdb1 /var ext4\n", false, true},
		{"fstab with another disk", "etc/fstab", "/dev/vdb1 /data ext4\n", true, true},
		{"drop-in of a mount", "etc/systemd/system/run-lock.mount.d/size.conf", "[Mount]\n", true, false},
		{"mount of its own", "etc/systemd/system/run-lock.mount", "[Mount]\n", true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := t.TempDir()
			lay(t, root, "etc/fstab", "")
			lay(t, root, c.file, c.text)
			if got := varIsOurs(root); got != c.journal {
				t.Errorf("the journal's directory is ours: %t", got)
			}
			if got := !overridden(root, "run-lock.mount"); got != c.mount {
				t.Errorf("run-lock.mount is ours: %t", got)
			}
		})
	}
	t.Run("masked", func(t *testing.T) {
		root := t.TempDir()
		lay(t, root, filepath.Join(units, "x"), "")
		if err := os.Symlink("/dev/null", filepath.Join(root, units, "sys-kernel-debug.mount")); err != nil {
			t.Fatal(err)
		}
		if !overridden(root, "sys-kernel-debug.mount") {
			t.Error("it is mounted")
		}
	})
}

func lay(t *testing.T, root, name, text string) {
	t.Helper()
	file := filepath.Join(root, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
}
