// Package initramfs is what runs as PID 1 before systemd: it finds the root
// that the initrd knows the hash of, verifies it, binds what is writable to
// the state partition, makes it the root of the system, and has the
// machine's config applied the first time.
package initramfs

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/slipway-os/slipway/pkg/console"
	"github.com/slipway-os/slipway/pkg/devicemapper"
	"github.com/slipway-os/slipway/pkg/ignition"
	"github.com/slipway-os/slipway/pkg/ipl"
	"github.com/slipway-os/slipway/pkg/manifest"
	"github.com/slipway-os/slipway/pkg/modprobe"
	"github.com/slipway-os/slipway/pkg/state"
	"github.com/slipway-os/slipway/pkg/status"
	"github.com/slipway-os/slipway/pkg/verity"
)

const (
	sysroot  = "/sysroot"
	stateDir = "/run/state"
	// How long a person has to read why the machine starts again.
	pause = 30 * time.Second
	// How long a machine waits for a config before it starts again: what was
	// not there may be found by a new start of the firmware.
	patience = 15 * time.Minute
)

// boot is one start of the machine.
type boot struct {
	console *console.Console
	cmdline map[string]string
	image   manifest.Initrd
	modules *modprobe.Loader
	disk    *state.Disk
	state   state.State
	said    []string // on the console
	// The clock was found to be earlier than can be.
	clockWrong bool
}

// Run never returns: it ends in systemd, or in a restart of the machine.
func Run() {
	b := &boot{}
	err := b.mountKernel()
	b.console = console.Open("slipway")
	if err == nil {
		err = b.run()
	}
	b.say("CANNOT START: %v", err)
	b.keep()
	b.say("the machine starts again in %s", pause)
	unix.Sync()
	time.Sleep(pause)
	unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
	select {}
}

// say tells the person in front of the machine, and remembers it.
func (b *boot) say(format string, args ...any) {
	b.console.Say(format, args...)
	b.said = append(b.said, fmt.Sprintf(format, args...))
}

// keep leaves what was said on the state partition, if it got that far.
func (b *boot) keep() {
	if b.state.Dir == "" {
		return
	}
	if err := b.state.Record(strings.Join(b.said, "\n")); err == nil {
		b.console.Say("this is kept in %s of the state partition", state.FailuresFile)
	}
}

