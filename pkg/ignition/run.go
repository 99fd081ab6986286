package ignition

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/slipway-os/slipway/pkg/diag"
)

// Places that Ignition knows.
const (
	program      = "/usr/bin/ignition"
	cache        = "/run/ignition.json"
	neednet      = "/run/ignition/neednet"
	stateFile    = "/run/ignition/state"
	refusal      = "/run/ignition/refused"
	systemConfig = "/run/ignition-config"
	netif        = "/run/systemd/netif"
	preset       = "/etc/systemd/system-preset/20-ignition.preset"
)

// Runner applies a config in the root that it runs in, before systemd.
type Runner struct {
	Say func(format string, args ...any) // to the person in front of it
	env []string
	dir string // where programs may write what they name without a folder
	raw []byte // the config as it was found on this machine, if it was
}

// ErrNoConfig says that a source turned out to have no config.
var ErrNoConfig = errors.New("NO CONFIG WAS DELIVERED")

// Run applies the config of a source. It returns once no process that it
// started is left.
func (r *Runner) Run(ctx context.Context, s Source) error {
	r.env = []string{"PATH=/usr/sbin:/usr/bin", "IGNITION_WRITE_AUTHORIZED_KEYS_FRAGMENT=false", "IGNITION_SYSTEM_CONFIG_DIR=" + systemConfig, "HOME=/root",
		"GOGC=off", "GOMEMLIMIT=256MiB"} // it ends before there is much to collect
	if err := os.MkdirAll(filepath.Dir(neednet), 0o700); err != nil {
		return err
	}
	// z/VM's vmur writes the config to where it runs; the root cannot be written to.
	r.dir = filepath.Dir(neednet)
	// Both would expose the config's secrets until the next boot.
	defer os.RemoveAll(filepath.Dir(neednet))
	defer os.Remove(cache)
	if err := s.Read(systemConfig); err != nil {
		return err
	}
	defer os.RemoveAll(systemConfig)
	r.raw = s.local()
	// Platforms' own disks and those of the config are waited for by udev's names
	// of them. Most machines have neither: each program takes its time to start.
	stopUdev := func() {}
	defer func() { stopUdev() }()
	udev := sync.OnceValue(func() (err error) {
		stopUdev, err = r.startUdev()
		return err
	})
	if s.raw == "" {
		if err := udev(); err != nil {
			return err
		}
	}
	if err := r.stage(ctx, s, "fetch-offline"); err != nil {
		return err
	}
	if _, err := os.Stat(neednet); err == nil {
		if err := udev(); err != nil {
			return err
		}
		if err := r.fetch(ctx, s); err != nil {
			return err
		}
	}
	fetched, err := os.ReadFile(stateFile)
	if err != nil {
		return fmt.Errorf("reading what ignition fetched: %w", err)
	}
	if !delivered(fetched) {
		return fmt.Errorf("%w: %s has none, or an empty one", ErrNoConfig, s.What)
	}
	config, err := os.ReadFile(cache)
	if err != nil {
		return fmt.Errorf("reading the fetched config: %w", err)
	}
	err = Check(config, func(p string) bool { _, err := os.Stat(p); return err == nil })
	if err != nil {
		return err
	}
	stages := []string{"files"}
	if disks(config) {
		if err := udev(); err != nil {
			return err
		}
		stages = []string{"disks", "mount", "files", "umount"}
	}
	for _, stage := range stages {
		if err := r.stage(ctx, s, stage); err != nil {
			return err
		}
	}
	return r.presets(ctx)
}

