// Package verity writes and checks dm-verity hash trees: format 1, sha256,
// data and hash blocks of 4096 bytes (Linux,
// Documentation/admin-guide/device-mapper/verity.rst; the superblock is
// cryptsetup's, lib/verity/verity.c).
package verity

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"runtime"

	"golang.org/x/sync/errgroup"
)

const (
	// BlockSize is the size of data and hash blocks in bytes.
	BlockSize = 4096

	fanout = BlockSize / sha256.Size
	magic  = "verity\x00\x00"
	// MaxSalt is the length of the longest salt in bytes.
	MaxSalt = 256
)

// Superblock is what a hash device says of itself in its first block.
type Superblock struct {
	UUID       [16]byte
	DataBlocks int64
	Salt       []byte
}

// Result is a tree that was written.
type Result struct {
	RootHash   [sha256.Size]byte
	DataBlocks int64
	Size       int64 // of superblock and tree in bytes
}

// levels returns the number of hash blocks in each level, the one over the
// data first. A single data block has none over it: its hash is the root hash.
func levels(dataBlocks int64) []int64 {
	var n []int64
	for blocks := dataBlocks; blocks > 1; {
		blocks = (blocks + fanout - 1) / fanout
		n = append(n, blocks)
	}
	return n
}

// layout returns the levels, where they lie, and where the last one ends, in
// bytes. The top level lies first, behind the superblock.
func layout(dataBlocks int64) (counts, offsets []int64, end int64) {
	counts = levels(dataBlocks)
	offsets = make([]int64, len(counts))
	end = BlockSize
	for i := len(counts) - 1; i >= 0; i-- {
		offsets[i] = end
		end += counts[i] * BlockSize
	}
	return counts, offsets, end
}

// Size returns how many bytes superblock and tree take for data of a size.
func Size(dataSize int64) int64 {
	_, _, end := layout(dataSize / BlockSize)
	return end
}

// Build reads data of the given size, a multiple of BlockSize, and writes the
// superblock at offset 0 of w and the tree behind it.
func Build(ctx context.Context, data io.ReaderAt, size int64, w io.WriterAt, salt []byte, uuid [16]byte) (Result, error) {
	if size <= 0 || size%BlockSize != 0 {
		return Result{}, fmt.Errorf("hashing %d bytes: not a whole number of %d-byte blocks", size, BlockSize)
	}
	if len(salt) > MaxSalt {
		return Result{}, fmt.Errorf("salt of %d bytes: longer than %d", len(salt), MaxSalt)
	}
	sb := Superblock{UUID: uuid, DataBlocks: size / BlockSize, Salt: salt}
	if _, err := w.WriteAt(sb.encode(), 0); err != nil {
		return Result{}, err
	}
	counts, offsets, end := layout(sb.DataBlocks)
	hashes, err := hashBlocks(ctx, data, sb.DataBlocks, salt)
	if err != nil {
		return Result{}, err
	}
	for i, n := range counts {
		level := make([]byte, n*BlockSize)
		copy(level, hashes)
		if _, err := w.WriteAt(level, offsets[i]); err != nil {
			return Result{}, err
		}
		if hashes, err = hashBlocks(ctx, bytes.NewReader(level), n, salt); err != nil {
			return Result{}, err
		}
	}
	return Result{RootHash: [sha256.Size]byte(hashes), DataBlocks: sb.DataBlocks, Size: end}, nil
}

// hashBlocks returns the hashes of the first n blocks of r, one after another.
func hashBlocks(ctx context.Context, r io.ReaderAt, n int64, salt []byte) ([]byte, error) {
	const chunk = 256 // blocks that a worker takes at a time: 1 MiB
	out := make([]byte, n*sha256.Size)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for start := int64(0); start < n; start += chunk {
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			count := min(chunk, n-start)
			buf := make([]byte, count*BlockSize)
			if n, err := r.ReadAt(buf, start*BlockSize); n < len(buf) {
				return fmt.Errorf("reading block %d: %w", start+int64(n/BlockSize), err)
			}
			for i := range count {
				sum := hash(salt, buf[i*BlockSize:(i+1)*BlockSize])
				copy(out[(start+i)*sha256.Size:], sum[:])
			}
			return nil
		})
	}
	return out, group.Wait()
}

func hash(salt, block []byte) [sha256.Size]byte {
	h := sha256.New()
	h.Write(salt)
	h.Write(block)
	return [sha256.Size]byte(h.Sum(nil))
}

func (s Superblock) encode() []byte {
	le := binary.LittleEndian
	b := make([]byte, BlockSize)
	copy(b, magic)
	le.PutUint32(b[8:], 1)  // version
	le.PutUint32(b[12:], 1) // hash type: salt first
	copy(b[16:], s.UUID[:])
	copy(b[32:], "sha256")
	le.PutUint32(b[64:], BlockSize)
	le.PutUint32(b[68:], BlockSize)
	le.PutUint64(b[72:], uint64(s.DataBlocks))
	le.PutUint16(b[80:], uint16(len(s.Salt)))
	copy(b[88:], s.Salt)
	return b
}

// ReadSuperblock reads the superblock at the start of r. One that differs in
// a single byte from what Build writes is an error.
func ReadSuperblock(r io.ReaderAt) (Superblock, error) {
	b := make([]byte, BlockSize)
	if _, err := r.ReadAt(b, 0); err != nil {
		return Superblock{}, fmt.Errorf("reading the verity superblock: %w", err)
	}
	le := binary.LittleEndian
	saltSize := int(le.Uint16(b[80:]))
	if string(b[:8]) != magic || saltSize > MaxSalt {
		return Superblock{}, errors.New("reading the verity superblock: there is none")
	}
	s := Superblock{UUID: [16]byte(b[16:]), DataBlocks: int64(le.Uint64(b[72:])), Salt: bytes.Clone(b[88 : 88+saltSize])}
	if s.DataBlocks <= 0 || !bytes.Equal(s.encode(), b) {
		return Superblock{}, errors.New("reading the verity superblock: it is damaged, or of parameters that Slipway does not use")
	}
	return s, nil
}

// PartUUIDs returns the partition UUIDs of a root and its verity partition:
// the first and the last 128 bits of the root hash (UAPI Group, Discoverable
// Partitions Specification, "Partition Attribute Flags" and verity).
func PartUUIDs(root [sha256.Size]byte) (data, tree string) {
	text := func(b []byte) string {
		h := hex.EncodeToString(b)
		return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
	}
	return text(root[:16]), text(root[16:])
}
