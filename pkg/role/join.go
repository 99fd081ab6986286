package role

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/slipway-os/slipway/pkg/diag"
)

// Init says how a new cluster is started.
type Init struct {
	Others []string `yaml:"others" doc:"Addresses of the cluster's other control planes. If one of them serves already, or who answers at cluster.endpoint, the node was installed anew: it starts no second cluster beside the one that runs."`
}

// Join says how a node comes into a cluster that others started. Without any
// field its credentials lie on the node, as a kubeconfig.
type Join struct {
	Token          string   `yaml:"token" doc:"Bootstrap token of the cluster, for kubeadm's classic flow. Default: the kubeconfig /etc/slipway/join.conf, which a config can lay down." becomes:"JoinConfiguration discovery.bootstrapToken.token, tlsBootstrapToken"`
	CACertHashes   []string `yaml:"caCertHashes" doc:"Digests of the cluster's CA, as in sha256:…, with token." becomes:"JoinConfiguration discovery.bootstrapToken.caCertHashes; unsafeSkipCAVerification is false"`
	DiscoveryFile  string   `yaml:"discoveryFile" doc:"File on the node that says which cluster is meant, with token: a kubeconfig with the cluster's CA and server, as the ConfigMap cluster-info of kube-public holds it, which a config lays down. In place of caCertHashes and cluster.endpoint." becomes:"JoinConfiguration discovery.file.kubeConfigPath"`
	CertificateKey string   `yaml:"certificateKey" doc:"Key of the shared certificates that the cluster holds for a short while, with token. Default: a control plane has them below /etc/kubernetes/pki, where a config can lay them down." becomes:"JoinConfiguration controlPlane.certificateKey"`
}

// EtcdCluster says which etcd members there are that are no control planes.
type EtcdCluster struct {
	Members []Member `yaml:"members" doc:"All members of the etcd cluster, this node among them if it is one." becomes:"ClusterConfiguration etcd.external.endpoints; on a member etcd.local.extraArgs initial-cluster"`
}

// Member is an etcd member.
type Member struct {
	Name string `yaml:"name" doc:"Name of the node."`
	IP   string `yaml:"ip" doc:"Address that the others reach it by."`
}

