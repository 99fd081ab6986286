package main

import (
	"bytes"
	"crypto/sha256"
	"debug/pe"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/image"
	"github.com/slipway-os/slipway/pkg/image/imagetest"
	"github.com/slipway-os/slipway/pkg/lock"
)

func TestInspectPrintsForPeople(t *testing.T) {
	disk := imagetest.Write(t, "s390x")
	out, err := again(t, "inspect", disk.File)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"\n  profile         test-s390x\n",
		"\n  kernel          6.12.107-s390x from package linux-image-test\n",
		"\n  command line    gpt quiet console=ttyS0\n",
		"\n  root hash       " + disk.RootHash + "\n",
		"\n  hash tree       partition verity-a, which belongs to the root hash (--verify reads every block)\n",
		"\nPackages (2)\n" +
			"  NAME       VERSION       IN               LICENCES\n" +
			"  bash       5.2.37-2+b10  root             GPL-3+\n" +
			"  libcrypt1  1:4.4.38-1    root layer/base  see /usr/share/doc/libcrypt1/copyright\n",
		"\nComponents (1)\n" +
			"  NAME        VERSION  MODULE\n" +
			"  kubernetes  v1.37.2  k8s.io/kubernetes\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	if strings.Contains(out, "\x1b") {
		t.Errorf("colours for what is no terminal:\n%q", out)
	}
	if out, err = again(t, "inspect", "--verify", disk.File); err != nil || !strings.Contains(out, "verity-a, which every block of the root matches\n") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestInspectNamesTheDamagedPartition(t *testing.T) {
	disk := imagetest.Write(t, "ppc64le")
	disk.Flip(t, "root-a", 4096)
	out, err := again(t, "inspect", "--verify", disk.File)
	if err == nil || !strings.Contains(err.Error(), `partition "root-a" of image`) || diag.ExitCode(err) != diag.ExitInput || !strings.Contains(out, "verity-a, DAMAGED\n") {
		t.Errorf("%v\n%s", err, out)
	}
	out, err = again(t, "inspect", "--verify", "--output", "json", disk.File)
	var r image.Report
	if jsonErr := json.Unmarshal([]byte(out[strings.Index(out, "{"):]), &r); jsonErr != nil || err == nil || len(r.Damage) != 1 || r.Damage[0].Partition != "root-a" || r.Damage[0].Offset != 4096 {
		t.Errorf("%v, %v\n%s", err, jsonErr, out)
	}
}

func TestInspectListsAndPrintsFiles(t *testing.T) {
	disk := imagetest.Write(t, "arm64")
	for _, c := range []struct {
		args string
		want string
	}{
		{"ls dev", "crw-------  0:0  5,1  2023-11-14 22:13  console\n"},
		{"ls usr/bin", "-rwxr-xr-x  0:0  300000  2023-11-14 22:13  kubelet\n-rwsr-xr-x  0:0       5  2023-11-14 22:13  mount\n"},
		{"ls bin", "-rwxr-xr-x  0:0  300000  2023-11-14 22:13  kubelet\n-rwsr-xr-x  0:0       5  2023-11-14 22:13  mount\n"},
		{"ls bin/mount", "-rwsr-xr-x  0:0  5  2023-11-14 22:13  mount\n"},
		{"ls /etc/os-release", "lrwxrwxrwx  0:0  0  2023-11-14 22:13  os-release -> ../usr/lib/os-release\n"},
		{"ls etc/dangling", "lrwxrwxrwx  0:0  0  2023-11-14 22:13  dangling -> /nowhere\n"},
		{"ls tmp", ""},
		{"ls -r usr/share/doc", "drwxr-xr-x  0:0  0  2023-11-14 22:13  usr/share/doc/bash\n-rw-r--r--  0:0  3  2023-11-14 22:13  usr/share/doc/bash/copyright\n"},
		{"cat etc/os-release", "ID=slipway\n"},
		{"cat etc/absolute", "ID=slipway\n"},
		{"cat ../../etc/os-release", "ID=slipway\n"},
		{"cat etc/climbs", "root:*:\n"}, // the image's own, not this machine's
		{"cat etc/empty", ""},
	} {
		t.Run(c.args, func(t *testing.T) {
			out, err := again(t, append([]string{"inspect", disk.File}, strings.Fields(c.args)...)...)
			if err != nil || out != c.want {
				t.Errorf("%v\ngot  %q\nwant %q", err, out, c.want)
			}
		})
	}
	if out, err := again(t, "inspect", disk.File, "ls", "etc"); err != nil || !strings.Contains(out, `"with space\x1b[31m"`) {
		t.Errorf("a name that steers a terminal: %v\n%q", err, out)
	}
	out, err := again(t, "inspect", disk.File, "ls", "--output", "json", "etc")
	var entries []entry
	if jsonErr := json.Unmarshal([]byte(out), &entries); jsonErr != nil || err != nil {
		t.Fatalf("%v, %v\n%s", err, jsonErr, out)
	}
	i := slices.IndexFunc(entries, func(e entry) bool { return e.Path == "etc/shadow" })
	if i < 0 || entries[i] != (entry{Path: "etc/shadow", Type: "file", Mode: "0640", GID: 42, Size: 8, ModTime: imagetest.Epoch}) {
		t.Errorf("got %s", out)
	}
}

