package qemu

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/diag"
)

// emulator is a program that says of itself to be QEMU of a version.
func emulator(t *testing.T, version string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "qemu")
	if err := os.WriteFile(name, []byte("#!/bin/sh\necho 'QEMU emulator version "+version+"'\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return name
}

// fixture is an image and firmware, in the directory that the test enters.
func fixture(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("qemu-img"); err != nil {
		t.Fatal("qemu-img is not installed (on Debian: apt-get install qemu-utils)")
	}
	t.Chdir(t.TempDir())
	for _, name := range []string{"disk.raw", "code.fd", "vars.fd", "config.ign"} {
		if err := os.WriteFile(name, []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Truncate("disk.raw", 1<<20), os.Mkdir("run", 0o755)); err != nil {
		t.Fatal(err)
	}
}

func arguments(t *testing.T, arch, version string, o Options) ([]string, error) {
	t.Helper()
	m := machines()[arch]
	if len(m.firmware) > 0 {
		m.firmware = []firmware{{"none.fd", "none.fd"}, {"code.fd", "vars.fd"}}
	}
	return m.arguments(t.Context(), emulator(t, version), &o)
}

func TestArguments(t *testing.T) {
	base := Options{Disk: "disk.raw", Dir: "run", Memory: 4096, CPUs: 2}
	change := func(f func(*Options)) Options { o := base; f(&o); return o }
	const common = "-nodefaults -no-user-config -display none -serial stdio -m 4096 -smp 2 "
	const flash = " -drive if=pflash,format=raw,unit=0,readonly=on,file=code.fd -drive if=pflash,format=raw,unit=1,file=run/efivars.fd"
	const overlay = " -drive if=none,id=disk,cache=unsafe,discard=unmap,format=qcow2,file=run/disk.qcow2"
	const restricted = " -netdev user,id=net,restrict=on"
	const tcg = " -accel tcg,thread=multi,tb-size=1024"
	for _, c := range []struct {
		name, arch, version string
		opts                Options
		want                string
	}{
		{"amd64", "amd64", "9.2.0", base, common + "-machine q35" + tcg + " -cpu max,-la57" + flash + overlay +
			" -device virtio-blk-pci,drive=disk,bootindex=1" + restricted + " -device virtio-net-pci,romfile=,netdev=net -device virtio-rng-pci"},
		{"amd64, QEMU with a broken cmpxchg16b", "amd64", "7.2.17 (Debian 1:7.2)", base, common + "-machine q35" + tcg + " -cpu max,-cx16,-la57" + flash + overlay +
			" -device virtio-blk-pci,drive=disk,bootindex=1" + restricted + " -device virtio-net-pci,romfile=,netdev=net -device virtio-rng-pci"},
		{"amd64 under KVM, may reach the network", "amd64", "7.2.0", change(func(o *Options) {
			o.Accelerator, o.Network, o.Forward = "kvm", true, []Forward{{2222, 22}, {6443, 6443}}
		}),
			common + "-machine q35 -accel kvm -cpu host" + flash + overlay + " -device virtio-blk-pci,drive=disk,bootindex=1" +
				" -netdev user,id=net,hostfwd=tcp:127.0.0.1:2222-:22,hostfwd=tcp:127.0.0.1:6443-:6443 -device virtio-net-pci,romfile=,netdev=net -device virtio-rng-pci"},
		{"arm64, with a config", "arm64", "9.2.0", change(func(o *Options) { o.Ignition = "config.ign" }), common + "-machine virt,gic-version=3" + tcg + " -cpu cortex-a57" + flash + overlay +
			" -device virtio-blk-pci,drive=disk,bootindex=1 -fw_cfg name=opt/com.coreos/config,file=config.ign" + restricted + " -device virtio-net-pci,romfile=,netdev=net -device virtio-rng-pci"},
		{"ppc64le, with a config", "ppc64le", "9.2.0", change(func(o *Options) { o.Ignition = "config.ign" }),
			common + "-machine pseries,cap-htm=off,cap-cfpc=broken,cap-sbbc=broken,cap-ibs=broken,cap-ccf-assist=off" + tcg + " -cpu power9" + overlay +
				" -device virtio-blk-pci,drive=disk,bootindex=1 -drive if=none,id=ignition,format=raw,readonly=on,file=config.ign -device virtio-blk-pci,drive=ignition,serial=ignition" +
				restricted + " -device virtio-net-pci,romfile=,netdev=net -device virtio-rng-pci"},
		{"s390x", "s390x", "9.2.0", base, common + "-machine s390-ccw-virtio" + tcg + " -cpu max" + overlay +
			" -device virtio-blk-ccw,drive=disk,bootindex=1" + restricted + " -device virtio-net-ccw,netdev=net -device virtio-rng-ccw"},
		{"more disks, and a capture", "amd64", "9.2.0", change(func(o *Options) { o.ExtraDisks, o.Medium, o.Capture = []string{"a", "b,c"}, "m.iso", "all,of it.pcap" }),
			common + "-machine q35" + tcg + " -cpu max,-la57" + flash + overlay + " -device virtio-blk-pci,drive=disk,bootindex=1" +
				" -drive if=none,id=extra0,format=raw,readonly=on,file=a -device virtio-blk-pci,drive=extra0" +
				" -drive if=none,id=extra1,format=raw,readonly=on,file=b,,c -device virtio-blk-pci,drive=extra1" +
				" -drive if=none,id=extra2,format=raw,readonly=on,file=m.iso -device virtio-blk-pci,drive=extra2" +
				restricted + " -device virtio-net-pci,romfile=,netdev=net -device virtio-rng-pci -object filter-dump,id=capture,netdev=net,file=all,,of it.pcap"},
		{"two cards at a switch, and a capture", "amd64", "9.2.0", change(func(o *Options) {
			o.NICs = []NIC{{net.HardwareAddr{0x52, 0x54, 0, 0, 0, 1}, "switch/a"}, {net.HardwareAddr{0x52, 0x54, 0, 0, 0, 2}, "switch/b,c"}}
			o.Capture = "all.pcap"
		}),
			common + "-machine q35" + tcg + " -cpu max,-la57" + flash + overlay + " -device virtio-blk-pci,drive=disk,bootindex=1" +
				" -netdev stream,id=net,server=off,addr.type=unix,addr.path=switch/a -device virtio-net-pci,romfile=,netdev=net,mac=52:54:00:00:00:01" +
				" -netdev stream,id=net1,server=off,addr.type=unix,addr.path=switch/b,,c -device virtio-net-pci,romfile=,netdev=net1,mac=52:54:00:00:00:02" +
				" -device virtio-rng-pci -object filter-dump,id=capture,netdev=net,file=all.pcap"},
		{"a card at a switch", "s390x", "9.2.0", change(func(o *Options) {
			o.NICs = []NIC{{net.HardwareAddr{0x52, 0x54, 0, 0, 0, 1}, "a"}}
		}),
			common + "-machine s390-ccw-virtio" + tcg + " -cpu max" + overlay + " -device virtio-blk-ccw,drive=disk,bootindex=1" +
				" -netdev stream,id=net,server=off,addr.type=unix,addr.path=a -device virtio-net-ccw,netdev=net,mac=52:54:00:00:00:01 -device virtio-rng-ccw"},
		{"a disk that is served", "amd64", "9.2.0", change(func(o *Options) { o.DriveURL = "nbd+unix:///?socket=s" }), common + "-machine q35" + tcg + " -cpu max,-la57" + flash +
			" -drive if=none,id=disk,cache=writeback,format=raw,file=nbd+unix:///?socket=s -device virtio-blk-pci,drive=disk,bootindex=1" + restricted + " -device virtio-net-pci,romfile=,netdev=net -device virtio-rng-pci"},
		{"a kernel alone", "amd64", "9.2.0", change(func(o *Options) { o.Kernel, o.Append = "vmlinuz", "console=ttyS0" }), common + "-machine q35" + tcg + " -cpu max,-la57 -kernel vmlinuz -append console=ttyS0 -no-reboot"},
	} {
		t.Run(c.name, func(t *testing.T) {
			fixture(t)
			args, err := arguments(t, c.arch, c.version, c.opts)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(args, " "); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// The image is never written to: the machine has an overlay and a copy of the
// firmware's variables, which it finds again when it is started anew.
func TestWhatTheMachineWritesIsKeptApart(t *testing.T) {
	fixture(t)
	o := Options{Disk: "disk.raw", Dir: "run", Memory: 1, CPUs: 1, DiskSize: 8 << 20}
	if _, err := arguments(t, "amd64", "9.2.0", o); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("qemu-img", "info", "--output=json", "run/disk.qcow2").Output()
	here, _ := os.Getwd()
	if err != nil || !strings.Contains(string(out), `"virtual-size": 8388608`) || !strings.Contains(string(out), `"full-backing-filename": "`+here+`/disk.raw"`) {
		t.Errorf("%v: %s", err, out)
	}
	if err := os.WriteFile("run/efivars.fd", []byte("changed"), 0o600); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat("run/disk.qcow2")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := arguments(t, "amd64", "9.2.0", o); err != nil {
		t.Fatal(err)
	}
	vars, _ := os.ReadFile("run/efivars.fd")
	after, err := os.Stat("run/disk.qcow2")
	if err != nil || string(vars) != "changed" || !os.SameFile(before, after) || !before.ModTime().Equal(after.ModTime()) {
		t.Errorf("started anew, it has other variables (%q) or another disk", vars)
	}
}

// What the caller gave stays the caller's.
func TestOptionsAreNotChanged(t *testing.T) {
	fixture(t)
	disks := append(make([]string, 0, 4), "a")
	o := Options{Disk: "disk.raw", Dir: "run", ExtraDisks: disks, Medium: "m"}
	if _, err := arguments(t, "s390x", "9.2.0", o); err != nil {
		t.Fatal(err)
	}
	if got := disks[:2]; !slices.Equal(got, []string{"a", ""}) {
		t.Errorf("the caller's list is %q", got)
	}
}

func TestWhatCannotBeStarted(t *testing.T) {
	fixture(t)
	base := Options{Disk: "disk.raw", Dir: "run", Memory: 1, CPUs: 1}
	for _, c := range []struct {
		name   string
		start  func() error
		want   string
		status int
	}{
		{"no image", func() error {
			_, err := arguments(t, "s390x", "9.2.0", Options{Disk: "none.raw", Dir: "run"})
			return err
		}, "reading image: stat none.raw: no such file or directory", diag.ExitInput},
		{"no firmware", func() error {
			m := machines()["amd64"]
			m.firmware = []firmware{{"none.fd", "vars.fd"}, {"code.fd", "none.fd"}}
			_, err := m.arguments(t.Context(), emulator(t, "9.2.0"), &base)
			return err
		}, "no UEFI firmware found (on Debian: apt-get install qemu-system-x86 ovmf)", diag.ExitDependency},
		{"a program that is not QEMU", func() error {
			_, err := machines()["amd64"].arguments(t.Context(), emulator(t, "none"), &base)
			return err
		}, "cannot read", diag.ExitDependency},
		{"no QEMU", func() error {
			t.Setenv("PATH", t.TempDir())
			_, err := Start(t.Context(), Options{Architecture: "ppc64le"})
			return err
		}, "qemu-system-ppc64 is not installed (on Debian: apt-get install qemu-system-ppc qemu-utils)", diag.ExitDependency},
		{"unknown architecture", func() error { _, err := Start(t.Context(), Options{Architecture: "mips"}); return err },
			`booting an image of architecture "mips": unknown`, diag.ExitInput},
	} {
		if err := c.start(); err == nil || !strings.Contains(err.Error(), c.want) || diag.ExitCode(err) != c.status {
			t.Errorf("%s: %v (status %d)", c.name, err, diag.ExitCode(err))
		}
	}
}

// A text that comes in pieces is found, and not much is kept of what passes by.
func TestWatcher(t *testing.T) {
	w := &watcher{want: []byte("Linux version"), found: make(chan struct{})}
	for _, piece := range []string{strings.Repeat("x", 100_000), "Linux", " ver"} {
		w.Write([]byte(piece))
	}
	select {
	case <-w.found:
		t.Fatal("found before it was there")
	default:
	}
	if len(w.seen) > 100 {
		t.Errorf("%d bytes are kept", len(w.seen))
	}
	w.Write([]byte("sion 6.12 Linux version"))
	w.Write([]byte("Linux version"))
	<-w.found
}

func TestTail(t *testing.T) {
	var l tail
	for range 1000 {
		l.Write([]byte("line\n"))
	}
	l.Write([]byte("qemu: the last word\n"))
	if l.last() != "qemu: the last word" || len(l.data) > 4096 {
		t.Errorf("kept %d bytes, the last line is %q", len(l.data), l.last())
	}
}