var (
	tokenPattern          = regexp.MustCompile(`^[a-z0-9]{6}\.[a-z0-9]{16}$`) // Kubernetes, "Authenticating with Bootstrap Tokens"
	hashPattern           = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	certificateKeyPattern = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// checkKind checks what the node is and how it comes to a cluster.
func (r *Role) checkKind(c *checker) {
	switch {
	case r.Role == "":
		c.errorf("role", "one of "+strings.Join(roles(), ", "), "role is missing")
	case !slices.Contains(roles(), r.Role):
		hint := diag.Suggest(r.Role, roles())
		if hint == "" {
			hint = "known: " + strings.Join(roles(), ", ")
		}
		c.errorf("role", hint, "unknown role %q", r.Role)
	}
	if r.Init == nil && c.doc.Has("init") {
		c.errorf("init", "write init: {}", "init has no value")
	}
	if r.Join == nil && c.doc.Has("join") {
		c.errorf("join", "write join: {}, if its credentials lie on the node, or give a token", "join has no value")
	}
	init, join := c.doc.Has("init"), c.doc.Has("join")
	switch r.Role {
	case ControlPlane:
		switch {
		case init && join:
			c.errorf("join", "a node either starts a cluster or joins one", "join does not go with init")
		case !init && !join:
			c.errorf("", "write init: {} to start a new cluster on this node, or join: {} to join one", "init or join is missing")
		}
	case Worker:
		switch {
		case init:
			c.foreignf("init", "only a control-plane starts a cluster; write join: {}", "init does not go with role %q", r.Role)
		case !join:
			c.errorf("", "write join: {}, if its credentials lie on the node, or give a token", "join is missing")
		}
	case Etcd:
		for _, field := range []string{"init", "join"} {
			if c.doc.Has(field) {
				c.foreignf(field, "leave it out", "%s does not go with role %q: etcd members find each other by etcd.members", field, r.Role)
			}
		}
	}
	if r.Init != nil {
		others := r.newMembers(c)
		for i := range r.Init.Others {
			others.address(at("init.others", i), &r.Init.Others[i])
		}
	}
	if r.Join != nil {
		r.checkJoin(c)
	}
	r.checkEtcd(c)
	r.checkForeign(c)
}

// checkJoin checks the classic flow. What is wrong is never quoted: it is a
// secret, or was meant to be one.
func (r *Role) checkJoin(c *checker) {
	j := r.Join
	if c.given("join.token", j.Token) {
		if !tokenPattern.MatchString(j.Token) {
			c.errorf("join.token", "six and sixteen characters of a-z and 0-9, as kubeadm token create prints", "join.token is not a bootstrap token")
		}
		if len(j.CACertHashes) == 0 && !c.doc.Has("join.discoveryFile") {
			c.errorf("join.token", "give join.caCertHashes; firstboot status on a control plane says it", "join.token alone does not tell which cluster is meant")
		}
		if r.Cluster.Endpoint == "" && !c.doc.Has("cluster.endpoint") && !c.doc.Has("virtualIP") && !c.doc.Has("join.discoveryFile") {
			c.errorf("join.token", "give cluster.endpoint", "join.token does not say where the API server is")
		}
	}
	for i, hash := range j.CACertHashes {
		if !hashPattern.MatchString(hash) {
			c.errorf(at("join.caCertHashes", i), "sha256: and 64 digits of 0-9 and a-f", "%s is not the digest of a CA", at("join.caCertHashes", i))
		}
	}
	if c.given("join.discoveryFile", j.DiscoveryFile) {
		switch {
		case !path.IsAbs(j.DiscoveryFile) || path.Clean(j.DiscoveryFile) != j.DiscoveryFile:
			c.errorf("join.discoveryFile", "for example /etc/slipway/discovery.conf", "join.discoveryFile: %q is not an absolute path", j.DiscoveryFile)
		case c.doc.Has("join.caCertHashes"):
			c.errorf("join.discoveryFile", "leave one of them out", "join.discoveryFile does not go with join.caCertHashes: it holds the CA itself")
		case !c.doc.Has("join.token"):
			c.errorf("join.discoveryFile", "give the token; a kubeconfig with credentials of its own lies in /etc/slipway/join.conf", "join.discoveryFile goes with join.token only")
		}
	}
	if c.given("join.certificateKey", j.CertificateKey) {
		switch {
		case !certificateKeyPattern.MatchString(j.CertificateKey):
			c.errorf("join.certificateKey", "64 digits of 0-9 and a-f, as kubeadm init phase upload-certs prints", "join.certificateKey is not a key")
		case r.Role == Worker:
			c.foreignf("join.certificateKey", "leave it out", "join.certificateKey does not go with role %q: it opens the keys of the whole cluster", r.Role)
		}
	}
	for _, with := range []string{"join.caCertHashes", "join.certificateKey"} {
		if c.doc.Has(with) && !c.doc.Has("join.token") {
			c.errorf(with, "give the token, or leave both out", "%s goes with join.token only", with)
		}
	}
}

// checkEtcd checks the members of an etcd of its own.
func (r *Role) checkEtcd(c *checker) {
	switch {
	case r.Role == Etcd && !c.doc.Has("etcd"):
		c.errorf("", "etcd: {members: [{name: …, ip: …}]} names all of them", "etcd is missing")
		return
	case r.Role == Worker && c.doc.Has("etcd"):
		c.foreignf("etcd", "leave it out", "etcd does not go with role %q", r.Role)
		return
	case !c.doc.Has("etcd"):
		return
	case r.Etcd == nil || len(r.Etcd.Members) == 0:
		c.errorf("etcd", "etcd: {members: [{name: …, ip: …}]} names all of them", "etcd names no members")
		return
	}
	seen := r.newMembers(c)
	for i := range r.Etcd.Members {
		m, path := &r.Etcd.Members[i], at("etcd.members", i)
		seen.name(path+".name", m.Name)
		seen.address(path+".ip", &m.IP)
	}
	if name := r.Node.Name; r.Role == Etcd && name != "" && !seen.names[name] {
		c.errorf("node.name", "name it in etcd.members", "node.name: %q is none of the etcd members", name)
	}
}

// checkEtcdAddresses compares the addresses of the etcd members with this node's
// own.
func (r *Role) checkEtcdAddresses(c *checker) {
	if r.Etcd == nil {
		return
	}
	const list = "etcd.members"
	for i, m := range r.Etcd.Members {
		if path := at(list, i) + ".ip"; r.Role == ControlPlane && r.ownAddresses()[m.IP] != "" {
			c.errorf(path, "leave etcd out to have it on the control planes", "%s: %s is this node's own, which is no etcd member", path, m.IP)
		}
	}
	ip, err := parseAddr(r.Node.IP)
	if r.Role != Etcd || err != nil {
		return
	}
	own := slices.IndexFunc(r.Etcd.Members, func(m Member) bool { return m.Name == r.Node.Name })
	switch {
	case own >= 0 && r.Etcd.Members[own].IP != ip.String():
		c.errorf("node.ip", "the same address in both places", "node.ip is %s, but %s.ip is %s", ip, at(list, own), r.Etcd.Members[own].IP)
	case r.Node.Name == "" && !slices.ContainsFunc(r.Etcd.Members, func(m Member) bool { return m.IP == ip.String() }):
		c.errorf("node.ip", "give it in "+list, "node.ip: %s is none of the etcd members'", ip)
	}
}

// members checks nodes that are named with their addresses: no two have the
// same, and none is in the cluster's own subnets.
type members struct {
	*checker
	names, addresses map[string]bool
	pods, services   []subnet
}

func (r *Role) newMembers(c *checker) members {
	return members{c, map[string]bool{}, map[string]bool{}, quiet(r.Cluster.PodSubnets), quiet(r.Cluster.ServiceSubnets)}
}

func (m members) name(path, name string) {
	switch {
	case !isSubdomain(name):
		m.errorf(path, nameHint(name, true), "%s: %q is not a name for a node", path, name)
	case m.names[name]:
		m.errorf(path, "", "%s: %q is given twice", path, name)
	}
	m.names[name] = true
}

// address checks an address, writes it in its usual form, and reports whether
// it is one.
func (m members) address(path string, address *string) bool {
	ip, err := parseAddr(*address)
	if err != nil {
		m.errorf(path, "for example 192.0.2.11", "%s: %q is not an IP address", path, *address)
		return false
	}
	*address = ip.String()
	switch {
	case !usable(ip):
		m.errorf(path, "an address that other nodes reach it by", "%s: %s cannot be a node's address", path, ip)
	case m.addresses[*address]:
		m.errorf(path, "", "%s: %s is given twice", path, ip)
	default:
		m.outside(path, *address, m.pods, m.services)
	}
	m.addresses[*address] = true
	return true
}

// checkForeign refuses what only nodes of another role do.
func (r *Role) checkForeign(c *checker) {
	if r.Role != Worker && r.Role != Etcd {
		return
	}
	fields := []string{"apiServer", "certSANs", "kubeProxy", "virtualIP"}
	if r.Role == Etcd {
		fields = append(fields, "node.labels", "node.secondIP", "node.taints")
	}
	for _, field := range fields {
		if c.doc.Has(field) {
			c.foreignf(field, "leave it out", "%s does not go with role %q", field, r.Role)
		}
	}
	if c.doc.Has("manifests") {
		c.foreignf("manifests", "give them to the control plane that starts the cluster: it applies them", "manifests does not go with role %q", r.Role)
	}
}

// Member returns which etcd member a node is: that of its name, else that of
// one of its addresses.
func (e *EtcdCluster) Member(name string, has func(ip string) bool) (Member, error) {
	for _, m := range e.Members {
		if m.Name == name {
			return m, nil
		}
	}
	for _, m := range e.Members {
		if has(m.IP) {
			return m, nil
		}
	}
	return Member{}, fmt.Errorf("this node is none of the etcd members of the role: it is %q, and has none of their addresses", name)
}
