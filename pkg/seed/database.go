package seed

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sys/unix"
)

// lockTimeout bounds the wait for a containerd that is still stopping.
const lockTimeout = 5 * time.Second

// database is a bbolt file with a transaction open on it.
type database struct {
	path    string
	temp    string // where a new file is written, "" for one that exists
	keep    bool   // what lies at path, unreadable, is kept beside it
	db      *bbolt.DB
	tx      *bbolt.Tx
	changes int
}

// openDatabase opens a database and begins a transaction. A file that cannot
// hold anything, because it was cut off while it was made, is replaced at the
// commit, and so is one that cannot be read: nobody could mend it on a node
// that has no container to do it in. The note says so.
func openDatabase(path string, mode os.FileMode) (d *database, note string, err error) {
	d = &database{path: path}
	// NoFreelistSync is what containerd opens meta.db with; a database that
	// has a free list is read all the same.
	options := bbolt.Options{Timeout: lockTimeout, NoFreelistSync: true, NoStatistics: true, FreelistType: bbolt.FreelistMapType}
	file := path
	empty, damaged, note, err := isEmpty(path)
	if err != nil {
		return nil, "", err
	}
	if !empty {
		err := probe(path)
		var wrong *damageError
		switch {
		case errors.As(err, &wrong):
			empty, damaged = true, true
			note = fmt.Sprintf("%v, and is made anew: what was pulled has to be pulled again; the former file is kept as %s", err, path+".damaged")
		case err != nil:
			return nil, "", err
		}
	}
	if empty {
		d.temp, d.keep = path+".slipway", damaged
		file = d.temp
		// One sync at the end is enough for what nobody sees before.
		options.NoSync, options.NoGrowSync = true, true
		if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, "", fmt.Errorf("removing the unfinished database %s: %w", file, err)
		}
	}
	if d.db, err = bbolt.Open(file, mode, &options); err != nil {
		return nil, "", fmt.Errorf("opening database %s (is containerd running?): %w", path, err)
	}
	if d.tx, err = d.db.Begin(true); err != nil {
		d.close()
		return nil, "", fmt.Errorf("beginning to change database %s: %w", path, err)
	}
	return d, note, nil
}

// damageError says that a file is a database, but cannot be read.
type damageError struct {
	path string
	why  any
}

func (e *damageError) Error() string {
	return fmt.Sprintf("database %s is damaged (%v)", e.path, e.why)
}

// probe reads all of a database. Opened for writing, bbolt looks for free
// pages in a goroutine of its own, where its panic over a damaged page would
// end the program.
func probe(path string) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &damageError{path, r}
		}
	}()
	db, err := bbolt.Open(path, 0, &bbolt.Options{ReadOnly: true, Timeout: lockTimeout, NoStatistics: true})
	if errors.Is(err, bolterrors.ErrInvalid) || errors.Is(err, bolterrors.ErrChecksum) {
		return &damageError{path, err}
	}
	if err != nil {
		return fmt.Errorf("opening database %s (is containerd running?): %w", path, err)
	}
	defer db.Close()
	tx, err := db.Begin(false)
	if err != nil {
		return fmt.Errorf("reading database %s: %w", path, err)
	}
	defer func() { _ = tx.Rollback() }()
	var walk func(b *bbolt.Bucket) error
	walk = func(b *bbolt.Bucket) error {
		return b.ForEach(func(k, v []byte) error {
			if v != nil {
				return nil
			}
			if sub := b.Bucket(k); sub != nil {
				return walk(sub)
			}
			return nil
		})
	}
	return tx.ForEach(func(_ []byte, b *bbolt.Bucket) error { return walk(b) })
}

// isEmpty tells whether a database file cannot hold data: it is absent, or
// neither of its two meta pages is valid, or they are those of a new database,
// in which nothing was ever committed: transactions 0 and 1. The format is
// that of internal/common/{page,meta}.go in bbolt v1.5.0, in the machine's
// byte order.
func isEmpty(path string) (empty, damaged bool, note string, err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return true, false, "", nil
	} else if err != nil {
		return false, false, "", fmt.Errorf("opening database %s: %w", path, err)
	}
	defer f.Close()
	valid := false
	var newest uint64
	// The second meta page is at the page size, which is the first's to say
	// and may be any power of two (getPageSize in bbolt's db.go).
	for i := -1; i < 16; i++ {
		offset := int64(0)
		if i >= 0 {
			offset = 1024 << i
		}
		var page [80]byte
		if _, err := f.ReadAt(page[:], offset); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return false, false, "", fmt.Errorf("reading database %s: %w", path, err)
		}
		m := page[16:]
		h := fnv.New64a()
		h.Write(m[:56])
		if binary.NativeEndian.Uint32(m) == 0xED0CDAED && binary.NativeEndian.Uint64(m[56:]) == h.Sum64() {
			valid = true
			newest = max(newest, binary.NativeEndian.Uint64(m[48:]))
		}
	}
	if valid && newest > 1 {
		return false, false, "", nil
	}
	// Nothing to read, but it may be just being made.
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return false, false, "", fmt.Errorf("locking database %s (is containerd running?): %w", path, err)
	}
	info, err := f.Stat()
	switch {
	case err != nil:
		return false, false, "", fmt.Errorf("examining database %s: %w", path, err)
	case valid:
		return true, false, "", nil
	case info.Size() == 0:
		return true, false, fmt.Sprintf("%s was empty and is made anew", path), nil
	}
	return true, true, fmt.Sprintf("%s was no database (%d bytes without a valid meta page) and is made anew; the former file is kept as %s", path, info.Size(), path+".damaged"), nil
}

