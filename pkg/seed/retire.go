package seed

import (
	"fmt"
	"strings"

	"go.etcd.io/bbolt"
)

// stalePrefix is what the keys of snapshots begin with that were let go.
const stalePrefix = "slipway-stale-"

// retireSnapshots renames, in the metadata, every committed snapshot that has
// no bytes any more: those that were seeded and are not baked now, those that
// the snapshotter has lost (its database was replaced), and all that lies on
// them. Under their chain IDs containerd would take them for unpacked layers
// and run containers without files. Under other names they stay as long as a
// container refers to them, then containerd's garbage collector removes them.
func (s *seeder) retireSnapshots(all []layer) error {
	known := lookup(s.meta.tx, schema, namespace, "snapshots", snapshotter)
	if known == nil {
		return nil
	}
	stored := lookup(s.storage.tx, schema, "snapshots")
	wanted := map[string]bool{}
	for _, l := range all {
		wanted[l.chain] = true
	}
	dead := map[string]bool{} // of those that were looked at
	var isDead func(key string) bool
	isDead = func(key string) bool {
		if d, ok := dead[key]; ok {
			return d
		}
		dead[key] = false // ends a cycle, which must not be
		record := known.Bucket([]byte(key))
		if record == nil || !isChain(key) || wanted[key] {
			return false
		}
		dead[key] = label(record, Label) != "" || stored == nil || stored.Bucket([]byte(value(record, "name"))) == nil || isDead(value(record, "parent"))
		return dead[key]
	}
	renamed := map[string]string{}
	for _, key := range keys(known) {
		if isDead(key) {
			renamed[key] = stalePrefix + strings.ReplaceAll(value(known.Bucket([]byte(key)), "name"), "/", "-")
		}
	}
	for from, to := range renamed {
		if err := s.renameSnapshot(known, stored, from, to); err != nil {
			return fmt.Errorf("letting go of snapshot %s: %w", from, err)
		}
	}
	if err := s.relink(known, renamed); err != nil {
		return err
	}
	return s.brokenImages(renamed)
}

func (s *seeder) renameSnapshot(known, stored *bbolt.Bucket, from, to string) error {
	old := known.Bucket([]byte(from))
	if label(old, Label) == "" {
		s.note("snapshot %s lies on layers that are gone: it has to be unpacked or pulled again", from)
	}
	if stored != nil {
		if record := stored.Bucket([]byte(value(old, "name"))); record != nil {
			s.retired = append(s.retired, s.upper(number(record)))
		}
	}
	record, err := s.meta.bucket(known, to)
	if err != nil {
		return err
	}
	if err := copyBucket(record, old); err != nil {
		return fmt.Errorf("copying the record: %w", err)
	}
	if labels := record.Bucket([]byte("labels")); labels != nil {
		if err := s.meta.remove(labels, Label); err != nil {
			return err
		}
	}
	s.result.Written++
	return s.meta.remove(known, from)
}

// relink lets parents and children name each other as they are called now.
func (s *seeder) relink(known *bbolt.Bucket, renamed map[string]string) error {
	if len(renamed) == 0 {
		return nil
	}
	for _, key := range keys(known) {
		record := known.Bucket([]byte(key))
		if to, ok := renamed[value(record, "parent")]; ok {
			if err := s.meta.put(record, "parent", []byte(to)); err != nil {
				return err
			}
		}
		children := record.Bucket([]byte("children"))
		if children == nil {
			continue
		}
		for from, to := range renamed {
			if _, ok := get(children, from); !ok {
				continue
			}
			if err := s.meta.remove(children, from); err != nil {
				return err
			}
			// A parent that stays does not keep what was let go.
			if err := s.meta.put(children, to, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

func copyBucket(to, from *bbolt.Bucket) error {
	return from.ForEach(func(k, v []byte) error {
		if v != nil {
			return to.Put(k, v)
		}
		sub := from.Bucket(k)
		if sub == nil {
			return to.Put(k, nil)
		}
		dst, err := to.CreateBucket(k)
		if err != nil {
			return err
		}
		return copyBucket(dst, sub)
	})
}

// brokenImages deletes the images, whoever recorded them, whose topmost
// snapshot is gone and whose layers are not all there as blobs to be unpacked
// again: kubelet would take them for present, and no container could start.
func (s *seeder) brokenImages(renamed map[string]string) error {
	images := lookup(s.meta.tx, schema, namespace, "images")
	blobs := lookup(s.meta.tx, schema, namespace, "content", "blob")
	if images == nil || blobs == nil || len(renamed) == 0 {
		return nil
	}
	for _, name := range keys(images) {
		record := images.Bucket([]byte(name))
		target := lookup(record, "target")
		if target == nil {
			continue
		}
		w := walk{blobs: blobs, renamed: renamed, seen: map[string]bool{}}
		w.visit(value(target, "digest"))
		if !w.gone || w.layers > 0 && w.missing == 0 {
			continue
		}
		if label(record, Label) == "" {
			s.note("image %s needs layers of a former system image and is removed", name)
		}
		if err := s.meta.remove(images, name); err != nil {
			return err
		}
		s.result.Written++
	}
	return nil
}

// walk follows an image's references as containerd's garbage collector does.
type walk struct {
	blobs           *bbolt.Bucket
	renamed         map[string]string
	seen            map[string]bool
	gone            bool // the topmost snapshot
	layers, missing int  // blobs
}

func (w *walk) visit(digest string) {
	if w.seen[digest] {
		return
	}
	w.seen[digest] = true
	record := w.blobs.Bucket([]byte(digest))
	if record == nil {
		return
	}
	labels := record.Bucket([]byte("labels"))
	if labels == nil {
		return
	}
	c := labels.Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		switch key := string(k); {
		case key == labelSnapshotRef:
			if _, ok := w.renamed[string(v)]; ok {
				w.gone = true
			}
		case strings.HasPrefix(key, labelLayerRef):
			w.layers++
			if w.blobs.Bucket(v) == nil {
				w.missing++
			}
		case strings.HasPrefix(key, labelContentRef):
			w.visit(string(v))
		}
	}
}
