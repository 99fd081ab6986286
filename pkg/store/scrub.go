package store

import (
	"context"
	"encoding/hex"
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/tree"
)

// Scrub reads every blob through and drops those that are damaged. It returns
// how many that were.
func (s *Store) Scrub(ctx context.Context) (dropped int, err error) {
	err = filepath.WalkDir(filepath.Join(s.dir, "blobs"), func(file string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // another build dropped it
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		digest, err := hex.DecodeString(d.Name())
		if err != nil || len(digest) != len(tree.Digest{}) {
			return nil // nothing of ours
		}
		err = s.Verify(tree.Digest(digest))
		if errors.Is(err, ErrMissing) {
			dropped++
			err = nil
		}
		return err
	})
	if err != nil && ctx.Err() == nil {
		err = diag.IO(err)
	}
	return dropped, err
}
