package modprobe

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// kernel returns a loader on a part of the indexes of Debian's kernel
// 6.12 for amd64 (testdata), and the names of what it loads, in their order.
func kernel(t *testing.T) (*Loader, *[]string) {
	t.Helper()
	l, err := open("testdata")
	if err != nil {
		t.Fatal(err)
	}
	loaded := &[]string{}
	l.insert = func(file string) error {
		if path.Dir(path.Dir(file)) == "." {
			t.Errorf("%q is no path below the kernel's directory", file)
		}
		*loaded = append(*loaded, moduleName(file))
		return nil
	}
	return l, loaded
}

// The expected modules are those of `modprobe --show-depends` (kmod 30) on the
// whole indexes, in any order in which each comes after what it needs; kmod
// heeds only the first of a module's softdeps, which is why btrfs has more.
func TestLoad(t *testing.T) {
	for _, c := range []struct {
		name string
		want string
	}{
		{"dm-verity", "reed_solomon dm_mod dm_bufio dm_verity"},
		{"dm_verity", "reed_solomon dm_mod dm_bufio dm_verity"},
		{"virtio_net", "failover net_failover virtio_net"},
		{"xfs", "crc32c_intel libcrc32c xfs"},
		{"nf_tables", "crc32c_intel libcrc32c nfnetlink nf_tables"},
		{"vfat", "fat vfat"},
		{"isofs", "cdrom isofs"},
		{"vfio", "vfio vfio_iommu_type1"},
		{"btrfs", "blake2b_generic xxhash_generic crc32c_intel libcrc32c raid6_pq xor btrfs"},
		// Aliases, as the kernel asks for them and as devices have them.
		{"fs-btrfs", "blake2b_generic xxhash_generic crc32c_intel libcrc32c raid6_pq xor btrfs"},
		{"iso9660", "cdrom isofs"},
		{"virtio:d00000001v00001AF4", "failover net_failover virtio_net"},
		{"acpi:QEMU0002:", "qemu_fw_cfg"},
		{"acpi:LNRO0005:", "virtio_mmio"},
		{"of:NsocT(null)Cvirtio,mmio", "virtio_mmio"},
		{"of:Nfw-cfgT(null)Cqemu,fw-cfg-mmio", "qemu_fw_cfg"},
		{"of:Nfw_cfgT(null)Cqemu,fw_cfg_mmio", "qemu_fw_cfg"}, // hyphens and underscores are one
		{"cpu:type:x86,ven0000fam0006mod003A:feature:,0094,0095", "crc32c_intel"},
		{"devname:mapper/control", "dm_mod"},
		{"of:N/soc/with-slashT(null)Cvirtio,mmio", "virtio_mmio"},
		// Built in, or nobody's.
		{"ext4", ""},
		{"virtio:d00000063v00001AF4", ""},
		{"acpi:PNP0A03:", ""},
		{"", ""},
		{"[", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, loaded := kernel(t)
			if err := l.Load(c.name); err != nil {
				t.Fatal(err)
			}
			got, want := slices.Sorted(slices.Values(*loaded)), slices.Sorted(slices.Values(strings.Fields(c.want)))
			if !slices.Equal(got, want) {
				t.Errorf("loaded %v, want %v", *loaded, want)
			}
			for i, name := range *loaded {
				for _, need := range l.depends[l.files[name]] {
					if at := slices.Index(*loaded, moduleName(need)); at < 0 || at > i {
						t.Errorf("%s comes before %s, which it needs", name, need)
					}
				}
			}
			// Once is enough.
			if err := l.Load(c.name); err != nil || len(*loaded) != len(got) {
				t.Errorf("a second time: %v, %v", *loaded, err)
			}
		})
	}
}

