package blkid

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// disk makes a file of 64 MiB and runs programs on it: they take its name last.
func disk(t *testing.T, programs ...[]string) string {
	t.Helper()
	t.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin")
	name := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(name, 64<<20); err != nil {
		t.Fatal(err)
	}
	for _, p := range programs {
		if out, err := exec.Command(p[0], append(p[1:], name)...).CombinedOutput(); err != nil {
			t.Fatalf("%q: %v: %s", p, err, out)
		}
	}
	return name
}

func TestFileSystems(t *testing.T) {
	const uuid = "4d3c1b0a-0102-4304-8506-0708090a0b0c"
	for _, c := range []struct {
		name string
		make []string
		want FilesystemInfo
	}{
		{"none", nil, FilesystemInfo{}},
		{"ext4", []string{"mkfs.ext4", "-q", "-U", uuid, "-L", "data"}, FilesystemInfo{"ext4", uuid, "data"}},
		{"ext4 without a label", []string{"mkfs.ext4", "-q", "-U", uuid}, FilesystemInfo{"ext4", uuid, ""}},
		{"a label that is not plain", []string{"mkfs.ext4", "-q", "-U", uuid, "-L", "a b/ü\"=\\x"}, FilesystemInfo{"ext4", uuid, "a b/ü\"=\\x"}},
		{"vfat", []string{"mkfs.vfat", "-i", "12345678", "-n", "BOOT"}, FilesystemInfo{"vfat", "1234-5678", "BOOT"}},
		{"swap", []string{"mkswap", "-q", "-U", uuid, "-L", "s"}, FilesystemInfo{"swap", uuid, "s"}},
		{"partitions are no file system", []string{"sgdisk", "-n", "1:0:0"}, FilesystemInfo{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var programs [][]string
			if c.make != nil {
				programs = append(programs, c.make)
			}
			name := disk(t, programs...)
			for _, ambivalent := range []bool{false, true} {
				if got, err := GetFilesystemInfo(name, ambivalent); err != nil || got != c.want {
					t.Errorf("got %+v, %v, want %+v", got, err, c.want)
				}
			}
		})
	}
	if _, err := GetFilesystemInfo(filepath.Join(t.TempDir(), "none"), true); err == nil {
		t.Error("found what is not there")
	}
}

