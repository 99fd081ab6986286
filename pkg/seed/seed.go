// Package seed tells containerd, before it starts, of the container images
// that are baked into the read-only root: it writes the records that an import
// would have left in containerd's two databases, and bind-mounts each baked
// layer where containerd's overlay snapshotter looks for it. No layer byte is
// read or copied.
//
// The formats are those of containerd v2.4.2: core/metadata/buckets.go (schema
// v1, version 4), core/snapshots/storage/bolt.go, plugins/content/local and
// plugins/snapshots/overlay.
//
// # What is whose
//
// The databases also hold what users pulled and run. Every record that is made
// here carries the label Label. What a former root seeded and this one does
// not have is let go: its image records are deleted, its snapshots are renamed
// (their bytes left with the former root, so that nothing may build on them)
// and, like its blobs, left to containerd's garbage collector, which runs
// 100 ms after containerd starts and knows whether a container still refers to
// them.
//
// # Power cuts
//
// Each database changes in one transaction. A new database is written beside
// its place, synced and renamed. Whatever subset of the files reached the
// disk, the next run, which is at the next boot and before containerd, ends in
// the same state: a snapshot that only the metadata knows is recorded in the
// snapshotter again, one that only the snapshotter knows is removed.
package seed

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"time"
)

// Label marks what Seed made. Images have the digest of the seeded manifest as
// its value (or "adopted", if the user had the same image already), so that a
// reference that was pulled anew is told from a seeded one; all else has
// "true".
const Label = "io.slipway.seeded"

// labelPinned keeps an image from kubelet's image garbage collection
// (internal/cri/labels).
const labelPinned = "io.cri-containerd.pinned"

const (
	namespace   = "k8s.io"    // the one that CRI uses
	snapshotter = "overlayfs" // the one that CRI uses by default

	contentDir   = "io.containerd.content.v1.content"
	metadataDir  = "io.containerd.metadata.v1.bolt"
	snapshotsDir = "io.containerd.snapshotter.v1.overlayfs"

	schema        = "v1" // of both databases
	schemaVersion = 4    // dbVersion in core/metadata/db.go
)

// Options say what to seed where.
type Options struct {
	Images string // directory of the baked images (pkg/container.Tree)
	Root   string // containerd's root: /var/lib/containerd

	// Mount binds source onto target, read-only. Nil: mount(2), and what is
	// mounted on the target already stays if it is the source, else is
	// detached.
	Mount func(source, target string) error

	Now time.Time // for the records; zero: the clock
}

// Result says what Seed found and did.
type Result struct {
	Images    int      // baked images
	Snapshots int      // snapshots they consist of
	Written   int      // blobs and records made, changed or removed; 0: all was in place
	Notes     []string // what an operator should know, in sentences without a full stop
}

type seeder struct {
	Options
	now     []byte // time.Time.MarshalBinary, as boltutil.WriteTimestamps
	images  []image
	meta    *database
	storage *database
	result  Result
	mounts  []mount  // to make, after the commit
	retired []string // directories of snapshots that were let go
}

// Seed makes containerd's store know the baked images. It is to run at every
// boot, before containerd; it fails while containerd has the databases open.
func Seed(ctx context.Context, o Options) (result Result, err error) {
	s := &seeder{Options: o}
	// bbolt asserts by panicking, and reads through a mapping: a file that is
	// damaged in its middle must not end the boot program without a word.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			result, err = s.result, fmt.Errorf("seeding %s, where a database seems damaged: %v", o.Root, r)
		}
	}()
	err = s.run(ctx)
	return s.result, err
}

func (s *seeder) run(ctx context.Context) error {
	if s.Now.IsZero() {
		s.Now = time.Now()
	}
	var err error
	if s.now, err = s.Now.UTC().MarshalBinary(); err != nil {
		return fmt.Errorf("encoding the time %v: %w", s.Now, err)
	}
	if s.Images, err = filepath.Abs(s.Images); err != nil {
		return fmt.Errorf("finding the images %q: %w", s.Images, err)
	}
	if s.images, err = readImages(s.Images); err != nil {
		return err
	}
	s.result.Images = len(s.images)
	// The modes are containerd's, so that it does not matter who comes first.
	for _, d := range []struct {
		name string
		mode os.FileMode
	}{{"", 0o700}, {metadataDir, 0o711}, {snapshotsDir, 0o700}, {snapshotsDir + "/snapshots", 0o700}, {contentDir + "/blobs/sha256", 0o755}} {
		if err := os.MkdirAll(filepath.Join(s.Root, d.name), d.mode); err != nil {
			return fmt.Errorf("making containerd's directory %q: %w", d.name, err)
		}
	}
	if s.storage, err = s.open(filepath.Join(s.Root, snapshotsDir, "metadata.db"), 0o600); err != nil {
		return err
	}
	defer s.storage.close()
	if s.meta, err = s.open(filepath.Join(s.Root, metadataDir, "meta.db"), 0o644); err != nil {
		return err
	}
	defer s.meta.close()
	if err := s.writeBlobs(ctx); err != nil {
		return err
	}
	if err := s.records(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("seeding %s: %w", s.Root, err)
	}
	// The snapshotter first: what it alone knows is harmless.
	if err := s.storage.commit(); err != nil {
		return err
	}
	if err := s.meta.commit(); err != nil {
		return err
	}
	return s.attach(ctx)
}

// open opens a database and notes it if the file had to be replaced.
func (s *seeder) open(path string, mode os.FileMode) (*database, error) {
	d, note, err := openDatabase(path, mode)
	if err != nil {
		return nil, err
	}
	if note != "" {
		s.note("%s", note)
	}
	return d, nil
}

// records brings both databases' open transactions to the wanted state.
func (s *seeder) records() error {
	created := s.meta.tx.Bucket([]byte(schema)) == nil
	v1, err := s.meta.bucket(s.meta.tx, schema)
	if err != nil {
		return err
	}
	if created {
		// An older database keeps its version: the migrations are containerd's.
		if err := s.meta.put(v1, "version", binary.AppendVarint(nil, schemaVersion)); err != nil {
			return err
		}
	}
	for _, step := range []func() error{s.snapshotRecords, s.contentRecords, s.imageRecords, s.removeOrphans} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// count counts a record if f changes something.
func (s *seeder) count(f func() error) error {
	before := s.meta.changes + s.storage.changes
	err := f()
	if s.meta.changes+s.storage.changes > before {
		s.result.Written++
	}
	return err
}

func (s *seeder) note(format string, args ...any) {
	s.result.Notes = append(s.result.Notes, fmt.Sprintf(format, args...))
}

// upper is the directory that a snapshot's layer lies in.
func (s *seeder) upper(id uint64) string {
	return filepath.Join(s.Root, snapshotsDir, "snapshots", strconv.FormatUint(id, 10), "fs")
}
