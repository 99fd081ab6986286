package qemutests

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"
)

// TestSecondDisk boots with another Slipway disk in front: of another image,
// and of the same one. The machine must take its own.
func TestSecondDisk(t *testing.T) {
	other := variant(t, func(project string) error {
		return os.WriteFile(filepath.Join(project, "overlays/base/etc/other"), []byte("other\n"), 0o644)
	})
	for name, extra := range map[string]string{"of another image": other, "of the same image": image(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t).login()
			s.opts.ExtraDisks = []string{extra}
			m := s.start()
			m.say("root verified")
			own := m.run("findmnt -n -o SOURCE /var | sed 's/[0-9]*\\[.*//'")
			size := m.run("blockdev --getsize64 " + own)
			if size != fmt.Sprint(s.opts.DiskSize) {
				t.Errorf("the state lies on %s of %s bytes, not on the machine's own disk of %d", own, size, s.opts.DiskSize)
			}
		})
	}
}

// TestDiskOfTheConfig lets Ignition partition and format a second disk, and
// write to it.
func TestDiskOfTheConfig(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	blank := filepath.Join(s.dir, "data.raw")
	tool(t, "qemu-img", "create", "-q", "-f", "raw", blank, "64M")
	s.opts.Args = []string{"-drive", "if=none,id=data,format=raw,file=" + blank, "-device", "virtio-blk,drive=data,serial=data"}
	s.opts.Ignition = filepath.Join(s.dir, "config.ign")
	config := fmt.Sprintf(`{
  "ignition": {"version": "3.4.0"},
  "passwd": {"users": [{"name": "root", "sshAuthorizedKeys": [%q]}]},
  "storage": {
    "disks": [{"device": "/dev/disk/by-id/virtio-data", "wipeTable": true, "partitions": [{"label": "data", "number": 1}]}],
    "filesystems": [{"device": "/dev/disk/by-partlabel/data", "format": "ext4", "path": "/srv/data"}],
    "files": [{"path": "/srv/data/hello", "contents": {"source": "data:,hello"}}]
  },
  "systemd": {"units": [
    {"name": "ssh.service", "enabled": true},
    {"name": "srv-data.mount", "enabled": true, "contents": "[Mount]\nWhat=/dev/disk/by-partlabel/data\nWhere=/srv/data\nType=ext4\n[Install]\nRequiredBy=local-fs.target\n"}
  ]}
}`, s.key.Authorized())
	if err := os.WriteFile(s.opts.Ignition, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	m := s.start()
	for i, at := range []string{"the first boot", "the next"} {
		if i > 0 {
			m.reboot()
		}
		if got := m.run("systemctl is-system-running --wait >/dev/null; findmnt -n -o SOURCE /srv/data; cat /srv/data/hello"); got != "/dev/"+m.run("basename $(readlink /dev/disk/by-partlabel/data)")+"\nhello" {
			t.Errorf("at %s, /srv/data is %q", at, got)
		}
	}
}

// variant bakes the image once more from a copy of the project with a change,
// and returns its disk.
func variant(t *testing.T, change func(project string) error) string {
	t.Helper()
	project, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, d := range []string{"profiles", "images", "overlays", "go.mod", "go.sum", "cmd", "pkg"} {
		tool(t, "cp", "-a", filepath.Join(project, d), dir)
	}
	if err := change(dir); err != nil {
		t.Fatal(err)
	}
	name, out := "cp-"+architecture(), filepath.Join(dir, "out")
	lock := filepath.Join(project, "out", name, "lock.json")
	tool(t, "../bin/builder", "build", "--project", dir, "--profile", name, "--lock", lock, "--out", out)
	return filepath.Join(out, "disk.raw")
}

// TestFirmwareOptions boots by a firmware entry that passes a kernel command
// line of its own, which replaces the image's. The root is verified all the same.
func TestFirmwareOptions(t *testing.T) {
	if a := architecture(); a != "amd64" {
		t.Skipf("%s has no UEFI boot entries, or another path", a)
	}
	t.Parallel()
	m := newScene(t).login().start()
	m.run("true")
	const guid = "8be4df61-93ca-11d2-aa0d-00e098032b8c" // EFI global variables
	option := loadOption(t, `console=ttyS0 root=/dev/vda2 slipway.other=1 systemd.unit=multi-user.target`, m.run("blkid -p -s PART_ENTRY_UUID -o value /dev/vda1"))
	write := func(name string, data []byte) {
		// An EFI variable's file starts with its attributes: kept, for boot services, for the system.
		data = append([]byte{7, 0, 0, 0}, data...)
		m.run(fmt.Sprintf("echo %s | base64 -d > /tmp/v && dd if=/tmp/v of=/sys/firmware/efi/efivars/%s-%s bs=64k 2>&1", base64.StdEncoding.EncodeToString(data), name, guid))
	}
	write("Boot00AA", option)
	write("BootNext", []byte{0xaa, 0})
	m.reboot()
	m.say("root verified")
	if line := m.run("cat /proc/cmdline"); !strings.Contains(line, "slipway.other=1") {
		t.Errorf("the firmware's options did not arrive: %s", line)
	}
	if root := m.run("findmnt -n -o SOURCE,FSTYPE /"); !strings.HasPrefix(root, "/dev/mapper/") && !strings.HasPrefix(root, "/dev/dm-") {
		t.Errorf("the root is %s", root)
	}
}

// loadOption returns an EFI_LOAD_OPTION (UEFI 2.10, 3.1.3) for the image's own
// program on a partition, with options for it.
func loadOption(t *testing.T, options, partition string) []byte {
	le := binary.LittleEndian
	p := partitions(t)["boot"]
	guid, err := hex.DecodeString(strings.ReplaceAll(partition, "-", ""))
	if err != nil || len(guid) != 16 {
		t.Fatalf("partition UUID %q", partition)
	}
	// The first three fields of a GUID are little-endian on disk.
	for _, r := range [][2]int{{0, 4}, {4, 6}, {6, 8}} {
		for i, j := r[0], r[1]-1; i < j; i, j = i+1, j-1 {
			guid[i], guid[j] = guid[j], guid[i]
		}
	}
	var path []byte
	path = append(path, 4, 1, 42, 0) // hard drive media
	path = le.AppendUint32(path, 1)
	path = le.AppendUint64(path, uint64(p.Offset/512))
	path = le.AppendUint64(path, uint64(p.Size/512))
	path = append(append(path, guid...), 2, 2) // GPT, known by its GUID
	file := utf16z(`\EFI\BOOT\BOOTX64.EFI`)
	path = append(path, 4, 4)
	path = le.AppendUint16(path, uint16(4+len(file)))
	path = append(append(path, file...), 0x7f, 0xff, 4, 0)
	var b bytes.Buffer
	b.Write(le.AppendUint32(nil, 1)) // active
	b.Write(le.AppendUint16(nil, uint16(len(path))))
	b.Write(utf16z("other options"))
	b.Write(path)
	b.Write(utf16z(options))
	return b.Bytes()
}

func utf16z(s string) []byte {
	var b []byte
	for _, u := range append(utf16.Encode([]rune(s)), 0) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}
