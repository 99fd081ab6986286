package qemu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/slipway-os/slipway/pkg/diag"
)

// Options say how to boot an image.
type Options struct {
	Architecture string
	Disk         string // raw image; it is not written to
	DiskSize     int64  // bytes the machine sees; at least the image's own
	Dir          string // for the overlay disk and the firmware's variables; reused if it holds them
	Memory       int    // MiB
	CPUs         int
	Ignition     string    // file with an Ignition config; "" for none
	Medium       string    // file with another disk to attach read-only: a SLIPWAY medium
	ExtraDisks   []string  // further raw disks, read-only
	Console      io.Writer // what the serial console prints
	Input        io.Reader // what is typed there; may be nil
	Forward      []Forward
	Network      bool   // may reach what this machine reaches
	NICs         []NIC  // instead of one on QEMU's user network; Forward and Network are of that one
	Capture      string // file to write all packets of the first NIC to (pcap); "" for none
	DriveURL     string // an NBD URL that serves the disk in place of Disk
	Accelerator  string // "tcg", "kvm", or "" to find out
	Kernel       string // boots directly with it, without firmware and disk; with Append
	Append       string
	Args         []string // more arguments for QEMU, after all others
}

// NIC is a network card whose cable leads to an Ethernet switch: to the unix
// socket of one of its ports, over which QEMU (7.2 and later) sends each frame
// after its length in 4 bytes, the most significant first.
type NIC struct {
	MAC    net.HardwareAddr // 6 bytes
	Socket string
}

// Forward leads a port of this machine's loopback to a port of the guest.
type Forward struct{ Host, Guest int }

// VM is a running machine.
type VM struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error
	log  *tail
}

// Start boots an image. Cancelling ctx ends the machine at once.
func Start(ctx context.Context, o Options) (*VM, error) {
	m, binary, err := lookup(o.Architecture)
	if err != nil {
		return nil, err
	}
	args, err := m.arguments(ctx, binary, &o)
	if err != nil {
		return nil, err
	}
	vm := &VM{cmd: exec.CommandContext(ctx, binary, args...), done: make(chan struct{}), log: &tail{}}
	vm.cmd.Stdout = o.Console
	vm.cmd.Stdin = o.Input
	vm.cmd.Stderr = vm.log
	vm.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	vm.cmd.WaitDelay = time.Second
	started := make(chan error)
	go func() {
		defer close(vm.done)
		// The parent whose death ends the machine is the thread that starts it,
		// not the process: this one stays until the machine has ended.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := vm.cmd.Start()
		started <- err
		if err != nil {
			return
		}
		err = vm.cmd.Wait()
		if err != nil && ctx.Err() == nil {
			vm.err = diag.Dependency(fmt.Errorf("running %s: %w: %s", filepath.Base(binary), err, vm.log.last()))
		}
	}()
	if err := <-started; err != nil {
		return nil, diag.Dependency(fmt.Errorf("starting %s: %w", binary, err))
	}
	return vm, nil
}

func (m machine) arguments(ctx context.Context, binary string, o *Options) ([]string, error) {
	v, err := version(binary)
	if err != nil {
		return nil, err
	}
	args := append([]string{"-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio",
		"-m", fmt.Sprint(o.Memory), "-smp", fmt.Sprint(o.CPUs)}, m.args...)
	if o.Accelerator == "" {
		o.Accelerator = "tcg"
	}
	if o.Accelerator == "kvm" {
		args = append(args, "-accel", "kvm", "-cpu", "host")
	} else {
		args = append(args, "-accel", "tcg,thread=multi,tb-size=1024", "-cpu", m.cpu(v))
	}
	if o.Kernel != "" {
		return append(args, "-kernel", o.Kernel, "-append", o.Append, "-no-reboot"), nil
	}
	flash, err := m.pflash(o.Dir)
	if err != nil {
		return nil, err
	}
	args = append(args, flash...)
	drive := "if=none,id=disk,cache=unsafe,discard=unmap,"
	if o.DriveURL != "" {
		drive = "if=none,id=disk,cache=writeback,format=raw,file=" + escape(o.DriveURL)
	} else {
		overlay, err := o.overlay(ctx)
		if err != nil {
			return nil, err
		}
		drive += "format=qcow2,file=" + escape(overlay)
	}
	args = append(args, "-drive", drive, "-device", m.disk+",drive=disk,bootindex=1")
	disks := slices.Clone(o.ExtraDisks)
	if o.Medium != "" {
		disks = append(disks, o.Medium)
	}
	for i, d := range disks {
		args = append(args, "-drive", fmt.Sprintf("if=none,id=extra%d,format=raw,readonly=on,file=%s", i, escape(d)),
			"-device", fmt.Sprintf("%s,drive=extra%d", m.disk, i))
	}
	if o.Ignition != "" {
		if m.fwCfg {
			args = append(args, "-fw_cfg", "name=opt/com.coreos/config,file="+escape(o.Ignition))
		} else {
			args = append(args, "-drive", "if=none,id=ignition,format=raw,readonly=on,file="+escape(o.Ignition),
				"-device", m.disk+",drive=ignition,serial=ignition")
		}
	}
	return slices.Concat(args, o.network(m), o.Args), nil
}

