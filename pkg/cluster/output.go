package cluster

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/durable"
)

// The states of a config, by what is in the directory that it goes to.
const (
	New       = "new"
	Changed   = "changed"
	Unchanged = "unchanged"
)

// Change is what writing a config would do.
type Change struct {
	Config Config
	State  string
	// Differs names what is different: files of the node, fields of its role,
	// units and users. It holds no values, which may be secrets.
	Differs []string
}

// Compare says what writing configs to a directory would do, and names the
// configs there (sorted) that are of none of the nodes.
func Compare(dir string, configs []Config) (changes []Change, stale []string, err error) {
	own := map[string]bool{}
	for _, c := range configs {
		own[c.File()] = true
		change := Change{Config: c, State: Unchanged}
		name := filepath.Join(dir, c.File())
		info, statErr := os.Stat(name)
		old, err := os.ReadFile(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			change.State = New
		case err != nil || statErr != nil:
			return nil, nil, diag.IO(errors.Join(statErr, err))
		case !bytes.Equal(old, c.Data):
			change.State, change.Differs = Changed, differences(old, c.Data)
		case info.Mode().Perm() != 0o600:
			change.State, change.Differs = Changed, []string{"the mode of " + c.File()}
		}
		changes = append(changes, change)
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, diag.IO(err)
	}
	for _, e := range entries { // sorted by name
		if strings.HasSuffix(e.Name(), suffix) && !strings.HasPrefix(e.Name(), ".") && !own[e.Name()] {
			stale = append(stale, e.Name())
		}
	}
	return changes, stale, nil
}

// writers is how many files are on their way to the disk at once: it is the
// disk that they wait for.
const writers = 16

// Write writes the configs that are new or changed, each whole or not at all,
// readable by their owner alone; then the index.
func Write(ctx context.Context, dir string, changes []Change, index []byte) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(writers)
	for _, c := range changes {
		if c.State == Unchanged {
			continue
		}
		group.Go(func() error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return diag.IO(durable.WriteFile(filepath.Join(dir, c.Config.File()), c.Config.Data, 0o600))
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	name := filepath.Join(dir, IndexName)
	if old, err := os.ReadFile(name); err == nil && slices.Equal(old, index) {
		return nil
	}
	return diag.IO(durable.WriteFile(name, index, 0o644))
}
