package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/slipway-os/slipway/pkg/ext4"
	"github.com/slipway-os/slipway/pkg/ext4/ext4test"
)

// A damaged file system is seen, until e2fsck has mended it, and with what loss
// is told.
func TestDamaged(t *testing.T) {
	if _, err := os.Stat(e2fsck); err != nil {
		t.Skip(e2fsck + " is missing, which mends what is damaged here: `make judges` installs it, and `make test` does so first")
	}
	for _, c := range []struct {
		name    string
		harm    func(*testing.T, *os.File)
		damaged bool
		lossy   bool
		fails   bool
	}{
		{"whole", func(*testing.T, *os.File) {}, false, false, false},
		{"the kernel noted an error", noteError, true, false, false},
		{"and the inode of the root is gone", func(t *testing.T, f *os.File) {
			noteError(t, f)
			put(t, f, make([]byte, 64), rootInode(t, f))
		}, true, true, false},
		{"no superblock, but copies of it", func(t *testing.T, f *os.File) { put(t, f, make([]byte, 1024), 1024) }, true, true, false},
		{"nothing is left", func(t *testing.T, f *os.File) {
			must(t, f.Truncate(0))
			must(t, f.Truncate(size))
		}, true, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := &Disk{State: filepath.Join(t.TempDir(), "state")}
			f, err := os.Create(d.State)
			must(t, err)
			defer f.Close()
			must(t, f.Truncate(size))
			must(t, ext4.Write(f, ext4.Options{Size: size}))
			c.harm(t, f)
			if got, err := d.Damaged(); err != nil || got != c.damaged {
				t.Errorf("damaged: %v, %v; want %v", got, err, c.damaged)
			}
			lossy, err := d.mend("")
			if (err != nil) != c.fails || lossy != c.lossy {
				t.Fatalf("mended with a loss: %v, %v; want %v", lossy, err, c.lossy)
			}
			if got, err := d.Damaged(); err != nil || got != c.fails {
				t.Errorf("damaged after that: %v, %v", got, err)
			}
		})
	}
	d := &Disk{State: filepath.Join(t.TempDir(), "nowhere")}
	if got, err := d.Damaged(); got || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what cannot be read is no damage: %v, %v", got, err)
	}
}

// size has room for a second group of blocks, and in it for a copy of the
// superblock.
const size = 256 << 20

// Only what the file system is to blame for is to be mended.
func TestWhatIsDamage(t *testing.T) {
	for code, want := range map[syscall.Errno]bool{unix.EUCLEAN: true, unix.EBADMSG: true, unix.EINVAL: true, unix.EIO: false, unix.ENODEV: false, unix.ENOMEM: false} {
		err := damage(fmt.Errorf("mounting: %w", code))
		if errors.Is(err, ErrDamaged) != want || !errors.Is(err, code) {
			t.Errorf("%v: %v", code, err)
		}
	}
}

func put(t *testing.T, f *os.File, data []byte, at int64) {
	t.Helper()
	_, err := f.WriteAt(data, at)
	must(t, err)
}

func noteError(t *testing.T, f *os.File) {
	t.Helper()
	var super [1024]byte
	_, err := f.ReadAt(super[:], 1024)
	must(t, err)
	ext4test.NoteError(super[:])
	put(t, f, super[:], 1024)
}

// rootInode is where the inode of the root directory, number 2, begins.
func rootInode(t *testing.T, f *os.File) int64 {
	t.Helper()
	var table [4]byte // bg_inode_table_lo of the first group's descriptor
	_, err := f.ReadAt(table[:], 4096+8)
	must(t, err)
	return int64(binary.LittleEndian.Uint32(table[:]))*4096 + 256
}
