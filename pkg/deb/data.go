package deb

import (
	"archive/tar"
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/slipway-os/slipway/pkg/tree"
)

// Bounds on the data archive.
const (
	maxEntries   = 1 << 20
	maxDataBytes = 16 << 30
	maxPath      = 4096     // of a path or a link's target, as in Linux
	maxXattrs    = 64 << 10 // of one entry, as in Linux
	maxNames     = 64 << 20 // of all paths, targets and extended attributes together
)

// entry is a path in a data archive.
type entry struct {
	Path    string            `json:"p"`
	Type    tree.Type         `json:"t,omitempty"` // 0: a hard link to Target
	Mode    uint32            `json:"m,omitempty"`
	UID     uint32            `json:"u,omitempty"`
	GID     uint32            `json:"g,omitempty"`
	ModTime int64             `json:"d,omitempty"`
	Target  string            `json:"l,omitempty"`
	Major   uint32            `json:"a,omitempty"`
	Minor   uint32            `json:"i,omitempty"`
	Xattrs  map[string][]byte `json:"x,omitempty"`
	Offset  int64             `json:"o,omitempty"` // of the content in the decoded archive
	Size    int64             `json:"s,omitempty"`
	SHA256  string            `json:"h,omitempty"` // of the content, if there is any
}

// names returns the length of all that an entry names, in bytes.
func (e *entry) names() int {
	n := len(e.Path) + len(e.Target)
	for name, value := range e.Xattrs {
		n += len(name) + len(value)
	}
	return n
}

// counter knows how many bytes went through.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if c.n += int64(n); c.n > maxDataBytes {
		return 0, fmt.Errorf("more than %d bytes", int64(maxDataBytes))
	}
	return n, err
}

// readData lists the entries of a data archive while it copies the archive to
// w, and returns them and the archive's size.
func readData(archive io.Reader, w io.Writer) ([]entry, int64, error) {
	copied := bufio.NewWriterSize(w, 1<<18)
	in := &counter{r: io.TeeReader(archive, copied)}
	t := tar.NewReader(in)
	buf := make([]byte, 1<<18)
	var entries []entry
	names := 0
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, 0, err
		}
		if len(entries) == maxEntries {
			return nil, 0, fmt.Errorf("more than %d entries", maxEntries)
		}
		e, err := newEntry(h)
		if err != nil {
			return nil, 0, err
		}
		if names += e.names(); names > maxNames {
			return nil, 0, fmt.Errorf("more than %d bytes of names and extended attributes", maxNames)
		}
		if e.Type == tree.File && h.Size > 0 {
			e.Offset, e.Size = in.n, h.Size
			sum := sha256.New()
			if _, err := io.CopyBuffer(sum, struct{ io.Reader }{t}, buf); err != nil {
				return nil, 0, fmt.Errorf("%q: %w", h.Name, err)
			}
			if in.n-e.Offset != h.Size {
				return nil, 0, fmt.Errorf("%q: sparse files are not supported", h.Name)
			}
			e.SHA256 = hex.EncodeToString(sum.Sum(nil))
		}
		entries = append(entries, e)
	}
	// What follows the archive's end is read too: only then are all checks of
	// the compressed data verified.
	if _, err := io.CopyBuffer(io.Discard, struct{ io.Reader }{in}, buf); err != nil {
		return nil, 0, err
	}
	if err := copied.Flush(); err != nil {
		return nil, 0, err
	}
	return entries, in.n, nil
}

const xattrPrefix = "SCHILY.xattr." // of the PAX records that GNU tar and others use

