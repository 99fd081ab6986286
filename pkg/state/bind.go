package state

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

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

// Done says whether the machine's config was applied, once and for all. A
// disk that does not answer is no answer: what is not done is wiped.
func (s State) Done() (bool, error) { return s.stamped(done) }

func (s State) stamped(name string) (bool, error) {
	switch _, err := os.Stat(s.stamp(name)); {
	case err == nil:
		return true, nil
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	default:
		return false, fmt.Errorf("reading the state partition: %w", err)
	}
}

// Start notes that the config is about to be applied. What an attempt that
// was cut off left behind is wiped first: Ignition cannot go on from there.
func (s State) Start() (wiped bool, err error) {
	if finished, err := s.Done(); err != nil {
		return false, err
	} else if finished {
		return false, errors.New("the machine's config was applied before; it is applied once")
	}
	if wiped, err = s.stamped(started); err != nil {
		return false, err
	}
	if wiped {
		if err := os.RemoveAll(filepath.Join(s.Dir, dataDir)); err != nil {
			return false, fmt.Errorf("wiping an interrupted first boot: %w", err)
		}
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

// FailuresFile is where on the state partition the reasons of starts that
// failed are kept.
const FailuresFile = stampDir + "/failures.log"

// Record keeps the reason of a start that failed, and a few before it.
func (s State) Record(text string) error {
	const most = 32 << 10
	file := filepath.Join(s.Dir, FailuresFile)
	old, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	all := fmt.Appendf(old, "--- %s\n%s\n", time.Now().UTC().Format(time.RFC3339), text)
	if len(all) > most {
		all = all[len(all)-most:]
		// Not from within a line.
		all = all[bytes.IndexByte(all, '\n')+1:]
	}
	return durable.WriteFile(file, all, 0o600)
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
	if err := s.prepare(root, Paths()); err != nil {
		return err
	}
	for _, p := range Paths() {
		if err := s.bind(root, p); err != nil {
			return fmt.Errorf("making %s writable: %w", p.Path, err)
		}
	}
	return nil
}

func (s State) data(p Path) string { return filepath.Join(s.Dir, dataDir, filepath.Base(p.Path)) }

// prepare gives each path its place on the state partition. What the image
// has there is copied once: whole and on the disk, or not at all.
func (s State) prepare(root string, paths []Path) error {
	const suffix = ".new"
	var fresh []string
	for _, p := range paths {
		data := s.data(p)
		if p.Overlay {
			for _, d := range []string{"upper", "work"} {
				if err := os.MkdirAll(filepath.Join(data, d), 0o755); err != nil {
					return fmt.Errorf("preparing %s: %w", p.Path, err)
				}
			}
			continue
		}
		if _, err := os.Stat(data); err == nil {
			continue
		} else if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("preparing %s: %w", p.Path, err)
		}
		err := os.RemoveAll(data + suffix)
		if err == nil {
			err = copyTree(filepath.Join(root, p.Path), data+suffix)
		}
		if err == nil {
			err = os.Chmod(data+suffix, fs.FileMode(p.Mode))
		}
		if err != nil {
			return fmt.Errorf("preparing %s: %w", p.Path, err)
		}
		fresh = append(fresh, data)
	}
	if len(fresh) == 0 {
		return nil
	}
	if err := durable.SyncTree(s.Dir); err != nil {
		return fmt.Errorf("syncing the state partition: %w", err)
	}
	for _, data := range fresh {
		if err := os.Rename(data+suffix, data); err != nil {
			return err
		}
	}
	return durable.SyncDir(filepath.Join(s.Dir, dataDir))
}

func (s State) bind(root string, p Path) error {
	image, data := filepath.Join(root, p.Path), s.data(p)
	if !p.Overlay {
		return unix.Mount(data, image, "", unix.MS_BIND, "")
	}
	// Nothing that would tie the upper layer to this image's lower one.
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s/upper,workdir=%[2]s/work,index=off,metacopy=off,redirect_dir=off,xino=off", image, data)
	return unix.Mount("overlay", image, "overlay", unix.MS_NOATIME, options)
}