func TestBadInputToInspect(t *testing.T) {
	disk := imagetest.Write(t, "amd64")
	foreign := filepath.Join(t.TempDir(), "luks.raw")
	if err := os.WriteFile(foreign, append([]byte("LUKS\xba\xbe\x00\x02"), make([]byte, 4<<20)...), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ args, want string }{
		{"", "name an image"},
		{"nowhere.raw", "opening image: stat nowhere.raw: no such file or directory"},
		{foreign, "is encrypted (LUKS)"},
		{foreign + " ls", "is encrypted (LUKS)"},
		{"IMAGE lss", `"lss" is neither ls nor cat`},
		{"IMAGE ls a b", "ls takes one path, not 2"},
		{"IMAGE cat", "cat takes one path, not 0"},
		{"IMAGE --output yaml", `--output "yaml": text or json`},
		{"IMAGE ls --verify", "--verify and ls: give one of them"},
		{"IMAGE --recursive", "--recursive is for ls"},
		{"IMAGE cat etc/empty --output json", "--output json and cat"},
		{"IMAGE --verfy", "unknown flag: --verfy"},
		{"IMAGE cat etc", `"/etc" is a directory, not a file`},
		{"IMAGE cat /", `"/" is a directory, not a file`},
		{"IMAGE cat dev/console", `"/dev/console" is a character device, not a file`},
		{"IMAGE cat etc/os-releas", `has no "/etc/os-releas" (did you mean "os-release"?)`},
		{"IMAGE ls ect/ssl", `has no "/ect/ssl" (did you mean "etc"?)`},
		{"IMAGE cat etc/dangling", `has no "/nowhere"`},
		{"IMAGE cat etc/circle", "go in a circle"},
		{"IMAGE cat etc/empty/x", `has no "/etc/empty/x"`},
	} {
		t.Run(c.args, func(t *testing.T) {
			args := append([]string{"inspect"}, strings.Fields(strings.ReplaceAll(c.args, "IMAGE", disk.File))...)
			out, err := again(t, args...)
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") || out != "" {
				t.Errorf("got %v, want %q; printed %q", err, c.want, out)
			}
			if diag.ExitCode(err) != diag.ExitInput {
				t.Errorf("exit status %d", diag.ExitCode(err))
			}
		})
	}
}

// A file whose content cannot be read is the image's fault.
func TestPrintingADamagedFile(t *testing.T) {
	disk := imagetest.Write(t, "amd64")
	data, err := os.ReadFile(disk.File)
	if err != nil {
		t.Fatal(err)
	}
	const superblock, inodeTable = 96, 64 // Linux, fs/squashfs/squashfs_fs.h
	end := binary.LittleEndian.Uint64(data[disk.Part(t, "root-a").Offset+inodeTable:])
	disk.Overwrite(t, "root-a", superblock, bytes.Repeat([]byte{0xff}, int(end)-superblock))
	out, err := again(t, "inspect", disk.File, "cat", "etc/os-release")
	if out != "" || err == nil || !strings.Contains(err.Error(), `reading "/usr/lib/os-release" of image`) || diag.ExitCode(err) != diag.ExitInput {
		t.Errorf("got %v; printed %q", err, out)
	}
}

