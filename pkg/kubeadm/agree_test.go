package kubeadm_test

import (
	"testing"

	"github.com/slipway-os/slipway/pkg/kubeadm"
	"github.com/slipway-os/slipway/pkg/role"
)

func TestAgree(t *testing.T) {
	const head = "version: 1\nrole: worker\njoin: {}\n"
	const both = "cluster: {podSubnets: [10.244.0.0/16, 'fd00:10:244::/56'], serviceSubnets: [10.96.0.0/12, 'fd00:10:96::/112']}\n"
	for _, c := range []struct{ name, role, cluster, want string }{
		{"all defaults", "", "networking: {podSubnet: 10.244.0.0/16, serviceSubnet: 10.96.0.0/12, dnsDomain: cluster.local}", ""},
		{"written otherwise", both, "networking: {podSubnet: '10.244.0.0/16, fd00:010:244:0::/56', serviceSubnet: '10.96.0.0/12,fd00:10:96::/112'}", ""},
		{"cluster without a pod subnet", "", "networking: {serviceSubnet: 10.96.0.0/12}", ""},
		{"what the role does not say", "", "kubernetesVersion: v1.36.0\nnetworking: {dnsDomain: example.net}", ""},
		{"default that is not the cluster's", "", "networking: {podSubnet: 10.1.0.0/16}", "r.yaml:1:1: cluster.podSubnets is 10.244.0.0/16, but the cluster has 10.1.0.0/16 (write podSubnets: [10.1.0.0/16])"},
		{"one family of two", "cluster: {dnsDomain: cluster.local}\n", "networking: {podSubnet: '10.244.0.0/16,fd00::/56'}", "r.yaml:4:10: cluster.podSubnets is 10.244.0.0/16, but the cluster has 10.244.0.0/16,fd00::/56 (write podSubnets: [10.244.0.0/16, fd00::/56])"},
		{"several", "cluster: {kubernetesVersion: v1.37.2, dnsDomain: a.example}\n", "kubernetesVersion: v1.37.1\nnetworking: {dnsDomain: b.example}", "r.yaml:4:30: cluster.kubernetesVersion is v1.37.2, but the cluster has v1.37.1 (give that, or leave it out)\nr.yaml:4:50: cluster.dnsDomain is a.example, but the cluster has b.example (give that, or leave it out)"},
		{"nothing stored", "", "", ""},
		{"subnets that are left to the cluster", "cluster: {podSubnets: [], serviceSubnets: []}\n", "networking: {podSubnet: 10.1.0.0/16, serviceSubnet: 10.2.0.0/16}", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := role.Parse("r.yaml", []byte(head+c.role))
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if err := kubeadm.Agree(r, c.cluster); err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func FuzzAgree(f *testing.F) {
	f.Add("kubernetesVersion: v1.37.1\nnetworking: {podSubnet: '10.244.0.0/16,fd00::/56', serviceSubnet: 10.96.0.0/12, dnsDomain: cluster.local}")
	f.Add("networking: [1]")
	f.Add("networking: {podSubnet: ',,/'}")
	r, err := role.Parse("r.yaml", []byte("version: 1\nrole: worker\njoin: {}\n"))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(_ *testing.T, cluster string) {
		_ = kubeadm.Agree(r, cluster)
		_, _ = kubeadm.CheckSkew(r, image(), cluster)
		_, _, _ = kubeadm.Subnets(cluster)
	})
}
