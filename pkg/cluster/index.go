package cluster

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/secrets"
)

// IndexName is the name of the index beside the configs.
const IndexName = "index.json"

// Index says which machine is given which config.
type Index struct {
	Version int    `json:"version"` // 1
	Cluster string `json:"cluster"`
	// The cluster's authority and the key of its service accounts, by their
	// digests: names are easily given twice.
	CACertHash         string  `json:"caCertHash"`
	ServiceAccountHash string  `json:"serviceAccountHash"`
	Nodes              []Entry `json:"nodes"` // in the order of the description
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
func (c *Cluster) Index(s *secrets.Secrets) ([]byte, error) {
	index := Index{Version: version, Cluster: c.Name, CACertHash: s.CAHash(), ServiceAccountHash: s.AccountHash()}
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

// SameCluster refuses to write to a directory with the configs of a cluster
// that was founded on other secrets, whatever its name.
func SameCluster(dir string, s *secrets.Secrets) error {
	name := filepath.Join(dir, IndexName)
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return diag.IO(err)
	}
	var index Index
	if json.Unmarshal(data, &index) != nil {
		return nil // damaged: it is written anew
	}
	for _, d := range []struct{ what, there, given string }{
		{"authority", index.CACertHash, s.CAHash()},
		{"key of service accounts", index.ServiceAccountHash, s.AccountHash()},
	} {
		if d.there != "" && d.there != d.given {
			return diag.At(diag.Position{File: name}, "give the secrets of that cluster, or another --out; remove "+dir+" if the cluster is to start anew",
				"the configs there are of another cluster: its %s is %s, that of the secrets %s", d.what, d.there, d.given)
		}
	}
	return nil
}
