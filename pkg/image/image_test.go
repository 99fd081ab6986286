package image_test

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/image"
	"github.com/slipway-os/slipway/pkg/image/imagetest"
	"github.com/slipway-os/slipway/pkg/tree"
	"github.com/slipway-os/slipway/pkg/verity"
)

func architectures() []string { return []string{"amd64", "arm64", "ppc64le", "s390x"} }

func open(t testing.TB, file string) *image.Disk {
	t.Helper()
	d, err := image.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func inspect(t testing.TB, file string, verify bool) *image.Report {
	t.Helper()
	r, err := open(t, file).Inspect(t.Context(), image.InspectOptions{Verify: verify})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestReportIsWhatWasBuilt(t *testing.T) {
	for _, arch := range architectures() {
		t.Run(arch, func(t *testing.T) {
			want := imagetest.Write(t, arch)
			r := inspect(t, want.File, true)
			if err := r.Err(); err != nil || !r.Verified || !r.Root.TreeBelongs {
				t.Errorf("%v; verified: %v", err, r.Verified)
			}
			for _, c := range []struct {
				what      string
				got, want any
			}{
				{"profile", r.Profile, "test-" + arch},
				{"architecture", r.Architecture, arch},
				{"Kubernetes", r.KubernetesVersion, "v1.37.2"},
				{"roles", r.Roles, []string{"control-plane"}},
				{"epoch", r.Epoch, int64(imagetest.Epoch)},
				{"method", r.Boot.Method, map[string]string{"amd64": "UEFI", "arm64": "UEFI", "ppc64le": "Open Firmware", "s390x": "IBM Z"}[arch]},
				{"command line", r.Boot.CommandLine, imagetest.CommandLine},
				{"release", r.Boot.Kernel.Release, want.Release},
				{"kernel", r.Boot.Kernel.SHA256, want.Inventory.Kernel.SHA256},
				{"initrd", r.Boot.Initrd.SHA256, tree.Bytes(want.Initrd).Digest().String()},
				{"initrd's size", r.Boot.Initrd.Size, int64(len(want.Initrd))},
				{"hash", r.Root.Hash, want.RootHash},
				{"partition of the root", r.Root.Partition, "root-a"},
				{"partition of the tree", r.Root.VerityPartition, "verity-a"},
				{"size of the tree", r.Root.TreeSize, verity.Size(want.RootSize)},
				{"files", r.Root.Files, want.Root.Len()},
				{"packages", r.Packages, want.Inventory.Packages},
				{"components", r.Components, want.Inventory.Components},
			} {
				got, _ := json.Marshal(c.got)
				wanted, _ := json.Marshal(c.want)
				if !bytes.Equal(got, wanted) {
					t.Errorf("%s is %s, want %s", c.what, got, wanted)
				}
			}
			checkImages(t, r, want)
			checkSizes(t, r, want)
		})
	}
}

// checkImages asks the images themselves, which go-containerregistry made.
func checkImages(t *testing.T, r *image.Report, want *imagetest.Disk) {
	t.Helper()
	if len(r.Images) != len(want.Images) {
		t.Fatalf("%d images, want %d", len(r.Images), len(want.Images))
	}
	for i, img := range want.Images {
		digest, err := img.Image.Digest()
		if err != nil {
			t.Fatal(err)
		}
		config, err := img.Image.ConfigName()
		if err != nil {
			t.Fatal(err)
		}
		layers, err := img.Image.Layers()
		if err != nil {
			t.Fatal(err)
		}
		got := r.Images[i]
		if got.Reference != img.Reference || got.Digest != digest.String() || got.Config != config.String() || len(got.Layers) != len(layers) {
			t.Errorf("got %+v, want %s %s %s", got, img.Reference, digest, config)
		}
		for j, layer := range layers {
			id, err := layer.DiffID()
			if err != nil {
				t.Fatal(err)
			}
			size, err := layer.Size()
			if err != nil {
				t.Fatal(err)
			}
			if got.Layers[j] != id.String() || !slices.ContainsFunc(r.Layers, func(l image.Layer) bool {
				return l.Digest == id.String() && l.Size == size && l.Name == []string{"base", "kubernetes"}[j]
			}) {
				t.Errorf("layer %d of %s is %s of %d bytes; got %+v", j, img.Reference, id, size, r.Layers)
			}
		}
	}
}

func checkSizes(t *testing.T, r *image.Report, want *imagetest.Disk) {
	t.Helper()
	sizes := map[string]image.Part{}
	var root int64
	for _, p := range r.Sizes {
		sizes[p.Name] = p
		if p.Name != "kernel" && p.Name != "initrd" && p.Name != "hash tree" {
			root += p.Stored
		}
	}
	if root != r.Root.Size || r.Root.Size > want.RootSize || r.Root.Size < want.RootSize-4096 {
		t.Errorf("the parts have %d bytes, the root %d, and in whole blocks %d", root, r.Root.Size, want.RootSize)
	}
	for name, size := range map[string]int64{"components": 300_000, "kernel modules": 8, "firmware": 8, "container layers": 10} {
		if got := sizes[name].Uncompressed; got != size {
			t.Errorf("%s have %d bytes, want %d", name, got, size)
		}
	}
	if got := sizes["components"].Stored; got < 299_000 || got > 310_000 {
		t.Errorf("what does not compress takes %d bytes", got)
	}
}

func TestSgdiskAgreesOnPartitions(t *testing.T) {
	sgdisk, err := exec.LookPath("sgdisk")
	if err != nil {
		t.Fatal("sgdisk is not installed (on Debian: apt-get install gdisk)")
	}
	for _, arch := range architectures() {
		disk := imagetest.Write(t, arch)
		for _, p := range inspect(t, disk.File, false).Partitions {
			out, err := exec.Command(sgdisk, "-i", string(rune('0'+p.Number)), disk.File).CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			for _, want := range []string{
				"Partition GUID code: " + strings.ToUpper(p.Type), "Partition unique GUID: " + strings.ToUpper(p.UUID), "Partition name: '" + p.Name + "'",
				"First sector: " + sectors(p.Offset), "Partition size: " + sectors(p.Size) + " sectors",
			} {
				if !strings.Contains(string(out), want) {
					t.Errorf("%s, partition %d: sgdisk does not say %q:\n%s", arch, p.Number, want, out)
				}
			}
		}
	}
}

func sectors(bytes int64) string {
	data, _ := json.Marshal(bytes / 512)
	return string(data)
}

func TestContentsOfPartitions(t *testing.T) {
	want := map[string][]string{
		"amd64":   {"FAT32", "squashfs", "verity", "nothing", "nothing", "ext4"},
		"ppc64le": {"GRUB", "FAT32", "squashfs", "verity", "nothing", "nothing", "ext4"},
		"s390x":   {"zIPL", "squashfs", "verity", "nothing", "nothing", "ext4"},
	}
	for arch, want := range want {
		var got []string
		for _, p := range inspect(t, imagetest.Write(t, arch).File, false).Partitions {
			got = append(got, p.Content)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", arch, got, want)
		}
	}
}

func TestRootAndKernelRead(t *testing.T) {
	disk := imagetest.Write(t, "amd64")
	d := open(t, disk.File)
	root, err := d.Root()
	if err != nil || root.Len() != disk.Root.Len() {
		t.Fatalf("%v; %d paths, want %d", err, root.Len(), disk.Root.Len())
	}
	k, err := d.Kernel()
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	if data, err := io.ReadAll(k); err != nil || !bytes.Equal(data, disk.Kernel) {
		t.Errorf("%v; a kernel of %d bytes, want %d", err, len(data), len(disk.Kernel))
	}
	if m, err := d.Describe(); err != nil || m.KernelRelease != disk.Release || len(m.Images) != 2 {
		t.Errorf("%v; %+v", err, m)
	}
}

// The initrd decides which slot is started.
func TestTheSlotThatIsStartedIsDescribed(t *testing.T) {
	disk := imagetest.Write(t, "s390x")
	// What stands in for an update that was written to the first slot, but
	// is not started yet: what was there before is in the second.
	f, err := os.OpenFile(disk.File, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rename(t, f, "root-a", "root-x")
	rename(t, f, "root-b", "root-a")
	if r := inspect(t, disk.File, true); r.Root.Partition != "root-x" || r.Err() != nil {
		t.Errorf("%q is described; %v", r.Root.Partition, r.Err())
	}
}

func TestFilesThatAreNoImage(t *testing.T) {
	good := imagetest.Write(t, "amd64")
	data, err := os.ReadFile(good.File)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	at := func(offset int, magic string) []byte {
		b := make([]byte, 4<<20)
		copy(b[offset:], magic)
		return b
	}
	pipe := filepath.Join(dir, "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	foreign := write("foreign", data)
	f, err := os.OpenFile(foreign, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rename(t, f, "root-a", "Linux filesystem")
	for name, c := range map[string]struct{ file, want string }{
		"nothing there":     {filepath.Join(dir, "none"), "no such file or directory"},
		"a directory":       {dir, "it is a directory, not a raw disk"},
		"a pipe":            {pipe, "it is a pipe"},
		"a device":          {"/dev/zero", "it is a character device"},
		"empty":             {write("empty", nil), "is empty"},
		"a few bytes":       {write("small", []byte("hello")), "a disk of 5 bytes holds none; is it a raw disk"},
		"zeros":             {write("zeros", make([]byte, 4<<20)), "has nothing but zeros"},
		"text":              {write("text", bytes.Repeat([]byte("text "), 1<<20)), "is it a raw disk that builder wrote?"},
		"a GPT of others":   {foreign, `has partitions, but no "root-a"`},
		"an MBR":            {write("mbr", at(510, "\x55\xaa")), "has an MBR and no GPT"},
		"a file system":     {write("ext4", at(1080, "\x53\xef")), "has no partition table: it holds ext4"},
		"encrypted":         {write("luks", at(0, "LUKS\xba\xbe\x00\x02")), "is encrypted (LUKS): unlock it"},
		"qcow2":             {write("qcow2", at(0, "QFI\xfb")), "is a qcow2 image, not a raw disk"},
		"compressed":        {write("zst", at(0, "\x28\xb5\x2f\xfd")), "is compressed by zstd: uncompress it first"},
		"cut off":           {write("cut", data[:len(data)-1<<20]), "is cut off: it has"},
		"cut off early":     {write("cut early", data[:2<<20]), "is cut off: it has 2097152 bytes, and its partition table was made for"},
		"both tables wrong": {write("tables", damageTables(data)), "reading the partition table"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := image.Open(c.file)
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if diag.ExitCode(err) != diag.ExitInput {
				t.Errorf("exit status %d", diag.ExitCode(err))
			}
		})
	}
}

func damageTables(data []byte) []byte {
	data = bytes.Clone(data)
	data[512+60] ^= 1
	data[len(data)-512+60] ^= 1
	return data
}

// A disk that has a table, but not what must be in its partitions.
func TestDisksThatCannotBeDescribed(t *testing.T) {
	bare := imagetest.Write(t, "s390x")
	bare.Overwrite(t, "boot", 0, make([]byte, 1<<20))
	f, err := os.OpenFile(bare.File, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rename(t, f, "verity-a", "others")
	d := open(t, bare.File)
	if _, err := d.Inspect(t.Context(), image.InspectOptions{}); err == nil || !strings.Contains(err.Error(), `has no partition "verity-a"`) || diag.ExitCode(err) != diag.ExitInput {
		t.Errorf("without a hash tree: %v", err)
	}
	if _, err := d.Root(); err != nil {
		t.Errorf("the root of a disk without a hash tree: %v", err)
	}
	for name, c := range map[string]struct {
		partition string
		offset    int64
		data      string
		want      string
	}{
		"the root is encrypted":        {"root-a", 0, "LUKS\xba\xbe", `partition "root-a": it holds LUKS encryption, not a squashfs`},
		"the root is an ext4":          {"root-a", 0, strings.Repeat("\x00", 1080) + "\x53\xef", `partition "root-a": it holds ext4, not a squashfs`},
		"the root is empty":            {"root-a", 0, strings.Repeat("\x00", 1<<20), `partition "root-a": it holds nothing, not a squashfs`},
		"the root is compressed by xz": {"root-a", 20, "\x04\x00", `partition "root-a": reading squashfs: compressor 4 is not zstd`},
	} {
		t.Run(name, func(t *testing.T) {
			disk := imagetest.Write(t, "s390x")
			disk.Overwrite(t, c.partition, c.offset, []byte(c.data))
			d := open(t, disk.File)
			_, err := d.Inspect(t.Context(), image.InspectOptions{})
			_, rootErr := d.Root()
			_, describeErr := d.Describe()
			for _, err := range []error{err, rootErr, describeErr} {
				if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") || diag.ExitCode(err) != diag.ExitInput {
					t.Errorf("got %v, want %q", err, c.want)
				}
			}
		})
	}
}
