package state

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// superblock reads that of the state partition's ext4 (Linux, fs/ext4/ext4.h,
// struct ext4_super_block).
func (d *Disk) superblock() (super [1024]byte, err error) {
	f, err := os.Open(d.State)
	if err != nil {
		return super, err
	}
	defer f.Close()
	if _, err := f.ReadAt(super[:], 1024); err != nil {
		return super, fmt.Errorf("reading the state partition %s: %w", d.State, err)
	}
	if binary.LittleEndian.Uint16(super[0x38:]) != 0xef53 {
		return super, fmt.Errorf("the state partition %s holds no ext4", d.State)
	}
	return super, nil
}

// Damaged says whether the file system of the state partition is known to be:
// the kernel found an error and noted it in s_state (EXT4_ERROR_FS), and will let
// nobody write there at each boot once it comes across the error again.
func (d *Disk) Damaged() (bool, error) {
	super, err := d.superblock()
	return err == nil && binary.LittleEndian.Uint16(super[0x3a:])&2 != 0, err
}

// Check mends the file system of the state partition, which must not be
// mounted, with the e2fsck(8) of a root: first what can be mended without a loss,
// and if that is not all, the rest.
func (d *Disk) Check(root string) error {
	dev := filepath.Join(root, "dev")
	if err := unix.Mount("/dev", dev, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("binding /dev to %s: %w", dev, err)
	}
	defer unix.Unmount(dev, 0)
	var said []byte
	for _, how := range []string{"-p", "-y"} {
		cmd := exec.Command("/usr/sbin/e2fsck", "-f", how, d.State)
		cmd.Dir, cmd.Env = "/", []string{"PATH=/usr/sbin:/usr/bin"}
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
		out, err := cmd.CombinedOutput()
		if exit := (&exec.ExitError{}); err != nil && !errors.As(err, &exit) {
			return fmt.Errorf("checking the file system of %s: %w", d.State, err)
		}
		if mended(cmd.ProcessState.ExitCode()) {
			return nil
		}
		said = out
	}
	lines := bytes.Split(bytes.TrimSpace(said), []byte("\n"))
	return fmt.Errorf("checking the file system of the state partition %s: e2fsck cannot mend it: %s; give the machine a fresh disk, or write the image to this one again", d.State, lines[len(lines)-1])
}

// mended says whether e2fsck ended with a file system without errors: what it
// corrected are bits 0 and 1 of its exit status.
func mended(status int) bool { return status >= 0 && status&^3 == 0 }