func (o *Options) network(m machine) []string {
	var args []string
	for i, n := range o.NICs {
		id := nicID(i)
		args = append(args, "-netdev", "stream,id="+id+",server=off,addr.type=unix,addr.path="+escape(n.Socket),
			"-device", m.nic+",netdev="+id+",mac="+n.MAC.String())
	}
	if len(o.NICs) == 0 {
		netdev := "user,id=" + nicID(0)
		if !o.Network {
			netdev += ",restrict=on"
		}
		for _, f := range o.Forward {
			netdev += fmt.Sprintf(",hostfwd=tcp:127.0.0.1:%d-:%d", f.Host, f.Guest)
		}
		args = append(args, "-netdev", netdev, "-device", m.nic+",netdev="+nicID(0))
	}
	rng := "virtio-rng-pci"
	if strings.HasSuffix(m.nic, "-ccw") {
		rng = "virtio-rng-ccw"
	}
	args = append(args, "-device", rng)
	if o.Capture != "" {
		args = append(args, "-object", "filter-dump,id=capture,netdev="+nicID(0)+",file="+escape(o.Capture))
	}
	return args
}

func nicID(i int) string {
	if i == 0 {
		return "net"
	}
	return fmt.Sprintf("net%d", i)
}

// overlay makes the disk that takes the machine's writes.
func (o *Options) overlay(ctx context.Context) (string, error) {
	file := filepath.Join(o.Dir, "disk.qcow2")
	if _, err := os.Stat(file); err == nil {
		return file, nil
	}
	info, err := os.Stat(o.Disk)
	if err != nil {
		return "", diag.Input(fmt.Errorf("reading image: %w", err))
	}
	base, err := filepath.Abs(o.Disk)
	if err != nil {
		return "", err
	}
	size := max(o.DiskSize, info.Size())
	out, err := exec.CommandContext(ctx, "qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", base, file, fmt.Sprint(size)).CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		return "", diag.Dependencyf("qemu-img is not installed (on Debian: apt-get install qemu-utils)")
	}
	if err != nil {
		os.Remove(file) // half of one would be taken for a disk the next time
		return "", diag.Dependency(fmt.Errorf("making the overlay disk: %w: %s", err, strings.TrimSpace(string(out))))
	}
	return file, nil
}

// Done is closed when the machine has ended.
func (vm *VM) Done() <-chan struct{} { return vm.done }

// Wait waits for the machine to end: nil if it powered itself off.
func (vm *VM) Wait() error {
	<-vm.done
	return vm.err
}

// Kill cuts the machine's power.
func (vm *VM) Kill() {
	vm.cmd.Process.Kill()
	<-vm.done
}

// FreePorts returns as many different ports of the loopback as are asked for,
// on which nobody listens now.
func FreePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, diag.IO(err)
		}
		defer l.Close() // only when all are taken: so no port is returned twice
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// tail keeps the end of what QEMU itself complains of.
type tail struct{ data []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.data = append(t.data, p...)
	if over := len(t.data) - 4096; over > 0 {
		t.data = t.data[over:]
	}
	return len(p), nil
}

func (t *tail) last() string {
	lines := strings.Split(strings.TrimSpace(string(t.data)), "\n")
	return lines[len(lines)-1]
}