func TestTablesFitTerminals(t *testing.T) {
	var out bytes.Buffer
	p := &page{w: &out, width: 20, colour: true}
	list := table{title: "List", header: []string{"NAME", "N", "TEXT"}, right: "1"}
	list.add("é", "1", "a text that is long")
	list.add("evil\x1b[2J", "100", "short")
	p.table(list)
	p.table(table{rows: [][]string{{"one", "is whole, however long"}}})
	want := "\n\x1b[1mList (2)\x1b[0m\n" +
		"  NAME             …\n" +
		"  é                …\n" +
		"  \"evil\\x1b[2J\"  10…\n" +
		"  one  is whole, however long\n"
	if p.err != nil || out.String() != want {
		t.Errorf("%v\ngot  %q\nwant %q", p.err, out.String(), want)
	}
}

// What is said of images that were built is what their locks say, and what
// other programs find in them.
func TestInspectTheBuiltImages(t *testing.T) {
	disks, err := filepath.Glob("../../out/*/disk.raw")
	if err != nil {
		t.Fatal(err)
	}
	names, asked := baked()
	for _, name := range names {
		if disk := filepath.Join("../../out", name, "disk.raw"); !slices.Contains(disks, disk) {
			notBaked(t, asked, name, disk)
		}
	}
	for _, disk := range disks {
		dir := filepath.Dir(disk)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			l, err := lock.Read(filepath.Join(dir, "lock.json"))
			if err != nil || l == nil {
				t.Fatalf("there is no lock of what %s was baked from (%v): `make image PROFILE=%s` bakes it with one", disk, err, filepath.Base(dir))
			}
			inspectBuilt(t, disk, l)
		})
	}
}

func inspectBuilt(t *testing.T, disk string, l *lock.Lock) {
	out, err := again(t, "inspect", "--output", "json", disk)
	if err != nil {
		t.Fatal(err)
	}
	var r image.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatal(err)
	}
	var got, want []string
	for _, p := range r.Packages {
		got = append(got, p.Name+" "+p.Version+" "+p.Architecture)
		if p.Licences != nil && len(p.Licences) == 0 {
			t.Errorf("package %s has a list of licences, but none in it", p.Name)
		}
	}
	for _, p := range l.Packages {
		want = append(want, p.Name+" "+p.Version+" "+p.Architecture)
	}
	if !slices.Equal(got, want) {
		t.Errorf("packages are\n%q, not those of the lock\n%q", got, want)
	}
	versions := map[string]string{}
	for _, c := range r.Components {
		versions[c.Name] = c.Version
	}
	for _, c := range l.Components {
		if versions[c.Name] != c.Version {
			t.Errorf("component %s is %q, in the lock %q", c.Name, versions[c.Name], c.Version)
		}
	}
	files := map[string]string{} // partitions, extracted
	for _, p := range r.Partitions {
		if p.Name == r.Root.Partition || p.Name == r.Root.VerityPartition {
			files[p.Name] = filepath.Join(t.TempDir(), p.Name)
			size := max(r.Root.TreeSize, (r.Root.Size+4095)/4096*4096)
			judge(t, "dd", "if="+disk, "of="+files[p.Name], "bs=1M", "iflag=skip_bytes,count_bytes", "skip="+decimal(p.Offset), "count="+decimal(min(size, p.Size)), "status=none")
		}
	}
	judge(t, "veritysetup", "verify", files[r.Root.Partition], files[r.Root.VerityPartition], r.Root.Hash)
	listed := strings.Count(judge(t, "unsquashfs", "-l", files[r.Root.Partition]), "squashfs-root")
	if listed != r.Root.Files {
		t.Errorf("%d files, unsquashfs finds %d", r.Root.Files, listed)
	}
	table := judge(t, "sgdisk", "-p", disk)
	for _, p := range r.Partitions {
		if !slices.ContainsFunc(strings.Split(table, "\n"), func(line string) bool {
			f := strings.Fields(line)
			return len(f) > 3 && f[0] == decimal(int64(p.Number)) && f[1] == decimal(p.Offset/512) && f[2] == decimal((p.Offset+p.Size)/512-1) && f[len(f)-1] == p.Name
		}) {
			t.Errorf("sgdisk does not know of %+v:\n%s", p, table)
		}
	}
	judgeBoot(t, disk, r)
	whole := judge(t, "unsquashfs", "-cat", files[r.Root.Partition], "usr/lib/os-release")
	if printed, err := again(t, "inspect", disk, "cat", "etc/os-release"); err != nil || printed != whole {
		t.Errorf("%v; /etc/os-release is\n%s, and unsquashfs has\n%s", err, printed, whole)
	}
	// What is named as licences is in a copyright file.
	docs, err := again(t, "inspect", disk, "ls", "--recursive", "usr/share/doc")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range r.Packages {
		doc := "  usr/share/doc/" + p.Name
		if p.Licences != nil && p.In[0] == "root" && !strings.Contains(docs, doc+"/copyright") && !strings.Contains(docs, doc+" ->") {
			t.Errorf("package %s has licences, but no copyright file", p.Name)
		}
	}
}

