package gpt_test

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
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
		{Name: "boot", Type: gpt.TypeESP, UUID: "00000000-0000-0000-0000-000000000001", Size: 2 << 20},
		{Name: "root-a", Type: "4f68bce3-e8cd-4db1-96e7-fbcaf984b709", UUID: "00000000-0000-0000-0000-000000000002", Size: 1<<20 + 1, Attributes: gpt.ReadOnly | gpt.NoAuto},
		{Name: "state", Type: gpt.TypeVar, UUID: "00000000-0000-0000-0000-000000000003", Size: 1 << 20},
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
}

// cache is a disk that keeps what is written until it is told to sync.
type cache struct {
	data   []byte
	writes []write // since the last sync
	synced [][]write
}

type write struct {
	data []byte
	at   int64
}

func (c *cache) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(c.data).ReadAt(p, off)
}

func (c *cache) WriteAt(p []byte, off int64) (int, error) {
	for i := 0; i < len(p); i += gpt.SectorSize { // a sector is written wholly or not at all
		part := p[i:min(i+gpt.SectorSize, len(p))]
		c.writes = append(c.writes, write{bytes.Clone(part), off + int64(i)})
	}
	return copy(c.data[off:], p), nil
}

func (c *cache) Sync() error {
	c.synced = append(c.synced, c.writes)
	c.writes = nil
	return nil
}

// Whatever reached the disk of the writes between two syncs, Grow finishes its
// work after the next boot, and until then the partitions can be read.
func TestGrowSurvivesPowerCuts(t *testing.T) {
	f, parts, size := disk(t)
	before, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	const larger = 9 << 20
	before = append(before, make([]byte, larger-size)...)
	whole := &cache{data: bytes.Clone(before)}
	if grown, err := gpt.Grow(whole, larger); !grown || err != nil {
		t.Fatalf("%v, %v", grown, err)
	}
	if len(whole.writes) > 0 {
		t.Errorf("%d writes are not synced", len(whole.writes))
	}
	random := rand.New(rand.NewPCG(1, 2))
	for i := range whole.synced {
		for try := range 10 {
			cut := &cache{data: bytes.Clone(before)}
			for _, batch := range whole.synced[:i] {
				for _, w := range batch {
					copy(cut.data[w.at:], w.data)
				}
			}
			for k, w := range whole.synced[i] {
				// The first tries lose all but one sector, or one; the others any.
				lost := random.IntN(2) == 0
				switch {
				case try < 3:
					lost = k != try
				case try < 6:
					lost = k == try-3
				}
				if !lost {
					copy(cut.data[w.at:], w.data)
				}
			}
			got, err := gpt.Read(cut, larger)
			if err != nil {
				t.Fatalf("cut in batch %d, try %d: %v", i, try, err)
			}
			for k, p := range parts {
				if got[k].Offset != p.Offset || got[k].UUID != p.UUID || got[k].Size < p.Size {
					t.Fatalf("cut in batch %d, try %d: partition %d is %+v", i, try, k, got[k])
				}
			}
			if _, err := gpt.Grow(cut, larger); err != nil {
				t.Fatalf("cut in batch %d, try %d: %v", i, try, err)
			}
			if !bytes.Equal(cut.data, whole.data) {
				t.Fatalf("cut in batch %d, try %d: the disk differs", i, try)
			}
		}
	}
}

func TestWhatIsNoTable(t *testing.T) {
	f, _, size := disk(t)
	good, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(b []byte) []byte
		want   string
	}{
		"small":                     {func(b []byte) []byte { return b[:1<<20] }, "a disk of 1048576 bytes holds none"},
		"zeros":                     {func(b []byte) []byte { return make([]byte, len(b)) }, "reading the partition table:"},
		"both headers damaged":      {func(b []byte) []byte { b[512+60] ^= 1; b[len(b)-512+60] ^= 1; return b }, "backup GPT also invalid"},
		"a million entries":         {func(b []byte) []byte { return field(b, 1, 80, 1<<20) }, "1048576 entries of 128 bytes"},
		"a million in the backup":   {func(b []byte) []byte { return field(b, len(b)/512-1, 80, 1<<20) }, "1048576 entries of 128 bytes"},
		"no entries":                {func(b []byte) []byte { return field(b, 1, 80, 0) }, "0 entries of 128 bytes"},
		"entries of another length": {func(b []byte) []byte { return field(b, 1, 84, 256) }, "128 entries of 256 bytes"},
		"header that is elsewhere":  {func(b []byte) []byte { return field(b, 1, 24, 4096) }, "header in sector 4096"},
		"backup of another header":  {func(b []byte) []byte { return field(b, len(b)/512-1, 32, 4096) }, "header in sector 4096"},
		"entries in a partition":    {func(b []byte) []byte { return field(b, 1, 72, 4096) }, "entries from sector 4096"},
		"partitions in the entries": {func(b []byte) []byte { return field(b, 1, 40, 4) }, "partitions from sector 4 on"},
	} {
		t.Run(name, func(t *testing.T) {
			b := c.change(bytes.Clone(good))
			_, err := gpt.Read(bytes.NewReader(b), int64(len(b)))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if grown, err := gpt.Grow(&cache{data: b}, int64(len(b))); grown || err == nil {
				t.Errorf("grown: %v, %v", grown, err)
			}
		})
	}
	for name, at := range map[string]int64{"header": 512 + 60, "number of entries": 512 + 82, "entries": 1024 + 130} {
		b := bytes.Clone(good)
		b[at] ^= 1
		if parts, err := gpt.Read(bytes.NewReader(b), size); err != nil || len(parts) != 3 {
			t.Errorf("with a damaged primary %s: %d partitions, %v", name, len(parts), err)
		}
	}
}

// field changes a field of a header, and mends the checksum.
func field(b []byte, sector, at int, v uint32) []byte {
	h := b[sector*512:][:92]
	le := binary.LittleEndian
	le.PutUint32(h[at:], v)
	le.PutUint32(h[16:], 0)
	le.PutUint32(h[16:], crc32.ChecksumIEEE(h))
	return b
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
	f.Add(data[512:2048], data[size-512:], true)
	f.Add(data[512:2048], data[size-512:], false)
	f.Add([]byte{}, data[size-512:], true)
	f.Fuzz(func(t *testing.T, head, tail []byte, mend bool) {
		b := bytes.Clone(data)
		copy(b[512:len(b)-512], head)
		copy(b[len(b)-512:], tail)
		if mend { // so that more than checksums is tried
			for _, h := range [][]byte{b[512:1024], b[len(b)-512:]} {
				le := binary.LittleEndian
				at := le.Uint64(h[72:])
				if n := uint64(le.Uint32(h[80:])) * uint64(le.Uint32(h[84:])); at < uint64(len(b)/512) && n < uint64(len(b))-at*512 {
					le.PutUint32(h[88:], crc32.ChecksumIEEE(b[at*512:][:n]))
				}
				le.PutUint32(h[16:], 0)
				le.PutUint32(h[16:], crc32.ChecksumIEEE(h[:92]))
			}
		}
		parts, err := gpt.Read(bytes.NewReader(b), int64(len(b)))
		for _, p := range parts {
			if err == nil && (p.Offset < 0 || p.Size <= 0 || p.Offset+p.Size > int64(len(b))) {
				t.Errorf("partition %+v of a disk of %d bytes", p, len(b))
			}
		}
		gpt.Grow(&cache{data: append(b, make([]byte, 2<<20)...)}, int64(len(b)+2<<20))
	})
}
