package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/profile"
	"github.com/slipway-os/slipway/pkg/qemu"
)

// What a run writes beside the machine's disk and firmware variables.
const (
	configFile     = "config.ign"
	kubeconfigFile = "kubeconfig"
)

type runFlags struct {
	role, ignition, until, dir, accelerator, capture string
	butane                                           []string
	diskSize                                         profile.Size
	memory, cpus                                     int
	network                                          bool
	timeout                                          time.Duration
}

func newRunCommand() *cobra.Command {
	f := runFlags{diskSize: 16 << 30}
	c := &cobra.Command{
		Use:   "run IMAGE [-- QEMU-ARGUMENT...]",
		Short: "Boot an image in QEMU here",
		Long: `run boots a raw disk in QEMU, through its own firmware, with its console on this
terminal. The image itself is not written to, and the machine reaches no
network unless --network is given. Acceleration is used if a guest really runs
with it, which is tried out first.

The API server and SSH of the machine are forwarded to free ports of the
loopback; with --role, a key for this one run is added, and the
administrator's kubeconfig is fetched once there is one.`,
		Example: `  builder run out/cp-amd64/disk.raw --role docs/examples/single-node.yaml
  builder run out/cp-amd64/disk.raw --role docs/examples/single-node.yaml --until ready
  builder run out/cp-amd64/disk.raw --dir /tmp/node1   # keeps its disk: run it again to reboot
  builder run out/cp-amd64/disk.raw -- -smbios type=11,value=io.systemd.stub.kernel-cmdline-extra=systemd.log_level=debug`,
		Args: func(c *cobra.Command, args []string) error {
			if dash := c.ArgsLenAtDash(); dash >= 0 {
				args = args[:dash]
			}
			return cobra.ExactArgs(1)(c, args)
		},
		RunE: func(c *cobra.Command, args []string) error { return runImage(c, args[0], args[1:], f) },
	}
	flags := c.Flags()
	flags.StringVar(&f.role, "role", "", "role of the node")
	flags.StringArrayVar(&f.butane, "butane", nil, "Butane file to merge over the role; may be given again")
	flags.StringVar(&f.ignition, "ignition", "", "finished Ignition config, in place of --role")
	flags.StringVar(&f.until, "until", "off", "when to end: ready (node Ready and kube-system running) or off (it powers itself off)")
	flags.StringVar(&f.dir, "dir", "", "where to keep the machine's disk and firmware variables (default: a temporary directory)")
	flags.StringVar(&f.accelerator, "accelerator", "", "kvm or tcg (default: find out)")
	flags.StringVar(&f.capture, "capture", "", "file to write every packet of the network card to (pcap)")
	flags.Var(sizeFlag{&f.diskSize}, "disk-size", "size of the machine's disk")
	flags.IntVar(&f.memory, "memory", 4096, "memory in MiB, at least 512")
	flags.IntVar(&f.cpus, "cpus", 2, "processors, 1 to 240")
	flags.BoolVar(&f.network, "network", false, "let the machine reach what this one reaches")
	flags.DurationVar(&f.timeout, "timeout", 30*time.Minute, "give up on --until ready after this long")
	return c
}

// sizeFlag makes a profile's size a flag.
type sizeFlag struct{ size *profile.Size }

func (s sizeFlag) String() string {
	if s.size == nil {
		return ""
	}
	return s.size.String()
}
func (s sizeFlag) Set(v string) error { return s.size.UnmarshalText([]byte(v)) }
func (s sizeFlag) Type() string       { return "size" }

func runImage(c *cobra.Command, image string, qemuArgs []string, f runFlags) (err error) {
	if err := f.check(image); err != nil {
		return err
	}
	ctx := c.Context()
	info, err := readImage(image)
	if err != nil {
		return err
	}
	if err := checkAccelerator(f.accelerator, info.Architecture); err != nil {
		return err
	}
	if f.dir == "" {
		if f.dir, err = os.MkdirTemp("", "slipway-run-"); err != nil {
			return diag.IO(err)
		}
		defer os.RemoveAll(f.dir)
	} else if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return diag.IO(err)
	}
	key, err := qemu.NewKey()
	if err != nil {
		return err
	}
	config := f.ignition
	if f.role != "" {
		if config, err = roleConfig(f, info, key.Authorized()); err != nil {
			return err
		}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	if f.accelerator == "" {
		f.accelerator, err = qemu.Accelerator(ctx, info.Architecture, filepath.Join(cache, "slipway"), func() (io.ReadCloser, error) { return imageKernel(image) })
		if err != nil {
			return err
		}
	}
	ports, err := qemu.FreePorts(2)
	if err != nil {
		return err
	}
	ssh, api := ports[0], ports[1]
	if term.IsTerminal(int(os.Stdin.Fd())) {
		state, err := term.MakeRaw(int(os.Stdin.Fd()))
		if err == nil {
			defer term.Restore(int(os.Stdin.Fd()), state)
		}
	}
	fmt.Fprintf(c.ErrOrStderr(), "booting %s (%s, %s), API on 127.0.0.1:%d, SSH on 127.0.0.1:%d\r\n", image, info.Architecture, f.accelerator, api, ssh)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	vm, err := qemu.Start(ctx, qemu.Options{
		Architecture: info.Architecture, Disk: image, DiskSize: int64(f.diskSize), Dir: f.dir,
		Memory: f.memory, CPUs: f.cpus, Ignition: config, Console: c.OutOrStdout(), Input: c.InOrStdin(),
		Forward: []qemu.Forward{{Host: ssh, Guest: 22}, {Host: api, Guest: 6443}},
		Network: f.network, Capture: f.capture, Accelerator: f.accelerator, Args: qemuArgs,
	})
	if err != nil {
		return err
	}
	defer vm.Kill()
	if f.until == "off" {
		return vm.Wait()
	}
	guest := vm.Inside(key, ssh, api)
	start := time.Now()
	limited, stop := context.WithTimeout(ctx, f.timeout)
	defer stop()
	kubeconfig, err := guest.WaitReady(limited, c.ErrOrStderr())
	if errors.Is(err, context.DeadlineExceeded) {
		return diag.Dependencyf("not ready after %s; the console says why, and --timeout gives it longer", f.timeout)
	}
	if refused := (qemu.RefusedError{}); errors.As(err, &refused) {
		return diag.Dependencyf("%w; the console says more", refused)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(c.ErrOrStderr(), "ready %s after the start\r\n", time.Since(start).Round(time.Second))
	if kubeconfig == nil {
		return nil
	}
	return guest.WriteKubeconfig(filepath.Join(f.dir, kubeconfigFile), kubeconfig)
}
