// Package store is the content-addressed cache of everything that a build
// fetched, compiled or encoded. Two kinds of things lie in it: blobs, named by
// the sha256 of their bytes, and records, small JSON documents under a kind
// and a key that determines them. Several builds may use one store at once;
// whatever is interrupted leaves no half-written entry.
package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/tree"
)

// Store is a store on disk. Its methods may be called from any goroutine.
type Store struct {
	dir string
	// recalled says which kinds of records Load knows; nil means all.
	recalled func(kind string) bool
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
	for _, d := range []string{"blobs", "records", "tmp", "locks"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return nil, diag.IO(fmt.Errorf("opening store %q: %w; name another with --store", dir, err))
		}
	}
	return &Store{dir: dir}, nil
}

// Recalling returns a view of the store that knows of the records of some
// kinds only, so that everything else is made anew, and saved.
func (s *Store) Recalling(kinds func(kind string) bool) *Store {
	return &Store{dir: s.dir, recalled: kinds}
}

// Dir returns the directory the store lies in.
func (s *Store) Dir() string { return s.dir }

// BlobPath returns where the blob of that digest lies, or would lie.
func (s *Store) BlobPath(d tree.Digest) string {
	name := d.String()
	return filepath.Join(s.dir, "blobs", name[:2], name)
}

