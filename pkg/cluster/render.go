package cluster

import (
	"context"
	"errors"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/provision"
	"github.com/slipway-os/slipway/pkg/secrets"
)

// Config is the Ignition config of a node. It holds secrets.
type Config struct {
	Node *Node
	Data []byte // nil while a certificate is missing
	// Requests are for authorities that are kept elsewhere, and Missing are those
	// of them, without the node's name, that nobody has signed.
	Requests []Request
	Missing  []string
	Warnings []*diag.Error
}

// File is the config's file name.
func (c Config) File() string { return c.Node.Name + suffix }

const suffix = ".ign"

// Render returns the configs of all nodes, in the order of the description.
// They follow from the description, the secrets, the Butane files, which count
// for all nodes, and what was signed elsewhere, and from nothing else.
func (c *Cluster) Render(ctx context.Context, s *secrets.Secrets, butane []provision.ButaneFile, signed Signed) ([]Config, error) {
	if err := c.Of(s.Cluster); err != nil {
		return nil, err
	}
	configs, problems := make([]Config, len(c.Nodes)), make([]error, len(c.Nodes))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, n := range c.Nodes {
		group.Go(func() error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			configs[i], problems[i] = render(n, s, butane, signed)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return configs, once(problems)
}

func render(n *Node, s *secrets.Secrets, butane []provision.ButaneFile, signed Signed) (Config, error) {
	m := &material{node: n, secrets: s, signed: signed}
	err := m.collect()
	config := Config{Node: n, Requests: m.requests, Missing: m.missing, Warnings: m.warnings}
	if err != nil || len(m.missing) > 0 {
		return config, err
	}
	config.Data, err = provision.Config(n.Role, n.RoleFile, butane, provision.Files(m.files...))
	return config, err
}

// once joins problems; what is wrong for many nodes is said once.
func once(problems []error) error {
	var all []error
	seen := map[string]bool{}
	for _, p := range problems {
		if p == nil {
			continue
		}
		for _, e := range split(p) {
			if !seen[e.Error()] {
				seen[e.Error()] = true
				all = append(all, e)
			}
		}
	}
	return errors.Join(all...)
}
