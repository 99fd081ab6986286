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
	"github.com/slipway-os/slipway/pkg/journal"
	"github.com/slipway-os/slipway/pkg/kubeadm"
	"github.com/slipway-os/slipway/pkg/manifest"
	"github.com/slipway-os/slipway/pkg/role"
	"github.com/slipway-os/slipway/pkg/status"
)

// Places on the node.
const (
	RoleFile         = "/etc/slipway/role.yaml"
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
}

// New reads the role and the image's description, and checks the one against
// the other.
func New(report *status.Reporter) (*Configurator, error) { return newAt("/", report) }

func newAt(root string, report *status.Reporter) (*Configurator, error) {
	c := &Configurator{root: root, status: report}
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
	// What was found damaged is made again, after Ready too.
	due := slices.DeleteFunc(c.steps(), func(s step) bool { return c.journal.Done(s.name) && !s.always })
	if err := c.needConfig(due); err != nil {
		return err
	}
	if again {
		if err := engine.run(ctx, due); err != nil {
			return err
		}
	} else if err := engine.run(ctx, c.steps()); err != nil {
		return err
	}
	if err := c.forgetSecrets(); err != nil {
		return fmt.Errorf("removing what only the start needed: %w", err)
	}
	summary, err := c.summary()
	if err != nil {
		return err
	}
	c.status.Ready(summary, again)
	if err := os.MkdirAll(filepath.Dir(c.path(sentinel)), 0o755); err != nil {
		return err
	}
	return os.WriteFile(c.path(sentinel), []byte("success\n"), 0o644)
}

// needConfig writes the configuration of kubeadm's phases anew if one of the
// steps that are due needs it and it was removed: after Ready it is.
func (c *Configurator) needConfig(due []step) error {
	if !c.journal.Done("node") || !slices.ContainsFunc(due, func(s step) bool { return !s.always }) {
		return nil
	}
	if _, err := os.Stat(c.path(kubeadmFile)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return c.writeConfig(c.pinned)
}

// summary describes the node for the last line.
func (c *Configurator) summary() (status.Summary, error) {
	hash, err := kubeadm.CAHash(c.path(kubeadm.PKIDir))
	s := status.Summary{Node: c.pinned.NodeName, Address: c.pinned.NodeIP, Role: c.role.Role, Cluster: c.role.Cluster.Name, Version: c.image.KubernetesVersion, CAHash: hash}
	for _, e := range c.journal.Entries() {
		s.Timings = append(s.Timings, status.Timing{Step: e.Step, Seconds: e.Seconds})
	}
	return s, err
}
