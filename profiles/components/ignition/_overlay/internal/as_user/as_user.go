// Package as_user makes files and directories with the rights of a user, so
// that nothing a user put in its own home can lead root elsewhere.
package as_user

import (
	"fmt"
	"os"
	"os/user"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// private is what others get of the files: nothing.
const private = 0o077

// OpenFile is os.OpenFile with the user's rights.
func OpenFile(u *user.User, name string, flags int, perm uint32) (f *os.File, err error) {
	err = as(u, func() error {
		f, err = os.OpenFile(name, flags, os.FileMode(perm&^private))
		return err
	})
	return f, err
}

// MkdirAll is os.MkdirAll with the user's rights.
func MkdirAll(u *user.User, path string, perm uint32) error {
	return as(u, func() error { return os.MkdirAll(path, os.FileMode(perm&^private)) })
}

// Rename is os.Rename with the user's rights.
func Rename(u *user.User, oldpath, newpath string) error {
	return as(u, func() error { return os.Rename(oldpath, newpath) })
}

// as calls do on a thread whose file system user and group are u's. Linux
// keeps them by thread, setfsuid(2), and takes root's capabilities over files
// away with them. The thread is not given back: it ends with the goroutine.
func as(u *user.User, do func() error) error {
	uid, err := strconv.ParseUint(u.Uid, 10, 31)
	if err != nil {
		return fmt.Errorf("reading the uid of user %q: %w", u.Username, err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 31)
	if err != nil {
		return fmt.Errorf("reading the gid of user %q: %w", u.Username, err)
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		if err := become(int(uid), int(gid)); err != nil {
			done <- err
			return
		}
		done <- do()
	}()
	return <-done
}

// become changes the thread's identity for files. The calls report no
// failure; asking with an id that cannot be tells what is in force.
func become(uid, gid int) error {
	if err := unix.Setfsgid(gid); err != nil {
		return fmt.Errorf("taking group %d: %w", gid, err)
	}
	if err := unix.Setfsuid(uid); err != nil {
		return fmt.Errorf("taking user %d: %w", uid, err)
	}
	if now, err := unix.SetfsgidRetGid(-1); err != nil || now != gid {
		return fmt.Errorf("taking group %d: %w", gid, unix.EPERM)
	}
	if now, err := unix.SetfsuidRetUid(-1); err != nil || now != uid {
		return fmt.Errorf("taking user %d: %w", uid, unix.EPERM)
	}
	return nil
}
