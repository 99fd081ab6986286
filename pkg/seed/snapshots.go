package seed

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"go.etcd.io/bbolt"
)

// kindCommitted is snapshots.KindCommitted (core/snapshots/snapshotter.go).
const kindCommitted = 3

// snapshotRecords records every layer as a committed snapshot, in both
// databases: the metadata knows it, within the namespace, by its chain ID and
// maps that to the name "namespace/number/chain ID" (createKey in
// core/metadata/snapshot.go), by which the snapshotter knows it, and its
// directory's number.
func (s *seeder) snapshotRecords() error {
	all := layers(s.images)
	s.result.Snapshots = len(all)
	if err := s.retireSnapshots(all); err != nil {
		return err
	}
	known, err := s.meta.bucket(s.meta.tx, schema, namespace, "snapshots", snapshotter)
	if err != nil {
		return err
	}
	stored, err := s.storedSnapshots()
	if err != nil {
		return err
	}
	for _, l := range all {
		if err := s.count(func() error { return s.snapshotRecord(known, stored, l) }); err != nil {
			return fmt.Errorf("recording snapshot %s: %w", l.chain, err)
		}
	}
	return nil
}

func (s *seeder) snapshotRecord(known, stored *bbolt.Bucket, l layer) error {
	name, ours, err := s.knownSnapshot(known, stored, l)
	if err != nil {
		return err
	}
	parent := ""
	if l.parent != "" {
		parent = value(known.Bucket([]byte(l.parent)), "name")
	}
	id, err := s.storedSnapshot(stored, name, parent)
	if err != nil {
		return err
	}
	// What the user unpacked himself has its own bytes.
	if ours {
		s.mounts = append(s.mounts, mount{l.dir, s.upper(id)})
	}
	return nil
}

// storedSnapshots returns the snapshotter's bucket of snapshots, by name.
func (s *seeder) storedSnapshots() (*bbolt.Bucket, error) {
	if _, err := s.storage.bucket(s.storage.tx, schema, "parents"); err != nil {
		return nil, err
	}
	created := lookup(s.storage.tx, schema, "snapshots") == nil
	stored, err := s.storage.bucket(s.storage.tx, schema, "snapshots")
	if err != nil || !created {
		return stored, err
	}
	// If a database was lost, the directories that it numbered are still
	// there and would be in the way.
	entries, err := os.ReadDir(filepath.Join(s.Root, snapshotsDir, "snapshots"))
	if err != nil {
		return nil, fmt.Errorf("listing snapshots: %w", err)
	}
	last := uint64(0)
	for _, e := range entries {
		if n, err := strconv.ParseUint(e.Name(), 10, 64); err == nil {
			last = max(last, n)
		}
	}
	if last == 0 {
		return stored, nil
	}
	s.storage.changes++
	if err := stored.SetSequence(last); err != nil {
		return nil, fmt.Errorf("numbering snapshots from %d: %w", last, err)
	}
	return stored, nil
}

// knownSnapshot makes the metadata's record of a snapshot, and tells its name
// in the snapshotter and whether its bytes come from the baked images.
func (s *seeder) knownSnapshot(known, stored *bbolt.Bucket, l layer) (name string, ours bool, err error) {
	record := known.Bucket([]byte(l.chain))
	if record == nil {
		for {
			n, err := known.NextSequence()
			if err != nil {
				return "", false, fmt.Errorf("numbering: %w", err)
			}
			name = fmt.Sprintf("%s/%d/%s", namespace, n, l.chain)
			if stored.Bucket([]byte(name)) == nil {
				break
			}
		}
		if record, err = s.meta.bucket(known, l.chain); err != nil {
			return "", false, err
		}
		if err := s.stamp(s.meta, record); err != nil {
			return "", false, err
		}
		if err := s.meta.put(record, "name", []byte(name)); err != nil {
			return "", false, err
		}
	}
	name = value(record, "name")
	ours = label(record, Label) != "" || stored.Bucket([]byte(name)) == nil
	if !ours {
		return name, false, nil
	}
	labels, err := s.meta.bucket(record, "labels")
	if err != nil {
		return "", false, err
	}
	if err := s.meta.put(labels, Label, []byte("true")); err != nil {
		return "", false, err
	}
	if l.parent == "" {
		return name, true, nil
	}
	if err := s.meta.put(record, "parent", []byte(l.parent)); err != nil {
		return "", false, err
	}
	children, err := s.meta.bucket(known, l.parent, "children")
	if err != nil {
		return "", false, err
	}
	return name, true, s.meta.put(children, l.chain, nil)
}

