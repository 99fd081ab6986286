package cluster

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
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
	Unsigned  = "unsigned" // it cannot be made yet
)

// Change is what writing a config would do.
type Change struct {
	Config Config
	State  string
	// Differs names what is different: files of the node, fields of its role,
	// units and users; or which certificates are missing. It holds no values,
	// which may be secrets.
	Differs []string
}

// Compare says what writing configs to a directory would do, and names the
// configs there (sorted) that are of none of the nodes.
func Compare(dir string, configs []Config) (changes []Change, stale []string, err error) {
	own := map[string]bool{}
	for _, c := range configs {
		own[c.File()] = true
		if len(c.Missing) > 0 {
			changes = append(changes, Change{Config: c, State: Unsigned, Differs: c.Missing})
			continue
		}
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

// RequestsDir is where the requests for certificates lie, below the directory
// of the configs.
const RequestsDir = "requests"

// Write writes the configs that are new or changed, each whole or not at all,
// readable by their owner alone; the requests; then the index.
func Write(ctx context.Context, dir string, changes []Change, index []byte) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(writers)
	write := func(name string, data []byte, mode fs.FileMode) {
		group.Go(func() error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return diag.IO(durable.WriteFile(name, data, mode))
		})
	}
	for _, c := range changes {
		if c.State == New || c.State == Changed {
			write(filepath.Join(dir, c.Config.File()), c.Config.Data, 0o600)
		}
		for _, r := range c.Config.Requests {
			if name := filepath.Join(dir, r.File()); !holds(name, r.Data) {
				write(name, r.Data, 0o644)
			}
		}
	}
	if err := group.Wait(); err != nil {
		return err
	}
	name := filepath.Join(dir, IndexName)
	if holds(name, index) {
		return nil
	}
	return diag.IO(durable.WriteFile(name, index, 0o644))
}

// holds reports whether a file holds just that.
func holds(name string, data []byte) bool {
	old, err := os.ReadFile(name)
	return err == nil && bytes.Equal(old, data)
}
