// Package ipl brings the device online that an IBM Z machine was started from,
// and lets the machine start from it again. Unlike virtio's, a DASD or an FCP
// adapter is off until somebody says so; no other device is touched. (Linux, arch/s390/kernel/ipl.c and
// Documentation/arch/s390/{common_io,zfcp}.rst.)
package ipl

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Device is what the machine was started from.
type Device struct {
	sys  string // where sysfs is
	bus  string // "0.0.1900"
	wwpn string // of the port, "" if it is no SCSI disk
	lun  string
}

var (
	busPattern    = regexp.MustCompile(`^[0-9a-f]{1,2}\.[0-3]\.[0-9a-f]{4}$`)
	numberPattern = regexp.MustCompile(`^0x[0-9a-f]{16}$`)
)

// Find returns the device; nil if the machine knows none of a kind that needs
// to be brought online, as on every other architecture.
func Find() *Device { return find("/sys") }

func find(sys string) *Device {
	read := func(name string) string {
		data, err := os.ReadFile(filepath.Join(sys, "firmware/ipl", name))
		if err != nil {
			return ""
		}
		return strings.ToLower(strings.TrimSpace(string(data)))
	}
	d := &Device{sys: sys, bus: read("device")}
	switch read("ipl_type") {
	case "ccw", "eckd":
	case "fcp":
		d.wwpn, d.lun = read("wwpn"), read("lun")
		if !numberPattern.MatchString(d.wwpn) || !numberPattern.MatchString(d.lun) {
			return nil
		}
	default:
		return nil
	}
	if !busPattern.MatchString(d.bus) {
		return nil
	}
	return d
}

func (d *Device) String() string {
	if d.wwpn == "" {
		return "device " + d.bus
	}
	return fmt.Sprintf("adapter %s, port %s, LUN %s", d.bus, d.wwpn, d.lun)
}

// Online does the next step that can be done, and says if all are. The kernel
// takes its time between them: an adapter has ports only some time after it is
// online.
func (d *Device) Online() (done bool, err error) {
	device := filepath.Join(d.sys, "bus/ccw/devices", d.bus)
	state, err := os.ReadFile(filepath.Join(device, "online"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // not found yet
	}
	if err != nil {
		return false, err
	}
	if strings.TrimSpace(string(state)) != "1" {
		// Refused as long as the device has no driver.
		return false, write(filepath.Join(device, "online"), "1")
	}
	if d.wwpn == "" {
		return true, nil
	}
	port := filepath.Join(device, d.wwpn)
	if _, err := os.Stat(port); err != nil {
		return false, nil
	}
	if _, err := os.Stat(filepath.Join(port, d.lun)); err == nil {
		return true, nil
	}
	// An adapter with a name of its own (NPIV) finds LUNs by itself, and refuses.
	if err := write(filepath.Join(port, "unit_add"), d.lun); err != nil {
		return true, err
	}
	return true, nil
}

// ClearAtRestart lets a restart clear the memory. QEMU's machines know no other
// way to start again: without it they stop instead.
func ClearAtRestart() error { return clearAtRestart("/sys") }

func clearAtRestart(sys string) error {
	files, err := filepath.Glob(filepath.Join(sys, "firmware/reipl/*/clear"))
	if err != nil {
		return err
	}
	for _, file := range files {
		err = errors.Join(err, write(file, "1"))
	}
	return err
}

// write writes to a file of sysfs, which must be there.
func write(file, text string) error {
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
