package ignition

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Places that Ignition knows.
const (
	program      = "/usr/bin/ignition"
	cache        = "/run/ignition.json"
	neednet      = "/run/ignition/neednet"
	systemConfig = "/run/ignition-config"
	preset       = "/etc/systemd/system-preset/20-ignition.preset"
)

// Runner applies a config in the root that it runs in, before systemd.
type Runner struct {
	Say func(format string, args ...any) // to the person in front of it
	env []string
}

// Run applies the config of a source. It returns once no process that it
// started is left.
func (r *Runner) Run(ctx context.Context, s Source) error {
	r.env = []string{"PATH=/usr/sbin:/usr/bin", "IGNITION_WRITE_AUTHORIZED_KEYS_FRAGMENT=false", "IGNITION_SYSTEM_CONFIG_DIR=" + systemConfig, "HOME=/root"}
	if err := os.MkdirAll(filepath.Dir(neednet), 0o755); err != nil {
		return err
	}
	if err := s.Read(systemConfig); err != nil {
		return err
	}
	defer os.RemoveAll(systemConfig)
	udev, err := r.startUdev()
	if err != nil {
		return err
	}
	defer udev()
	if err := r.stage(ctx, s, "fetch-offline"); err != nil {
		return err
	}
	if _, err := os.Stat(neednet); err == nil {
		if err := r.fetch(ctx, s); err != nil {
			return err
		}
	}
	config, err := os.ReadFile(cache)
	if err != nil {
		return fmt.Errorf("reading the fetched config: %w", err)
	}
	// The cache would expose the config's secrets until the next boot.
	defer os.Remove(cache)
	err = Check(config, func(p string) bool { _, err := os.Stat(p); return err == nil })
	if err != nil {
		return err
	}
	for _, stage := range []string{"disks", "mount", "files"} {
		if err := r.stage(ctx, s, stage); err != nil {
			return err
		}
	}
	if err := r.stage(ctx, s, "umount"); err != nil {
		return err
	}
	return r.presets(ctx)
}

