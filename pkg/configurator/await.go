package configurator

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// AwaitRole returns once there is a file with a role. If there is none yet it
// calls absent, and waits for one to be laid down: somebody may copy it to a
// node that was given none.
func AwaitRole(ctx context.Context, file string, absent func()) error {
	if exists, err := isThere(file); exists || err != nil {
		return err
	}
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return fmt.Errorf("watching %q: %w", dir, os.NewSyscallError("inotify_init1", err))
	}
	events := os.NewFile(uintptr(fd), "inotify")
	defer events.Close()
	// A file that is still being written is not taken.
	if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_CLOSE_WRITE|unix.IN_MOVED_TO|unix.IN_ONLYDIR); err != nil {
		return fmt.Errorf("watching %q: %w", dir, os.NewSyscallError("inotify_add_watch", err))
	}
	defer context.AfterFunc(ctx, func() { events.Close() })()
	absent()
	// Any event is a reason to look; room for one with the longest name.
	buffer := make([]byte, unix.SizeofInotifyEvent+unix.NAME_MAX+1)
	for {
		// It may have come before the watch.
		if exists, err := isThere(file); exists || err != nil {
			return err
		}
		if _, err := events.Read(buffer); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("watching %q: %w", dir, err)
		}
	}
}

func isThere(file string) (bool, error) {
	_, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
