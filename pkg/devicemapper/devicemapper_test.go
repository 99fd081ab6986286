package devicemapper

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"github.com/slipway-os/slipway/pkg/verity"
)

// The layout of struct dm_ioctl as C has it on every machine (offsetof,
// include/uapi/linux/dm-ioctl.h).
func TestHeaderLayout(t *testing.T) {
	var h header
	for name, c := range map[string]struct{ got, want uintptr }{
		"version":      {unsafe.Offsetof(h.Version), 0},
		"data_size":    {unsafe.Offsetof(h.DataSize), 12},
		"data_start":   {unsafe.Offsetof(h.DataStart), 16},
		"target_count": {unsafe.Offsetof(h.Targets), 20},
		"open_count":   {unsafe.Offsetof(h.OpenCount), 24},
		"flags":        {unsafe.Offsetof(h.Flags), 28},
		"event_nr":     {unsafe.Offsetof(h.EventNumber), 32},
		"padding":      {unsafe.Offsetof(h.Padding), 36},
		"dev":          {unsafe.Offsetof(h.Device), 40},
		"name":         {unsafe.Offsetof(h.Name), 48},
		"uuid":         {unsafe.Offsetof(h.UUID), 176},
		"data":         {unsafe.Offsetof(h.Data), 305},
		"the whole":    {unsafe.Sizeof(h), headerSize},
	} {
		if c.got != c.want {
			t.Errorf("%s at %d, want %d", name, c.got, c.want)
		}
	}
}

func TestMessage(t *testing.T) {
	order := binary.NativeEndian
	spec := target("verity", 80, "1 a b")
	m := message("root", readOnly, spec)
	for at, want := range map[int]uint32{0: 4, 4: 0, 8: 0, 12: uint32(len(m)), 16: 312, 20: 1, 24: 0, 28: 1, 32: 0, 36: 0} {
		if got := order.Uint32(m[at:]); got != want {
			t.Errorf("at %d is %d, want %d", at, got, want)
		}
	}
	if got := string(m[48:56]); got != "root\x00\x00\x00\x00" {
		t.Errorf("name %q", got)
	}
	if !bytes.Equal(m[312:312+len(spec)], spec) || len(m) < 312+len(spec)+1024 {
		t.Errorf("%d bytes; the table is not where it should be, or there is no room for an answer", len(m))
	}
	if got := order.Uint32(message("root", 0, nil)[20:]); got != 0 {
		t.Errorf("%d targets without a table", got)
	}
}

// struct dm_target_spec: sector_start, length, status, next, target_type[16],
// then the parameters with a NUL, up to a multiple of eight bytes.
func TestTarget(t *testing.T) {
	for _, params := range []string{"", "1", "1234567", "12345678", strings.Repeat("x", 500)} {
		b := target("verity", 0x0102030405060708, params)
		if len(b)%8 != 0 || len(b) < 40+len(params)+1 || len(b) > 40+len(params)+8 {
			t.Errorf("%d bytes for %d of parameters", len(b), len(params))
		}
		if got := binary.NativeEndian.Uint64(b); got != 0 {
			t.Errorf("starts at %d", got)
		}
		if got := binary.NativeEndian.Uint64(b[8:]); got != 0x0102030405060708 {
			t.Errorf("length %#x", got)
		}
		if got := string(b[24:40]); got != "verity"+strings.Repeat("\x00", 10) {
			t.Errorf("type %q", got)
		}
		if rest := b[40:]; string(rest[:len(params)]) != params || len(bytes.Trim(rest[len(params):], "\x00")) > 0 {
			t.Errorf("parameters %q", rest)
		}
	}
}

// The words of Documentation/admin-guide/device-mapper/verity.rst, in order.
func TestParams(t *testing.T) {
	v := Verity{Name: "root", Data: "/dev/vda2", Hash: "/dev/vda3", DataBlocks: 1234, RootHash: strings.Repeat("ab", 32)}
	want := "1 /dev/vda2 /dev/vda3 4096 4096 1234 1 sha256 " + v.RootHash + " - 1 panic_on_corruption"
	if got := v.params(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	v.Salt = "00ff"
	if got, want := v.params(), strings.Replace(want, " - ", " 00ff ", 1); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// DM_DEV_CREATE, DM_DEV_REMOVE, DM_DEV_SUSPEND and DM_TABLE_LOAD as a C
// compiler has them.
func TestRequests(t *testing.T) {
	for number, want := range map[uintptr]uintptr{create: 0xc138fd03, remove: 0xc138fd04, suspend: 0xc138fd06, load: 0xc138fd09} {
		if got := request(number); got != want {
			t.Errorf("%d: %#x, want %#x", number, got, want)
		}
	}
}

// A real device over a real hash tree: what is read through it is what was
// written.
func TestVerityDevice(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: it makes a block device")
	}
	control, err := openControl()
	if err != nil {
		t.Skipf("needs the kernel's device mapper: %v", err)
	}
	defer control.Close()
	dir := t.TempDir()
	const blocks = 300
	data := make([]byte, blocks*4096)
	for i := range data {
		data[i] = byte(i / 4096 * 7)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.WriteFile(filepath.Join(dir, "data"), data, 0o600))
	tree, err := os.Create(filepath.Join(dir, "hash"))
	must(err)
	defer tree.Close()
	made, err := verity.Build(t.Context(), bytes.NewReader(data), int64(len(data)), tree, nil, [16]byte{1})
	must(err)
	// The kernel panics at a wrong one.
	must(verity.Verify(t.Context(), bytes.NewReader(data), tree, made.RootHash, blocks, nil))
	loop := func(name string) string {
		out, err := exec.Command("losetup", "--show", "-rf", filepath.Join(dir, name)).Output()
		if err != nil {
			t.Skipf("needs loop devices: %v", err)
		}
		device := strings.TrimSpace(string(out))
		t.Cleanup(func() { exec.Command("losetup", "-d", device).Run() })
		return device
	}
	v := Verity{Name: fmt.Sprintf("slipway-test-%d", os.Getpid()), Data: loop("data"), Hash: loop("hash"), DataBlocks: blocks, RootHash: fmt.Sprintf("%x", made.RootHash)}
	wrong := v
	wrong.DataBlocks = blocks * 100 // more than there are
	if _, err := wrong.Create(); err == nil {
		t.Fatal("a device larger than its data was made")
	}
	// The failure left nothing in the way.
	device, err := v.Create()
	must(err)
	t.Cleanup(func() {
		if _, err := call(control, remove, v.Name, 0, nil); err != nil {
			t.Error(err)
		}
	})
	f, err := os.Open(device)
	must(err)
	defer f.Close()
	got, err := io.ReadAll(f)
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
	if _, err := v.Create(); err == nil {
		t.Error("made twice")
	}
}
