package kubeadm_test

import (
	"testing"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/kubeadm"
	"github.com/slipway-os/slipway/pkg/role"
)

func TestSkew(t *testing.T) {
	const bake = "; bake an image of a version that the cluster takes, or upgrade the cluster first"
	for _, c := range []struct{ name, role, cluster, note, refused string }{
		{"the same", "worker", "{kubernetesVersion: v1.37.2, imageRepository: slipway.local}", "", ""},
		{"older worker, images of the cluster from elsewhere", "worker", "{kubernetesVersion: v1.40.0, imageRepository: registry.example}", "", ""},
		{"older worker, images baked", "worker", "{kubernetesVersion: v1.37.3, imageRepository: slipway.local}", "the cluster's kube-proxy is v1.37.3, and this image has that of v1.37.2 only: it has to be pulled", ""},
		{"worker of a newer patch", "worker", "{kubernetesVersion: v1.37.0, imageRepository: registry.example}", "", ""},
		{"newer worker", "worker", "{kubernetesVersion: v1.36.9}", "", "this image has Kubernetes v1.37.2, but the cluster v1.36.9: a kubelet may not be newer than the API server" + bake},
		{"worker too old", "worker", "{kubernetesVersion: v1.41.0}", "", "this image has Kubernetes v1.37.2, but the cluster v1.41.0: a kubelet may be older by 3 minor versions at most" + bake},
		{"another major version", "worker", "{kubernetesVersion: v2.37.2}", "", "this image has Kubernetes v1.37.2, but the cluster v2.37.2: these do not fit together" + bake},
		{"control plane whose images would be missing", "control-plane", "{kubernetesVersion: v1.37.1, imageRepository: slipway.local}", "", "this image has Kubernetes v1.37.2, but the cluster v1.37.1: kubeadm would start the cluster's version here, whose images this one lacks" + bake},
		{"control plane of another patch, images from elsewhere", "control-plane", "{kubernetesVersion: v1.37.1, imageRepository: registry.example}", "", ""},
		{"control plane of an older minor version", "control-plane", "{kubernetesVersion: v1.38.0, imageRepository: registry.example}", "", "this image has Kubernetes v1.37.2, but the cluster v1.38.0: a control plane joins one of the same minor version" + bake},
		{"a version that is none", "worker", "{kubernetesVersion: latest}", "", ""},
		{"nothing stored", "worker", "", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := role.Parse("r.yaml", []byte("version: 1\nrole: "+c.role+"\njoin: {}\n"))
			if err != nil {
				t.Fatal(err)
			}
			note, err := kubeadm.CheckSkew(r, image(), c.cluster)
			refused := ""
			if err != nil {
				refused = err.Error()
				if diag.ExitCode(err) != diag.ExitInput {
					t.Errorf("exit status %d", diag.ExitCode(err))
				}
			}
			if note != c.note || refused != c.refused {
				t.Errorf("got  %q, %q\nwant %q, %q", note, refused, c.note, c.refused)
			}
		})
	}
}
