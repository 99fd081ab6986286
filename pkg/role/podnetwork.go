package role

import (
	"slices"
	"strings"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/manifest"
)

// How the packets of pods reach other nodes.
const (
	VXLAN     = "vxlan"   // wrapped, over any network
	HostGW    = "host-gw" // routed, on one network
	NoNetwork = "none"    // nothing of ours
)

// FlannelImage is the image that brings pods' packets to other nodes, without
// its repository.
const FlannelImage = "flannel"

// PodNetwork is the network of the cluster's pods.
type PodNetwork struct {
	Backend string `yaml:"backend" doc:"How the packets of pods reach other nodes: vxlan (wrapped, over any network), host-gw (routed, where all nodes are on one network), or none (nothing is set up: install a pod network of your own, with manifests for example). Default vxlan." becomes:"Backend of flannel's net-conf.json; MTU of the pods"`
}

func backends() []string { return []string{VXLAN, HostGW, NoNetwork} }

func (r *Role) checkPodNetwork(c *checker) {
	const path = "cluster.podNetwork.backend"
	backend := r.Cluster.PodNetwork.Backend
	if c.doc.Has(path) && !slices.Contains(backends(), backend) {
		hint := diag.Suggest(backend, backends())
		if hint == "" {
			hint = "known: " + strings.Join(backends(), ", ")
		}
		c.errorf(path, hint, "%s: unknown backend %q", path, backend)
	}
}

// checkNetworkImage sees that the image brings the pod network that the role
// asks for.
func (r *Role) checkNetworkImage(c *checker, m manifest.Image) {
	if r.Role == Etcd || r.Cluster.PodNetwork.Backend == NoNetwork || len(m.Images) == 0 {
		return
	}
	if _, ok := m.Find(FlannelImage); !ok {
		c.errorf("cluster.podNetwork.backend", "write none and bring a network of your own, or bake an image with it",
			"the image of profile %q lacks the container image %s, which pods' packets need to reach other nodes", m.Profile, FlannelImage)
	}
}
