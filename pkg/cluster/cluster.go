// Package cluster reads the description of a whole cluster and makes of it, and
// of the cluster's secrets, the Ignition config of each node.
package cluster

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/document"
	"github.com/slipway-os/slipway/pkg/role"
)

// version is the one format there is.
const version = 1

// Cluster is a description that was checked.
type Cluster struct {
	Name  string
	Nodes []*Node // in the order of the file
	// Warnings are what can be done, but should be known.
	Warnings []*diag.Error

	doc *document.Document
}

// Node is one machine of a cluster.
type Node struct {
	Name     string
	Select   Select
	Role     *role.Role
	RoleFile []byte // the role as the node gets it: YAML without secrets

	at  string // its path in the description
	pos diag.Position
}

// Select says which machine is meant. All that is given must hold.
type Select struct {
	MAC      string `yaml:"mac" json:"mac,omitempty" doc:"Address of one of the machine's network adapters."`
	Serial   string `yaml:"serial" json:"serial,omitempty" doc:"Serial number, as the firmware tells it."`
	UUID     string `yaml:"uuid" json:"uuid,omitempty" doc:"UUID, as the firmware tells it."`
	Hostname string `yaml:"hostname" json:"hostname,omitempty" doc:"Host name that the machine has before it gets its config."`
}

// file is the format.
type file struct {
	Version       int            `yaml:"version" doc:"Version of this format: 1."`
	Name          string         `yaml:"name" doc:"Name of the cluster, a DNS label; that of its secrets."`
	Cluster       role.Cluster   `yaml:"cluster" doc:"What all nodes agree on, as in a role. With more than one node, endpoint must be given."`
	All           map[string]any `yaml:"all" doc:"Fields of the role of every node."`
	ControlPlanes map[string]any `yaml:"controlPlanes" doc:"Fields of the role of control planes, merged over those of all nodes."`
	Workers       map[string]any `yaml:"workers" doc:"Fields of the role of workers, merged over those of all nodes."`
	EtcdMembers   map[string]any `yaml:"etcdMembers" doc:"Fields of the role of etcd members, merged over those of all nodes."`
	Nodes         []entry        `yaml:"nodes" doc:"The machines. The first control plane starts the cluster, the others join it. If there are etcd members, the control planes use them and have no etcd of their own."`
}

type entry struct {
	Name     string         `yaml:"name" doc:"Name of the node, and its host name."`
	Role     string         `yaml:"role" doc:"What the node is: control-plane, worker or etcd."`
	IP       string         `yaml:"ip" doc:"Address that the node is known by. An etcd member must have one."`
	SecondIP string         `yaml:"secondIP" doc:"On a cluster of both families, its address of the other. With those of all control planes, these ask each other by both families which of them has a virtualIP."`
	Select   Select         `yaml:"select" doc:"Which machine is meant, for whatever hands out the configs."`
	With     map[string]any `yaml:"with" doc:"Fields of the role of this node, merged over those of its kind."`
}

// shared are the sections with fields for the nodes of a role.
func shared() map[string]string {
	return map[string]string{role.ControlPlane: "controlPlanes", role.Worker: "workers", role.Etcd: "etcdMembers"}
}

func roles() []string { return []string{role.ControlPlane, role.Worker, role.Etcd} }

// Parse reads a description, which came from the named file, and checks it and
// the role of each node. All problems are returned together, in the order of the
// file, each a *diag.Error. No message quotes a secret.
func Parse(name string, data []byte) (*Cluster, error) {
	doc, err := document.Parse(name, data)
	if err != nil {
		return nil, err
	}
	var f file
	err = doc.Decode(&f)
	if f.Version != 0 && f.Version != version {
		return nil, doc.Errorf("version", "this program knows version 1", "unknown version %d", f.Version)
	}
	c := &Cluster{Name: f.Name, doc: doc}
	k := newChecker(doc, c)
	k.decoded(err)
	if err == nil || isMapping(doc.Root()) && !doc.Cut() {
		k.check(&f)
		k.roles(&f)
	}
	slices.SortStableFunc(k.problems, byPlace)
	slices.SortFunc(c.Warnings, func(a, b *diag.Error) int { return cmp.Or(byPlace(a, b), cmp.Compare(a.Msg, b.Msg)) })
	if err := join(k.problems); err != nil {
		return nil, err
	}
	return c, nil
}

// split takes apart what errors.Join joined.
func split(err error) []error {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

func byPlace(a, b *diag.Error) int {
	return cmp.Or(cmp.Compare(a.Pos.Line, b.Pos.Line), cmp.Compare(a.Pos.Column, b.Pos.Column))
}

func join(problems []*diag.Error) error {
	var all []error
	for _, p := range problems {
		all = append(all, p)
	}
	return errors.Join(all...)
}

// Of returns an error unless secrets of the given cluster are this one's.
func (c *Cluster) Of(secrets string) error {
	if secrets == c.Name {
		return nil
	}
	return c.doc.Errorf("name", "take the secrets of this cluster", "the cluster is %q, but the secrets are those of %q", c.Name, secrets)
}

// Schema returns the JSON schema of descriptions, as a value for encoding/json.
func Schema() map[string]any {
	s := document.Schema("Slipway cluster", file{})
	properties := s["properties"].(map[string]any)
	properties["version"].(map[string]any)["const"] = version
	s["required"] = []string{"version", "name", "nodes"}
	fields := role.Schema()["properties"].(map[string]any)
	maps.DeleteFunc(fields, func(name string, _ any) bool { return slices.Contains(ownFields(), name) })
	of := func(section map[string]any) {
		section["properties"], section["additionalProperties"] = fields, false
	}
	for _, name := range []string{"all", "controlPlanes", "workers", "etcdMembers"} {
		of(properties[name].(map[string]any))
	}
	node := properties["nodes"].(map[string]any)["items"].(map[string]any)
	node["required"] = []string{"name", "role"}
	nodeProperties := node["properties"].(map[string]any)
	nodeProperties["role"].(map[string]any)["enum"] = roles()
	of(nodeProperties["with"].(map[string]any))
	return s
}

// ownFields are the fields of a role that no section of fields may give.
func ownFields() []string { return []string{"version", "role", "init", "join", "cluster", "etcd"} }

// at is the path of a node in the file.
func at(i int) string { return fmt.Sprintf("nodes[%d]", i) }
