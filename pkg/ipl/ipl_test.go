package ipl

import (
	"os"
	"path/filepath"
	"testing"
)

// sysfs writes files of a sysfs; a path that ends in a slash is a directory.
func sysfs(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if name[len(name)-1] == '/' {
			if err := os.MkdirAll(file, 0o755); err != nil {
				t.Fatal(err)
			}
		} else if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func content(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestFind(t *testing.T) {
	const wwpn, lun = "0x500507630300c562\n", "0x401040a000000000\n"
	for _, c := range []struct {
		name  string
		files map[string]string
		want  string // "" if there is none
	}{
		{"another architecture", nil, ""},
		{"DASD, or virtio", map[string]string{"ipl_type": "ccw\n", "device": "0.0.0100\n"}, "device 0.0.0100"},
		{"DASD by its list of blocks", map[string]string{"ipl_type": "eckd\n", "device": "0.1.ABCD\n"}, "device 0.1.abcd"},
		{"SCSI disk", map[string]string{"ipl_type": "fcp\n", "device": "0.0.1900\n", "wwpn": wwpn, "lun": lun}, "adapter 0.0.1900, port 0x500507630300c562, LUN 0x401040a000000000"},
		{"SCSI disk without a LUN", map[string]string{"ipl_type": "fcp\n", "device": "0.0.1900\n", "wwpn": wwpn}, ""},
		{"NVMe, which needs nothing", map[string]string{"ipl_type": "nvme\n", "fid": "0x00000001\n"}, ""},
		{"a name that is none", map[string]string{"ipl_type": "ccw\n", "device": "../../../x\n"}, ""},
		{"unknown", map[string]string{"ipl_type": "unknown\n"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range c.files {
				sysfs(t, dir, map[string]string{"firmware/ipl/" + name: text})
			}
			got := ""
			if d := find(dir); d != nil {
				got = d.String()
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// step does one step, which must not fail.
func step(t *testing.T, d *Device, want bool) {
	t.Helper()
	if done, err := d.Online(); err != nil || done != want {
		t.Fatalf("done: %v, %v; want %v", done, err, want)
	}
}

// A SCSI disk: the test plays the kernel's part.
func TestOnline(t *testing.T) {
	dir := t.TempDir()
	sysfs(t, dir, map[string]string{"firmware/ipl/ipl_type": "fcp", "firmware/ipl/device": "0.0.1900", "firmware/ipl/wwpn": "0x500507630300c562", "firmware/ipl/lun": "0x401040a000000000"})
	d := find(dir)
	adapter := filepath.Join(dir, "bus/ccw/devices/0.0.1900")
	port := filepath.Join(adapter, "0x500507630300c562")
	step(t, d, false)
	sysfs(t, adapter, map[string]string{"online": "0"})
	step(t, d, false)
	if got := content(t, filepath.Join(adapter, "online")); got != "1" {
		t.Errorf("online is %q", got)
	}
	step(t, d, false) // no port yet
	sysfs(t, port, map[string]string{"unit_add": ""})
	step(t, d, true)
	if got := content(t, filepath.Join(port, "unit_add")); got != "0x401040a000000000" {
		t.Errorf("added LUN %q", got)
	}
	// The adapter had found the LUN by itself.
	sysfs(t, port, map[string]string{"unit_add": "", "0x401040a000000000/": ""})
	step(t, d, true)
	if got := content(t, filepath.Join(port, "unit_add")); got != "" {
		t.Errorf("added LUN %q again", got)
	}
}

// What is online is left alone, as virtio's disks are.
func TestAlreadyOnline(t *testing.T) {
	dir := t.TempDir()
	sysfs(t, dir, map[string]string{"firmware/ipl/ipl_type": "ccw", "firmware/ipl/device": "0.0.0000", "bus/ccw/devices/0.0.0000/online": "1\n"})
	step(t, find(dir), true)
	if got := content(t, filepath.Join(dir, "bus/ccw/devices/0.0.0000/online")); got != "1\n" {
		t.Errorf("online is %q", got)
	}
}

func TestARestartClearsTheMemory(t *testing.T) {
	sys := t.TempDir()
	if err := clearAtRestart(sys); err != nil {
		t.Errorf("on another architecture: %v", err)
	}
	sysfs(t, sys, map[string]string{"firmware/reipl/ccw/clear": "0\n", "firmware/reipl/fcp/clear": "0\n", "firmware/reipl/nss/": ""})
	if err := clearAtRestart(sys); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"ccw", "fcp"} {
		if got := content(t, filepath.Join(sys, "firmware/reipl", kind, "clear")); got[:1] != "1" {
			t.Errorf("%s: %q", kind, got)
		}
	}
}
