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

// ErrDamaged is in what Mount returns if the kernel does not take the state
// partition for a whole file system. A disk that cannot be read is none.
var ErrDamaged = errors.New("its file system is damaged")

var errNoExt4 = errors.New("it holds no ext4")

// superblock reads that of the state partition's ext4 (Linux, fs/ext4/ext4.h,
// struct ext4_super_block).
func (d *Disk) superblock() (super [1024]byte, err error) {
	f, err := os.Open(d.State)
	if err != nil {
		return super, err
	}
	defer f.Close()
	if _, err = f.ReadAt(super[:], 1024); err == nil && binary.LittleEndian.Uint16(super[0x38:]) != 0xef53 {
		err = errNoExt4
	}
	if err != nil {
		err = fmt.Errorf("reading the state partition %s: %w", d.State, err)
	}
	return super, err
}

// Damaged says whether the file system of the state partition is known to be:
// it has no superblock, or the kernel found an error and noted it in s_state
// (EXT4_ERROR_FS), and would let nobody write there once it comes across it again.
func (d *Disk) Damaged() (bool, error) {
	super, err := d.superblock()
	if errors.Is(err, errNoExt4) {
		return true, nil
	}
	return err == nil && binary.LittleEndian.Uint16(super[0x3a:])&2 != 0, err
}

// damage marks an error of mount(2) with ErrDamaged if it says that the file
// system is what is wrong.
func damage(err error) error {
	for _, code := range []syscall.Errno{unix.EUCLEAN, unix.EBADMSG, unix.EINVAL} { // EFSCORRUPTED, EFSBADCRC, and whatever is no ext4
		if errors.Is(err, code) {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
	}
	return err
}

// Check mends the file system of the state partition, which must not be
// mounted, with the e2fsck(8) of a root, and says whether something may be lost.
func (d *Disk) Check(root string) (lossy bool, err error) {
	dev := filepath.Join(root, "dev")
	if err := unix.Mount("/dev", dev, "", unix.MS_BIND, ""); err != nil {
		return false, fmt.Errorf("binding /dev to %s: %w", dev, err)
	}
	lossy, err = d.mend(root)
	return lossy, errors.Join(err, unix.Unmount(dev, 0))
}

// mend has the e2fsck of a root mend first what can be mended without a loss,
// and if that is not all, the rest.
func (d *Disk) mend(root string) (lossy bool, err error) {
	var said []byte
	for _, how := range []string{"-p", "-y"} {
		cmd := exec.Command(e2fsck, "-f", how, d.State)
		cmd.Dir, cmd.Env = "/", []string{"PATH=/usr/sbin:/usr/bin"}
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
		out, err := cmd.CombinedOutput()
		if exit := (&exec.ExitError{}); err != nil && !errors.As(err, &exit) {
			return false, fmt.Errorf("checking the file system of %s: %w", d.State, err)
		}
		// What was corrected are bits 0 and 1 of the exit status.
		if status := cmd.ProcessState.ExitCode(); status >= 0 && status&^3 == 0 {
			return how == "-y", nil
		}
		said = out
	}
	lines := bytes.Split(bytes.TrimSpace(said), []byte("\n"))
	return false, fmt.Errorf("checking the file system of the state partition %s: e2fsck cannot mend it: %s; give the machine a fresh disk, or write the image to this one again", d.State, lines[len(lines)-1])
}

const e2fsck = "/usr/sbin/e2fsck"
