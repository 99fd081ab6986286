package gpt_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/gpt"
)

const diskUUID = "11111111-2222-3333-4444-555555555555"

func disk(t *testing.T) (*os.File, []gpt.Partition, int64) {
	t.Helper()
	parts := []gpt.Partition{
		{Name: "boot", Type: gpt.TypeESP, UUID: "00000000-0000-0000-0000-000000000001", Size: 5 << 20},
		{Name: "root-a", Type: "4f68bce3-e8cd-4db1-96e7-fbcaf984b709", UUID: "00000000-0000-0000-0000-000000000002", Size: 3<<20 + 1, Attributes: gpt.ReadOnly | gpt.NoAuto},
		{Name: "state", Type: gpt.TypeVar, UUID: "00000000-0000-0000-0000-000000000003", Size: 4 << 20},
	}
	size := gpt.Layout(parts)
	f, err := os.Create(filepath.Join(t.TempDir(), "disk"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	if err := gpt.Write(f, size, diskUUID, parts); err != nil {
		t.Fatal(err)
	}
	return f, parts, size
}

// verify asks sgdisk whether a disk is in order.
func verify(t *testing.T, f *os.File) {
	t.Helper()
	sgdisk, err := exec.LookPath("sgdisk")
	if err != nil {
		t.Fatal("sgdisk is not installed (on Debian: apt-get install gdisk)")
	}
	out, err := exec.Command(sgdisk, "-v", f.Name()).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "No problems found") {
		t.Fatalf("sgdisk -v: %v: %s", err, out)
	}
}

func TestWhatIsWrittenReadsBack(t *testing.T) {
	f, want, size := disk(t)
	verify(t, f)
	got, err := gpt.Read(f, size)
	if err != nil {
		t.Fatal(err)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("partition %d is %+v, want %+v", i, got[i], want[i])
		}
	}
}

func TestGrow(t *testing.T) {
	f, _, size := disk(t)
	if grown, err := gpt.Grow(f, size); grown || err != nil {
		t.Errorf("a disk that has not grown: %v, %v", grown, err)
	}
	const larger = 100<<20 + 512
	if err := f.Truncate(larger); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	if grown, err := gpt.Grow(f, larger); !grown || err != nil {
		t.Fatalf("%v, %v", grown, err)
	}
	verify(t, f)
	parts, err := gpt.Read(f, larger)
	if err != nil {
		t.Fatal(err)
	}
	state := parts[2]
	if end := state.Offset + state.Size; end%gpt.Alignment != 0 || larger-end > 2*gpt.Alignment {
		t.Errorf("the last partition ends at %d of %d", end, larger)
	}
	if grown, err := gpt.Grow(f, larger); grown || err != nil {
		t.Errorf("a second time: %v, %v", grown, err)
	}
	after, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	// A cut between any two sectors, in the order they were written in:
	// backup table, backup header, table, header.
	order := []int{larger/512 - 33, larger/512 - 1, 2, 1}
	for cut := range order {
		half := bytes.Clone(before)
		for _, s := range order[:cut] {
			n := 512
			if s == 2 || s == larger/512-33 {
				n = 32 * 512
			}
			copy(half[s*512:s*512+n], after[s*512:])
		}
		if err := os.WriteFile(f.Name(), half, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := gpt.Grow(f, larger); err != nil {
			t.Errorf("after a cut behind write %d: %v", cut, err)
			continue
		}
		if now, _ := os.ReadFile(f.Name()); !bytes.Equal(now, after) {
			t.Errorf("after a cut behind write %d the disk differs", cut)
		}
	}
}

func FuzzRead(f *testing.F) {
	parts := []gpt.Partition{{Name: "a", Type: gpt.TypeESP, UUID: diskUUID, Size: 1 << 20}}
	size := gpt.Layout(parts)
	file, err := os.Create(filepath.Join(f.TempDir(), "disk"))
	if err != nil {
		f.Fatal(err)
	}
	defer file.Close()
	if err := file.Truncate(size); err != nil {
		f.Fatal(err)
	}
	if err := gpt.Write(file, size, diskUUID, parts); err != nil {
		f.Fatal(err)
	}
	data, err := os.ReadFile(file.Name())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data[512:2048])
	f.Fuzz(func(t *testing.T, head []byte) {
		b := bytes.Clone(data)
		copy(b[512:], head)
		gpt.Read(bytes.NewReader(b), int64(len(b)))
	})
}
