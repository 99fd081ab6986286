package state

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/slipway-os/slipway/pkg/durable"
)

// Directories below the state partition's root.
const (
	dataDir  = "data" // what the table's paths hold
	stampDir = "slipway"
	started  = "ignition.started"
	done     = "ignition.done"
)

// State is a mounted state partition.
type State struct{ Dir string }

func (s State) stamp(name string) string { return filepath.Join(s.Dir, stampDir, name) }

// Done says whether the machine's config was applied, once and for all.
func (s State) Done() bool {
	_, err := os.Stat(s.stamp(done))
	return err == nil
}

// Start notes that the config is about to be applied. What an attempt that
// was cut off left behind is wiped first: Ignition cannot go on from there.
func (s State) Start() (wiped bool, err error) {
	if _, err := os.Stat(s.stamp(started)); err == nil {
		if err := os.RemoveAll(filepath.Join(s.Dir, dataDir)); err != nil {
			return false, fmt.Errorf("wiping an interrupted first boot: %w", err)
		}
		wiped = true
	}
	return wiped, s.write(started)
}

// Finish notes that the config was applied. Everything it wrote is on the
// disk before the note is.
func (s State) Finish() error {
	if err := durable.SyncTree(s.Dir); err != nil {
		return fmt.Errorf("syncing the state partition: %w", err)
	}
	return s.write(done)
}

func (s State) write(name string) error {
	file := s.stamp(name)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	if err := durable.WriteFile(file, nil, 0o600); err != nil {
		return err
	}
	return durable.SyncDir(s.Dir)
}

// Bind binds the paths of the table below root to the state partition.
func (s State) Bind(root string) error {
	for _, p := range Paths() {
		if err := s.bind(root, p); err != nil {
			return fmt.Errorf("making %s writable: %w", p.Path, err)
		}
	}
	return nil
}

func (s State) bind(root string, p Path) error {
	image := filepath.Join(root, p.Path)
	data := filepath.Join(s.Dir, dataDir, filepath.Base(p.Path))
	if p.Overlay {
		upper, work := filepath.Join(data, "upper"), filepath.Join(data, "work")
		for _, d := range []string{upper, work} {
			if err := os.MkdirAll(d, 0o755); err != nil {
				return err
			}
		}
		// Nothing that would tie the upper layer to this image's lower one.
		options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s,index=off,metacopy=off,redirect_dir=off,xino=off", image, upper, work)
		return unix.Mount("overlay", image, "overlay", unix.MS_NOATIME, options)
	}
	if _, err := os.Stat(data); errors.Is(err, fs.ErrNotExist) {
		// Whole or not at all.
		fresh := data + ".new"
		if err := os.RemoveAll(fresh); err != nil {
			return err
		}
		if err := copyTree(image, fresh); err != nil {
			return err
		}
		if err := os.Chmod(fresh, fs.FileMode(p.Mode)); err != nil {
			return err
		}
		if err := os.Rename(fresh, data); err != nil {
			return err
		}
	}
	return unix.Mount(data, image, "", unix.MS_BIND, "")
}

// copyTree copies directories, files and symlinks with their owners and modes.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, name)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		var st unix.Stat_t
		if err := unix.Lstat(name, &st); err != nil {
			return err
		}
		switch d.Type() {
		case fs.ModeDir:
			if err := os.MkdirAll(target, 0o700); err != nil {
				return err
			}
		case fs.ModeSymlink:
			link, err := os.Readlink(name)
			if err != nil {
				return err
			}
			if err := os.Symlink(link, target); err != nil {
				return err
			}
			return os.Lchown(target, int(st.Uid), int(st.Gid))
		case 0:
			if err := copyFile(name, target); err != nil {
				return err
			}
		default:
			return nil
		}
		if err := os.Lchown(target, int(st.Uid), int(st.Gid)); err != nil {
			return err
		}
		return unix.Chmod(target, st.Mode&0o7777)
	})
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
