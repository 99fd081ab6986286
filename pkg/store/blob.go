package store

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/tree"
)

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

// Verify reads a blob through. One that cannot be read or does not have its
// digest is dropped, and ErrMissing returned.
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
	if _, err := io.Copy(h, f); err != nil || tree.Digest(h.Sum(nil)) != d {
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
		return nil, writing(err)
	}
	return &Writer{store: s, file: f, hash: sha256.New()}, nil
}

func (w *Writer) Write(p []byte) (int, error) {
	n, err := w.file.Write(p)
	w.hash.Write(p[:n])
	w.size += int64(n)
	if err != nil {
		err = writing(err)
	}
	return n, err
}

// Resume starts a blob under a name, and goes on where a writer of that name
// was suspended or cut off. Whoever calls it holds a lock (see Lock) that
// keeps a second writer of the name away.
func (s *Store) Resume(name string) (*Writer, error) {
	f, err := os.OpenFile(filepath.Join(s.dir, "tmp", "partial-"+name), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, writing(err)
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
		return writing(err)
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
		return writing(err)
	}
	return nil
}