func newEntry(h *tar.Header) (entry, error) {
	name, err := localPath(h.Name)
	if err != nil {
		return entry{}, err
	}
	e := entry{Path: name, Mode: uint32(h.Mode & 0o7777), ModTime: h.ModTime.Unix()}
	if h.Uid < 0 || h.Gid < 0 || int64(h.Uid) > 1<<32-2 || int64(h.Gid) > 1<<32-2 {
		return entry{}, fmt.Errorf("%q: owner %d:%d is out of range", h.Name, h.Uid, h.Gid)
	}
	e.UID, e.GID = uint32(h.Uid), uint32(h.Gid)
	switch h.Typeflag {
	case tar.TypeReg:
		e.Type = tree.File
	case tar.TypeDir:
		e.Type = tree.Dir
	case tar.TypeSymlink:
		if h.Linkname == "" || len(h.Linkname) > maxPath || strings.ContainsRune(h.Linkname, 0) {
			return entry{}, fmt.Errorf("%q: symlink to %.100q, which is no path", h.Name, h.Linkname)
		}
		e.Type, e.Mode, e.Target = tree.Symlink, 0o777, h.Linkname
	case tar.TypeLink:
		target, err := localPath(h.Linkname)
		if err != nil {
			return entry{}, err
		}
		return entry{Path: name, Target: target}, nil
	case tar.TypeChar, tar.TypeBlock:
		e.Type = tree.CharDevice
		if h.Typeflag == tar.TypeBlock {
			e.Type = tree.BlockDevice
		}
		if h.Devmajor < 0 || h.Devminor < 0 || h.Devmajor >= 1<<12 || h.Devminor >= 1<<20 {
			return entry{}, fmt.Errorf("%q: device %d:%d is out of range", h.Name, h.Devmajor, h.Devminor)
		}
		e.Major, e.Minor = uint32(h.Devmajor), uint32(h.Devminor)
	case tar.TypeFifo:
		e.Type = tree.Fifo
	default:
		return entry{}, fmt.Errorf("%q: entries of type %q are not supported", h.Name, h.Typeflag)
	}
	total := 0
	for key, value := range h.PAXRecords {
		attr, ok := strings.CutPrefix(key, xattrPrefix)
		if !ok {
			continue
		}
		if total += len(attr) + len(value); total > maxXattrs {
			return entry{}, fmt.Errorf("%q: more than %d bytes of extended attributes", h.Name, maxXattrs)
		}
		if e.Xattrs == nil {
			e.Xattrs = map[string][]byte{}
		}
		e.Xattrs[attr] = []byte(value)
	}
	return e, nil
}

// localPath returns the clean relative form of a path in an archive. One that
// is absolute or climbs is refused.
func localPath(name string) (string, error) {
	if len(name) > maxPath {
		return "", fmt.Errorf("path %.100q… of %d bytes", name, len(name))
	}
	if name == "" || path.IsAbs(name) || strings.ContainsRune(name, 0) || slices.Contains(strings.Split(name, "/"), "..") {
		return "", fmt.Errorf("path %q leads out of the package", name)
	}
	return path.Clean(name), nil
}

// makeTree makes a tree of entries whose contents lie in a file of that size.
func makeTree(entries []entry, file string, size int64) (*tree.Tree, error) {
	// Directories that the package does not list are as new as the newest
	// thing in it.
	var newest int64
	for _, e := range entries {
		newest = max(newest, e.ModTime)
	}
	b := tree.NewBuilder(newest)
	for _, e := range entries {
		if e.Type == 0 {
			if err := b.Link(e.Target, e.Path); err != nil {
				return nil, err
			}
			continue
		}
		n := &tree.Node{
			Type: e.Type, Mode: e.Mode, UID: e.UID, GID: e.GID, ModTime: e.ModTime,
			Target: e.Target, Major: e.Major, Minor: e.Minor,
		}
		for name, value := range e.Xattrs {
			n.Xattrs = append(n.Xattrs, tree.Xattr{Name: name, Value: value})
		}
		if e.Size > 0 {
			digest, err := parseDigest(e.SHA256)
			if err != nil || e.Offset < 0 || e.Offset > size || e.Size > size-e.Offset {
				return nil, fmt.Errorf("%q: its place or digest makes no sense", e.Path)
			}
			n.Content = tree.Section(file, e.Offset, e.Size, digest)
		}
		if err := b.Put(e.Path, n); err != nil {
			return nil, err
		}
	}
	return b.Tree(), nil
}

func parseDigest(text string) (d tree.Digest, err error) {
	n, err := hex.Decode(d[:], []byte(text[:min(len(text), 2*len(d))]))
	if err == nil && (n != len(d) || len(text) != 2*len(d)) {
		err = fmt.Errorf("%q is not a sha256", text)
	}
	return d, err
}