// A disk with the signatures of two file systems, as an old one that was made
// anew carelessly.
func TestSeveralFileSystems(t *testing.T) {
	ext4 := disk(t, []string{"mkfs.ext4", "-q", "-L", "new"})
	name := disk(t, []string{"mkfs.vfat", "-F", "32", "-i", "12345678", "-n", "OLD"})
	data, err := os.ReadFile(ext4)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(data[1024:2048], 1024); err != nil { // the superblock
		t.Fatal(err)
	}
	if got, err := GetFilesystemInfo(name, false); err == nil || !strings.Contains(err.Error(), "found multiple filesystem types") {
		t.Errorf("got %+v, %v", got, err)
	}
	if got, err := GetFilesystemInfo(name, true); err != nil || got != (FilesystemInfo{"vfat", "1234-5678", "OLD"}) {
		t.Errorf("got %+v, %v", got, err)
	}
	// It has no partitions, which is no failure.
	if got, err := DumpDisk(name); err != nil || len(got.Partitions) > 0 {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestWipefs(t *testing.T) {
	got, err := parseWipefs("filesystem,ext4,4d3c-1b,a,b\\x20c\npartition-table,gpt,,\n")
	want := []signature{{"filesystem", FilesystemInfo{"ext4", "4d3c-1b", "a,b c"}}, {partitionTable, FilesystemInfo{Type: "gpt"}}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, bad := range []string{"filesystem,ext4,x\n", "\n", "filesystem,ext4,,\\x\n"} {
		if got, err := parseWipefs(bad); err == nil {
			t.Errorf("%q: %+v", bad, got)
		}
	}
}

func TestPartitions(t *testing.T) {
	const (
		linux = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
		esp   = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
		one   = "11111111-2222-4333-8444-555555555555"
		three = "AAAAAAAA-BBBB-4CCC-8DDD-EEEEEEEEEEEE"
	)
	name := disk(t, []string{"sgdisk",
		"-n", "1:2048:4095", "-t", "1:" + esp, "-u", "1:" + one, "-c", "1:EFI system",
		"-n", "3:8192:16383", "-t", "3:" + linux, "-u", "3:" + three, "-c", `3:ü\x20 "quoted"`})
	got, err := DumpDisk(name)
	if err != nil {
		t.Fatal(err)
	}
	want := []PartitionInfo{
		{Label: "EFI system", GUID: one, TypeGUID: esp, StartSector: 2048, SizeInSectors: 2048, Number: 1},
		{Label: `ü\x20 "quoted"`, GUID: three, TypeGUID: linux, StartSector: 8192, SizeInSectors: 8192, Number: 3},
	}
	if got.LogicalSectorSize != 512 || !slices.Equal(got.Partitions, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if p, ok := got.GetPartition(3); !ok || p != want[1] {
		t.Errorf("partition 3 is %+v", p)
	}
	if p, ok := got.GetPartition(2); ok {
		t.Errorf("partition 2 is %+v", p)
	}
}

func TestDisksWithoutPartitions(t *testing.T) {
	for name, programs := range map[string][][]string{
		"nothing":              nil,
		"a file system":        {{"mkfs.ext4", "-q"}},
		"a table, none in use": {{"sgdisk", "-o"}},
	} {
		got, err := DumpDisk(disk(t, programs...))
		if err != nil || len(got.Partitions) != 0 || got.LogicalSectorSize != 512 {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	mbr := disk(t)
	f, err := os.OpenFile(mbr, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	// One partition of Linux, from sector 2048 on.
	entry := []byte{0, 0, 0, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 8, 0, 0}
	for at, data := range map[int64][]byte{446: entry, 510: {0x55, 0xaa}} {
		if _, err := f.WriteAt(data, at); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := DumpDisk(mbr); err == nil || !strings.Contains(err.Error(), "does not have a GPT but dos") {
		t.Errorf("got %+v, %v", got, err)
	}
}

// partx counts in sectors of 512 bytes on every disk.
func TestPartxOfADiskWithLargeSectors(t *testing.T) {
	got, err := parsePartx("1 2048 16384 gpt c12a7328-f81f-11d2-ba4b-00a0c93ec93b 11111111-2222-4333-8444-555555555555 a\\x20b\n2 18432 8 gpt t u \n", 4096)
	want := []PartitionInfo{
		{Label: "a b", GUID: "11111111-2222-4333-8444-555555555555", TypeGUID: "C12A7328-F81F-11D2-BA4B-00A0C93EC93B", StartSector: 256, SizeInSectors: 2048, Number: 1},
		{GUID: "U", TypeGUID: "T", StartSector: 2304, SizeInSectors: 1, Number: 2},
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, bad := range []string{"1 2 3\n", "x 2048 1 gpt t u n\n", "1 2048 1 dos t u n\n", "1 2048 1 gpt t u a\\x2\n", "1 2048 1 gpt t u a\\xzz\n"} {
		if got, err := parsePartx(bad, 512); err == nil {
			t.Errorf("%q: %+v", bad, got)
		}
	}
}

func TestBlockDevices(t *testing.T) {
	t.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin")
	devices, err := GetBlockDevices("no-such-file-system")
	if err != nil || len(devices) != 0 {
		t.Errorf("got %q, %v", devices, err)
	}
}

func FuzzUnescape(f *testing.F) {
	f.Add(`a\x20b\x`)
	f.Add("plain")
	f.Fuzz(func(t *testing.T, s string) {
		plain, err := unescape(s)
		if err != nil {
			return
		}
		// Escaping all of it again leads back.
		var b bytes.Buffer
		for i := range len(plain) {
			fmt.Fprintf(&b, `\x%02x`, plain[i])
		}
		if again, err := unescape(b.String()); err != nil || again != plain {
			t.Errorf("%q became %q, then %q, %v", s, plain, again, err)
		}
		parseBlkid("ID_FS_LABEL_ENC=" + s)
		parseWipefs(s)
		parsePartx(s, 512)
	})
}