func TestAModuleThatFails(t *testing.T) {
	l, loaded := kernel(t)
	insert := l.insert
	l.insert = func(file string) error {
		if strings.HasSuffix(file, "/net_failover.ko") {
			return errors.New("exec format error")
		}
		return insert(file)
	}
	err := l.Load("virtio_net")
	if err == nil || err.Error() != "loading module net_failover: exec format error" {
		t.Errorf("got %v", err)
	}
	if slices.Contains(*loaded, "virtio_net") {
		t.Errorf("loaded %v", *loaded)
	}
	// What is only wanted, not needed, may fail.
	l, loaded = kernel(t)
	insert = l.insert
	l.insert = func(file string) error {
		if strings.HasSuffix(file, "/blake2b_generic.ko") {
			return errors.New("exec format error")
		}
		return insert(file)
	}
	if err := l.Load("btrfs"); err != nil || !slices.Contains(*loaded, "btrfs") {
		t.Errorf("%v, loaded %v", err, *loaded)
	}
}

// Each device is looked at once; what appears later, later.
func TestColdplug(t *testing.T) {
	l, loaded := kernel(t)
	l.devices = t.TempDir()
	device := func(name, alias string) {
		file := filepath.Join(l.devices, name, "modalias")
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(alias+"\n"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	device("pci0000:00/0000:00:03.0/virtio0", "virtio:d00000001v00001AF4")
	device("pci0000:00/0000:00:04.0/virtio1", "virtio:d00000001v00001AF4")
	device("LNXSYSTM:00/QEMU0002:00", "acpi:QEMU0002:")
	device("empty", "")
	if n := l.Coldplug(); n != 2 {
		t.Errorf("%d kinds of devices", n)
	}
	if got := strings.Join(slices.Sorted(slices.Values(*loaded)), " "); got != "failover net_failover qemu_fw_cfg virtio_net" {
		t.Errorf("loaded %s", got)
	}
	if n := l.Coldplug(); n != 0 {
		t.Errorf("%d kinds of devices the second time", n)
	}
	device("pci0000:00/0000:00:05.0", "acpi:LNRO0005:")
	if n := l.Coldplug(); n != 1 || !slices.Contains(*loaded, "virtio_mmio") {
		t.Errorf("%d kinds of devices, loaded %v", n, *loaded)
	}
}

// An initrd of another build has no indexes for the running kernel.
func TestAForeignInitrd(t *testing.T) {
	if _, err := New(t.TempDir()); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "not of one build") {
		t.Errorf("got %v", err)
	}
}

// The indexes may be damaged, or of a depmod that writes more than is known.
func TestOtherIndexes(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"modules.dep":     "kernel/a.ko: kernel/b.ko\nno colon\n\nkernel/b.ko: kernel/a.ko\nkernel/c-d.ko.zst:\n",
		"modules.alias":   "# comment\nalias only-two\nalias x* c-d\nalias bad[ a\nalias y* nobody\n",
		"modules.softdep": "softdep a\nsoftdep a unknown\nsoftdep a pre: a b post: a\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l, err := open(dir)
	if err != nil {
		t.Fatal(err)
	}
	var loaded []string
	l.insert = func(file string) error { loaded = append(loaded, filepath.Base(file)); return nil }
	for _, name := range []string{"a", "xyz", "yyy", "bad["} {
		if err := l.Load(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := strings.Join(loaded, " "); got != "b.ko a.ko c-d.ko.zst" {
		t.Errorf("loaded %s", got)
	}
}

func FuzzAlias(f *testing.F) {
	f.Add("of:N*T*Cqemu,fw-cfg-mmio", "of:Nfw-cfgT(null)Cqemu,fw-cfg-mmio")
	f.Add("a[0-9]/b*", "a5/b-c")
	f.Add("[a-", "-")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		p, n := normaliseAlias(pattern), normaliseAlias(name)
		if normaliseAlias(p) != p || normaliseAlias(n) != n || len(p) != len(pattern) {
			t.Errorf("%q, %q", p, n)
		}
		// A pattern without signs matches itself, however it is written.
		if !strings.ContainsAny(pattern, `*?[]\`) {
			if ok, err := path.Match(p, normaliseAlias(strings.ReplaceAll(pattern, "_", "-"))); err != nil || !ok {
				t.Errorf("%q does not match itself: %v", pattern, err)
			}
		}
	})
}
