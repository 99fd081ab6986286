package seed

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Labels by which containerd's garbage collector goes from an image to what it
// needs: manifest to config to topmost snapshot (core/metadata/gc.go). Layer
// blobs have none: they do not exist.
const (
	labelContentRef  = "containerd.io/gc.ref.content"
	labelConfigRef   = labelContentRef + ".config"
	labelLayerRef    = labelContentRef + ".l."
	labelSnapshotRef = "containerd.io/gc.ref.snapshot." + snapshotter
)

// writeBlobs puts manifests and configs into the content store
// (plugins/content/local/store.go), on disk before any record names them.
func (s *seeder) writeBlobs(ctx context.Context) error {
	root := filepath.Join(s.Root, contentDir)
	// Beside the blobs, not among them: containerd reports names that are no
	// digests.
	const prefix = ".slipway-"
	leftovers, err := filepath.Glob(filepath.Join(root, prefix+"*"))
	if err != nil {
		return fmt.Errorf("finding unfinished blobs in %s: %w", root, err)
	}
	for _, path := range leftovers {
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("removing unfinished blob %s: %w", path, err)
		}
	}
	type pair struct{ from, to string }
	var written []pair
	seen := map[string]bool{}
	for _, img := range s.images {
		for _, b := range []blob{img.manifest, img.config} {
			if err := ctx.Err(); err != nil {
				return fmt.Errorf("writing blob %s: %w", b.digest, err)
			}
			name := strings.TrimPrefix(b.digest, "sha256:")
			to := filepath.Join(root, "blobs", "sha256", name)
			if seen[name] {
				continue
			}
			seen[name] = true
			switch old, err := readSmall(to); {
			case err == nil && bytes.Equal(old, b.data):
				continue
			case err == nil:
				s.note("blob %s was damaged and is written anew", b.digest)
			case !errors.Is(err, os.ErrNotExist):
				return fmt.Errorf("reading blob %s: %w", b.digest, err)
			}
			from := filepath.Join(root, prefix+name)
			if err := os.WriteFile(from, b.data, 0o444); err != nil {
				return fmt.Errorf("writing blob %s: %w", b.digest, err)
			}
			written = append(written, pair{from, to})
			s.result.Written++
		}
	}
	if len(written) == 0 {
		return nil
	}
	// One journal commit instead of one for each blob.
	if err := syncAll(root); err != nil {
		return err
	}
	for _, p := range written {
		if err := os.Rename(p.from, p.to); err != nil {
			return fmt.Errorf("putting blob in place: %w", err)
		}
	}
	return syncDir(filepath.Join(root, "blobs", "sha256"))
}

// syncAll writes the file system that path is on to disk.
func syncAll(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("opening directory %s: %w", path, err)
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return fmt.Errorf("writing the file system of %s to disk: %w", path, err)
	}
	return nil
}

// contentRecords records the blobs. A record that exists is another image's
// too, or the user's: it only gets the labels it lacks.
func (s *seeder) contentRecords() error {
	for _, img := range s.images {
		top := img.layers[len(img.layers)-1].chain
		for _, c := range []struct {
			blob         blob
			label, value string
		}{{img.manifest, labelConfigRef, img.config.digest}, {img.config, labelSnapshotRef, top}} {
			err := s.count(func() error {
				return s.contentRecord(c.blob, c.label, c.value)
			})
			if err != nil {
				return fmt.Errorf("recording blob %s of image %s: %w", c.blob.digest, img.reference, err)
			}
		}
	}
	return nil
}

func (s *seeder) contentRecord(b blob, key, value string) error {
	path := []string{schema, namespace, "content", "blob", b.digest}
	created := lookup(s.meta.tx, path...) == nil
	record, err := s.meta.bucket(s.meta.tx, path...)
	if err != nil {
		return err
	}
	if created {
		if err := s.stamp(s.meta, record); err != nil {
			return err
		}
	}
	if err := s.meta.put(record, "size", binary.AppendVarint(nil, int64(len(b.data)))); err != nil {
		return err
	}
	labels, err := s.meta.bucket(record, "labels")
	if err != nil {
		return err
	}
	if created {
		if err := s.meta.put(labels, Label, []byte("true")); err != nil {
			return err
		}
	}
	return s.meta.put(labels, key, []byte(value))
}
