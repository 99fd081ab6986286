package qemutests

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slipway-os/slipway/pkg/durable"
	"github.com/slipway-os/slipway/pkg/kubeapi"
	"github.com/slipway-os/slipway/pkg/provision"
	"github.com/slipway-os/slipway/pkg/qemu"
	"github.com/slipway-os/slipway/pkg/role"
)

// patience bounds how long a test waits for what a start of a machine, or one
// part of the test, is to bring. Emulation on a busy machine takes many times
// what an idle one needs.
const patience = 25 * time.Minute

// singleNode is the role of the README.
const singleNode = "../docs/examples/single-node.yaml"

// architecture is what is booted: this machine's own, or what ARCH names.
func architecture() string {
	if named := os.Getenv("ARCH"); named != "" {
		return named
	}
	return runtime.GOARCH
}

// image returns the disk that is tested.
func image(t *testing.T) string {
	t.Helper()
	if named := os.Getenv("SLIPWAY_IMAGE"); named != "" {
		return named
	}
	return baked(t, "cp-"+architecture())
}

// baked returns the disk of a profile.
func baked(t *testing.T, profile string) string {
	t.Helper()
	disk := filepath.Join("..", "out", profile, "disk.raw")
	if _, err := os.Stat(disk); err != nil {
		t.Fatalf("there is no image to boot: %v; `make image PROFILE=%s` bakes one", err, profile)
	}
	return disk
}

// scene is a machine that can be started, cut off and started again: its
// disk and the variables of its firmware stay.
type scene struct {
	t     *testing.T
	dir   string
	key   qemu.Key
	image string
	opts  qemu.Options
	log   *os.File // the consoles of all starts, for people
	runs  int
	// patience is this machine's.
	patience time.Duration

	address string // a file of systemd-networkd's for the card, or ""
	// Ports of the loopback that a network leads to the machine's ports 22 and
	// 6443; not used where QEMU's own network does.
	ssh, api int
}

// newScene returns a machine with the image's disk and no config.
func newScene(t *testing.T) *scene {
	t.Helper()
	return newSceneOf(t, architecture(), image(t))
}

// newSceneOf returns a machine of an architecture with a disk and no config.
func newSceneOf(t *testing.T, arch, disk string) *scene {
	t.Helper()
	return newSceneNamed(t, t.Name(), arch, disk)
}

// newSceneNamed is newSceneOf with a name for what the console prints.
func newSceneNamed(t *testing.T, name, arch, disk string) *scene {
	t.Helper()
	s := &scene{t: t, dir: t.TempDir(), image: disk, patience: patience}
	if arch != runtime.GOARCH {
		s.patience *= 2 // a foreign processor takes longer to emulate
	}
	s.log = record(t, name, ".log")
	var err error
	if s.key, err = qemu.NewKey(); err != nil {
		t.Fatal(err)
	}
	s.keepKey()
	s.opts = qemu.Options{
		Architecture: arch, Disk: s.image, DiskSize: 16 << 30, Dir: s.dir, Memory: 4096, CPUs: 2, Accelerator: "tcg",
	}
	return s
}

// keepKey lays the key beside the log, so that a person can look into the
// machine while it runs. It opens no other.
func (s *scene) keepKey() {
	s.t.Helper()
	private, err := s.key.Private()
	if err == nil {
		err = durable.WriteFile(s.keyFile(), private, 0o600)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) keyFile() string { return strings.TrimSuffix(s.log.Name(), ".log") + ".key" }

// record makes a file for people who want to know what happened.
func record(t *testing.T, name, extension string) *os.File {
	t.Helper()
	dir := filepath.Join("..", "out", "qemu-tests")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, regexp.MustCompile(`[^A-Za-z0-9]+`).ReplaceAllString(name, "-")+extension))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// config gives the machine a role and Butane files, and lets the test log in.
