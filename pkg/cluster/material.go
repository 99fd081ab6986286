package cluster

import (
	"fmt"
	"io/fs"
	"net/netip"
	"path"

	"github.com/slipway-os/slipway/pkg/kubeadm"
	"github.com/slipway-os/slipway/pkg/pki"
	"github.com/slipway-os/slipway/pkg/provision"
	"github.com/slipway-os/slipway/pkg/role"
	"github.com/slipway-os/slipway/pkg/secrets"
)

// material collects the files of a node. Of the cluster's secrets it has what
// the node cannot do without, and nothing else.
type material struct {
	node    *Node
	secrets *secrets.Secrets
	files   []provision.File
	err     error
}

// files returns what a node is given besides its role.
func files(n *Node, s *secrets.Secrets) ([]provision.File, error) {
	m := &material{node: n, secrets: s}
	switch n.Role.Role {
	case role.ControlPlane:
		m.controlPlane()
	case role.Etcd:
		m.etcdMember()
	}
	if n.Role.Join != nil {
		m.join()
	}
	if m.err != nil {
		return nil, fmt.Errorf("making the files of node %q: %w", n.Name, m.err)
	}
	return m.files, nil
}

func (m *material) controlPlane() {
	m.authority("ca")
	m.authority("front-proxy-ca")
	if m.node.Role.Etcd == nil {
		m.authority("etcd/ca")
	} else {
		m.public("etcd/ca")
		m.issue("etcd/ca", "apiserver-etcd-client", pki.Leaf{CommonName: "kube-apiserver-etcd-client", Client: true})
	}
	m.pair("sa", ".pub", m.secrets.ServiceAccount)
}

func (m *material) etcdMember() {
	m.public("etcd/ca")
	ip, err := netip.ParseAddr(m.node.Role.Node.IP)
	if err != nil {
		m.err = fmt.Errorf("reading the address of an etcd member: %w", err)
		return
	}
	leaf := pki.Leaf{
		CommonName: m.node.Name,
		Names:      []string{m.node.Name, "localhost"},
		Addresses:  []netip.Addr{ip, netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()},
		Server:     true, Client: true, // members are each other's clients
	}
	m.issue("etcd/ca", "etcd/server", leaf)
	m.issue("etcd/ca", "etcd/peer", leaf)
	m.issue("etcd/ca", "etcd/healthcheck-client", pki.Leaf{CommonName: "kube-etcd-healthcheck-client", Client: true})
}

// join gives the node the kubeconfig that kubeadm discovers the cluster with.
// The kubelet asks for its own certificate with it, which it then rotates.
func (m *material) join() {
	if m.err != nil {
		return
	}
	text, err := kubeconfig(m.secrets, m.node.Role.Cluster, m.node.Name, "join", pki.Leaf{
		CommonName: "system:node:" + m.node.Name, Organizations: []string{"system:nodes"}, Client: true,
	})
	m.err = err
	m.add(kubeadm.CredentialsFile, 0o600, text)
}

func (m *material) add(name string, mode fs.FileMode, data []byte) {
	m.files = append(m.files, provision.File{Path: name, Mode: mode, Data: data})
}

// public gives the node an authority's certificate, and not its key.
func (m *material) public(authority string) {
	m.add(path.Join(kubeadm.PKIDir, authority+".crt"), 0o644, m.secrets.Authorities[authority].Public)
}

func (m *material) authority(name string) { m.pair(name, ".crt", m.secrets.Authorities[name]) }

func (m *material) issue(authority, name string, leaf pki.Leaf) {
	if m.err != nil {
		return
	}
	var p pki.Pair
	if p, m.err = m.secrets.Issue(authority, m.node.Name, name, leaf); m.err == nil {
		m.pair(name, ".crt", p)
	}
}

func (m *material) pair(name, suffix string, p pki.Pair) {
	if len(p.Key) == 0 {
		if m.err == nil {
			m.err = fmt.Errorf("the key of authority %q is not among the secrets", name)
		}
		return
	}
	m.add(path.Join(kubeadm.PKIDir, name+suffix), 0o644, p.Public)
	m.add(path.Join(kubeadm.PKIDir, name+".key"), 0o600, p.Key)
}
