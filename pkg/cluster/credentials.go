package cluster

import (
	"net"
	"net/netip"
	"path"
	"slices"
	"strconv"

	"github.com/slipway-os/slipway/pkg/kubeadm"
	"github.com/slipway-os/slipway/pkg/pki"
	"github.com/slipway-os/slipway/pkg/role"
)

// Who the bearers of certificates are, as kubeadm names them.
func adminLeaf() pki.Leaf {
	return pki.Leaf{CommonName: "kubernetes-admin", Organizations: []string{"kubeadm:cluster-admins"}, Client: true}
}

func nodeLeaf(node string) pki.Leaf {
	return pki.Leaf{CommonName: "system:node:" + node, Organizations: []string{"system:nodes"}, Client: true}
}

// credentials gives a node that joins the kubeconfig that kubeadm finds the
// cluster with. The kubelet asks for its own certificate with it, which it then
// rotates. A cluster whose authority is kept elsewhere signs nothing: there the
// kubelet is given one that was signed like the others.
func (m *material) credentials() {
	r := m.node.Role
	if r.Role == role.Etcd {
		return
	}
	name := "join"
	if !m.secrets.Signs("ca") {
		name = "kubelet.conf"
	} else if r.Join == nil {
		return
	}
	p, ok := m.issue("ca", name, nodeLeaf(m.node.Name))
	if !ok {
		return
	}
	write := func(file, server string) {
		m.add(file, 0o600, kubeconfig(m.secrets.Authorities["ca"].Public, r.Cluster.Name, server, nodeLeaf(m.node.Name).CommonName, p))
	}
	if r.Join != nil {
		write(kubeadm.CredentialsFile, r.Cluster.Endpoint)
	}
	if name == "kubelet.conf" {
		write(path.Join(kubeadm.ConfigDir, name), m.server())
	}
}

// server is where the node's own components reach the API server.
func (m *material) server() string {
	r := m.node.Role
	if r.Role == role.ControlPlane {
		return net.JoinHostPort(r.Node.IP, strconv.Itoa(r.APIPort()))
	}
	return r.Cluster.Endpoint
}

// apiServer is what kubeadm makes with the key of the cluster's authority.
func (m *material) apiServer() {
	ip, ok := m.address()
	if !ok {
		return
	}
	m.certificate("ca", "apiserver", apiServerLeaf(m.node.Role, ip))
	m.certificate("ca", "apiserver-kubelet-client", pki.Leaf{CommonName: "kube-apiserver-kubelet-client", Organizations: []string{"kubeadm:cluster-admins"}, Client: true})
	endpoint := m.node.Role.Cluster.Endpoint
	if endpoint == "" {
		endpoint = m.server()
	}
	for _, c := range []struct {
		name, server string
		leaf         pki.Leaf
	}{
		{"admin.conf", endpoint, adminLeaf()},
		{"super-admin.conf", endpoint, pki.Leaf{CommonName: "kubernetes-super-admin", Organizations: []string{"system:masters"}, Client: true}},
		{"controller-manager.conf", m.server(), pki.Leaf{CommonName: "system:kube-controller-manager", Client: true}},
		{"scheduler.conf", m.server(), pki.Leaf{CommonName: "system:kube-scheduler", Client: true}},
	} {
		if !slices.Contains(kubeadm.Kubeconfigs(m.node.Role.Join != nil), c.name) {
			continue
		}
		if p, ok := m.issue("ca", c.name, c.leaf); ok {
			m.add(path.Join(kubeadm.ConfigDir, c.name), 0o600, kubeconfig(m.secrets.Authorities["ca"].Public, m.node.Role.Cluster.Name, c.server, c.leaf.CommonName, p))
		}
	}
}

// apiServerLeaf is the API server's certificate, with the names that kubeadm
// gives it.
func apiServerLeaf(r *role.Role, ip netip.Addr) pki.Leaf {
	const service = "kubernetes.default.svc"
	leaf := pki.Leaf{CommonName: "kube-apiserver", Server: true}
	add := func(name string) {
		if ip, err := netip.ParseAddr(name); err == nil {
			if !slices.Contains(leaf.Addresses, ip) {
				leaf.Addresses = append(leaf.Addresses, ip)
			}
		} else if !slices.Contains(leaf.Names, name) {
			leaf.Names = append(leaf.Names, name)
		}
	}
	for _, name := range []string{r.Node.Name, "kubernetes", "kubernetes.default", service, service + "." + r.Cluster.DNSDomain, "localhost", "127.0.0.1", ip.String()} {
		add(name)
	}
	// The first service address is the API server's own.
	if subnet, err := netip.ParsePrefix(r.Cluster.ServiceSubnets[0]); err == nil {
		add(subnet.Masked().Addr().Next().String())
	}
	if r.Cluster.Endpoint != "" {
		host, _ := kubeadm.SplitEndpoint(r.Cluster.Endpoint)
		add(host)
	}
	if r.VirtualIP != nil {
		for _, ip := range r.VirtualIP.Addresses {
			add(ip)
		}
	}
	for _, name := range r.CertSANs {
		add(name)
	}
	return leaf
}
