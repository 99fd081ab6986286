// Package role reads a node's first-boot configuration: what the node is, and
// which cluster it starts. The builder checks roles with it before the boot and
// the node once more at boot, so that both refuse the same things in the same
// words.
package role

import (
	"strings"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/document"
	"github.com/slipway-os/slipway/pkg/manifest"
)

// The roles there are.
const (
	ControlPlane = "control-plane"
	Worker       = "worker"
	Etcd         = "etcd"
)

// File is where a node finds its role.
const File = "/etc/slipway/role.yaml"

// version is the one format there is.
const version = 1

// Role is a role that was checked, with defaults filled in.
type Role struct {
	Version   int              `yaml:"version" doc:"Version of this format: 1."`
	Role      string           `yaml:"role" doc:"What the node is: control-plane, worker or etcd. A control-plane starts a cluster or joins one, a worker joins one, an etcd member serves control planes that have no etcd of their own."`
	Init      *Init            `yaml:"init" doc:"Start a new cluster on this node: {} will do."`
	Join      *Join            `yaml:"join" doc:"Join a cluster that others start, whenever they do: {} takes the credentials that a config laid down on the node."`
	Etcd      *EtcdCluster     `yaml:"etcd" doc:"The etcd cluster, where it is not on the control planes: on its members and on the control planes."`
	Cluster   Cluster          `yaml:"cluster" doc:"The cluster the node belongs to."`
	Node      Node             `yaml:"node" doc:"The node itself."`
	Network   Network          `yaml:"network" doc:"How the node is connected, where DHCP on every wired interface is not right."`
	APIServer APIServer        `yaml:"apiServer" doc:"What the API servers do beyond serving. All control planes must say the same."`
	VirtualIP *VirtualIP       `yaml:"virtualIP" doc:"An address that the control planes share without outside help: one of them has it, and passes connections on to all."`
	CertSANs  []string         `yaml:"certSANs" doc:"More names and IP addresses that the certificates of the API servers are valid for. What the control plane says that starts the cluster counts for all." becomes:"ClusterConfiguration apiServer.certSANs"`
	Kubelet   map[string]any   `yaml:"kubelet" doc:"Fields of KubeletConfiguration, merged over what Slipway writes. What the control plane says that starts the cluster counts for all; a node that joins may say otherwise for itself." becomes:"KubeletConfiguration; where a node joins, a patch of kubeletconfiguration"`
	KubeProxy map[string]any   `yaml:"kubeProxy" doc:"Fields of KubeProxyConfiguration, merged over what Slipway writes, by the control plane that starts the cluster." becomes:"KubeProxyConfiguration"`
	Kubeadm   []map[string]any `yaml:"kubeadm" doc:"Documents of kind ClusterConfiguration, InitConfiguration (both by the control plane that starts the cluster) or JoinConfiguration, merged over what Slipway writes."`
	Patches   []Patch          `yaml:"patches" doc:"Laid over what kubeadm writes on this node: static pods, and the configuration of the kubelet." becomes:"InitConfiguration, JoinConfiguration patches.directory"`
	SSH       SSH              `yaml:"ssh" doc:"Logging in over SSH. Without keys there is no SSH."`
	Time      Servers          `yaml:"time" doc:"Time synchronisation. Without servers there is none."`
	Proxy     Proxy            `yaml:"proxy" doc:"What stands between the node and the world."`
	DNS       Servers          `yaml:"dns" doc:"Resolvers of the node, besides those that DHCP names."`
	Manifests []any            `yaml:"manifests" doc:"What is applied to the cluster once it runs, by the node that starts it, in this order: objects of the Kubernetes API, or texts with YAML documents." becomes:"objects of the cluster"`

	doc     *document.Document
	objects []map[string]any // of the manifests
}

// Cluster is what all nodes of a cluster agree on.
type Cluster struct {
	Name              string   `yaml:"name" doc:"A DNS label. Default kubernetes." becomes:"ClusterConfiguration clusterName"`
	Endpoint          string   `yaml:"endpoint" doc:"Where clients reach the API server: a host or host:port (default port 6443). Default: the node's own address." becomes:"ClusterConfiguration controlPlaneEndpoint; JoinConfiguration discovery.bootstrapToken.apiServerEndpoint"`
	KubernetesVersion string   `yaml:"kubernetesVersion" doc:"Must be the image's version, for example v1.37.2, and where a node joins, the cluster's." becomes:"ClusterConfiguration kubernetesVersion"`
	PodSubnets        []string `yaml:"podSubnets" doc:"At most one IPv4 and one IPv6 subnet. Default 10.244.0.0/16. A node that joins is refused if the cluster has others; with [] it takes those that the cluster has." becomes:"ClusterConfiguration networking.podSubnet"`
	ServiceSubnets    []string `yaml:"serviceSubnets" doc:"At most one IPv4 and one IPv6 subnet, of the same families as podSubnets. Default 10.96.0.0/12. A node that joins is refused if the cluster has others; with [] it takes those that the cluster has." becomes:"ClusterConfiguration networking.serviceSubnet"`
	DNSDomain         string   `yaml:"dnsDomain" doc:"Domain of the cluster's services. Default cluster.local; where a node joins, the cluster's. If it is given, it must be that." becomes:"ClusterConfiguration networking.dnsDomain"`

	PodNetwork PodNetwork `yaml:"podNetwork" doc:"How the pods of all nodes reach each other."`
}