// fetch brings up the network for a config that lies elsewhere.
func (r *Runner) fetch(ctx context.Context, s Source) error {
	r.Say("the config lies on the network: bringing it up")
	// All devices: a network card's driver is loaded for the device that it sits on.
	if err := r.run(ctx, "/usr/bin/udevadm", "trigger", "--type=devices", "--action=add"); err != nil {
		return err
	}
	if err := r.run(ctx, "/usr/bin/udevadm", "settle", "--timeout=60"); err != nil {
		return err
	}
	uid, gid, err := owner("/etc/passwd", "systemd-network")
	if err != nil {
		return err
	}
	for _, d := range []string{"", "/links", "/leases", "/lldp"} {
		dir := netif + d
		if err := errors.Join(os.MkdirAll(dir, 0o755), os.Chown(dir, uid, gid)); err != nil {
			return err
		}
	}
	undone, err := earlyNetwork(r.raw, earlyDir)
	if err != nil {
		return err
	}
	defer undone()
	networkd := exec.CommandContext(ctx, "/usr/lib/systemd/systemd-networkd")
	networkd.Env = append(r.env, "SYSTEMD_LOG_TARGET=console", "SYSTEMD_LOG_LEVEL=warning")
	networkd.Cancel = func() error { return networkd.Process.Signal(unix.SIGTERM) }
	if err := networkd.Start(); err != nil {
		return fmt.Errorf("starting the network: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- networkd.Wait() }()
	defer func() {
		networkd.Process.Signal(unix.SIGTERM)
		if ended != nil {
			<-ended
		}
	}()
	for waited := false; ; {
		data, err := os.ReadFile(netif + "/state")
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
		case err := <-ended:
			ended = nil
			return fmt.Errorf("bringing up the network: systemd-networkd ended: %v", err)
		case <-time.After(100 * time.Millisecond):
		}
	}
	undo, err := resolver()
	if err != nil {
		return fmt.Errorf("telling the resolvers: %w", err)
	}
	defer undo()
	return r.stage(ctx, s, "fetch")
}

// resolver writes the resolvers that networkd learned to where systemd's own
// would: /etc/resolv.conf leads there. It returns what takes them away again.
func resolver() (undo func(), err error) {
	data, err := os.ReadFile(netif + "/state")
	if err != nil {
		return nil, err
	}
	const dir = "/run/systemd/resolve"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	undo = func() { os.RemoveAll(dir) }
	for _, name := range []string{"stub-resolv.conf", "resolv.conf"} {
		if err := os.WriteFile(filepath.Join(dir, name), resolvConf(data), 0o644); err != nil {
			undo()
			return nil, err
		}
	}
	return undo, nil
}

// resolvConf returns a resolv.conf(5) for networkd's state
// (sd_network_get_dns(3): a line DNS= with addresses between spaces).
func resolvConf(state []byte) []byte {
	var out []byte
	for _, line := range strings.Split(string(state), "\n") {
		if list, ok := strings.CutPrefix(line, "DNS="); ok {
			for _, word := range strings.Fields(list) {
				// address[%interface][#name]; a port cannot be told to resolv.conf.
				word, _, _ = strings.Cut(word, "#")
				if a, err := netip.ParseAddr(word); err == nil {
					out = fmt.Appendf(out, "nameserver %s\n", a)
				}
			}
		}
	}
	return out
}

// delivered says whether Ignition's state (its internal/state) knows of a
// config of the machine's own; an empty one is none.
func delivered(state []byte) bool {
	var s struct {
		FetchedConfigs []struct {
			Kind string `json:"kind"`
		} `json:"fetchedConfigs"`
	}
	json.Unmarshal(state, &s)
	for _, c := range s.FetchedConfigs {
		if c.Kind == "user" {
			return true
		}
	}
	return false
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
	err := r.run(ctx, program, "--root=/", "--platform="+s.Platform, "--stage="+name, "--log-to-stdout",
		"--config-cache="+cache, "--state-file="+stateFile, "--neednet="+neednet)
	if err == nil {
		return nil
	}
	if why, readErr := os.ReadFile(refusal); readErr == nil {
		return diag.Inputf("%s", why)
	}
	return fmt.Errorf("ignition, stage %s: %w", name, err)
}

// Refuse keeps for Run why a config was refused that Ignition was to have
// translated: what Ignition says of a config is told without what may be secret
// in it, which is all that is not JSON. This text holds no secrets.
func Refuse(why string) error { return os.WriteFile(refusal, []byte(why), 0o600) }

// run runs a program. If it fails, the end of what it printed is told,
// without secrets; if it takes long, now and then what it says meanwhile.
func (r *Runner) run(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env, cmd.Dir = r.env, r.dir
	cmd.WaitDelay = 10 * time.Second // what it started may hold its output open
	var out tail
	cmd.Stdout, cmd.Stderr = &out, &out
	done := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() { r.watch(&out, done) })
	err := cmd.Run()
	close(done)
	watching.Wait()
	if err == nil || errors.Is(err, exec.ErrWaitDelay) {
		return nil
	}
	lines := r.told(&out)
	for _, line := range lines {
		r.Say("  %s", line)
	}
	if why := reason(lines); why != "" {
		return fmt.Errorf("%w: %s", err, why)
	}
	return err
}

// told returns what of a program's output may be told.
func (r *Runner) told(out *tail) []string {
	// Before the config is fetched, its source may be known all the same.
	config, _ := os.ReadFile(cache)
	text, cut := out.text()
	return newRedactor(r.raw, config).lines(text, cut)
}

// watch tells, as long as a program runs, what it complains of: a server that
// does not answer is asked again and again.
func (r *Runner) watch(out *tail, done <-chan struct{}) {
	said := ""
	for {
		select {
		case <-done:
			return
		case <-time.After(20 * time.Second):
		}
		if lines := r.told(out); len(lines) > 0 && lines[len(lines)-1] != said {
			said = lines[len(lines)-1]
			r.Say("  still at it: %s", said)
		}
	}
}

// reason returns what says best why Ignition failed: its closing words, or the
// critical line that says the same and more.
func reason(lines []string) string {
	cause := ""
	for i := len(lines) - 1; i >= 0; i-- {
		text, ok := strings.CutPrefix(lines[i], "CRITICAL :")
		if text = strings.TrimSpace(text); !ok {
			continue
		}
		if words, closing := strings.CutPrefix(text, "Ignition failed: "); closing && cause == "" {
			cause = words
		} else if strings.HasSuffix(text, cause) {
			return text
		}
	}
	return cause
}

// startUdev starts udev for the block devices: configs name disks by its
// links, and Ignition waits for them. The function returned, never nil, ends it.
func (r *Runner) startUdev() (func(), error) {
	ctx := context.Background()
	if err := r.run(ctx, "/usr/lib/systemd/systemd-udevd", "--daemon", "--resolve-names=early"); err != nil {
		return func() {}, fmt.Errorf("starting udev: %w", err)
	}
	stop := func() {
		r.run(ctx, "/usr/bin/udevadm", "control", "--exit")
		r.run(ctx, "/usr/bin/udevadm", "info", "--cleanup-db")
		reap()
	}
	for _, args := range [][]string{
		{"trigger", "--type=devices", "--action=add", "--subsystem-match=block"},
		{"settle", "--timeout=30"},
	} {
		if err := r.run(ctx, "/usr/bin/udevadm", args...); err != nil {
			stop()
			return func() {}, fmt.Errorf("starting udev: %w", err)
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
	if err := r.run(ctx, "/usr/bin/systemctl", args...); err != nil {
		return fmt.Errorf("enabling the config's units: %w", err)
	}
	return nil
}
