package container

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"path"
	"runtime"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/slipway-os/slipway/pkg/deb"
	"github.com/slipway-os/slipway/pkg/rootfs"
	"github.com/slipway-os/slipway/pkg/store"
	"github.com/slipway-os/slipway/pkg/tree"
)

// Sources are what layers are made from.
type Sources struct {
	Packages map[string][]*deb.Package // by the layer's name
	// Program returns the node of a program. It is the same one that the root
	// has, so that both become one inode.
	Program func(component, program string) (*tree.Node, error)
	Epoch   int64
}

// Tree returns the files of a layer.
func (l *Layer) Tree(s Sources) (*tree.Tree, error) {
	b := tree.NewBuilder(s.Epoch)
	if err := rootfs.Unpack(b, s.Packages[l.Name], l.Prune, l.Certificates, s.Epoch); err != nil {
		return nil, fmt.Errorf("making layer %q: %w", l.Name, err)
	}
	// What packages brought may be later than the epoch; programs are not,
	// and must stay the nodes they are.
	b.ClampTimes(s.Epoch)
	// One path may lead through what another one makes: their order counts.
	put := func(field, p string, n *tree.Node) error {
		n.ModTime = s.Epoch
		if err := b.Put(p, n); err != nil {
			return l.document.Errorf(field+"."+p, "", "%v", err)
		}
		return nil
	}
	for _, p := range slices.Sorted(maps.Keys(l.Directories)) {
		mode, err := parseMode(l.Directories[p])
		if err != nil {
			return nil, l.document.Errorf("directories."+p, "", "%v", err)
		}
		if err := put("directories", p, &tree.Node{Type: tree.Dir, Mode: mode}); err != nil {
			return nil, err
		}
	}
	for _, p := range slices.Sorted(maps.Keys(l.Files)) {
		if err := put("files", p, &tree.Node{Type: tree.File, Mode: 0o644, Content: tree.String(l.Files[p])}); err != nil {
			return nil, err
		}
	}
	for _, p := range slices.Sorted(maps.Keys(l.Links)) {
		if err := put("links", p, &tree.Node{Type: tree.Symlink, Mode: 0o777, Target: l.Links[p]}); err != nil {
			return nil, err
		}
	}
	for i, p := range l.Programs {
		n, err := s.Program(p.Component, p.Program)
		if err != nil {
			return nil, l.document.Errorf(fmt.Sprintf("programs[%d]", i), "", "%v", err)
		}
		if len(p.Capabilities) > 0 {
			n = withCapabilities(n, p.Capabilities)
		}
		for j, at := range p.Paths {
			if err := b.Put(at, n); err != nil {
				return nil, l.document.Errorf(fmt.Sprintf("programs[%d].paths[%d]", i, j), "", "%v", err)
			}
		}
	}
	return b.Tree(), nil
}

// withCapabilities returns the node with file capabilities: permitted and
// effective (capabilities(7), VFS_CAP_REVISION_2).
func withCapabilities(n *tree.Node, names []string) *tree.Node {
	var permitted uint32
	for _, name := range names {
		permitted |= 1 << capabilities()[name]
	}
	value := make([]byte, 20)
	binary.LittleEndian.PutUint32(value, 0x02000001)
	binary.LittleEndian.PutUint32(value[4:], permitted)
	c := *n
	c.Xattrs = append(slices.Clone(n.Xattrs), tree.Xattr{Name: "security.capability", Value: value})
	return &c
}

// layer is a v1.Layer whose blob is the plain tar. The node never unpacks it:
// its files lie in the root already.
type layer struct {
	tree   *tree.Tree
	digest v1.Hash
	size   int64
}

var _ v1.Layer = (*layer)(nil)

