// Package durable writes files so that a power cut leaves the old content or
// the new, never a part, and so that what was reported as written stays.
package durable

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// WriteFile replaces a file. When it returns nil, content and name are on the
// disk. Missing directories are made.
func WriteFile(name string, data []byte, mode fs.FileMode) error {
	return Write(name, mode, bytesOf(data))
}

// Write is WriteFile for content that is made while it is written.
func Write(name string, mode fs.FileMode, content func(io.Writer) error) error {
	if err := write(name, mode, content, os.Rename); err != nil {
		return fmt.Errorf("writing %q: %w", name, err)
	}
	return nil
}

func bytesOf(data []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	}
}

func write(name string, mode fs.FileMode, content func(io.Writer) error, rename func(from, to string) error) error {
	dir := filepath.Dir(name)
	if err := makeDir(dir); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "."+filepath.Base(name)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if err = content(f); err == nil {
		err = cmp.Or(f.Chmod(mode), syncFile(f))
	}
	if err = cmp.Or(err, f.Close()); err != nil {
		return err
	}
	if err := rename(f.Name(), name); err != nil {
		return err
	}
	return SyncDir(dir)
}

// RemoveUnfinished removes what writers of a file left beside it that lost
// power. None may be at work.
func RemoveUnfinished(name string) error {
	left, err := filepath.Glob(filepath.Join(filepath.Dir(name), "."+filepath.Base(name)+"-*"))
	if err != nil {
		return err
	}
	var errs []error
	for _, file := range left {
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// makeDir makes a directory and those above it. The entry of each that it
// made is on the disk.
func makeDir(dir string) error {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return nil
	} else if err == nil {
		return &fs.PathError{Op: "mkdir", Path: dir, Err: unix.ENOTDIR}
	}
	above := filepath.Dir(dir)
	if above != dir {
		if err := makeDir(above); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		if info, again := os.Stat(dir); again == nil && info.IsDir() {
			return nil // somebody else made it
		}
		return err
	}
	return SyncDir(above)
}

// SyncDir brings a directory's entries to the disk.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(syncFile(d), d.Close())
}

// SyncTree brings everything that was written to the file system of a path to
// the disk: what other programs wrote without syncing.
func SyncTree(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(syncFS(d), d.Close())
}
