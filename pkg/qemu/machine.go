// Package qemu boots images in QEMU on the building machine.
package qemu

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/slipway-os/slipway/pkg/diag"
)

// machine is what it takes to boot one architecture.
type machine struct {
	binary   string
	packages string // Debian packages to install
	args     []string
	cpu      func(version int) string // under TCG
	firmware []firmware               // the first whose files exist
	fwCfg    bool                     // Ignition reads its config from fw_cfg, else from a disk with serial "ignition"
	disk     string                   // device model of the disk
	nic      string
	probe    bool // direct kernel boot tells whether KVM works
}

type firmware struct{ code, vars string }

func machines() map[string]machine {
	return map[string]machine{
		"amd64": {
			binary:   "qemu-system-x86_64",
			packages: "qemu-system-x86 ovmf",
			args:     []string{"-machine", "q35"},
			cpu: func(version int) string {
				if version < 9 {
					return "max,-cx16,-la57" // TCG of 7.2 corrupts flags at cmpxchg16b
				}
				return "max,-la57"
			},
			firmware: []firmware{
				{"/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"},
				{"/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"},
				{"/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"},
			},
			fwCfg: true,
			disk:  "virtio-blk-pci",
			nic:   "virtio-net-pci,romfile=",
			probe: true,
		},
		"arm64": {
			binary:   "qemu-system-aarch64",
			packages: "qemu-system-arm qemu-efi-aarch64",
			args:     []string{"-machine", "virt,gic-version=3"},
			cpu:      func(int) string { return "cortex-a57" },
			firmware: []firmware{
				{"/usr/share/AAVMF/AAVMF_CODE.fd", "/usr/share/AAVMF/AAVMF_VARS.fd"},
				{"/usr/share/edk2/aarch64/QEMU_EFI-pflash.raw", "/usr/share/edk2/aarch64/vars-template-pflash.raw"},
			},
			fwCfg: true,
			disk:  "virtio-blk-pci",
			nic:   "virtio-net-pci,romfile=",
			probe: true,
		},
		"ppc64le": {
			binary:   "qemu-system-ppc64",
			packages: "qemu-system-ppc",
			args:     []string{"-machine", "pseries,cap-htm=off,cap-cfpc=broken,cap-sbbc=broken,cap-ibs=broken,cap-ccf-assist=off"},
			cpu:      func(int) string { return "power9" },
			disk:     "virtio-blk-pci",
			nic:      "virtio-net-pci,romfile=",
		},
		"s390x": {
			binary:   "qemu-system-s390x",
			packages: "qemu-system-s390x",
			args:     []string{"-machine", "s390-ccw-virtio"},
			cpu:      func(int) string { return "max" },
			disk:     "virtio-blk-ccw",
			nic:      "virtio-net-ccw",
		},
	}
}

func lookup(arch string) (machine, string, error) {
	m, ok := machines()[arch]
	if !ok {
		return m, "", diag.Inputf("booting an image of architecture %q: unknown", arch)
	}
	path, err := exec.LookPath(m.binary)
	if err != nil {
		return m, "", diag.Dependencyf("%s is not installed (on Debian: apt-get install %s qemu-utils)", m.binary, m.packages)
	}
	return m, path, nil
}

var errNoFirmware = errors.New("no UEFI firmware found")

// pflash returns the arguments for the firmware, with a copy of its variable
// store in dir.
func (m machine) pflash(dir string) ([]string, error) {
	if len(m.firmware) == 0 {
		return nil, nil
	}
	for _, f := range m.firmware {
		vars, err := os.ReadFile(f.vars)
		if err != nil {
			continue
		}
		if _, err := os.Stat(f.code); err != nil {
			continue
		}
		own := filepath.Join(dir, "efivars.fd")
		if _, err := os.Stat(own); err != nil {
			if err := os.WriteFile(own, vars, 0o600); err != nil {
				return nil, diag.IO(err)
			}
		}
		return []string{
			"-drive", "if=pflash,format=raw,unit=0,readonly=on,file=" + f.code,
			"-drive", "if=pflash,format=raw,unit=1,file=" + escape(own),
		}, nil
	}
	return nil, diag.Dependency(fmt.Errorf("%w (on Debian: apt-get install %s)", errNoFirmware, m.packages))
}

// escape doubles commas, which separate QEMU's options.
func escape(path string) string { return regexp.MustCompile(`,`).ReplaceAllString(path, ",,") }

var versionPattern = regexp.MustCompile(`version (\d+)\.`)

// version returns QEMU's major version.
func version(binary string) (int, error) {
	out, err := exec.Command(binary, "--version").Output()
	if err != nil {
		return 0, diag.Dependency(fmt.Errorf("asking %s for its version: %w", binary, err))
	}
	m := versionPattern.FindSubmatch(out)
	if m == nil {
		return 0, diag.Dependencyf("asking %s for its version: cannot read %q", binary, out)
	}
	return strconv.Atoi(string(m[1]))
}