func (l *layer) Digest() (v1.Hash, error)            { return l.digest, nil }
func (l *layer) DiffID() (v1.Hash, error)            { return l.digest, nil }
func (l *layer) Size() (int64, error)                { return l.size, nil }
func (l *layer) MediaType() (types.MediaType, error) { return types.OCIUncompressedLayer, nil }
func (l *layer) Compressed() (io.ReadCloser, error)  { return l.Uncompressed() }
func (l *layer) Uncompressed() (io.ReadCloser, error) {
	r, w := io.Pipe()
	go func() { w.CloseWithError(writeTar(context.Background(), w, l.tree)) }()
	return r, nil
}

// newLayer computes the digest of a layer's tar, unless the store knows it.
func newLayer(ctx context.Context, st *store.Store, t *tree.Tree) (*layer, error) {
	const kind = "layer-1"
	var known struct {
		Digest string
		Size   int64
	}
	// Another version of Go may write the same archive otherwise.
	key := store.Key(runtime.Version(), fingerprint(t))
	if st.Load(kind, key, &known) != nil {
		h := sha256.New()
		counted := &counter{w: h}
		if err := writeTar(ctx, counted, t); err != nil {
			return nil, err
		}
		known.Digest, known.Size = hex.EncodeToString(h.Sum(nil)), counted.n
		if err := st.Save(kind, key, known); err != nil {
			return nil, err
		}
	}
	return &layer{tree: t, digest: v1.Hash{Algorithm: "sha256", Hex: known.Digest}, size: known.Size}, nil
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// fingerprint names everything that determines a layer's tar.
func fingerprint(t *tree.Tree) string {
	type entry struct {
		Path, Type, Target, Digest, Link string
		Mode, UID, GID, Major, Minor     uint32
		Time                             int64
		Xattrs                           []tree.Xattr
	}
	var entries []any
	first := map[*tree.Node]string{}
	t.Walk(func(p string, n *tree.Node) error {
		e := entry{Path: p, Type: n.Type.String(), Target: n.Target, Mode: n.Mode, UID: n.UID, GID: n.GID, Major: n.Major, Minor: n.Minor, Time: n.ModTime, Xattrs: n.Xattrs, Link: first[n]}
		if n.Type == tree.File {
			e.Digest = n.Digest().String()
		}
		if e.Link == "" {
			first[n] = p
		}
		entries = append(entries, e)
		return nil
	})
	return store.Key(entries...)
}

// writeTar writes a layer as OCI layers are (OCI Image Layer Filesystem
// Changeset; pax for extended attributes).
func writeTar(ctx context.Context, w io.Writer, t *tree.Tree) error {
	out := tar.NewWriter(w)
	first := map[*tree.Node]string{}
	err := t.Walk(func(p string, n *tree.Node) error {
		if p == "." {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if strings.HasPrefix(path.Base(p), ".wh.") {
			return fmt.Errorf("archiving %q: in a layer this name would take a file away", p)
		}
		h := &tar.Header{Name: p, Mode: int64(n.Mode), Uid: int(n.UID), Gid: int(n.GID), ModTime: time.Unix(n.ModTime, 0), Format: tar.FormatPAX}
		for _, x := range n.Xattrs {
			if h.PAXRecords == nil {
				h.PAXRecords = map[string]string{}
			}
			h.PAXRecords["SCHILY.xattr."+x.Name] = string(x.Value)
		}
		switch n.Type {
		case tree.Dir:
			h.Typeflag, h.Name = tar.TypeDir, p+"/"
		case tree.Symlink:
			h.Typeflag, h.Linkname = tar.TypeSymlink, n.Target
		case tree.File:
			h.Typeflag, h.Size = tar.TypeReg, n.Size()
			if at, ok := first[n]; ok {
				h.Typeflag, h.Size, h.Linkname = tar.TypeLink, 0, at
			} else {
				first[n] = p
			}
		default:
			return fmt.Errorf("archiving %q: a layer holds no device", p)
		}
		if err := out.WriteHeader(h); err != nil {
			return fmt.Errorf("archiving %q: %w", p, err)
		}
		if h.Size == 0 {
			return nil
		}
		if err := tree.Copy(out, n.Content); err != nil {
			return fmt.Errorf("archiving %q: %w", p, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return out.Close()
}