// Blob returns a blob as content. Its size is checked against size unless
// that is negative, its bytes are not: see Verify.
func (s *Store) Blob(d tree.Digest, size int64) (tree.Content, error) {
	info, err := os.Stat(s.BlobPath(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrMissing
	}
	if err != nil {
		return nil, diag.IO(err)
	}
	if size >= 0 && info.Size() != size {
		os.Remove(s.BlobPath(d))
		return nil, ErrMissing
	}
	return tree.Section(s.BlobPath(d), 0, info.Size(), d), nil
}

// Verify reads a blob through. One that does not have its digest is dropped,
// and ErrMissing returned.
func (s *Store) Verify(d tree.Digest) error {
	f, err := os.Open(s.BlobPath(d))
	if errors.Is(err, fs.ErrNotExist) {
		return ErrMissing
	}
	if err != nil {
		return diag.IO(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return diag.IO(fmt.Errorf("reading %q: %w", f.Name(), err))
	}
	if tree.Digest(h.Sum(nil)) != d {
		os.Remove(f.Name())
		return ErrMissing
	}
	return nil
}

// Put stores what r yields and returns it as content.
func (s *Store) Put(r io.Reader) (tree.Content, error) {
	w, err := s.NewWriter()
	if err != nil {
		return nil, err
	}
	defer w.Abort()
	if _, err := io.Copy(w, r); err != nil {
		return nil, err
	}
	return w.Commit()
}

// Writer writes a blob. Nothing of it is seen before Commit.
type Writer struct {
	store *Store
	file  *os.File
	hash  interface {
		io.Writer
		Sum([]byte) []byte
	}
	size int64
}

// NewWriter starts a blob.
func (s *Store) NewWriter() (*Writer, error) {
	f, err := os.CreateTemp(filepath.Join(s.dir, "tmp"), "blob-*")
	if err != nil {
		return nil, diag.IO(err)
	}
	return &Writer{store: s, file: f, hash: sha256.New()}, nil
}

func (w *Writer) Write(p []byte) (int, error) {
	n, err := w.file.Write(p)
	w.hash.Write(p[:n])
	w.size += int64(n)
	if err != nil {
		err = diag.IO(fmt.Errorf("writing to the store: %w", err))
	}
	return n, err
}

// Resume starts a blob under a name, and goes on where a writer of that name
// was suspended or cut off. Whoever calls it holds a lock (see Lock) that
// keeps a second writer of the name away.
func (s *Store) Resume(name string) (*Writer, error) {
	f, err := os.OpenFile(filepath.Join(s.dir, "tmp", "partial-"+name), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, diag.IO(err)
	}
	w := &Writer{store: s, file: f, hash: sha256.New()}
	if w.size, err = io.Copy(w.hash, f); err != nil {
		f.Close()
		return nil, diag.IO(fmt.Errorf("reading %q: %w", f.Name(), err))
	}
	return w, nil
}

// Size returns how much was written so far, in bytes.
func (w *Writer) Size() int64 { return w.size }

// Restart drops what was written so far.
func (w *Writer) Restart() error {
	_, err := w.file.Seek(0, io.SeekStart)
	if err == nil {
		err = w.file.Truncate(0)
	}
	if err != nil {
		return diag.IO(fmt.Errorf("writing to the store: %w", err))
	}
	w.hash, w.size = sha256.New(), 0
	return nil
}

// Suspend keeps what was written, for Resume; after Commit it does nothing.
func (w *Writer) Suspend() {
	if w.file != nil {
		w.file.Close()
		w.file = nil
	}
}

// Digest returns the sha256 of what was written so far.
func (w *Writer) Digest() tree.Digest { return tree.Digest(w.hash.Sum(nil)) }

// Commit puts the blob into the store.
func (w *Writer) Commit() (tree.Content, error) {
	d := w.Digest()
	final := w.store.BlobPath(d)
	if err := w.store.place(w.file, final); err != nil {
		return nil, err
	}
	w.file = nil
	return tree.Section(final, 0, w.size, d), nil
}

// Abort drops what was written; after Commit it does nothing.
func (w *Writer) Abort() {
	if w.file != nil {
		w.file.Close()
		os.Remove(w.file.Name())
		w.file = nil
	}
}

// place syncs, closes and renames a temporary file. A crash of the machine
// leaves either nothing under the final name or the whole file.
func (s *Store) place(f *os.File, final string) error {
	err := f.Sync()
	if err == nil {
		err = f.Chmod(0o644)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.MkdirAll(filepath.Dir(final), 0o755)
	}
	if err == nil {
		err = os.Rename(f.Name(), final)
	}
	if err != nil {
		os.Remove(f.Name())
		return diag.IO(fmt.Errorf("writing to the store: %w", err))
	}
	return nil
}

// Key returns the name of a record: the sha256 over the JSON of its parts,
// which must be all that determines the record.
func Key(parts ...any) string {
	h := sha256.New()
	enc := json.NewEncoder(h)
	for _, p := range parts {
		if err := enc.Encode(p); err != nil {
			panic(fmt.Sprintf("store key of %T: %v", p, err)) // parts are our own plain structs
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

func (s *Store) recordPath(kind, key string) string {
	return filepath.Join(s.dir, "records", kind, key[:2], key+".json")
}

// Load reads the record of that kind and key into v. A record that cannot be
// read is dropped, and ErrMissing returned.
func (s *Store) Load(kind, key string, v any) error {
	if s.recalled != nil && !s.recalled(kind) {
		return ErrMissing
	}
	data, err := os.ReadFile(s.recordPath(kind, key))
	if errors.Is(err, fs.ErrNotExist) {
		return ErrMissing
	}
	if err != nil {
		return diag.IO(err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		os.Remove(s.recordPath(kind, key))
		return ErrMissing
	}
	return nil
}

// Save writes the record of that kind and key.
func (s *Store) Save(kind, key string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encoding a %s record: %w", kind, err)
	}
	f, err := os.CreateTemp(filepath.Join(s.dir, "tmp"), "record-*")
	if err != nil {
		return diag.IO(err)
	}
	if _, err := f.Write(data); err != nil {
		f.Close()
		os.Remove(f.Name())
		return diag.IO(err)
	}
	return s.place(f, s.recordPath(kind, key))
}

// TempDir makes a directory inside the store for work in progress. The caller
// removes it.
func (s *Store) TempDir(pattern string) (string, error) {
	dir, err := os.MkdirTemp(filepath.Join(s.dir, "tmp"), pattern)
	if err != nil {
		return "", diag.IO(err)
	}
	return dir, nil
}

// Lock waits until nobody else, in this process or another, holds the lock of
// that name, and takes it; or until ctx ends. It keeps two builds from doing
// the same work twice.
func (s *Store) Lock(ctx context.Context, name string) (unlock func(), err error) {
	sum := sha256.Sum256([]byte(name))
	f, err := os.OpenFile(filepath.Join(s.dir, "locks", hex.EncodeToString(sum[:8])), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, diag.IO(err)
	}
	locked := make(chan error, 1)
	go func() { locked <- flock(f) }()
	select {
	case err = <-locked:
	case <-ctx.Done():
		// The system call cannot be called off: whoever gets the lock too late lets it go.
		go func() {
			<-locked
			f.Close()
		}()
		return nil, ctx.Err()
	}
	if err != nil {
		f.Close()
		return nil, diag.IO(fmt.Errorf("locking %q in the store: %w", name, err))
	}
	return func() { f.Close() }, nil
}

func flock(f *os.File) error {
	for {
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != unix.EINTR {
			return err
		}
	}
}
