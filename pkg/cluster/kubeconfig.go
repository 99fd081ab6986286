package cluster

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"strconv"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/pki"
	"github.com/slipway-os/slipway/pkg/secrets"
)

// kubeconfigText is a kubeconfig (Kubernetes, "kubeconfig (v1)"). Names are
// quoted: a cluster may be called 123, or no.
const kubeconfigText = `apiVersion: v1
kind: Config
clusters:
- name: %[1]q
  cluster:
    server: https://%[2]s
    certificate-authority-data: %[3]s
users:
- name: %[4]q
  user:
    client-certificate-data: %[5]s
    client-key-data: %[6]s
contexts:
- name: %[1]q
  context:
    cluster: %[1]q
    user: %[4]q
current-context: %[1]q
preferences: {}
`

// kubeconfig returns a kubeconfig for a server (host:port), with a certificate
// and key.
func kubeconfig(ca []byte, cluster, server, user string, p pki.Pair) []byte {
	encode := base64.StdEncoding.EncodeToString
	return fmt.Appendf(nil, kubeconfigText, cluster, server, encode(ca), user, encode(p.Public), encode(p.Key))
}

// Admin returns a kubeconfig that may do everything in the cluster. If the
// cluster's authority is kept elsewhere, it has the certificate that was signed
// for admin.conf of the first control plane.
func (c *Cluster) Admin(s *secrets.Secrets, signed Signed) ([]byte, error) {
	var first *Node
	for _, n := range c.Nodes {
		if n.Role.Init != nil {
			first = n
		}
	}
	server := first.Role.Cluster.Endpoint
	if server == "" {
		if first.Role.Node.IP == "" {
			return nil, c.doc.Errorf("cluster.endpoint", "give cluster.endpoint, or the control plane's ip", "an administrator's kubeconfig must say where the cluster is")
		}
		server = net.JoinHostPort(first.Role.Node.IP, strconv.Itoa(first.Role.APIPort()))
	}
	leaf := adminLeaf()
	var p pki.Pair
	if s.Signs("ca") {
		var err error
		if p, err = s.Issue("ca", "", "admin", leaf); err != nil {
			return nil, err
		}
	} else {
		m := &material{node: first, secrets: s, signed: signed}
		var ok bool
		if p, ok = m.issue("ca", "admin.conf", leaf); !ok {
			unsigned := diag.Inputf("the administrator's kubeconfig needs the certificate of %s/admin.conf, which nobody has signed", first.Name)
			return nil, errors.Join(append(m.problems, unsigned)...)
		}
	}
	return kubeconfig(s.Authorities["ca"].Public, c.Name, server, leaf.CommonName, p), nil
}
