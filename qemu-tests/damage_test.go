package qemutests

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/slipway-os/slipway/pkg/ext4/ext4test"
	"github.com/slipway-os/slipway/pkg/gpt"
	"github.com/slipway-os/slipway/pkg/squashfs"
)

// TestDamage boots disks that one bit of the image was changed on. None may
// run what was changed.
func TestDamage(t *testing.T) {
	parts := partitions(t)
	for _, c := range []struct {
		name string
		at   func(*testing.T) int64 // offset on the disk
		says []string
	}{
		{
			name: "superblock of the root",
			at:   func(*testing.T) int64 { return parts["root-a"].Offset + 33 },
			says: []string{"data block 0 is corrupted", "Kernel panic", "slipway: profile"},
		},
		{
			name: "superblock of the hash tree",
			at:   func(*testing.T) int64 { return parts["verity-a"].Offset + 1 },
			says: []string{"CANNOT START: the hash tree on", "is not this image's"},
		},
		{
			name: "hash tree",
			// The first block after the superblock is the top of the tree.
			at:   func(*testing.T) int64 { return parts["verity-a"].Offset + 4096 },
			says: []string{"is corrupted", "Kernel panic", "slipway: profile"},
		},
		{
			name: "systemd's own program",
			at:   func(t *testing.T) int64 { return blockOf(t, parts["root-a"], "usr/lib/systemd/systemd") },
			says: []string{"root verified", "is corrupted", "Kernel panic", "slipway: profile"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t).login()
			s.flip(c.at(t))
			m := s.start()
			for _, text := range c.says {
				m.say(text)
			}
		})
	}
}

// TestDamagedState boots a disk whose state partition the kernel once found an
// error on.
func TestDamagedState(t *testing.T) {
	t.Parallel()
	f, err := os.Open(image(t))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	at := partitions(t)["state"].Offset + 1024
	var super [1024]byte // struct ext4_super_block
	if _, err := f.ReadAt(super[:], at); err != nil {
		t.Fatal(err)
	}
	was := super
	ext4test.NoteError(super[:])
	changed := map[int64]byte{}
	for i := range super {
		if super[i] != was[i] {
			changed[at+int64(i)] = super[i]
		}
	}
	s := newScene(t).login()
	s.poke(changed)
	m := s.start()
	for _, text := range []string{"IS DAMAGED: checking it", "is mended", "config applied"} {
		m.say(text)
	}
}

// flip changes one bit of the machine's disk; the image stays as it is.
func (s *scene) flip(offset int64) {
	s.t.Helper()
	var b [1]byte
	f, err := os.Open(s.image)
	if err != nil {
		s.t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.ReadAt(b[:], offset); err != nil {
		s.t.Fatal(err)
	}
	s.poke(map[int64]byte{offset: b[0] ^ 0x10})
}

// poke changes bytes of the machine's disk, by their offsets; the image stays as
// it is.
func (s *scene) poke(bytes map[int64]byte) {
	s.t.Helper()
	base, err := filepath.Abs(s.image)
	if err != nil {
		s.t.Fatal(err)
	}
	disk := filepath.Join(s.dir, "disk.qcow2")
	tool(s.t, "qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", base, disk, fmt.Sprint(s.opts.DiskSize))
	for at, b := range bytes {
		tool(s.t, "qemu-io", "-c", fmt.Sprintf("write -P %d %d 1", b, at), disk)
	}
}

func partitions(t *testing.T) map[string]gpt.Partition {
	f, err := os.Open(image(t))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	list, err := gpt.Read(f, info.Size())
	if err != nil {
		t.Fatal(err)
	}
	parts := map[string]gpt.Partition{}
	for _, p := range list {
		parts[p.Name] = p
	}
	return parts
}

// recorder notes where the last read was.
type recorder struct {
	io.ReaderAt
	offset, length int64
}

func (r *recorder) ReadAt(p []byte, off int64) (int, error) {
	r.offset, r.length = off, int64(len(p))
	return r.ReaderAt.ReadAt(p, off)
}

// blockOf returns the offset on the disk of the middle of the block with the
// first byte of a file of the root.
func blockOf(t *testing.T, part gpt.Partition, file string) int64 {
	f, err := os.Open(image(t))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := &recorder{ReaderAt: io.NewSectionReader(f, part.Offset, part.Size)}
	root, err := squashfs.Open(r)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := root.Tree()
	if err != nil {
		t.Fatal(err)
	}
	content, err := tree.Lookup(file).Content.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	if _, err := content.ReadAt(make([]byte, 1), 0); err != nil {
		t.Fatal(err)
	}
	return part.Offset + r.offset + r.length/2
}
