package lossydisk_test

import (
	"bytes"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/slipway-os/slipway/qemu-tests/lossydisk"
)

const size = 8 << 20

func disk(t *testing.T) *lossydisk.Disk {
	t.Helper()
	image := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(image, bytes.Repeat([]byte("base"), 1<<18), 0o644); err != nil {
		t.Fatal(err)
	}
	d, err := lossydisk.New(image, t.TempDir(), size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

func read(t *testing.T, d *lossydisk.Disk, off int64) byte {
	t.Helper()
	p := make([]byte, 512)
	if err := d.ReadAt(p, off); err != nil {
		t.Fatal(err)
	}
	return p[0]
}

func TestOnlyWhatWasFlushedSurvivesForSure(t *testing.T) {
	d := disk(t)
	write := func(c byte, off int64) {
		t.Helper()
		if err := d.WriteAt(bytes.Repeat([]byte{c}, 512), off); err != nil {
			t.Fatal(err)
		}
	}
	write('F', 0)
	if err := d.Flush(); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		write('h', int64(i)*512)
	}
	if got := read(t, d, 0); got != 'h' {
		t.Errorf("a running machine reads %q, not its newest write", got)
	}
	held, lost, err := d.Cut(rand.New(rand.NewPCG(1, 2)))
	if err != nil || held != 100 || lost < 20 || lost > 80 {
		t.Errorf("held %d, lost %d, %v", held, lost, err)
	}
	survived := 0
	for i := range 100 {
		if read(t, d, int64(i)*512) == 'h' {
			survived++
		}
	}
	if survived != 100-lost {
		t.Errorf("%d survived, %d were lost", survived, lost)
	}
	if got := read(t, d, 100*512); got != 'b' {
		t.Errorf("below it reads %q, not the image", got)
	}
}

// qemu-io is the judge of the protocol.
func TestNBD(t *testing.T) {
	qemuIO, err := exec.LookPath("qemu-io")
	if err != nil {
		t.Fatal("qemu-io is not installed (on Debian: apt-get install qemu-utils)")
	}
	d := disk(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go d.Serve(l)
	out, err := exec.Command(qemuIO, "-f", "raw", "-c", "write -P 0x61 4096 65536", "-c", "read -P 0x61 4096 65536", "-c", "flush",
		"-c", "read -P 0 4194304 4096", "-c", "write -f -P 0x62 7M 512", "nbd://"+l.Addr().String()).CombinedOutput()
	if err != nil || bytes.Contains(out, []byte("verification failed")) || bytes.Contains(out, []byte("rror")) {
		t.Fatalf("%v\n%s", err, out)
	}
	if _, lost, err := d.Cut(rand.New(rand.NewPCG(3, 4))); err != nil || lost != 0 {
		t.Errorf("after a flush %d were lost, %v", lost, err)
	}
	if a, b := read(t, d, 4096), read(t, d, 7<<20); a != 'a' || b != 'b' {
		t.Errorf("read %q and %q", a, b)
	}
}
