// Package store is the content-addressed cache of everything that a build
// fetched, compiled or encoded. Two kinds of things lie in it: blobs, named by
// the sha256 of their bytes, and records, small JSON documents under a kind
// and a key that determines them. Several builds may use one store at once;
// whatever is interrupted leaves no half-written entry.
package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/slipway-os/slipway/pkg/diag"
)

// Store is a store on disk. Its methods may be called from any goroutine.
type Store struct {
	dir string
	// recalled says which kinds of records Load knows beside those that this
	// view saved; nil means all.
	recalled func(kind string) bool
	saved    sync.Map // paths of records
}

// ErrMissing says that an entry is not in the store (or was damaged, and has
// been dropped): make or fetch it anew.
var ErrMissing = errors.New("not in the store")

// Open opens the store in dir, which it makes if need be.
func Open(dir string) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	s := &Store{dir: dir}
	for _, d := range []string{"blobs", "records", "locks", "tmp"} {
		err := os.MkdirAll(filepath.Join(dir, d), 0o755)
		if err == nil {
			err = unix.Access(filepath.Join(dir, d), unix.W_OK)
		}
		if err != nil {
			return nil, diag.IO(fmt.Errorf("opening store %q: %w; name another with --store", dir, err))
		}
	}
	s.sweep()
	return s, nil
}

// abandoned is how old something temporary is that no build works on any more.
const abandoned = 24 * time.Hour

// sweep removes what builds that were killed left behind, as far as it can.
func (s *Store) sweep() {
	entries, _ := os.ReadDir(filepath.Join(s.dir, "tmp"))
	for _, e := range entries {
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > abandoned {
			os.RemoveAll(filepath.Join(s.dir, "tmp", e.Name()))
		}
	}
}

// Recalling returns a view of the store that knows of the records of some
// kinds, and of those that it saved itself, so that everything else is made
// anew, once, and saved.
func (s *Store) Recalling(kinds func(kind string) bool) *Store {
	return &Store{dir: s.dir, recalled: kinds}
}

// Dir returns the directory the store lies in.
func (s *Store) Dir() string { return s.dir }

// TempDir makes a directory inside the store for work in progress. The caller
// removes it.
func (s *Store) TempDir(pattern string) (string, error) {
	dir, err := os.MkdirTemp(filepath.Join(s.dir, "tmp"), pattern)
	if err != nil {
		return "", diag.IO(err)
	}
	return dir, nil
}

// writing explains a failure to write.
func writing(err error) error {
	hint := ""
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		hint = "; free some space, or name another store with --store"
	}
	return diag.IO(fmt.Errorf("writing to the store: %w%s", err, hint))
}
