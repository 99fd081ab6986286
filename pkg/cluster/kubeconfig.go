package cluster

import (
	"encoding/base64"
	"fmt"
	"net"

	"github.com/slipway-os/slipway/pkg/pki"
	"github.com/slipway-os/slipway/pkg/role"
	"github.com/slipway-os/slipway/pkg/secrets"
)

// kubeconfigText is a kubeconfig (Kubernetes, "kubeconfig (v1)"). What is put
// in has no character that YAML would read otherwise: names are DNS names.
const kubeconfigText = `apiVersion: v1
kind: Config
clusters:
- name: %[1]s
  cluster:
    server: https://%[2]s
    certificate-authority-data: %[3]s
users:
- name: %[4]q
  user:
    client-certificate-data: %[5]s
    client-key-data: %[6]s
contexts:
- name: %[1]s
  context:
    cluster: %[1]s
    user: %[4]q
current-context: %[1]s
preferences: {}
`

// kubeconfig returns a kubeconfig with a certificate of its own.
func kubeconfig(s *secrets.Secrets, c role.Cluster, node, purpose string, leaf pki.Leaf) ([]byte, error) {
	p, err := s.Issue("ca", node, purpose, leaf)
	if err != nil {
		return nil, err
	}
	encode := base64.StdEncoding.EncodeToString
	return fmt.Appendf(nil, kubeconfigText, c.Name, c.Endpoint, encode(s.Authorities["ca"].Public), leaf.CommonName, encode(p.Public), encode(p.Key)), nil
}

// Admin returns a kubeconfig that may do everything in the cluster.
func (c *Cluster) Admin(s *secrets.Secrets) ([]byte, error) {
	var first *Node
	for _, n := range c.Nodes {
		if n.Role.Init != nil {
			first = n
		}
	}
	cluster := first.Role.Cluster
	if cluster.Endpoint == "" {
		ip := first.Role.Node.IP
		if ip == "" {
			return nil, c.doc.Errorf("cluster.endpoint", "give cluster.endpoint, or the control plane's ip", "an administrator's kubeconfig must say where the cluster is")
		}
		cluster.Endpoint = net.JoinHostPort(ip, "6443")
	}
	return kubeconfig(s, cluster, "", "admin", pki.Leaf{
		CommonName: "kubernetes-admin", Organizations: []string{"kubeadm:cluster-admins"}, Client: true,
	})
}
