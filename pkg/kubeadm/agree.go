package kubeadm

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/role"
)

// Agree compares what the role of a node that joins says of its cluster with
// what the cluster says of itself: the ClusterConfiguration that kubeadm keeps
// in it. Everything that differs is returned together. Subnets are compared
// even where the role leaves them to their defaults, for the node makes rules
// and routes of them; the rest a node takes from the cluster, and subnets, too,
// if its role gives none.
func Agree(r *role.Role, clusterConfiguration string) error {
	its, err := readStored(clusterConfiguration)
	if err != nil {
		return err
	}
	var problems []error
	compare := func(field, own, cluster string, always bool) {
		if own == cluster || cluster == "" || own == "" || !always && !r.Gives(field) {
			return
		}
		hint := "give that, or leave it out"
		if always {
			hint = fmt.Sprintf("write %s: [%s]", field[strings.LastIndexByte(field, '.')+1:], strings.ReplaceAll(cluster, ",", ", "))
		}
		problems = append(problems, diag.At(r.Position(field), hint, "%s is %s, but the cluster has %s", field, own, cluster))
	}
	compare("cluster.kubernetesVersion", r.Cluster.KubernetesVersion, its.KubernetesVersion, false)
	compare("cluster.podSubnets", strings.Join(r.Cluster.PodSubnets, ","), usualSubnets(its.Networking.PodSubnet), true)
	compare("cluster.serviceSubnets", strings.Join(r.Cluster.ServiceSubnets, ","), usualSubnets(its.Networking.ServiceSubnet), true)
	compare("cluster.dnsDomain", r.Cluster.DNSDomain, its.Networking.DNSDomain, false)
	return errors.Join(problems...)
}

// stored is what is read of a ClusterConfiguration that is kept in a cluster.
type stored struct {
	KubernetesVersion string `yaml:"kubernetesVersion"`
	ImageRepository   string `yaml:"imageRepository"`
	Networking        struct {
		PodSubnet     string `yaml:"podSubnet"`
		ServiceSubnet string `yaml:"serviceSubnet"`
		DNSDomain     string `yaml:"dnsDomain"`
	} `yaml:"networking"`
}

func readStored(clusterConfiguration string) (stored, error) {
	var its stored
	if err := yaml.Unmarshal([]byte(clusterConfiguration), &its); err != nil {
		return its, fmt.Errorf("reading the cluster's ClusterConfiguration: %w", err)
	}
	return its, nil
}

// Subnets returns the subnets of pods and services that a cluster says it has.
func Subnets(clusterConfiguration string) (pods, services []string, err error) {
	its, err := readStored(clusterConfiguration)
	if err != nil {
		return nil, nil, err
	}
	for _, l := range []struct {
		text string
		into *[]string
	}{{its.Networking.PodSubnet, &pods}, {its.Networking.ServiceSubnet, &services}} {
		if l.text == "" {
			continue
		}
		for _, s := range strings.Split(usualSubnets(l.text), ",") {
			if _, err := netip.ParsePrefix(s); err != nil {
				return nil, nil, fmt.Errorf("reading the cluster's ClusterConfiguration: %q is not a subnet", s)
			}
			*l.into = append(*l.into, s)
		}
	}
	return pods, services, nil
}

// usualSubnets writes subnets as roles have them.
func usualSubnets(list string) string {
	if list == "" {
		return ""
	}
	all := strings.Split(list, ",")
	for i, s := range all {
		all[i] = strings.TrimSpace(s)
		if p, err := netip.ParsePrefix(all[i]); err == nil {
			all[i] = p.Masked().String()
		}
	}
	return strings.Join(all, ",")
}
