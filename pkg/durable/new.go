package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// WriteNew writes a file that must not be there yet: the error is fs.ErrExist
// if it is. Otherwise it does what WriteFile does.
func WriteNew(name string, data []byte, mode fs.FileMode) error {
	if err := write(name, mode, bytesOf(data), renameNew); err != nil {
		return fmt.Errorf("writing %q: %w", name, err)
	}
	return nil
}

// renameNew renames a file to a name that is free. Some file systems can do
// only the one, some only the other.
func renameNew(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		return os.Link(from, to)
	}
	if err != nil {
		return &fs.PathError{Op: "rename", Path: filepath.Base(to), Err: err}
	}
	return nil
}
