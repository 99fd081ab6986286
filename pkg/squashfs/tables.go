package squashfs

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/tree"
)

// writeTables writes all that follows the data, and the superblock.
func writeTables(ctx context.Context, out *output, t *tree.Tree, p *plan, fragments []fragmentBlock, opts Options) error {
	enc, err := newEncoder(opts.Level, metadataSize)
	if err != nil {
		return err
	}
	ids := &idTable{places: map[uint32]uint16{}}
	xattrs := newXattrWriter(enc)
	w := &inodeWriter{
		tree: t, plan: p,
		inodes: &metaWriter{enc: enc}, dirs: &metaWriter{enc: enc}, ids: ids, xattrs: xattrs,
		numbers: map[*tree.Node]uint32{}, links: map[*tree.Node]uint32{},
		refs: map[*tree.Node]inodeRef{}, dirNumbers: map[string]uint32{},
	}
	root, err := w.writeAll()
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	sb := &superblock{
		Magic: magic, Major: 4, Inodes: w.count, ModTime: uint32(opts.Epoch),
		BlockSize: uint32(opts.BlockSize), BlockLog: blockLog(opts.BlockSize), Compressor: compressorZstd,
		Fragments: uint32(len(fragments)), IDs: uint16(len(ids.list)), Flags: flagDuplicates,
		Root: uint64(root), XattrTable: noTable, ExportTable: noTable,
	}
	// Readers expect the tables in this order.
	sb.InodeTable = uint64(out.pos)
	if _, err := w.inodes.writeTo(out); err != nil {
		return err
	}
	sb.DirTable = uint64(out.pos)
	if _, err := w.dirs.writeTo(out); err != nil {
		return err
	}
	if sb.FragmentTable, err = writeFragments(out, enc, fragments); err != nil {
		return err
	}
	if sb.IDTable, err = ids.write(out, enc); err != nil {
		return err
	}
	if xattrs.empty() {
		sb.Flags |= flagNoXattrs
	} else if sb.XattrTable, err = xattrs.write(out, enc); err != nil {
		return err
	}
	return out.finish(sb)
}

func writeFragments(out *output, enc *zstd.Encoder, fragments []fragmentBlock) (uint64, error) {
	m := &metaWriter{enc: enc}
	for _, f := range fragments {
		if err := writeValues(m, fragmentEntry{Start: f.start, Word: f.word}); err != nil {
			return 0, err
		}
	}
	return m.writeIndexed(out)
}

// idTable holds each user and group id once.
type idTable struct {
	list   []uint32
	places map[uint32]uint16
}

func (t *idTable) index(id uint32) (uint16, error) {
	if place, ok := t.places[id]; ok {
		return place, nil
	}
	if len(t.list) > math.MaxUint16-1 {
		return 0, diag.Inputf("more than %d different users and groups", math.MaxUint16)
	}
	place := uint16(len(t.list))
	t.list = append(t.list, id)
	t.places[id] = place
	return place, nil
}

func (t *idTable) write(out *output, enc *zstd.Encoder) (uint64, error) {
	m := &metaWriter{enc: enc}
	if err := writeValues(m, t.list); err != nil {
		return 0, err
	}
	return m.writeIndexed(out)
}

// xattrWriter holds each distinct set of extended attributes once.
type xattrWriter struct {
	pairs  *metaWriter
	sets   []xattrSet
	places map[string]uint32 // by the encoded pairs
}

func newXattrWriter(enc *zstd.Encoder) *xattrWriter {
	return &xattrWriter{pairs: &metaWriter{enc: enc}, places: map[string]uint32{}}
}

func (w *xattrWriter) empty() bool { return len(w.sets) == 0 }

// add returns the place of a set in the table, or noXattr for an empty one.
func (w *xattrWriter) add(p string, xattrs []tree.Xattr) (uint32, error) {
	if len(xattrs) == 0 {
		return noXattr, nil
	}
	var data []byte
	var size int
	for _, x := range xattrs {
		prefix, name, ok := splitXattr(x.Name)
		if !ok {
			return 0, diag.Inputf("%q: squashfs cannot hold the extended attribute %q", p, x.Name)
		}
		if len(x.Name) > 255 || len(x.Value) > math.MaxUint16 {
			return 0, diag.Inputf("%q: the extended attribute %q is too long", p, x.Name)
		}
		data = binary.LittleEndian.AppendUint16(data, prefix)
		data = binary.LittleEndian.AppendUint16(data, uint16(len(name)))
		data = append(data, name...)
		data = binary.LittleEndian.AppendUint32(data, uint32(len(x.Value)))
		data = append(data, x.Value...)
		size += len(x.Name) + 1 + len(x.Value)
	}
	if place, ok := w.places[string(data)]; ok {
		return place, nil
	}
	place := uint32(len(w.sets))
	w.sets = append(w.sets, xattrSet{w.pairs.ref(), uint32(len(xattrs)), uint32(size)})
	w.places[string(data)] = place
	if _, err := w.pairs.Write(data); err != nil {
		return 0, fmt.Errorf("%q: %w", p, err)
	}
	return place, nil
}

func splitXattr(name string) (prefix uint16, rest string, ok bool) {
	for i, p := range xattrPrefixes {
		if rest, ok := strings.CutPrefix(name, p); ok && rest != "" {
			return uint16(i), rest, true
		}
	}
	return 0, "", false
}

// write writes the pairs, the sets, and the header that leads to both.
func (w *xattrWriter) write(out *output, enc *zstd.Encoder) (uint64, error) {
	pairs := uint64(out.pos)
	if _, err := w.pairs.writeTo(out); err != nil {
		return 0, err
	}
	m := &metaWriter{enc: enc}
	if err := writeValues(m, w.sets); err != nil {
		return 0, err
	}
	return m.writeIndexed(out, pairs, uint32(len(w.sets)), uint32(0))
}
