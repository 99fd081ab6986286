package image_test

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"unicode/utf16"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/image"
	"github.com/slipway-os/slipway/pkg/image/imagetest"
	"github.com/slipway-os/slipway/pkg/uki/ukitest"
)

// A flipped bit is reported with the name of the partition it is in.
func TestFlippedBits(t *testing.T) {
	for _, c := range []struct {
		name, arch string
		flip       func(t *testing.T, d *imagetest.Disk)
		want       string // all of it
		always     bool   // is found without reading everything
	}{
		{"in the root", "amd64", func(t *testing.T, d *imagetest.Disk) { d.Flip(t, "root-a", 5*4096+7) },
			`partition "root-a" of image FILE is damaged at byte 20480: does not match the hash tree`, false},
		{"in the root's last block", "amd64", func(t *testing.T, d *imagetest.Disk) { d.Flip(t, "root-a", d.RootSize-1) },
			`partition "root-a" of image FILE is damaged at byte LAST: does not match the hash tree`, false},
		{"in three blocks of the root", "s390x", func(t *testing.T, d *imagetest.Disk) {
			for _, block := range []int64{40, 3, 20} {
				d.Flip(t, "root-a", block*4096)
			}
		}, `partition "root-a" of image FILE is damaged at byte 12288 and in 2 more blocks: does not match the hash tree`, false},
		{"in the hash tree", "ppc64le", func(t *testing.T, d *imagetest.Disk) { d.Flip(t, "verity-a", 4096+9) },
			`partition "verity-a" of image FILE is damaged at byte 4096: does not match the root hash`, true},
		{"in the superblock of the tree", "arm64", func(t *testing.T, d *imagetest.Disk) { d.Flip(t, "verity-a", 100) },
			`partition "verity-a" of image FILE is damaged at byte 0: reading the verity superblock: it is damaged, or of parameters that Slipway does not use`, true},
		{"in the UUID of the tree", "arm64", func(t *testing.T, d *imagetest.Disk) { d.Flip(t, "verity-a", 20) },
			`partition "verity-a" of image FILE is damaged at byte 0: the UUID in its superblock is not the one that every image has`, true},
		{"in the kernel", "amd64", func(t *testing.T, d *imagetest.Disk) { d.Flip(t, "boot", find(t, d, "boot", d.Kernel[0x3000:0x4000])) },
			`partition "boot" of image FILE is damaged: its kernel is not the one that the image was built with`, true},
		{"in the kernel on IBM Z", "s390x", func(t *testing.T, d *imagetest.Disk) {
			d.Flip(t, "boot", find(t, d, "boot", d.Kernel[0x20000:0x21000]))
		},
			`partition "boot" of image FILE is damaged: its kernel is not the one that the image was built with`, true},
		{"in the command line", "s390x", func(t *testing.T, d *imagetest.Disk) {
			d.Flip(t, "boot", find(t, d, "boot", []byte(imagetest.CommandLine))+5)
		},
			`partition "boot" of image FILE is damaged: its command line is not the one that the image was built with: "` + imagetest.CommandLine + `"`, true},
		{"in the stub", "amd64", func(t *testing.T, d *imagetest.Disk) { d.Flip(t, "boot", find(t, d, "boot", []byte(ukitest.Code))) },
			`partition "boot" of image FILE is damaged: its loader is not the one that the image was built with`, true},
		{"in GRUB", "ppc64le", func(t *testing.T, d *imagetest.Disk) { d.Flip(t, "prep", find(t, d, "prep", []byte("normal\x00"))) },
			`partition "prep" of image FILE is damaged: its loader is not the one that the image was built with`, true},
		{"in the table of partitions", "amd64", func(t *testing.T, d *imagetest.Disk) { d.Flip(t, "boot", 1024+70-d.Part(t, "boot").Offset) },
			`image FILE is damaged: checking the partition table: the checksum of its entries is wrong`, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			disk := imagetest.Write(t, c.arch)
			c.flip(t, disk)
			want := strings.NewReplacer("FILE", quote(disk.File), "LAST", decimal(disk.RootSize-4096)).Replace(c.want)
			for _, verify := range []bool{true, false} {
				err := inspect(t, disk.File, verify).Err()
				switch {
				case !verify && !c.always:
					if err != nil {
						t.Errorf("without reading it: %v", err)
					}
				case err == nil || err.Error() != want || diag.ExitCode(err) != diag.ExitInput:
					t.Errorf("got %v, want %s", err, want)
				}
			}
		})
	}
}

// Every byte of the initrd is covered by the checksum of what compressed it.
func TestADamagedInitrdIsFound(t *testing.T) {
	for _, arch := range architectures() {
		disk := imagetest.Write(t, arch)
		at := find(t, disk, "boot", disk.Initrd)
		for _, offset := range []int64{0, 20, int64(len(disk.Initrd)) / 2, int64(len(disk.Initrd)) - 1} {
			disk.Flip(t, "boot", at+offset)
			r := inspect(t, disk.File, false)
			// What it is part of is still described: the first slot stands in.
			if len(r.Damage) != 1 || r.Damage[0].Partition != "boot" || !strings.Contains(r.Damage[0].Problem, "initrd") || r.Root.Hash != disk.RootHash || r.Profile == "" {
				t.Errorf("%s, byte %d: %+v", arch, offset, r.Damage)
			}
			disk.Flip(t, "boot", at+offset)
		}
		if err := inspect(t, disk.File, false).Err(); err != nil {
			t.Errorf("%s, flipped back: %v", arch, err)
		}
	}
}

