// Package configurator brings a node into its role: a journal of idempotent
// steps around kubeadm's phases, and what is told of them.
package configurator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/ignition"
	"github.com/slipway-os/slipway/pkg/journal"
	"github.com/slipway-os/slipway/pkg/kubeadm"
	"github.com/slipway-os/slipway/pkg/manifest"
	"github.com/slipway-os/slipway/pkg/role"
	"github.com/slipway-os/slipway/pkg/status"
)

// Places on the node.
const (
	RoleFile         = role.File
	journalFile      = "/var/lib/slipway/journal.json"
	pinnedFile       = "/var/lib/slipway/pinned.json"
	kubeadmFile      = "/var/lib/slipway/kubeadm.yaml"
	adminConfig      = kubeadm.ConfigDir + "/admin.conf"
	superAdminConfig = kubeadm.ConfigDir + "/super-admin.conf"
	kubeletPKI       = "/var/lib/kubelet/pki"
	imageFile        = "/" + manifest.ImagePath
	sentinel         = "/run/cluster-api/bootstrap-success.complete"
	criSocket        = "/run/containerd/containerd.sock"
	ready            = "ready" // the last step
)

// Configurator brings one node into its role.
type Configurator struct {
	root    string // what the places are below: "/" on a node
	role    *role.Role
	image   manifest.Image
	journal *journal.Journal
	pinned  kubeadm.Pinned
	status  *status.Reporter
	// phase runs one of kubeadm's: kubeadm.Phase on a node.
	phase func(ctx context.Context, phase, config string, args ...string) error
	// systemctl asks systemd.
	systemctl func(ctx context.Context, args ...string) error
	turn      *turnHeld // at joining, nil if the node does not have it
}

// New reads the role and the image's description, and checks the one against
// the other.
func New(report *status.Reporter) (*Configurator, error) { return newAt("/", report) }

func newAt(root string, report *status.Reporter) (*Configurator, error) {
	c := &Configurator{root: root, status: report, phase: kubeadm.Phase, systemctl: systemctl}
	data, err := os.ReadFile(c.path(imageFile))
	if err == nil {
		err = json.Unmarshal(data, &c.image)
	}
	if err != nil {
		return nil, fmt.Errorf("reading what the image says of itself: %w", err)
	}
	data, err = os.ReadFile(c.path(RoleFile))
	if err != nil {
		return nil, diag.Inputf("reading the role: %w", err)
	}
	if c.role, err = role.Parse(RoleFile, data); err != nil {
		return nil, err
	}
	if err := c.role.CheckImage(c.image); err != nil {
		return nil, err
	}
	if c.journal, err = journal.Open(c.path(journalFile)); err != nil {
		return nil, &FatalError{err}
	}
	if err := c.recall(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return c, nil
}

// path returns a place on the node.
func (c *Configurator) path(place string) string { return filepath.Join(c.root, place) }

// FatalError is one that trying again cannot mend: somebody has to.
type FatalError struct{ error }

func (e *FatalError) Unwrap() error { return e.error }

// Run works through the steps until the node is Ready. It goes on where an
// earlier run, or an earlier boot, stopped, and tries a step that fails again
// and again.
func (c *Configurator) Run(ctx context.Context) error {
	engine := &engine{journal: c.journal, status: c.status, pause: retryAfter, disks: []string{c.path("/etc"), c.path("/var")}}
	if err := engine.until(ctx, "", func(context.Context) error { return c.inspect() }); err != nil {
		return err
	}
	again := c.journal.Done(ready)
	steps := c.steps()
	if again {
		// What every boot needs, and what was found damaged. A step that only a
		// later version of the system knows is none of this node's.
		steps = slices.DeleteFunc(steps, func(s step) bool { return !s.always && !c.journal.Interrupted(s.name) })
	}
	if err := engine.until(ctx, "", func(context.Context) error { return c.needConfig(steps) }); err != nil {
		return err
	}
	defer c.endTurn()
	if err := engine.run(ctx, steps); err != nil {
		return err
	}
	return engine.until(ctx, "", func(context.Context) error { return c.finish(again) })
}

// finish ends what began with the start of the node, and says that it is Ready.
func (c *Configurator) finish(again bool) error {
	if err := c.forgetSecrets(); err != nil {
		return fmt.Errorf("removing what only the start needed: %w", err)
	}
	summary, err := c.summary()
	if err != nil && !again {
		return err
	}
	if err != nil { // the node may well run on
		c.status.Warn(err.Error())
	}
	for _, medium := range ignition.Attached(c.root) {
		c.status.Warn(medium + ": the config on it can still be read, and the secrets of this node in it; detach it")
	}
	c.status.Ready(summary, again)
	if err := os.MkdirAll(filepath.Dir(c.path(sentinel)), 0o755); err != nil {
		return err
	}
	return os.WriteFile(c.path(sentinel), []byte("success\n"), 0o644)
}

// needConfig writes the configuration of kubeadm's phases anew if one of the
// steps that are due needs it: the role may have been mended, and after Ready
// it was removed.
func (c *Configurator) needConfig(steps []step) error {
	due := func(s step) bool { return !s.always && !c.journal.Done(s.name) }
	if !c.journal.Done("node") || !slices.ContainsFunc(steps, due) {
		return nil
	}
	return c.writeConfig(c.pinned)
}

// summary describes the node for the last line.
func (c *Configurator) summary() (status.Summary, error) {
	hash, err := c.pki().CAHash()
	s := status.Summary{Node: c.pinned.NodeName, Address: c.pinned.NodeIP, Role: c.role.Role, Cluster: c.role.Cluster.Name, Version: c.image.KubernetesVersion, CAHash: hash, NoNetwork: c.role.Role != role.Etcd && !c.bringsNetwork()}
	for _, e := range c.journal.Entries() {
		s.Timings = append(s.Timings, status.Timing{Step: e.Step, Seconds: e.Seconds})
	}
	return s, err
}
