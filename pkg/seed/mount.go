package seed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

type mount struct{ source, target string }

// attach puts the layers in place. It comes after the commits: a directory
// with a number that was never committed would be in the way of the snapshot
// that gets that number later.
func (s *seeder) attach(ctx context.Context) error {
	for _, target := range s.retired {
		if err := detach(target); err != nil {
			return err
		}
	}
	for _, m := range s.mounts {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("mounting layer %s: %w", m.source, err)
		}
		// containerd's own modes (prepareDirectory in overlay.go).
		if err := os.Mkdir(filepath.Dir(m.target), 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return fmt.Errorf("making snapshot: %w", err)
		}
		if err := os.Mkdir(m.target, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			return fmt.Errorf("making snapshot: %w", err)
		}
		bind := s.Mount
		if bind == nil {
			bind = bindReadOnly
		}
		if err := bind(m.source, m.target); err != nil {
			return fmt.Errorf("mounting layer %s on %s: %w", m.source, m.target, err)
		}
	}
	return nil
}

// bindReadOnly binds source onto target, unless that is done already. A
// symbolic link would do for most pods, but not for those with a user
// namespace, whose runtime clones and idmaps the mount below which all
// snapshots lie.
func bindReadOnly(source, target string) error {
	from, err := os.Stat(source)
	if err != nil {
		return err
	}
	to, err := os.Stat(target)
	if err != nil {
		return err
	}
	if os.SameFile(from, to) {
		var fs unix.Statfs_t
		if err := unix.Statfs(target, &fs); err != nil {
			return fmt.Errorf("examining the mount: %w", err)
		}
		if fs.Flags&unix.ST_RDONLY != 0 {
			return nil
		}
	}
	if err := detach(target); err != nil {
		return err
	}
	if err := unix.Mount(source, target, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("binding: %w", err)
	}
	// mount(2): a bind mount takes its flags only when it is remounted.
	if err := unix.Mount("", target, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		_ = detach(target)
		return fmt.Errorf("making the mount read-only: %w", err)
	}
	return nil
}

// detach unmounts all that is mounted on a directory. A container that runs
// on it keeps what it has.
func detach(target string) error {
	for {
		var st unix.Statx_t
		err := unix.Statx(unix.AT_FDCWD, target, unix.AT_NO_AUTOMOUNT|unix.AT_SYMLINK_NOFOLLOW, 0, &st)
		if errors.Is(err, unix.ENOENT) {
			return nil
		} else if err != nil {
			return fmt.Errorf("examining %s: %w", target, err)
		}
		if st.Attributes&unix.STATX_ATTR_MOUNT_ROOT == 0 {
			return nil
		}
		if err := unix.Unmount(target, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
			return fmt.Errorf("unmounting %s: %w", target, err)
		}
	}
}
