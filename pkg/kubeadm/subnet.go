package kubeadm

import (
	"net/netip"
	"strings"

	"github.com/slipway-os/slipway/pkg/role"
)

// FirstSubnets returns the subnets of the first node, one for each family of
// the cluster's pods: what kube-controller-manager assigns first, with its
// default sizes (/24 and /64). None if the role makes it assign others.
func FirstSubnets(r *role.Role) []string {
	for _, raw := range r.Kubeadm {
		manager, _ := raw["controllerManager"].(object)
		args, _ := manager["extraArgs"].([]any)
		for _, a := range args {
			arg, _ := a.(object)
			if name, _ := arg["name"].(string); strings.HasPrefix(name, "node-cidr-mask-size") || name == "allocate-node-cidrs" || name == "cidr-allocator-type" {
				return nil
			}
		}
	}
	var subnets []string
	for _, s := range r.Cluster.PodSubnets {
		p, err := netip.ParsePrefix(s)
		size := 24
		if err == nil && p.Addr().Is6() {
			size = 64
		}
		if err != nil || p.Bits() > size {
			return nil
		}
		subnets = append(subnets, netip.PrefixFrom(p.Masked().Addr(), size).String())
	}
	return subnets
}
