package cluster

import (
	"fmt"
	"math/bits"
	"net/netip"

	"github.com/slipway-os/slipway/pkg/role"
)

// capacity refuses pod subnets that are too small for all nodes, each of which
// takes a share. A pod network that is not ours may do without.
func (c *checker) capacity(f *file, first *role.Role) {
	nodes := 0
	for _, e := range f.Nodes {
		if e.Role != role.Etcd {
			nodes++
		}
	}
	for i, s := range first.Cluster.PodSubnets {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			continue
		}
		share := first.NodeBits(p.Addr())
		room := share - p.Bits() // in bits
		if share == 0 || room < 0 || room > 30 || nodes <= 1<<room {
			continue
		}
		complain := c.errorf
		if first.Cluster.PodNetwork.Backend == role.NoNetwork {
			complain = c.warnf
		}
		path, plural := fmt.Sprintf("cluster.podSubnets[%d]", i), "s"
		if room == 0 {
			plural = ""
		}
		complain(path, fmt.Sprintf("at least a /%d", share-bits.Len(uint(nodes-1))), "%s: %s is enough for %d node%s, but there are %d", path, p, 1<<room, plural, nodes)
	}
}