func (s *scene) config(roleFile string, butane ...string) *scene {
	s.t.Helper()
	s.opts.Ignition = filepath.Join(s.dir, "config.ign")
	if err := os.WriteFile(s.opts.Ignition, s.ignition(roleFile, butane...), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return s
}

func (s *scene) ignition(roleFile string, butane ...string) []byte {
	s.t.Helper()
	data, err := os.ReadFile(roleFile)
	if err != nil {
		s.t.Fatal(err)
	}
	r, err := role.Parse(roleFile, data)
	if err != nil {
		s.t.Fatal(err)
	}
	if s.address != "" {
		butane = append([]string{fmt.Sprintf("variant: fcos\nversion: 1.5.0\nstorage:\n  files:\n    - path: %s\n      contents: {source: %q}\n", addressFile, s.addressURL())}, butane...)
	}
	var files []provision.ButaneFile
	for i, text := range butane {
		files = append(files, provision.ButaneFile{Name: fmt.Sprintf("%d.bu", i), Data: []byte(text)})
	}
	config, err := provision.Config(r, data, files, provision.ExtraKeys(s.key.Authorized()))
	if err != nil {
		s.t.Fatal(err)
	}
	return config
}

// login gives the machine a config that only lets the test log in.
func (s *scene) login() *scene {
	s.t.Helper()
	s.opts.Ignition = filepath.Join(s.dir, "config.ign")
	storage := ""
	if s.address != "" {
		storage = fmt.Sprintf(`,"storage":{"files":[{"path":%q,"contents":{"source":%q}}]}`, addressFile, s.addressURL())
	}
	config := fmt.Sprintf(`{"ignition":{"version":"3.4.0"},"passwd":{"users":[{"name":"root","sshAuthorizedKeys":[%q]}]},"systemd":{"units":[{"name":"ssh.service","enabled":true}]}%s}`, s.key.Authorized(), storage)
	if err := os.WriteFile(s.opts.Ignition, []byte(config), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return s
}

const addressFile = "/etc/systemd/network/50-address.network"

func (s *scene) addressURL() string { return "data:," + url.PathEscape(s.address) }

// machine is a machine that was started.
type machine struct {
	*scene
	vm      *qemu.VM
	guest   *qemu.Guest
	console *console
	ctx     context.Context // ends when patience does
	stop    context.CancelCauseFunc
	timer   *time.Timer
}

// start turns the machine on.
func (s *scene) start() *machine {
	s.t.Helper()
	s.runs++
	fmt.Fprintf(s.log, "\n=== start %d\n", s.runs)
	ctx, cancel := context.WithCancelCause(s.t.Context())
	m := &machine{scene: s, ctx: ctx, stop: cancel, console: newConsole(s.log)}
	m.timer = time.AfterFunc(s.patience, func() { cancel(fmt.Errorf("%s were not enough", s.patience)) })
	ssh, api := s.ssh, s.api
	o := s.opts
	o.Console = m.console
	if len(o.NICs) == 0 {
		ports, err := qemu.FreePorts(2)
		if err != nil {
			s.t.Fatal(err)
		}
		ssh, api = ports[0], ports[1]
		o.Forward = []qemu.Forward{{Host: ssh, Guest: 22}, {Host: api, Guest: 6443}}
	}
	fmt.Fprintf(s.log, "=== if its config lets this key in, look into it by: ssh -i %s -p %d -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null root@127.0.0.1\n", strings.TrimPrefix(s.keyFile(), "../"), ssh)
	vm, err := qemu.Start(ctx, o)
	if err != nil {
		s.t.Fatal(err)
	}
	m.vm, m.guest = vm, vm.Inside(s.key, ssh, api)
	s.t.Cleanup(m.cut)
	return m
}

// in returns the same machine for a subtest, which its failures then are of,
// and which may take as long as the start.
func (m *machine) in(t *testing.T) *machine {
	m.timer.Reset(m.patience)
	s, of := *m.scene, *m
	s.t, of.scene = t, &s
	return &of
}

// cut takes the machine's power away.
func (m *machine) cut() {
	m.vm.Kill()
	m.timer.Stop()
	m.stop(nil)
}

// say waits until the console has said a text since the last call of say, and
// fails the test if the machine ends first.
func (m *machine) say(text string) {
	m.t.Helper()
	if err := m.console.wait(m.ctx, m.vm, text); err != nil {
		m.t.Fatalf("waiting for %q on the console: %v; it ends with:\n%s", text, err, m.console.end())
	}
}

// run runs a command in the guest and returns what it prints.
func (m *machine) run(command string) string {
	m.t.Helper()
	out, err := m.guest.Run(m.ctx, command)
	if err != nil {
		m.t.Fatalf("running %q in the guest: %v\n%s", command, err, out)
	}
	return strings.TrimSpace(string(out))
}

// ready waits until the API says, from outside, that the node is Ready and
// every pod of kube-system runs.
func (m *machine) ready() *kubeapi.Client {
	m.t.Helper()
	began := time.Now()
	kubeconfig, err := m.guest.WaitReady(m.ctx, m.log)
	if err != nil {
		m.t.Fatalf("waiting for Ready: %v; the console ends with:\n%s", err, m.console.end())
	}
	if kubeconfig == nil {
		m.t.Fatal("the machine is no control plane, and has no API to ask")
	}
	client, err := m.guest.API(kubeconfig)
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Logf("Ready %.0f s after the machine was asked", time.Since(began).Seconds())
	return client
}

// reboot restarts the machine from within and waits until it is down.
func (m *machine) reboot() {
	m.t.Helper()
	m.timer.Reset(m.patience)
	m.console.forget()
	m.guest.Run(m.ctx, "systemctl reboot") // the connection may not outlive it
	m.say("slipway: profile")
}

// console keeps what a machine printed and lets tests wait for it.
type console struct {
	mu      sync.Mutex
	all     []byte
	from    int
	log     *os.File
	changed chan struct{}
}

func newConsole(log *os.File) *console { return &console{log: log, changed: make(chan struct{})} }

func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, p...)
	close(c.changed)
	c.changed = make(chan struct{})
	return c.log.Write(p)
}

// wait waits for a text to be printed, and remembers where it was.
func (c *console) wait(ctx context.Context, vm *qemu.VM, text string) error {
	_, err := c.match(ctx, vm, regexp.MustCompile(regexp.QuoteMeta(text)))
	return err
}

// match waits for what a pattern matches, and returns it.
func (c *console) match(ctx context.Context, vm *qemu.VM, pattern *regexp.Regexp) (string, error) {
	for {
		c.mu.Lock()
		found := pattern.FindIndex(c.all[c.from:])
		line := ""
		if found != nil {
			line = string(c.all[c.from+found[0] : c.from+found[1]])
			c.from += found[1]
		}
		changed := c.changed
		c.mu.Unlock()
		if found != nil {
			return line, nil
		}
		select {
		case <-ctx.Done():
			return "", context.Cause(ctx)
		case <-vm.Done():
			return "", errors.Join(errors.New("the machine ended"), vm.Wait())
		case <-changed:
		}
	}
}

// forget makes the next wait look only at what comes from now on.
func (c *console) forget() {
	c.mu.Lock()
	c.from = len(c.all)
	c.mu.Unlock()
}

func (c *console) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(c.all)
}

func (c *console) end() string {
	text := c.text()
	return text[max(0, len(text)-4000):]
}

// tool runs a program of this machine.
func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}