// fetch brings up the network for a config that lies elsewhere.
func (r *Runner) fetch(ctx context.Context, s Source) error {
	r.Say("the config lies on the network: bringing it up")
	// All devices: a network card's driver is loaded for the device that it sits on.
	if err := r.run(ctx, nil, "/usr/bin/udevadm", "trigger", "--type=devices", "--action=add"); err != nil {
		return err
	}
	if err := r.run(ctx, nil, "/usr/bin/udevadm", "settle", "--timeout=60"); err != nil {
		return err
	}
	uid, gid, err := owner("/etc/passwd", "systemd-network")
	if err != nil {
		return err
	}
	for _, d := range []string{"", "/links", "/leases", "/lldp"} {
		dir := "/run/systemd/netif" + d
		if err := errors.Join(os.MkdirAll(dir, 0o755), os.Chown(dir, uid, gid)); err != nil {
			return err
		}
	}
	networkd := exec.CommandContext(ctx, "/usr/lib/systemd/systemd-networkd")
	networkd.Env = append(r.env, "SYSTEMD_LOG_TARGET=console", "SYSTEMD_LOG_LEVEL=warning")
	networkd.Cancel = func() error { return networkd.Process.Signal(unix.SIGTERM) }
	if err := networkd.Start(); err != nil {
		return fmt.Errorf("starting the network: %w", err)
	}
	defer func() {
		networkd.Process.Signal(unix.SIGTERM)
		networkd.Wait()
	}()
	for waited := false; ; {
		data, err := os.ReadFile("/run/systemd/netif/state")
		if err == nil && bytes.Contains(data, []byte("OPER_STATE=routable")) {
			break
		}
		if !waited {
			r.Say("waiting for an address: is a cable in, is there DHCP?")
			waited = true
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	return r.stage(ctx, s, "fetch")
}

func owner(passwd, name string) (uid, gid int, err error) {
	data, err := os.ReadFile(passwd)
	if err != nil {
		return 0, 0, err
	}
	for _, line := range strings.Split(string(data), "\n") {
		if f := strings.Split(line, ":"); len(f) > 3 && f[0] == name {
			_, err := fmt.Sscan(f[2]+" "+f[3], &uid, &gid)
			return uid, gid, err
		}
	}
	return 0, 0, fmt.Errorf("no user %q", name)
}

func (r *Runner) stage(ctx context.Context, s Source, name string) error {
	config, _ := os.ReadFile(cache)
	err := r.run(ctx, config, program, "--root=/", "--platform="+s.Platform, "--stage="+name, "--log-to-stdout",
		"--config-cache="+cache, "--state-file=/run/ignition/state", "--neednet="+neednet)
	if err != nil {
		return fmt.Errorf("ignition, stage %s: %w", name, err)
	}
	return nil
}

// maxKept bounds what is kept of a program's output.
const maxKept = 64 << 10

// run runs a program. If it fails, the end of what it printed is told,
// without secrets.
func (r *Runner) run(ctx context.Context, config []byte, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = r.env
	var out tail
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if err == nil {
		return nil
	}
	if len(config) == 0 {
		// A config that did not even parse is known only to Ignition itself.
		config, _ = os.ReadFile(filepath.Join(systemConfig, "user.ign"))
	}
	red := newRedactor(config)
	lines := bufio.NewScanner(bytes.NewReader(out.data))
	lines.Buffer(nil, maxKept*2)
	for lines.Scan() {
		if line, ok := red.line(lines.Bytes()); ok && telling(line) {
			r.Say("  %s", line)
		}
	}
	return err
}

// telling says whether a line of Ignition's log helps: its failures, not what
// went well.
func telling(line string) bool {
	line = strings.ToLower(line)
	for _, word := range []string{"fail", "error", "crit", "warn", "invalid", "cannot", "could not", "no such", "unable"} {
		if strings.Contains(line, word) {
			return true
		}
	}
	return false
}

// tail keeps the end of what is written to it.
type tail struct{ data []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.data = append(t.data, p...)
	if len(t.data) > 2*maxKept {
		t.data = append([]byte(nil), t.data[len(t.data)-maxKept:]...)
	}
	return len(p), nil
}

// startUdev starts udev for the block devices: configs name disks by its
// links, and Ignition waits for them. The function returned ends it.
func (r *Runner) startUdev() (func(), error) {
	ctx := context.Background()
	if err := r.run(ctx, nil, "/usr/lib/systemd/systemd-udevd", "--daemon", "--resolve-names=early"); err != nil {
		return nil, fmt.Errorf("starting udev: %w", err)
	}
	stop := func() {
		r.run(ctx, nil, "/usr/bin/udevadm", "control", "--exit")
		r.run(ctx, nil, "/usr/bin/udevadm", "info", "--cleanup-db")
		reap()
	}
	for _, args := range [][]string{
		{"trigger", "--type=devices", "--action=add", "--subsystem-match=block"},
		{"settle", "--timeout=30"},
	} {
		if err := r.run(ctx, nil, "/usr/bin/udevadm", args...); err != nil {
			stop()
			return nil, fmt.Errorf("starting udev: %w", err)
		}
	}
	return stop, nil
}

// reap collects the processes that lost their parents to us.
func reap() {
	for {
		if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); pid <= 0 && !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// presets enables the units that the config enables. systemd would do it at
// its own first boot, along with every unit that the image has.
func (r *Runner) presets(ctx context.Context) error {
	data, err := os.ReadFile(preset)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	args := []string{"--root=/", "preset"}
	for _, line := range strings.Split(string(data), "\n") {
		if w := strings.Fields(line); len(w) >= 2 && !strings.HasPrefix(w[0], "#") {
			args = append(args, w[1])
		}
	}
	if len(args) == 2 {
		return nil
	}
	if err := r.run(ctx, nil, "/usr/bin/systemctl", args...); err != nil {
		return fmt.Errorf("enabling the config's units: %w", err)
	}
	return nil
}
