package state

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// copyTree copies directories, files and symlinks with their owners, modes,
// times and extended attributes. Sockets, pipes and devices have no place in
// an image's directories and are left out.
func copyTree(from, to string) error {
	type dir struct{ from, to string }
	var dirs []dir
	err := filepath.WalkDir(from, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, name)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		switch d.Type() {
		case fs.ModeDir:
			if err := os.MkdirAll(target, 0o700); err != nil {
				return err
			}
			// Not before everything is in it: its time would change.
			dirs = append(dirs, dir{name, target})
			return nil
		case fs.ModeSymlink:
			link, err := os.Readlink(name)
			if err == nil {
				err = os.Symlink(link, target)
			}
			if err != nil {
				return err
			}
		case 0:
			if err := copyFile(name, target); err != nil {
				return err
			}
		default:
			return nil
		}
		return dress(name, target)
	})
	for i := len(dirs) - 1; i >= 0 && err == nil; i-- {
		err = dress(dirs[i].from, dirs[i].to)
	}
	return err
}

// dress gives a file the owner, attributes, mode and time of another. In this
// order: a change of owner takes capabilities and setuid bits away.
func dress(from, to string) error {
	var st unix.Stat_t
	if err := unix.Lstat(from, &st); err != nil {
		return &fs.PathError{Op: "lstat", Path: from, Err: err}
	}
	if err := os.Lchown(to, int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	if err := copyAttributes(from, to); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		if err := unix.Chmod(to, st.Mode&0o7777); err != nil {
			return &fs.PathError{Op: "chmod", Path: to, Err: err}
		}
	}
	times := []unix.Timespec{st.Mtim, st.Mtim}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, to, times, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &fs.PathError{Op: "utimensat", Path: to, Err: err}
	}
	return nil
}

// copyAttributes copies the extended attributes that mean something on
// another file system: capabilities and the user's own.
func copyAttributes(from, to string) error {
	size, err := unix.Llistxattr(from, nil)
	if err != nil || size == 0 {
		return nil // the file system has none
	}
	list := make([]byte, size)
	if size, err = unix.Llistxattr(from, list); err != nil {
		return fmt.Errorf("reading the attributes of %q: %w", from, err)
	}
	for _, name := range strings.Split(strings.TrimRight(string(list[:size]), "\x00"), "\x00") {
		if name != "security.capability" && !strings.HasPrefix(name, "user.") {
			continue
		}
		value := make([]byte, 64<<10) // the kernel's own limit
		n, err := unix.Lgetxattr(from, name, value)
		if err == nil {
			err = unix.Lsetxattr(to, name, value[:n], 0)
		}
		if err != nil {
			return fmt.Errorf("copying the attribute %s of %q: %w", name, from, err)
		}
	}
	return nil
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
