package state

import (
	"encoding/binary"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/slipway-os/slipway/pkg/ext4"
)

// What the kernel notes of an error is seen, until e2fsck has mended the file
// system.
func TestDamaged(t *testing.T) {
	program, err := exec.LookPath("e2fsck")
	if err != nil {
		program = "/usr/sbin/e2fsck" // which users' PATHs lack
		if _, err := os.Stat(program); err != nil {
			t.Skip("needs e2fsck of e2fsprogs")
		}
	}
	d := &Disk{State: filepath.Join(t.TempDir(), "state")}
	f, err := os.Create(d.State)
	must(t, err)
	defer f.Close()
	must(t, f.Truncate(64<<20))
	must(t, ext4.Write(f, ext4.Options{Size: 64 << 20}))
	is := func(want bool) {
		t.Helper()
		got, err := d.Damaged()
		must(t, err)
		if got != want {
			t.Errorf("damaged: %v, want %v", got, want)
		}
	}
	is(false)
	for _, c := range []struct {
		name string
		harm func()
		want [2]bool // whether -p and then -y mend it
	}{
		{"only noted", func() {}, [2]bool{true, true}},
		{"inode of the root gone", func() {
			_, err := f.WriteAt(make([]byte, 64), rootInode(t, f))
			must(t, err)
		}, [2]bool{false, true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			noteError(t, f)
			c.harm()
			is(true)
			for i, how := range []string{"-p", "-y"} {
				cmd := exec.Command(program, "-f", how, d.State)
				out, _ := cmd.CombinedOutput()
				if got := mended(cmd.ProcessState.ExitCode()); got != c.want[i] {
					t.Errorf("e2fsck %s: mended %v, status %d\n%s", how, got, cmd.ProcessState.ExitCode(), out)
				}
			}
			is(false)
		})
	}
}

// noteError does what the kernel does to a superblock when it finds an error.
func noteError(t *testing.T, f *os.File) {
	t.Helper()
	var super [1024]byte
	_, err := f.ReadAt(super[:], 1024)
	must(t, err)
	super[0x3a] |= 2
	binary.LittleEndian.PutUint32(super[0x3fc:], ^crc32.Checksum(super[:0x3fc], crc32.MakeTable(crc32.Castagnoli))) // s_checksum
	_, err = f.WriteAt(super[:], 1024)
	must(t, err)
}

// rootInode is where the inode of the root directory, number 2, begins.
func rootInode(t *testing.T, f *os.File) int64 {
	t.Helper()
	var table [4]byte // bg_inode_table_lo of the first group's descriptor
	_, err := f.ReadAt(table[:], 4096+8)
	must(t, err)
	return (int64(table[0])|int64(table[1])<<8|int64(table[2])<<16|int64(table[3])<<24)*4096 + 256
}
