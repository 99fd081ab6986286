package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/provision"
	"github.com/slipway-os/slipway/pkg/secrets"
)

// IndexName is the name of the index beside the configs.
const IndexName = "index.json"

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

// Index says which machine is given which config.
type Index struct {
	Version int     `json:"version"` // 1
	Cluster string  `json:"cluster"`
	Nodes   []Entry `json:"nodes"` // in the order of the description
}

// Entry is a node in the index.
type Entry struct {
	Name   string  `json:"name"`
	Role   string  `json:"role"`
	File   string  `json:"file"` // beside the index
	Select *Select `json:"select,omitempty"`
	Note   string  `json:"note,omitempty"`
}

// Index returns the index of the configs as JSON. It holds no secrets.
func (c *Cluster) Index() ([]byte, error) {
	index := Index{Version: version, Cluster: c.Name}
	for _, n := range c.Nodes {
		e := Entry{Name: n.Name, Role: n.Role.Role, File: Config{Node: n}.File()}
		switch {
		case n.Select != Select{}:
			e.Select = &n.Select
		case len(c.Nodes) > 1:
			e.Note = "nothing selects its machine: give it the file by hand"
		}
		index.Nodes = append(index.Nodes, e)
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	err := enc.Encode(index)
	return out.Bytes(), err
}
