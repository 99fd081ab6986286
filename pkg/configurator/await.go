package configurator

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Watch tells when a file is laid down: somebody may copy a role to a node that
// was given none, or a wrong one.
type Watch struct {
	file   string
	events *os.File // inotify(7), of the folder
}

// NewWatch watches for a file, whose folder it makes if there is none.
func NewWatch(file string) (*Watch, error) {
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watching %q: %w", dir, os.NewSyscallError("inotify_init1", err))
	}
	events := os.NewFile(uintptr(fd), "inotify")
	// A file that is still being written is not taken.
	if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_CLOSE_WRITE|unix.IN_MOVED_TO|unix.IN_ONLYDIR); err != nil {
		events.Close()
		return nil, fmt.Errorf("watching %q: %w", dir, os.NewSyscallError("inotify_add_watch", err))
	}
	return &Watch{file: file, events: events}, nil
}

// Close ends the watch.
func (w *Watch) Close() error { return w.events.Close() }

// There returns once the file exists. If it does not yet, absent is called.
func (w *Watch) There(ctx context.Context, absent func()) error {
	for {
		_, err := os.Stat(w.file)
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if absent != nil {
			absent()
			absent = nil
		}
		if err := w.Changed(ctx); err != nil {
			return err
		}
	}
}

// Changed returns once the file was written since the watch began, or since the
// last time that this was said.
func (w *Watch) Changed(ctx context.Context) error {
	w.events.SetReadDeadline(time.Time{})
	defer context.AfterFunc(ctx, func() { w.events.SetReadDeadline(time.Unix(1, 0)) })()
	buffer := make([]byte, 16*(unix.SizeofInotifyEvent+unix.NAME_MAX+1))
	for {
		n, err := w.events.Read(buffer)
		switch {
		case err == nil && names(buffer[:n], filepath.Base(w.file)):
			return nil // whatever ended meanwhile: it is not said again
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, os.ErrDeadlineExceeded): // of the last time, which ended just now
			w.events.SetReadDeadline(time.Time{})
		case err != nil:
			return fmt.Errorf("watching for %q: %w", w.file, err)
		}
	}
}

// names tells whether one of some events is about a name, or says that events
// were lost.
func names(events []byte, name string) bool {
	for len(events) >= unix.SizeofInotifyEvent {
		e := (*unix.InotifyEvent)(unsafe.Pointer(&events[0]))
		events = events[unix.SizeofInotifyEvent:]
		if e.Mask&unix.IN_Q_OVERFLOW != 0 || unix.ByteSliceToString(events[:e.Len]) == name {
			return true
		}
		events = events[e.Len:]
	}
	return false
}
