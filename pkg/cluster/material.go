package cluster

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path"
	"path/filepath"
	"time"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/kubeadm"
	"github.com/slipway-os/slipway/pkg/pki"
	"github.com/slipway-os/slipway/pkg/provision"
	"github.com/slipway-os/slipway/pkg/role"
	"github.com/slipway-os/slipway/pkg/secrets"
)

// Request asks an authority that is kept elsewhere for a certificate.
type Request struct {
	Name string // "NODE/etcd/server": the request has the suffix .csr, the certificate .crt
	Data []byte // PEM
}

// File is where the request lies, below the directory of the configs.
func (r Request) File() string { return filepath.Join(RequestsDir, r.Name+".csr") }

// Signed is where certificates lie that were signed elsewhere.
type Signed struct {
	Dir string // for messages
	FS  fs.FS  // nil if there are none
	Now time.Time
}

// soon is how long before its end a certificate is warned of.
const soon = 30 * 24 * time.Hour

// material collects the files of a node. Of the cluster's secrets it has what
// the node cannot do without, and nothing else.
type material struct {
	node     *Node
	secrets  *secrets.Secrets
	signed   Signed
	files    []provision.File
	requests []Request
	missing  []string      // names of requests that nobody has signed
	warnings []*diag.Error // of certificates that end soon
	problems []error
}

// collect collects what a node is given besides its role.
func (m *material) collect() error {
	switch m.node.Role.Role {
	case role.ControlPlane:
		m.controlPlane()
	case role.Etcd:
		m.public("etcd/ca")
		m.etcdServer()
	}
	m.credentials()
	return errors.Join(m.problems...)
}

func (m *material) controlPlane() {
	m.authority("ca", m.apiServer)
	m.authority("front-proxy-ca", func() {
		m.certificate("front-proxy-ca", "front-proxy-client", pki.Leaf{CommonName: "front-proxy-client", Client: true})
	})
	if m.node.Role.Etcd == nil {
		m.authority("etcd/ca", func() {
			m.etcdServer()
			m.etcdClient()
		})
	} else {
		m.public("etcd/ca")
		m.etcdClient()
	}
	m.pair("sa", ".pub", m.secrets.ServiceAccount)
	if m.node.Role.APIServer.Encryption {
		m.add(kubeadm.EncryptionFile, 0o600, m.encryption())
	}
}

// encryption is how API servers encrypt Secrets; those that were written before
// are still read (Kubernetes, "Encrypting Confidential Data at Rest").
func (m *material) encryption() []byte {
	return fmt.Appendf(nil, `apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
  - resources: [secrets]
    providers:
      - secretbox:
          keys:
            - name: cluster
              secret: %s
      - identity: {}
`, base64.StdEncoding.EncodeToString(m.secrets.EncryptionKey))
}

func (m *material) etcdClient() {
	m.certificate("etcd/ca", "apiserver-etcd-client", pki.Leaf{CommonName: "kube-apiserver-etcd-client", Client: true})
}

func (m *material) etcdServer() {
	ip, ok := m.address()
	if !ok {
		return
	}
	leaf := pki.Leaf{
		CommonName: m.node.Name,
		Names:      []string{m.node.Name, "localhost"},
		Addresses:  []netip.Addr{ip, netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()},
		Server:     true, Client: true, // members are each other's clients
	}
	m.certificate("etcd/ca", "etcd/server", leaf)
	m.certificate("etcd/ca", "etcd/peer", leaf)
	m.certificate("etcd/ca", "etcd/healthcheck-client", pki.Leaf{CommonName: "kube-etcd-healthcheck-client", Client: true})
}

// address is the node's own. Certificates name it.
func (m *material) address() (netip.Addr, bool) {
	ip, err := netip.ParseAddr(m.node.Role.Node.IP)
	if err != nil {
		m.problems = append(m.problems, diag.At(m.node.pos, "give its ip", "%s: its certificates, which are signed elsewhere, must name its address", m.node.Name))
	}
	return ip, err == nil
}

// authority gives the node an authority. If its key is kept elsewhere, the node
// is given its certificate only, and what kubeadm would have signed with it.
func (m *material) authority(name string, leaves func()) {
	if m.secrets.Signs(name) {
		m.pair(name, ".crt", m.secrets.Authorities[name])
		return
	}
	m.public(name)
	leaves()
}

// public gives the node an authority's certificate, and not its key.
func (m *material) public(authority string) {
	m.add(path.Join(kubeadm.PKIDir, authority+".crt"), 0o644, m.secrets.Authorities[authority].Public)
}

func (m *material) pair(name, suffix string, p pki.Pair) {
	m.add(path.Join(kubeadm.PKIDir, name+suffix), 0o644, p.Public)
	m.add(path.Join(kubeadm.PKIDir, name+".key"), 0o600, p.Key)
}

func (m *material) add(name string, mode fs.FileMode, data []byte) {
	m.files = append(m.files, provision.File{Path: name, Mode: mode, Data: data})
}

// certificate gives the node a certificate of its own, below kubeadm's directory.
func (m *material) certificate(authority, name string, leaf pki.Leaf) {
	if p, ok := m.issue(authority, name, leaf); ok {
		m.pair(name, ".crt", p)
	}
}

// issue has a certificate signed, or takes one that was signed elsewhere. It
// notes what keeps it from that.
func (m *material) issue(authority, name string, leaf pki.Leaf) (pki.Pair, bool) {
	if m.secrets.Signs(authority) {
		p, err := m.secrets.Issue(authority, m.node.Name, name, leaf)
		return p, m.note(err)
	}
	request, err := m.secrets.Request(m.node.Name, name, leaf)
	if !m.note(err) {
		return pki.Pair{}, false
	}
	m.requests = append(m.requests, Request{Name: path.Join(m.node.Name, name), Data: request})
	file := path.Join(m.node.Name, name+".crt")
	var cert []byte
	err = fs.ErrNotExist
	if m.signed.FS != nil {
		cert, err = fs.ReadFile(m.signed.FS, file)
	}
	if errors.Is(err, fs.ErrNotExist) {
		m.missing = append(m.missing, name)
		return pki.Pair{}, false
	}
	if err != nil {
		return pki.Pair{}, m.note(diag.IO(err))
	}
	pos := diag.Position{File: path.Join(m.signed.Dir, file)}
	p, end, err := m.secrets.Accept(authority, m.node.Name, name, leaf, cert, m.signed.Now)
	if err != nil {
		return pki.Pair{}, m.note(diag.At(pos, "have the request signed again", "%v", err))
	}
	if end.Sub(m.signed.Now) < soon {
		m.warnings = append(m.warnings, diag.At(pos, "have the request signed again", "expires on %s", end.UTC().Format(time.DateTime)))
	}
	return p, true
}

func (m *material) note(err error) bool {
	if err == nil {
		return true
	}
	var d *diag.Error
	if !errors.As(err, &d) {
		err = fmt.Errorf("making the files of node %q: %w", m.node.Name, err)
	}
	m.problems = append(m.problems, err)
	return false
}
