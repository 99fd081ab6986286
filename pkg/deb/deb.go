// Package deb reads Debian packages, format 2 (deb(5)), into trees. Nothing
// in a package is ever run. What a package holds is decoded once, into the
// store; the trees refer to it there.
package deb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/store"
	"github.com/slipway-os/slipway/pkg/tree"
)

// Package is what a Debian package holds.
type Package struct {
	Control   map[string]string // fields of the control file, continuation lines joined by newlines
	Conffiles []string          // paths relative to the root
	Tree      *tree.Tree
}

// recordKind and recordFormat name the records of decoded packages.
const (
	recordKind   = "deb"
	recordFormat = 1
)

// record is a decoded package in the store.
type record struct {
	Control   map[string]string `json:"control"`
	Conffiles []string          `json:"conffiles,omitempty"`
	Data      string            `json:"data"` // sha256 of the decoded data archive
	Size      int64             `json:"size"` // of that
	Entries   []entry           `json:"entries"`
}

// Open reads the package in blob. The first time, its data archive is decoded
// into the store and each file's digest taken; later this costs no more than
// loading a record.
func Open(ctx context.Context, st *store.Store, blob tree.Content) (*Package, error) {
	return open(ctx, st, newDecoder(parallelism()), blob)
}

// OpenAll is Open of many packages in parallel. Progress, which may be nil, is
// called with the size of each blob that has been read, from several
// goroutines.
func OpenAll(ctx context.Context, st *store.Store, blobs []tree.Content, progress func(bytes int64)) ([]*Package, error) {
	packages := make([]*Package, len(blobs))
	order := make([]int, len(blobs))
	for i := range order {
		order[i] = i
	}
	// The largest first, so that none is left over for one core at the end.
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(blobs[b].Size(), blobs[a].Size()) })
	d := newDecoder(parallelism())
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelism())
	for _, i := range order {
		group.Go(func() (err error) {
			if packages[i], err = open(ctx, st, d, blobs[i]); err == nil && progress != nil {
				progress(blobs[i].Size())
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return packages, nil
}

// parallelism bounds memory as well: each decoder may hold maxBlock bytes.
func parallelism() int { return min(runtime.GOMAXPROCS(0), 8) }

func open(ctx context.Context, st *store.Store, d *decoder, blob tree.Content) (*Package, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	key := store.Key(recordFormat, blob.Digest().String())
	p, err := load(st, key)
	if !errors.Is(err, store.ErrMissing) {
		return p, err
	}
	r, err := decode(ctx, st, d, blob)
	if err == nil {
		p, err = r.open(st)
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("reading the package with sha256 %s: %w", blob.Digest(), dependency(err))
	}
	if err := st.Save(recordKind, key, r); err != nil {
		return nil, err
	}
	return p, nil
}

// load makes a package of what the store holds, or returns store.ErrMissing.
func load(st *store.Store, key string) (*Package, error) {
	var r record
	if err := st.Load(recordKind, key, &r); err != nil {
		return nil, err
	}
	p, err := r.open(st)
	if err != nil && diag.ExitCode(err) != diag.ExitIO {
		return nil, store.ErrMissing // a record that makes no sense is made anew
	}
	return p, err
}

func (r *record) open(st *store.Store) (*Package, error) {
	digest, err := parseDigest(r.Data)
	if err != nil {
		return nil, err
	}
	if _, err := st.Blob(digest, r.Size); err != nil {
		return nil, err
	}
	t, err := makeTree(r.Entries, st.BlobPath(digest), r.Size)
	if err != nil {
		return nil, fmt.Errorf("package %s: %w", r.Control["Package"], err)
	}
	return &Package{Control: r.Control, Conffiles: r.Conffiles, Tree: t}, nil
}

func decode(ctx context.Context, st *store.Store, d *decoder, blob tree.Content) (*record, error) {
	// First of all: nothing of a package that is not the one that was locked
	// may get any further.
	if err := tree.Copy(io.Discard, blob); err != nil {
		return nil, diag.IO(err)
	}
	file, err := blob.Open()
	if err != nil {
		return nil, diag.IO(err)
	}
	defer file.Close()
	members, err := readAr(file, blob.Size())
	if err != nil {
		return nil, err
	}
	control, data, err := parts(file, members)
	if err != nil {
		return nil, err
	}
	r := &record{}
	archive, err := d.open(ctx, file, control)
	if err == nil {
		err = r.readControl(archive)
		archive.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", control.name, err)
	}
	w, err := st.NewWriter()
	if err != nil {
		return nil, err
	}
	defer w.Abort()
	if archive, err = d.open(ctx, file, data); err == nil {
		r.Entries, r.Size, err = readData(archive, w)
		archive.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("%s of package %s: %w", data.name, r.Control["Package"], err)
	}
	content, err := w.Commit()
	if err != nil {
		return nil, err
	}
	r.Data = content.Digest().String()
	return r, nil
}

// dependency marks what no local disk is to blame for.
func dependency(err error) error {
	if diag.ExitCode(err) == diag.ExitIO {
		return err
	}
	return diag.Dependency(err)
}

// parts finds the two archives of a package: debian-binary must come first
// and say format 2, then control.tar and data.tar, whatever their compression;
// members that start with "_" are to be skipped.
func parts(r io.ReaderAt, members []member) (control, data member, err error) {
	if len(members) == 0 || members[0].name != "debian-binary" {
		return control, data, errors.New("not a Debian package: it does not start with debian-binary")
	}
	version := make([]byte, min(members[0].size, 2))
	if _, err := r.ReadAt(version, members[0].offset); err != nil || string(version) != "2." {
		return control, data, fmt.Errorf("package of format %q: only format 2 is known", version)
	}
	for _, m := range members[1:] {
		switch {
		case strings.HasPrefix(m.name, "_"):
		case control.name == "" && strings.HasPrefix(m.name, "control.tar"):
			control = m
		case data.name == "" && control.name != "" && strings.HasPrefix(m.name, "data.tar"):
			data = m
		}
	}
	if data.name == "" {
		return control, data, errors.New("control.tar or data.tar is missing in the package")
	}
	return control, data, nil
}
