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
	"slices"
	"time"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/durable"
	"github.com/slipway-os/slipway/pkg/journal"
	"github.com/slipway-os/slipway/pkg/kubeadm"
	"github.com/slipway-os/slipway/pkg/manifest"
	"github.com/slipway-os/slipway/pkg/role"
	"github.com/slipway-os/slipway/pkg/status"
)

// Places on the node.
const (
	RoleFile    = "/etc/slipway/role.yaml"
	journalFile = "/var/lib/slipway/journal.json"
	pinnedFile  = "/var/lib/slipway/pinned.json"
	kubeadmFile = "/var/lib/slipway/kubeadm.yaml"
	adminConfig = "/etc/kubernetes/admin.conf"
	imageFile   = "/" + manifest.ImagePath
	sentinel    = "/run/cluster-api/bootstrap-success.complete"
	criSocket   = "/run/containerd/containerd.sock"
	retryAfter  = 10 * time.Second
	ready       = "ready" // the last step
)

// Configurator brings one node into its role.
type Configurator struct {
	role    *role.Role
	image   manifest.Image
	journal *journal.Journal
	pinned  kubeadm.Pinned
	status  *status.Reporter
}

// step is one step of the journal.
type step struct {
	name  string
	doing string // for people: "making certificates"
	run   func(context.Context) error
	// clean removes what an interrupted attempt may have left half-written.
	clean func() error
	// next is what a person can do if the step keeps failing.
	next string
	// always means at every boot, not once.
	always bool
}

// New reads the role and the image's description, and checks the one against
// the other.
func New(report *status.Reporter) (*Configurator, error) {
	c := &Configurator{status: report}
	data, err := os.ReadFile(imageFile)
	if err == nil {
		err = json.Unmarshal(data, &c.image)
	}
	if err != nil {
		return nil, fmt.Errorf("reading what the image says of itself: %w", err)
	}
	data, err = os.ReadFile(RoleFile)
	if err != nil {
		return nil, diag.Inputf("reading the role: %w", err)
	}
	if c.role, err = role.Parse(RoleFile, data); err != nil {
		return nil, err
	}
	if err := c.role.CheckImage(c.image); err != nil {
		return nil, err
	}
	if c.journal, err = journal.Open(journalFile); err != nil {
		return nil, err
	}
	if err := c.recall(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return c, nil
}

// Run works through the steps until the node is Ready. It goes on where an
// earlier run, or an earlier boot, stopped, and tries a step that fails again
// and again.
func (c *Configurator) Run(ctx context.Context) error {
	if err := c.inspect(); err != nil {
		c.status.Failed(err, "", 0)
		return err
	}
	again := c.journal.Done(ready)
	steps := c.steps()
	if again {
		steps = slices.DeleteFunc(steps, func(s step) bool { return !s.always })
	}
	for i, s := range steps {
		if c.journal.Done(s.name) && !s.always {
			continue
		}
		if err := c.persist(ctx, s, i+1, len(steps)); err != nil {
			return err
		}
	}
	summary, err := c.summary()
	if err != nil {
		return err
	}
	c.status.Ready(summary, again)
	if err := os.MkdirAll("/run/cluster-api", 0o755); err != nil {
		return err
	}
	return os.WriteFile(sentinel, []byte("success\n"), 0o644)
}

// persist does a step, however often it takes.
func (c *Configurator) persist(ctx context.Context, s step, number, of int) error {
	for {
		c.status.Step(s.name, s.doing, number, of)
		err := c.attempt(ctx, s)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var fatal *fatalError
		if errors.As(err, &fatal) {
			c.status.Failed(err, s.next, 0)
			return err
		}
		c.status.Failed(err, s.next, retryAfter)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(retryAfter):
		}
	}
}

// attempt does a step once. What it wrote is on the disk before the journal
// says that it is done.
func (c *Configurator) attempt(ctx context.Context, s step) error {
	if c.journal.Done(s.name) {
		return s.run(ctx)
	}
	if c.journal.Interrupted(s.name) && s.clean != nil {
		if err := s.clean(); err != nil {
			return fmt.Errorf("clearing what an interrupted attempt left: %w", err)
		}
	}
	start := time.Now()
	if err := c.journal.Begin(s.name); err != nil {
		return err
	}
	if err := s.run(ctx); err != nil {
		return err
	}
	for _, dir := range []string{"/etc", "/var"} {
		if err := durable.SyncTree(dir); err != nil {
			return fmt.Errorf("syncing %s: %w", dir, err)
		}
	}
	return c.journal.End(s.name, time.Since(start))
}

// fatalError is one that trying again cannot mend.
type fatalError struct{ error }

func (e *fatalError) Unwrap() error { return e.error }

// summary describes the node for the last line.
func (c *Configurator) summary() (status.Summary, error) {
	hash, err := kubeadm.CAHash(kubeadm.PKIDir)
	s := status.Summary{Node: c.pinned.NodeName, Address: c.pinned.NodeIP, Role: c.role.Role, Cluster: c.role.Cluster.Name, Version: c.image.KubernetesVersion, CAHash: hash}
	for _, e := range c.journal.Entries() {
		s.Timings = append(s.Timings, status.Timing{Step: e.Step, Seconds: e.Seconds})
	}
	return s, err
}

// removeAll removes files that may not exist.
func removeAll(files ...string) error {
	var errs []error
	for _, f := range files {
		errs = append(errs, os.RemoveAll(f))
	}
	return errors.Join(errs...)
}