// Node is what is particular to one node.
type Node struct {
	Name     string            `yaml:"name" doc:"Host name, and name of the Node: lower-case letters, digits, hyphens and dots." becomes:"nodeRegistration.name; /etc/hostname"`
	IP       string            `yaml:"ip" doc:"Address that the node is known by, where it has several." becomes:"localAPIEndpoint.advertiseAddress; nodeRegistration.kubeletExtraArgs node-ip"`
	SecondIP string            `yaml:"secondIP" doc:"On a cluster of both families, its address of the other. Default: the one that an interface has before long." becomes:"nodeRegistration.kubeletExtraArgs node-ip"`
	Labels   map[string]string `yaml:"labels" doc:"Labels that the node registers with." becomes:"nodeRegistration.kubeletExtraArgs node-labels"`
	// Taints is nil where the role does not speak of taints, which means the
	// usual ones for the node's role; empty means none at all.
	Taints []Taint `yaml:"taints" doc:"Taints that the node registers with, as key[=value]:Effect. Default: what the role usually has (control planes are tainted). An empty list means no taint." becomes:"nodeRegistration.taints"`
}

// SSH says who may log in.
type SSH struct {
	AuthorizedKeys []string `yaml:"authorizedKeys" doc:"Public keys that may log in as root, each as in a line of OpenSSH's authorized_keys."`
}

// Servers is a list of servers of one kind.
type Servers struct {
	Servers []string `yaml:"servers" doc:"Names or IP addresses (for dns: IP addresses)."`
}

// Taint is a taint that a node registers with.
type Taint struct{ Key, Value, Effect string }

// UnmarshalText implements document.Unmarshaler.
func (t *Taint) UnmarshalText(text []byte) error {
	parsed, err := parseTaint(string(text))
	if err == nil {
		*t = parsed
	}
	return err
}

// String returns the form that UnmarshalText reads.
func (t Taint) String() string {
	if t.Value == "" {
		return t.Key + ":" + t.Effect
	}
	return t.Key + "=" + t.Value + ":" + t.Effect
}

// Parse reads a role, which came from the named file, and checks it. All
// problems are returned together, in the order of the file, each a
// *diag.Error. No message quotes a secret.
func Parse(file string, data []byte) (*Role, error) {
	doc, err := document.Parse(file, data)
	if err != nil {
		return nil, err
	}
	return Of(doc)
}

// Of is Parse of a document that was read or made already.
func Of(doc *document.Document) (*Role, error) {
	r := &Role{
		Cluster: Cluster{
			Name:           "kubernetes",
			PodSubnets:     []string{"10.244.0.0/16"},
			ServiceSubnets: []string{"10.96.0.0/12"},
			DNSDomain:      "cluster.local",
			PodNetwork:     PodNetwork{Backend: VXLAN},
		},
		doc: doc,
	}
	c := &checker{doc: doc}
	c.decoded(doc.Decode(r))
	if r.Version != 0 && r.Version != version {
		// Whatever else is strange in it is so because it is of another version.
		return nil, doc.Errorf("version", "this program knows version 1", "unknown version %d", r.Version)
	}
	r.check(c)
	if err := c.err(); err != nil {
		return nil, err
	}
	return r, nil
}

// CheckImage finds what keeps an image from taking this role.
func (r *Role) CheckImage(m manifest.Image) error {
	c := &checker{doc: r.doc}
	found := false
	for _, name := range m.Roles {
		found = found || name == r.Role
	}
	if !found {
		hint := "it takes no role at all"
		if len(m.Roles) > 0 {
			hint = "it can be: " + strings.Join(m.Roles, ", ")
		}
		c.errorf("role", hint, "an image of profile %q cannot be a %s", m.Profile, r.Role)
	}
	if v := r.Cluster.KubernetesVersion; v != "" && v != m.KubernetesVersion {
		c.errorf("cluster.kubernetesVersion", "bake another image, or leave this out", "cluster.kubernetesVersion is %s, but the image has %s", v, m.KubernetesVersion)
	}
	for i, d := range r.Kubeadm {
		// Raw documents win over what Slipway writes, but nothing that is not
		// in the image can be had at first boot.
		for field, has := range map[string]string{"kubernetesVersion": m.KubernetesVersion, "imageRepository": m.ImageRepository} {
			if v, given := d[field]; given && v != has {
				c.errorf(at("kubeadm", i)+"."+field, "leave it out: nothing is downloaded at first boot", "%s.%s is not the image's, which is %s", at("kubeadm", i), field, has)
			}
		}
	}
	r.checkNetworkImage(c, m)
	return c.err()
}

// Gives reports whether the role's file gives a field, or leaves it to its
// default.
func (r *Role) Gives(path string) bool { return r.doc.Has(path) }

// Position returns the place of a field in the role's file, for messages of
// others about it.
func (r *Role) Position(path string) diag.Position { return r.doc.Position(path) }

// Schema returns the JSON schema of roles, as a value for encoding/json.
func Schema() map[string]any {
	s := document.Schema("Slipway role", Role{})
	properties := s["properties"].(map[string]any)
	properties["version"].(map[string]any)["const"] = version
	properties["role"].(map[string]any)["enum"] = roles()
	cluster := properties["cluster"].(map[string]any)["properties"].(map[string]any)
	cluster["podNetwork"].(map[string]any)["properties"].(map[string]any)["backend"].(map[string]any)["enum"] = backends()
	properties["manifests"].(map[string]any)["items"] = map[string]any{"type": []string{"object", "string"}}
	s["required"] = []string{"version", "role"}
	return s
}

func roles() []string { return []string{ControlPlane, Worker, Etcd} }