func TestABootAreaThatStartsNothing(t *testing.T) {
	for _, arch := range architectures() {
		disk := imagetest.Write(t, arch)
		disk.Overwrite(t, "boot", 0, make([]byte, 1<<20))
		r := inspect(t, disk.File, true)
		if len(r.Damage) != 1 || r.Damage[0].Partition != "boot" || r.Profile != "test-"+arch || !r.Verified {
			t.Errorf("%s: %+v", arch, r.Damage)
		}
		if _, err := open(t, disk.File).Kernel(); diag.ExitCode(err) != diag.ExitInput {
			t.Errorf("%s: a kernel: %v", arch, err)
		}
	}
}

// Both a damaged file system and where the damage is are found.
func TestARootThatCannotBeReadIsStillVerified(t *testing.T) {
	disk := imagetest.Write(t, "amd64")
	disk.Overwrite(t, "root-a", disk.RootSize-4096, make([]byte, 4096))
	d := open(t, disk.File)
	if _, err := d.Inspect(t.Context(), image.InspectOptions{}); diag.ExitCode(err) != diag.ExitInput {
		t.Errorf("without reading it: %v", err)
	}
	r, err := d.Inspect(t.Context(), image.InspectOptions{Verify: true})
	if err != nil || len(r.Damage) != 1 || r.Damage[0].Partition != "root-a" || r.Damage[0].Offset != disk.RootSize-4096 {
		t.Errorf("%v; %+v", err, r)
	}
}

func TestAnInitrdOfAnotherDisk(t *testing.T) {
	disk, other := imagetest.Write(t, "ppc64le"), imagetest.Write(t, "s390x")
	room := len(disk.Initrd) - len(other.Initrd)
	if room < 0 {
		t.Fatal("the other initrd is longer: take it the other way around")
	}
	// Zeros between archives mean nothing.
	disk.Overwrite(t, "boot", find(t, disk, "boot", disk.Initrd), append(make([]byte, room), other.Initrd...))
	_, err := open(t, disk.File).Inspect(t.Context(), image.InspectOptions{})
	if err == nil || !strings.Contains(err.Error(), "no partition has that in its UUID") || diag.ExitCode(err) != diag.ExitInput {
		t.Errorf("got %v", err)
	}
}

func TestProgressAndCancelling(t *testing.T) {
	disk := imagetest.Write(t, "amd64")
	var done atomic.Int64
	_, err := open(t, disk.File).Inspect(t.Context(), image.InspectOptions{Verify: true, Progress: func(bytes, total int64) {
		if done.Add(bytes); total != disk.RootSize {
			t.Errorf("%d bytes in all, want %d", total, disk.RootSize)
		}
	}})
	if err != nil || done.Load() != disk.RootSize {
		t.Errorf("%v; %d bytes of %d", err, done.Load(), disk.RootSize)
	}
}

// veritysetup finds in the partitions what Inspect finds.
func TestVeritysetupAgrees(t *testing.T) {
	judge, err := exec.LookPath("veritysetup")
	if err != nil {
		t.Fatal("veritysetup is not installed (on Debian: apt-get install cryptsetup-bin)")
	}
	disk := imagetest.Write(t, "arm64")
	check := func() (ours, theirs error) {
		t.Helper()
		r := inspect(t, disk.File, true)
		args := []string{"verify"}
		for _, name := range []string{r.Root.Partition, r.Root.VerityPartition} {
			args = append(args, extract(t, disk, name))
		}
		return r.Err(), exec.Command(judge, append(args, r.Root.Hash)...).Run()
	}
	if ours, theirs := check(); ours != nil || theirs != nil {
		t.Errorf("whole: %v, %v", ours, theirs)
	}
	disk.Flip(t, "root-a", 4096)
	if ours, theirs := check(); ours == nil || theirs == nil {
		t.Errorf("damaged: %v, %v", ours, theirs)
	}
}

// extract copies a partition into a file.
func extract(t *testing.T, d *imagetest.Disk, name string) string {
	t.Helper()
	p := d.Part(t, name)
	data := make([]byte, p.Size)
	f, err := os.Open(d.File)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.ReadAt(data, p.Offset); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(out, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return out
}

// find returns where in a partition something lies.
func find(t *testing.T, d *imagetest.Disk, partition string, what []byte) int64 {
	t.Helper()
	data, err := os.ReadFile(extract(t, d, partition))
	if err != nil {
		t.Fatal(err)
	}
	i := bytes.Index(data, what)
	if i < 0 {
		t.Fatalf("%d bytes are not in partition %q in one piece", len(what), partition)
	}
	return int64(i)
}

// rename renames a partition in both tables.
func rename(t *testing.T, f *os.File, from, to string) {
	t.Helper()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	encode := func(s string) []byte {
		b := make([]byte, 72)
		for i, u := range utf16.Encode([]rune(s)) {
			binary.LittleEndian.PutUint16(b[2*i:], u)
		}
		return b
	}
	end := info.Size()
	for _, at := range []struct{ header, entries int64 }{{512, 1024}, {end - 512, end - 33*512}} {
		header, entries := make([]byte, 92), make([]byte, 32*512)
		for offset, b := range map[int64][]byte{at.header: header, at.entries: entries} {
			if _, err := f.ReadAt(b, offset); err != nil {
				t.Fatal(err)
			}
		}
		i := bytes.Index(entries, encode(from))
		if i < 0 {
			t.Fatalf("no partition %q", from)
		}
		copy(entries[i:], encode(to))
		le := binary.LittleEndian
		le.PutUint32(header[88:], crc32.ChecksumIEEE(entries))
		le.PutUint32(header[16:], 0)
		le.PutUint32(header[16:], crc32.ChecksumIEEE(header))
		for offset, b := range map[int64][]byte{at.header: header, at.entries: entries} {
			if _, err := f.WriteAt(b, offset); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func quote(s string) string { return strconv.Quote(s) }

func decimal(n int64) string { return strconv.FormatInt(n, 10) }