// storedSnapshot makes the snapshotter's record of a snapshot, and tells its
// number. The space it takes is said to be none, for it takes none of the
// disk that kubelet watches.
func (s *seeder) storedSnapshot(stored *bbolt.Bucket, name, parent string) (uint64, error) {
	if record := stored.Bucket([]byte(name)); record != nil {
		return number(record), nil
	}
	id, err := stored.NextSequence()
	if err != nil {
		return 0, fmt.Errorf("numbering: %w", err)
	}
	record, err := s.storage.bucket(stored, name)
	if err != nil {
		return 0, err
	}
	if err := s.stamp(s.storage, record); err != nil {
		return 0, err
	}
	labels, err := s.storage.bucket(record, "labels")
	if err != nil {
		return 0, err
	}
	if err := s.storage.put(labels, Label, []byte("true")); err != nil {
		return 0, err
	}
	for key, v := range map[string][]byte{
		"id": binary.AppendUvarint(nil, id), "kind": {kindCommitted},
		"inodes": binary.AppendVarint(nil, 0), "size": binary.AppendVarint(nil, 0),
	} {
		if err := s.storage.put(record, key, v); err != nil {
			return 0, err
		}
	}
	if parent == "" {
		return id, nil
	}
	above := stored.Bucket([]byte(parent))
	if above == nil {
		return 0, fmt.Errorf("finding parent %q: the snapshotter does not have it", parent)
	}
	if err := s.storage.put(record, "parent", []byte(parent)); err != nil {
		return 0, err
	}
	return id, s.storage.put(lookup(s.storage.tx, schema, "parents"), parentKey(number(above), id), []byte(name))
}

// number is the number of a snapshot's directory.
func number(record *bbolt.Bucket) uint64 {
	id, _ := binary.Uvarint(record.Get([]byte("id")))
	return id
}

// parentKey is the key of a link from a parent to a child: both numbers, a
// zero byte between them.
func parentKey(parent, child uint64) string {
	return string(binary.AppendUvarint(append(binary.AppendUvarint(nil, parent), 0), child))
}

// stamp sets a new record's times.
func (s *seeder) stamp(d *database, record *bbolt.Bucket) error {
	for _, key := range []string{"createdat", "updatedat"} {
		if err := d.put(record, key, s.now); err != nil {
			return err
		}
	}
	return nil
}

// removeOrphans removes the snapshots that were seeded and that the metadata
// does not know: the power was cut between the two commits. Their directories
// are removed by containerd.
func (s *seeder) removeOrphans() error {
	names := map[string]bool{}
	v1 := s.meta.tx.Bucket([]byte(schema))
	for _, ns := range keys(v1) {
		if b := lookup(v1, ns, "snapshots", snapshotter); b != nil {
			for _, key := range keys(b) {
				names[value(b.Bucket([]byte(key)), "name")] = true
			}
		}
	}
	stored := lookup(s.storage.tx, schema, "snapshots")
	parents := lookup(s.storage.tx, schema, "parents")
	all := keys(stored)
	for again := true; again; { // children before parents
		again = false
		for _, name := range all {
			record := stored.Bucket([]byte(name))
			if record == nil || names[name] || label(record, Label) == "" {
				continue
			}
			id := number(record)
			if k, _ := parents.Cursor().Seek(binary.AppendUvarint(nil, id)); k != nil {
				if p, _ := binary.Uvarint(k); p == id {
					continue
				}
			}
			if above := stored.Bucket([]byte(value(record, "parent"))); above != nil {
				if err := s.storage.remove(parents, parentKey(number(above), id)); err != nil {
					return err
				}
			}
			if err := s.storage.remove(stored, name); err != nil {
				return err
			}
			s.retired = append(s.retired, s.upper(id))
			s.result.Written++
			again = true
		}
	}
	return nil
}

// isChain tells a committed layer's key from a container's or an unfinished
// extraction's.
func isChain(key string) bool { return strings.HasPrefix(key, "sha256:") }