// judgeBoot compares what a report says of kernel, initrd and command line with
// what other programs find. None but builder knows s390x's boot records.
func judgeBoot(t *testing.T, disk string, r image.Report) {
	t.Helper()
	if r.Boot.Method == "IBM Z" {
		return
	}
	i := slices.IndexFunc(r.Partitions, func(p image.Partition) bool { return p.Content == "FAT32" })
	if i < 0 {
		t.Fatalf("no partition with what is started: %+v", r.Partitions)
	}
	copied := func(name string) string {
		file := filepath.Join(t.TempDir(), path.Base(name))
		judge(t, "mcopy", "-i", disk+"@@"+decimal(r.Partitions[i].Offset), "::/"+name, file)
		return file
	}
	var kernel, initrd []byte
	var err error
	loader := map[string]string{"amd64": "EFI/BOOT/BOOTX64.EFI", "arm64": "EFI/BOOT/BOOTAA64.EFI"}[r.Architecture]
	if loader == "" {
		if kernel, err = os.ReadFile(copied("vmlinux")); err != nil {
			t.Fatal(err)
		}
		if initrd, err = os.ReadFile(copied("initrd")); err != nil {
			t.Fatal(err)
		}
		if config, err := os.ReadFile(copied("grub/grub.cfg")); err != nil || !strings.Contains(string(config), " "+r.Boot.CommandLine+"\n") {
			t.Errorf("%v; grub.cfg is\n%s\nwithout the command line %s", err, config, r.Boot.CommandLine)
		}
	} else {
		uki, err := pe.Open(copied(loader))
		if err != nil {
			t.Fatal(err)
		}
		defer uki.Close()
		section := func(name string) []byte {
			s := uki.Section(name)
			if s == nil {
				t.Fatalf("there is no section %s", name)
			}
			data, err := s.Data()
			if err != nil {
				t.Fatal(err)
			}
			return data[:s.VirtualSize] // without what fills it up
		}
		kernel, initrd = section(".linux"), section(".initrd")
		if line := strings.TrimRight(string(section(".cmdline")), "\x00"); line != r.Boot.CommandLine {
			t.Errorf("the command line is %q, not %q", line, r.Boot.CommandLine)
		}
	}
	for name, c := range map[string]struct {
		data []byte
		size int64
		hash string
	}{"kernel": {kernel, r.Boot.Kernel.Size, r.Boot.Kernel.SHA256}, "initrd": {initrd, r.Boot.Initrd.Size, r.Boot.Initrd.SHA256}} {
		if sum := sha256.Sum256(c.data); int64(len(c.data)) != c.size || hex.EncodeToString(sum[:]) != c.hash {
			t.Errorf("the %s has %d bytes and the digest %x, not %d and %s", name, len(c.data), sum, c.size, c.hash)
		}
	}
}

func decimal(n int64) string {
	data, _ := json.Marshal(n)
	return string(data)
}

func judge(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return string(out)
}
