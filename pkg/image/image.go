// Package image reads what `builder build` wrote: a raw disk of any
// architecture. It writes nothing, needs no privileges, and takes bounded
// memory whatever the disk holds.
package image

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/gpt"
	"github.com/slipway-os/slipway/pkg/manifest"
	"github.com/slipway-os/slipway/pkg/squashfs"
	"github.com/slipway-os/slipway/pkg/tree"
)

// Disk is an image that is open for reading. It is for one goroutine; the
// contents of its root's files are for any.
type Disk struct {
	name  string
	disk  *io.SectionReader
	close func() error
	arch  string // by the type of the root partition
	parts []gpt.Partition

	starts *starts // what is started, once it was read
	root   *root   // likewise
}

// Open opens a raw disk. One that Slipway did not write is bad input.
func Open(name string) (*Disk, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, diag.Inputf("opening image: %w", err)
	}
	if mode := info.Mode(); !mode.IsRegular() && (mode&os.ModeDevice == 0 || mode&os.ModeCharDevice != 0) {
		return nil, diag.Inputf("opening image %q: it is %s, not a raw disk", name, kindOf(mode))
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, diag.Inputf("opening image: %w", err)
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		f.Close()
		return nil, diag.Inputf("opening image %q: %w", name, err)
	}
	d, err := New(name, f, size)
	if err != nil {
		f.Close()
		return nil, err
	}
	d.close = f.Close
	return d, nil
}

func kindOf(mode os.FileMode) string {
	switch {
	case mode.IsDir():
		return "a directory"
	case mode&os.ModeCharDevice != 0:
		return "a character device"
	case mode&os.ModeNamedPipe != 0:
		return "a pipe"
	}
	return "no file"
}

// New reads a raw disk of a size from r. Its name is for errors.
func New(name string, r io.ReaderAt, size int64) (*Disk, error) {
	d := &Disk{name: name, disk: io.NewSectionReader(r, 0, size), close: func() error { return nil }}
	if size == 0 {
		return nil, diag.Inputf("image %q is empty", name)
	}
	if made := gpt.MadeFor(d.disk); made > size {
		return nil, diag.Inputf("image %q is cut off: it has %d bytes, and its partition table was made for %d", name, size, made)
	}
	var err error
	if d.parts, err = gpt.Read(d.disk, size); err != nil {
		return nil, diag.Input(foreign(name, d.disk, err))
	}
	for _, p := range d.parts {
		if arch := rootArchitecture(p.Type); arch != "" && d.arch == "" {
			d.arch = arch
		}
	}
	if _, ok := d.named(rootName); !ok || d.arch == "" {
		return nil, diag.Inputf("image %q has partitions, but no %q: it is no disk that builder wrote", name, rootName)
	}
	return d, nil
}

// rootArchitecture returns the architecture whose root partitions have a
// type; "" if it is the type of something else.
func rootArchitecture(kind string) string {
	for _, arch := range []string{"amd64", "arm64", "ppc64le", "s390x"} {
		if root, _, err := gpt.RootTypes(arch); err == nil && root == kind {
			return arch
		}
	}
	return ""
}

// Close closes the disk.
func (d *Disk) Close() error { return d.close() }

func (d *Disk) named(name string) (gpt.Partition, bool) {
	for _, p := range d.parts {
		if p.Name == name {
			return p, true
		}
	}
	return gpt.Partition{}, false
}

func (d *Disk) content(p gpt.Partition) *io.SectionReader {
	return io.NewSectionReader(d.disk, p.Offset, p.Size)
}

// root is a root file system that was read.
type root struct {
	slot slot
	fs   *squashfs.Reader
	tree *tree.Tree
}

// openRoot reads the root that the disk starts.
func (d *Disk) openRoot() (*root, error) {
	if d.root != nil {
		return d.root, nil
	}
	s, err := d.slot()
	if err != nil {
		return nil, err
	}
	r := &root{slot: s}
	part := d.content(s.root)
	if r.fs, err = squashfs.Open(part); err != nil {
		if what := recognise(part); what != "" && what != "squashfs" {
			err = fmt.Errorf("it holds %s, not a squashfs", what)
		}
		return nil, d.unreadable(s.root.Name, "the root", err)
	}
	if r.fs.Size() > s.root.Size {
		return nil, d.unreadable(s.root.Name, "the root", fmt.Errorf("its %d bytes are more than the partition has", r.fs.Size()))
	}
	if r.tree, err = r.fs.Tree(); err != nil {
		return nil, d.unreadable(s.root.Name, "the root", err)
	}
	d.root = r
	return r, nil
}

// unreadable is what cannot be read of a partition.
type unreadable struct {
	image, partition, what string
	err                    error
}

func (u *unreadable) Error() string {
	return fmt.Sprintf("reading %s of image %q, partition %q: %v", u.what, u.image, u.partition, u.err)
}

func (u *unreadable) Unwrap() error { return u.err }

// unreadable makes bad input of what cannot be read of a partition.
func (d *Disk) unreadable(partition, what string, err error) error {
	return diag.Input(&unreadable{d.name, partition, what, err})
}

// Root returns the root file system that the disk starts.
func (d *Disk) Root() (*tree.Tree, error) {
	r, err := d.openRoot()
	if err != nil {
		return nil, err
	}
	return r.tree, nil
}

// Describe returns what the image says of itself.
func (d *Disk) Describe() (manifest.Image, error) {
	var m manifest.Image
	found, err := d.document(manifest.ImagePath, &m)
	if err == nil && !found {
		err = diag.Inputf("image %q has no /%s: it is no disk that builder wrote", d.name, manifest.ImagePath)
	}
	return m, err
}

// maxDocument bounds the JSON files of a root that are read, in bytes.
const maxDocument = 1 << 20

// document reads a JSON file of the root; false if there is none.
func (d *Disk) document(path string, v any) (bool, error) {
	data, err := d.readFile(path)
	if data == nil || err != nil {
		return false, err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return false, d.unreadable(d.root.slot.root.Name, "/"+path, err)
	}
	return true, nil
}

// readFile returns the content of a document of the root; nil if there is none.
func (d *Disk) readFile(path string) ([]byte, error) {
	r, err := d.openRoot()
	if err != nil {
		return nil, err
	}
	n := r.tree.Lookup(path)
	if n == nil || n.Type != tree.File {
		return nil, nil
	}
	data, err := tree.ReadAll(n.Content, maxDocument)
	if err != nil {
		return nil, d.unreadable(r.slot.root.Name, "/"+path, err)
	}
	if data == nil {
		data = []byte{}
	}
	return data, nil
}

// Kernel returns the kernel that the disk starts.
func (d *Disk) Kernel() (io.ReadCloser, error) {
	s := d.start()
	if s.contents == nil {
		return nil, s.err
	}
	return io.NopCloser(s.contents.Kernel), nil
}