// mountKernel mounts what the kernel itself provides.
func (b *boot) mountKernel() error {
	for _, m := range []struct {
		kind, at, data string
		flags          uintptr
	}{
		{"devtmpfs", "/dev", "mode=0755", unix.MS_NOSUID},
		{"proc", "/proc", "", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
		{"sysfs", "/sys", "", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
		{"tmpfs", "/run", "mode=0755", unix.MS_NOSUID | unix.MS_NODEV},
	} {
		os.MkdirAll(m.at, 0o755)
		if err := unix.Mount(m.kind, m.at, m.kind, m.flags, m.data); err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mounting %s: %w", m.at, err)
		}
	}
	// A root that turns out to be corrupted ends in a panic, with the reason on
	// the console; the firmware may have dropped the image's panic= argument.
	if err := os.WriteFile("/proc/sys/kernel/panic", []byte(fmt.Sprint(int(pause.Seconds()))), 0o644); err != nil {
		return err
	}
	data, err := os.ReadFile("/proc/cmdline")
	b.cmdline = words(string(data))
	return err
}

func (b *boot) run() error {
	data, err := os.ReadFile("/" + manifest.InitrdPath)
	if err != nil {
		return errors.New(noRoot)
	}
	root, err := describe(data, &b.image)
	if err != nil {
		return err
	}
	b.say("profile %s for %s", b.image.Profile, b.image.Architecture)
	if err := ipl.ClearAtRestart(); err != nil {
		b.say("a restart may not clear the memory: %v", err) // no reason not to start
	}
	b.setClock()
	if b.modules, err = modprobe.New("/"); err != nil {
		return err
	}
	for b.modules.Coldplug() > 0 {
	}
	for _, m := range []string{"dm_verity", "squashfs", "overlay", "ext4", "loop", "virtio_rng", "qemu_fw_cfg", "vfat", "nls_ascii", "nls_cp437", "nls_iso8859_1", "isofs", "efivarfs"} {
		if err := b.modules.Load(m); err != nil {
			b.say("%v", err)
		}
	}
	if err := b.mountRoot(root); err != nil {
		return err
	}
	source, err := b.mountState()
	if err != nil {
		return err
	}
	if err := b.pivot(); err != nil {
		return err
	}
	// It goes on while Ignition and systemd do their work; systemd inherits it.
	if err := exec.Command("/usr/bin/firstboot", "warm").Start(); err != nil {
		b.say("reading ahead: %v", err)
	}
	if source != nil {
		if err := b.configure(*source); err != nil {
			return err
		}
	}
	if err := handOver("/"); err != nil {
		b.say("%v", err) // no reason not to start
	}
	err = unix.Exec("/usr/lib/systemd/systemd", []string{"/sbin/init"}, []string{"PATH=/usr/sbin:/usr/bin"})
	return fmt.Errorf("starting systemd: %w", err)
}

// setClock keeps the clock from being earlier than the image: certificates
// made by such a clock would be in the past of every other machine.
func (b *boot) setClock() {
	now, floor := time.Now(), time.Unix(b.image.Epoch, 0)
	if !now.Before(floor) {
		return
	}
	b.clockWrong = true
	if err := errors.Join(os.MkdirAll(filepath.Dir(status.WrongClockFile), 0o755), os.WriteFile(status.WrongClockFile, nil, 0o644)); err != nil {
		b.say("noting that the clock was wrong: %v", err)
	}
	b.say("THE CLOCK IS WRONG: it says %s, which is before this image was made; it is set to %s",
		now.UTC().Format(time.DateOnly), floor.UTC().Format(time.DateOnly))
	b.set(floor)
}

// advanceClock sets a clock that was wrong to when this machine last wrote to
// its disk, so that what it made then is not of the future. A clock that may
// be right is left alone.
func (b *boot) advanceClock() {
	last, err := b.disk.LastWrite()
	if err != nil || !b.clockWrong || !last.After(time.Now()) {
		return // what is wrong with the disk, mounting it will tell
	}
	b.say("the clock is set to %s, when this machine last ran; give it the right time", last.UTC().Format(time.DateTime))
	b.set(last)
}

func (b *boot) set(to time.Time) {
	if err := unix.Settimeofday(&unix.Timeval{Sec: to.Unix()}); err != nil {
		b.say("setting the clock: %v", err)
	}
}

// mountRoot finds the root by its hash and mounts it verified.
func (b *boot) mountRoot(root [32]byte) error {
	rootUUID, hashUUID := verity.PartUUIDs(root)
	said := false
	from := ipl.Find() // on IBM Z
	var refused error
	for deadline := time.Now().Add(2 * time.Minute); ; {
		var err error
		if b.disk, err = state.Find(rootUUID, hashUUID); err == nil {
			break
		}
		if time.Now().After(deadline) {
			if refused != nil {
				b.say("bringing %s online: %v", from, refused)
			}
			return fmt.Errorf("no disk has the partitions %s (root) and %s (its hash tree) of this image", rootUUID, hashUUID)
		}
		if !said && console.Uptime() > 20*time.Second {
			b.say("waiting for the disk with partition %s; there are: %s", rootUUID, blockDevices())
			said = true
		}
		if from != nil {
			var done bool
			if done, refused = from.Online(); done && refused == nil {
				from = nil
			}
		}
		if b.modules.Coldplug() == 0 {
			time.Sleep(50 * time.Millisecond)
		}
	}
	f, err := os.Open(b.disk.Verity)
	if err != nil {
		return err
	}
	sb, err := verity.ReadSuperblock(f)
	f.Close()
	if err == nil && sb.DataBlocks != b.image.DataBlocks {
		err = fmt.Errorf("it is of %d blocks, the image has %d", sb.DataBlocks, b.image.DataBlocks)
	}
	if err != nil {
		return fmt.Errorf("the hash tree on %s is not this image's: %w; write the image to the disk again", b.disk.Verity, err)
	}
	device, err := devicemapper.Verity{
		Name: "root", Data: b.disk.Root, Hash: b.disk.Verity, DataBlocks: b.image.DataBlocks, RootHash: b.image.RootHash, Salt: b.image.Salt,
	}.Create()
	if err != nil {
		return err
	}
	os.MkdirAll(sysroot, 0o755)
	if err := unix.Mount(device, sysroot, "squashfs", unix.MS_RDONLY|unix.MS_NODEV, ""); err != nil {
		return fmt.Errorf("mounting the verified root %s: %w; if the kernel says that a block is corrupted, write the image to the disk again", b.disk.Root, err)
	}
	b.say("root verified: %s", b.disk.Root)
	return nil
}

func blockDevices() string {
	names, _ := filepath.Glob("/sys/class/block/*")
	var list []string
	for _, n := range names {
		list = append(list, filepath.Base(n))
	}
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, " ")
}

// waitForConfig returns the source of the config, once there is one.
func (b *boot) waitForConfig() (ignition.Source, error) {
	deadline := time.Now().Add(patience)
	for said := false; ; {
		if s, ok := ignition.Detect(b.cmdline); ok {
			b.say("config: from %s", s.What)
			return s, nil
		}
		if !said {
			said = true
			b.say("NO CONFIG WAS DELIVERED. This machine waits for one: %s.", ignition.Ways(runtime.GOARCH))
			b.say("nothing was changed; it starts again in %s", patience)
		}
		if time.Now().After(deadline) {
			b.say("still no config: the machine starts again")
			unix.Sync()
			unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
		}
		time.Sleep(2 * time.Second)
		b.modules.Coldplug()
	}
}

// newMachineID returns a random id: a version 4 UUID in hex (machine-id(5)).
func newMachineID() (string, error) {
	var id [16]byte
	if _, err := rand.Read(id[:]); err != nil {
		return "", err
	}
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return hex.EncodeToString(id[:]), nil
}

// pivot makes the verified root the root of the system.
func (b *boot) pivot() error {
	for _, d := range []string{"dev", "proc", "sys", "run"} {
		if err := unix.Mount("/"+d, filepath.Join(sysroot, d), "", unix.MS_MOVE, ""); err != nil {
			return fmt.Errorf("moving /%s: %w", d, err)
		}
	}
	// Give back the memory of the initrd. Nothing else is mounted on it by now.
	entries, err := os.ReadDir("/")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if "/"+e.Name() != sysroot {
			os.RemoveAll("/" + e.Name())
		}
	}
	if err := os.Chdir(sysroot); err != nil {
		return err
	}
	if err := unix.Mount(sysroot, "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("moving the root: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return err
	}
	return os.Chdir("/")
}

// configure applies the machine's config.
func (b *boot) configure(source ignition.Source) error {
	start := time.Now()
	r := ignition.Runner{Say: b.say}
	if err := r.Run(context.Background(), source); err != nil {
		return fmt.Errorf("applying the config from %s: %w", source.What, err)
	}
	if err := b.state.Finish(); err != nil {
		return err
	}
	b.say("config applied in %s", time.Since(start).Round(10*time.Millisecond))
	return nil
}
