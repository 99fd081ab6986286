package squashfs

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"runtime/debug"

	"github.com/slipway-os/slipway/pkg/store"
	"github.com/slipway-os/slipway/pkg/tree"
)

// BlockCache keeps compressed blocks from one build to the next. An entry is
// what one large file, or a group of smaller ones of some MiB together,
// compresses to.
type BlockCache interface {
	// Get opens the entry of that key, a name in hexadecimal, as Put left it;
	// false if there is none. One that is damaged must not be returned.
	Get(key string) (io.ReadCloser, bool)
	// Put keeps what write writes. If write fails, it keeps nothing and
	// returns that error.
	Put(key string, write func(w io.Writer) error) error
}

// memo is the cache as the pipeline sees it.
type memo struct {
	cache   BlockCache
	version string
	opts    Options
}

func newMemo(opts Options) *memo {
	return &memo{cache: opts.Cache, version: encoderVersion(), opts: opts}
}

func (m *memo) enabled() bool { return m.cache != nil }

func (m *memo) get(u *unit) (io.ReadCloser, bool) {
	if m.cache == nil {
		return nil, false
	}
	return m.cache.Get(m.key(u))
}

func (m *memo) put(u *unit, write func(io.Writer) error) error {
	return m.cache.Put(m.key(u), write)
}

// key covers all that determines a unit's compressed blocks.
func (m *memo) key(u *unit) string {
	type content struct {
		Digest string
		Size   int64
	}
	contents := make([]content, len(u.files))
	for i, f := range u.files {
		contents[i] = content{f.digest.String(), f.size}
	}
	return store.Key("squashfs blocks 1", m.version, m.opts.BlockSize, m.opts.Level, contents)
}

// encoderVersion returns the version of the zstd encoder: another may
// compress the same content to other bytes.
func encoderVersion() string {
	const encoder = "github.com/klauspost/compress"
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, m := range info.Deps {
		if m.Path != encoder {
			continue
		}
		if m.Replace != nil {
			return m.Replace.Path + "@" + m.Replace.Version
		}
		return m.Version
	}
	return ""
}

// A cache entry is the unit's blocks, each as its size word and its bytes.

func writeFrame(w io.Writer, b *block) error {
	if err := binary.Write(w, binary.LittleEndian, b.word); err != nil {
		return err
	}
	_, err := w.Write(b.out)
	return err
}

func readFrame(r io.Reader, b *block) error {
	var word [4]byte
	if _, err := io.ReadFull(r, word[:]); err != nil {
		return err
	}
	b.word = binary.LittleEndian.Uint32(word[:])
	size := int(b.word &^ rawData)
	if size > cap(b.raw) {
		return fmt.Errorf("a block of %d bytes", size)
	}
	b.out = b.raw[:size]
	_, err := io.ReadFull(r, b.out)
	return err
}

// StoreCache is a BlockCache in a store.
type StoreCache struct{ store *store.Store }

// NewStoreCache returns the cache that lies in s.
func NewStoreCache(s *store.Store) *StoreCache { return &StoreCache{s} }

const recordKind = "squashfs"

type cacheRecord struct {
	Blob []byte `json:"blob"` // its sha256
}

// Get implements BlockCache. It reads the entry through to see that it is sound.
func (c *StoreCache) Get(key string) (io.ReadCloser, bool) {
	var rec cacheRecord
	if err := c.store.Load(recordKind, key, &rec); err != nil || len(rec.Blob) != len(tree.Digest{}) {
		return nil, false
	}
	d := tree.Digest(rec.Blob)
	if err := c.store.Verify(d); err != nil {
		return nil, false
	}
	f, err := os.Open(c.store.BlobPath(d))
	return f, err == nil
}

// Put implements BlockCache.
func (c *StoreCache) Put(key string, write func(io.Writer) error) error {
	w, err := c.store.NewWriter()
	if err != nil {
		return err
	}
	defer w.Abort()
	if err := write(w); err != nil {
		return err
	}
	d := w.Digest()
	if _, err := w.Commit(); err != nil {
		return err
	}
	return c.store.Save(recordKind, key, cacheRecord{Blob: d[:]})
}
