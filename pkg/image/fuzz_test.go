package image_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"hash/crc32"
	"io"
	"os"
	"path"
	"runtime"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/image"
	"github.com/slipway-os/slipway/pkg/image/imagetest"
	"github.com/slipway-os/slipway/pkg/manifest"
	"github.com/slipway-os/slipway/pkg/squashfs"
	"github.com/slipway-os/slipway/pkg/tree"
)

// patched is a disk of which some bytes are others.
type patched struct {
	disk    io.ReaderAt
	patches map[int64]byte
}

func (p patched) ReadAt(b []byte, off int64) (int, error) {
	n, err := p.disk.ReadAt(b, off)
	for at, v := range p.patches {
		if at >= off && at < off+int64(n) {
			b[at-off] = v
		}
	}
	return n, err
}

// FuzzInspect changes bytes in what is read of small disks. A patch is three
// bytes of where, in one of the stretches that are looked at, and what.
func FuzzInspect(f *testing.F) {
	type stretch struct{ offset, size int64 }
	type base struct {
		disk      io.ReaderAt
		size      int64
		stretches []stretch
	}
	var bases []base
	for i, arch := range architectures() {
		d := imagetest.Write(f, arch)
		file, err := os.Open(d.File)
		if err != nil {
			f.Fatal(err)
		}
		f.Cleanup(func() { file.Close() })
		info, err := file.Stat()
		if err != nil {
			f.Fatal(err)
		}
		b := base{disk: file, size: info.Size(), stretches: []stretch{{0, 4096}}}
		for _, p := range d.Parts {
			switch p.Name {
			case "boot", "prep":
				b.stretches = append(b.stretches, stretch{p.Offset, 1 << 20})
			case "root-a":
				b.stretches = append(b.stretches, stretch{p.Offset, 96}, stretch{p.Offset + d.RootSize - 16<<10, 16 << 10})
			case "verity-a":
				b.stretches = append(b.stretches, stretch{p.Offset, 8192})
			}
		}
		bases = append(bases, b)
		for stretch := range b.stretches {
			f.Add(byte(i), []byte{byte(stretch), 0, 0, 0xff, byte(stretch), 0, 40, 1}, true)
		}
	}
	f.Fuzz(func(t *testing.T, which byte, data []byte, mend bool) {
		b := bases[int(which)%len(bases)]
		p := patched{b.disk, map[int64]byte{}}
		for ; len(data) >= 4 && len(p.patches) < 64; data = data[4:] {
			s := b.stretches[int(data[0])%len(b.stretches)]
			p.patches[s.offset+int64(binary.BigEndian.Uint16(data[1:]))*max(s.size>>16, 1)%s.size] = data[3]
		}
		if mend {
			p.mendTable()
		}
		exercise(t, p, b.size)
	})
}

// mendTable gives the partition table the checksums that it should have, so
// that more than these is tried.
func (p patched) mendTable() {
	le := binary.LittleEndian
	put := func(at int64, sum uint32) {
		for i, v := range le.AppendUint32(nil, sum) {
			p.patches[at+int64(i)] = v
		}
	}
	entries, header := make([]byte, 128*128), make([]byte, 92)
	p.ReadAt(entries, 1024)
	put(512+88, crc32.ChecksumIEEE(entries))
	put(512+16, 0)
	p.ReadAt(header, 512)
	put(512+16, crc32.ChecksumIEEE(header))
}

// FuzzDocuments puts documents into the root that nobody wrote.
func FuzzDocuments(f *testing.F) {
	disk := imagetest.Write(f, "s390x")
	file, err := os.Open(disk.File)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { file.Close() })
	info, err := file.Stat()
	if err != nil {
		f.Fatal(err)
	}
	read := func(p string) []byte {
		data, err := tree.ReadAll(disk.Root.Lookup(p).Content, 1<<20)
		if err != nil {
			f.Fatal(err)
		}
		return data
	}
	index := path.Join(manifest.ImagesDir, "index.json")
	var descriptors v1.IndexManifest
	if err := json.Unmarshal(read(index), &descriptors); err != nil {
		f.Fatal(err)
	}
	blob := read(path.Join(manifest.ImagesDir, "blobs/sha256", descriptors.Manifests[0].Digest.Hex))
	f.Add(read(manifest.ImagePath), read(manifest.InventoryPath), read(index), blob)
	f.Add([]byte(`{}`), []byte(`{"format":1,"packages":[{}],"components":[{"paths":["usr"]}]}`), []byte(`{"manifests":[{"digest":"sha256:00"}]}`), []byte(`null`))
	f.Fuzz(func(t *testing.T, image, inventory, index, blob []byte) {
		b := tree.NewBuilder(0)
		digest := sha256.Sum256(blob)
		for p, data := range map[string][]byte{
			manifest.ImagePath: image, manifest.InventoryPath: inventory, path.Join(manifest.ImagesDir, "index.json"): index,
			path.Join(manifest.ImagesDir, "blobs/sha256", hex.EncodeToString(digest[:])): blob,
		} {
			if err := b.Put(p, &tree.Node{Type: tree.File, Mode: 0o644, Content: tree.Bytes(data)}); err != nil {
				t.Fatal(err)
			}
		}
		root := disk.Part(t, "root-a")
		over := &overlaid{ReaderAt: file, offset: root.Offset, data: make([]byte, root.Size)}
		if _, err := squashfs.Write(t.Context(), over, b.Tree(), squashfs.Options{Workers: 1}); err != nil {
			return // more than fits
		}
		exercise(t, over, info.Size())
	})
}

// overlaid is a disk of which a stretch is another.
type overlaid struct {
	io.ReaderAt
	offset int64
	data   []byte
}

func (o *overlaid) WriteAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > int64(len(o.data)) {
		return 0, io.ErrShortWrite
	}
	return copy(o.data[off:], p), nil
}

func (o *overlaid) ReadAt(p []byte, off int64) (int, error) {
	n, err := o.ReaderAt.ReadAt(p, off)
	if from, to := max(off, o.offset), min(off+int64(n), o.offset+int64(len(o.data))); from < to {
		copy(p[from-off:to-off], o.data[from-o.offset:])
	}
	return n, err
}

// exercise looks at all of a disk.
func exercise(t *testing.T, r io.ReaderAt, size int64) {
	d, err := image.New("fuzzed", r, size)
	if err != nil {
		if diag.ExitCode(err) != diag.ExitInput {
			t.Errorf("opening: %v", err)
		}
		return
	}
	report, err := d.Inspect(t.Context(), image.InspectOptions{Verify: true})
	if err != nil && diag.ExitCode(err) != diag.ExitInput {
		t.Errorf("inspecting: %v", err)
	}
	if err == nil && report.Err() != nil && diag.ExitCode(report.Err()) != diag.ExitInput {
		t.Errorf("damage: %v", report.Err())
	}
	if root, err := d.Root(); err == nil {
		root.Walk(func(_ string, n *tree.Node) error {
			if n.Content != nil && n.Size() < 1<<20 {
				n.Digest()
			}
			return nil
		})
	}
	if k, err := d.Kernel(); err == nil {
		io.CopyN(io.Discard, k, 1<<20)
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	const most = 2 << 30 // of all parallel runs; one takes less than half
	if m.HeapInuse > most {
		t.Errorf("%d MiB of memory", m.HeapInuse>>20)
	}
}
