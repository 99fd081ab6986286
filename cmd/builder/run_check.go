package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/slipway-os/slipway/pkg/diag"
)

// What the machines of all architectures boot with.
const (
	leastMemory = 512 // MiB
	mostCPUs    = 240
)

// check finds what is wrong with the flags before anything is started.
func (f *runFlags) check(image string) error {
	switch {
	case f.until != "ready" && f.until != "off":
		return diag.Inputf("--until %q: ready or off", f.until)
	case f.role != "" && f.ignition != "":
		return diag.Inputf("--role and --ignition: give one of them")
	case len(f.butane) > 0 && f.role == "":
		return diag.Inputf("--butane %s: it is merged over a role; give one with --role", f.butane[0])
	case f.until == "ready" && f.role == "":
		return diag.Inputf("--until ready needs --role: without one the machine has nothing to become")
	case f.accelerator != "" && f.accelerator != "kvm" && f.accelerator != "tcg":
		return diag.Inputf("--accelerator %q: kvm or tcg; without it, builder finds out", f.accelerator)
	case f.memory < leastMemory:
		return diag.Inputf("--memory %d: at least %d (MiB)", f.memory, leastMemory)
	case f.cpus < 1 || f.cpus > mostCPUs:
		return diag.Inputf("--cpus %d: 1 to %d", f.cpus, mostCPUs)
	case f.timeout <= 0:
		return diag.Inputf("--timeout %s: more than nothing, for example 30m", f.timeout)
	}
	if err := f.checkFiles(image); err != nil {
		return err
	}
	return checkIgnition(f.ignition)
}

// checkFiles checks what the run writes to.
func (f *runFlags) checkFiles(image string) error {
	inputs := append([]string{image, f.role, f.ignition}, f.butane...)
	if f.capture != "" {
		if err := checkOutput("--capture", f.capture, inputs...); err != nil {
			return err
		}
	}
	if f.dir == "" {
		return nil
	}
	if err := checkDirectory("--dir", f.dir); err != nil {
		return err
	}
	for _, own := range []string{configFile, kubeconfigFile} {
		if err := checkOutput("--dir", filepath.Join(f.dir, own), inputs...); f.role != "" && err != nil {
			return err
		}
	}
	return nil
}

// checkIgnition checks that a file may be an Ignition config. The machine
// checks the rest.
func checkIgnition(name string) error {
	if name == "" {
		return nil
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return diag.Inputf("reading the Ignition config: %w", err)
	}
	if !json.Valid(data) {
		return diag.At(diag.Position{File: name}, "'builder role ignition' makes one of a role; --role takes the role itself", "not an Ignition config: it is no JSON")
	}
	return nil
}

// checkAccelerator refuses KVM where no guest of the architecture can have it.
func checkAccelerator(name, arch string) error {
	if name != "kvm" {
		return nil
	}
	if arch != runtime.GOARCH {
		return diag.Inputf("--accelerator kvm: the image is for %s, and this machine is %s; leave it out", arch, runtime.GOARCH)
	}
	if err := unix.Access("/dev/kvm", unix.R_OK|unix.W_OK); err != nil {
		return diag.Inputf("--accelerator kvm: /dev/kvm cannot be used (%w); leave it out", err)
	}
	return nil
}