// commit makes the changes last. Without any, the disk is not touched.
func (d *database) commit() error {
	if d.changes == 0 && d.temp == "" {
		return nil
	}
	tx := d.tx
	d.tx = nil
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("committing to database %s: %w", d.path, err)
	}
	if d.temp == "" {
		return nil
	}
	if err := d.db.Sync(); err != nil {
		return fmt.Errorf("writing database %s to disk: %w", d.path, err)
	}
	if err := d.db.Close(); err != nil {
		return fmt.Errorf("closing database %s: %w", d.path, err)
	}
	d.db = nil
	if d.keep {
		if err := os.Rename(d.path, d.path+".damaged"); err != nil {
			return fmt.Errorf("keeping damaged database %s: %w", d.path, err)
		}
	}
	if err := os.Rename(d.temp, d.path); err != nil {
		return fmt.Errorf("putting database %s in place: %w", d.path, err)
	}
	return syncDir(filepath.Dir(d.path))
}

// close drops what was not committed.
func (d *database) close() {
	if d.tx != nil {
		_ = d.tx.Rollback()
	}
	if d.db != nil {
		_ = d.db.Close()
		if d.temp != "" {
			_ = os.Remove(d.temp)
		}
	}
}

// buckets is a transaction or a bucket.
type buckets interface {
	Bucket(key []byte) *bbolt.Bucket
	CreateBucket(key []byte) (*bbolt.Bucket, error)
}

// bucket returns the bucket at a path, made where it is missing.
func (d *database) bucket(in buckets, path ...string) (*bbolt.Bucket, error) {
	var b *bbolt.Bucket
	for _, key := range path {
		var err error
		if b = in.Bucket([]byte(key)); b == nil {
			d.changes++
			if b, err = in.CreateBucket([]byte(key)); err != nil {
				return nil, fmt.Errorf("making bucket %q of %q in %s: %w", key, path, d.path, err)
			}
		}
		in = b
	}
	return b, nil
}

// lookup returns the bucket at a path, nil if there is none.
func lookup(in buckets, path ...string) *bbolt.Bucket {
	var b *bbolt.Bucket
	for _, key := range path {
		if b = in.Bucket([]byte(key)); b == nil {
			return nil
		}
		in = b
	}
	return b
}

// put sets a value if it is another one.
func (d *database) put(b *bbolt.Bucket, key string, value []byte) error {
	if old, ok := get(b, key); ok && old == string(value) {
		return nil
	}
	d.changes++
	if err := b.Put([]byte(key), value); err != nil {
		return fmt.Errorf("writing %q to %s: %w", key, d.path, err)
	}
	return nil
}

// remove removes a value, or the bucket of that name.
func (d *database) remove(b *bbolt.Bucket, key string) error {
	err := error(nil)
	if b.Bucket([]byte(key)) != nil {
		d.changes++
		err = b.DeleteBucket([]byte(key))
	} else if _, ok := get(b, key); ok {
		d.changes++
		err = b.Delete([]byte(key))
	}
	if err != nil {
		return fmt.Errorf("removing %q from %s: %w", key, d.path, err)
	}
	return nil
}

// get returns a copy of a value: bbolt's own is only good until the next
// change. Empty values are values (the children of a snapshot).
func get(b *bbolt.Bucket, key string) (string, bool) {
	k, v := b.Cursor().Seek([]byte(key))
	if !bytes.Equal(k, []byte(key)) || k == nil || v == nil && b.Bucket(k) != nil {
		return "", false
	}
	return string(v), true
}

// value returns a value, "" if there is none.
func value(b *bbolt.Bucket, key string) string {
	v, _ := get(b, key)
	return v
}

// label returns a record's label, "" if it has none.
func label(record *bbolt.Bucket, key string) string {
	labels := record.Bucket([]byte("labels"))
	if labels == nil {
		return ""
	}
	return value(labels, key)
}

// keys lists the names of the buckets in b, in order: bbolt allows no change
// while it iterates.
func keys(b *bbolt.Bucket) []string {
	var names []string
	c := b.Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		if v == nil {
			names = append(names, string(k))
		}
	}
	return names
}

func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("opening directory %s: %w", path, err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("writing directory %s to disk: %w", path, err)
	}
	return nil
}
