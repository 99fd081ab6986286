package systemd

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWaitOnDevices(t *testing.T) {
	dir := t.TempDir()
	link, file := filepath.Join(dir, "disk"), filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, devs := range [][]string{nil, {"/dev/null"}, {"/dev/null", "/dev/zero"}} {
		if err := WaitOnDevices(t.Context(), devs, "disks"); err != nil {
			t.Errorf("%q: %v", devs, err)
		}
	}
	// One that comes late, under a name that udev gives it.
	done := make(chan error, 1)
	go func() { done <- WaitOnDevices(t.Context(), []string{link, "/dev/null"}, "disks") }()
	if err := os.Symlink("/dev/null", link); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	// A file is no device, however long one waits.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := WaitOnDevices(ctx, []string{"/dev/null", file, dir + "/none"}, "disks")
	if !errors.Is(err, context.Canceled) || !strings.HasSuffix(err.Error(), "there is no "+file+", "+dir+"/none") {
		t.Errorf("got %v", err)
	}
}
