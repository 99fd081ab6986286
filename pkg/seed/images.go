package seed

import (
	"encoding/binary"
	"fmt"

	"go.etcd.io/bbolt"
)

// adopted marks an image that the user had before it was baked: when it is
// baked no longer, it is his again.
const adopted = "adopted"

// imageRecords records the images under their names and deletes those that
// were seeded and are not baked now. The label that says that CRI manages an
// image is not set: CRI would then not look after its image ID.
func (s *seeder) imageRecords() error {
	images, err := s.meta.bucket(s.meta.tx, schema, namespace, "images")
	if err != nil {
		return err
	}
	wanted := map[string]bool{}
	for _, img := range s.images {
		for i, name := range img.names() {
			if wanted[name] {
				continue // two references of one image
			}
			wanted[name] = true
			err := s.count(func() error { return s.imageRecord(images, name, img, i == 0) })
			if err != nil {
				return fmt.Errorf("recording image %s: %w", name, err)
			}
		}
	}
	for _, name := range keys(images) {
		record := images.Bucket([]byte(name))
		seeded := label(record, Label)
		if seeded == "" || wanted[name] {
			continue
		}
		s.result.Written++
		if target := lookup(record, "target"); target != nil && value(target, "digest") != seeded {
			// Pulled anew, or the user's from the start.
			for _, key := range []string{Label, labelPinned} {
				if err := s.meta.remove(record.Bucket([]byte("labels")), key); err != nil {
					return err
				}
			}
			continue
		}
		if err := s.meta.remove(images, name); err != nil {
			return err
		}
	}
	return nil
}

// imageRecord makes an image's record. Where the tag of a baked image names
// another image, the baked one takes it: the root was verified, and its
// cluster must come up with what it has. Other names are left to whoever had
// them first.
func (s *seeder) imageRecord(images *bbolt.Bucket, name string, img image, tag bool) error {
	record := images.Bucket([]byte(name))
	mark := img.manifest.digest
	if record != nil {
		has := ""
		if target := lookup(record, "target"); target != nil {
			has = value(target, "digest")
		}
		seeded := label(record, Label)
		switch {
		case seeded == "" && !tag:
			return nil
		case has == mark && (seeded == "" || seeded == adopted):
			mark = adopted
		case has != mark && (seeded == "" || seeded == adopted || has != seeded):
			s.note("image %s was %s, pulled or imported here; it is now %s, which is baked", name, has, mark)
		}
	} else {
		var err error
		if record, err = s.meta.bucket(images, name); err != nil {
			return err
		}
		if err := s.stamp(s.meta, record); err != nil {
			return err
		}
	}
	target, err := s.meta.bucket(record, "target")
	if err != nil {
		return err
	}
	before := s.meta.changes
	for _, v := range []struct {
		key   string
		value []byte
	}{
		{"digest", []byte(img.manifest.digest)},
		{"mediatype", []byte(img.manifest.mediaType)},
		{"size", binary.AppendVarint(nil, int64(len(img.manifest.data)))},
	} {
		if err := s.meta.put(target, v.key, v.value); err != nil {
			return err
		}
	}
	if s.meta.changes > before {
		// Annotations are the target's, whatever it was.
		if err := s.meta.remove(record, "annotations"); err != nil {
			return err
		}
		if err := s.meta.put(record, "updatedat", s.now); err != nil {
			return err
		}
	}
	labels, err := s.meta.bucket(record, "labels")
	if err != nil {
		return err
	}
	if err := s.meta.put(labels, labelPinned, []byte("pinned")); err != nil {
		return err
	}
	return s.meta.put(labels, Label, []byte(mark))
}
