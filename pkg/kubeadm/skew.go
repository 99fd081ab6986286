package kubeadm

import (
	"errors"
	"fmt"
	"strings"

	"github.com/coreos/go-semver/semver"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/manifest"
	"github.com/slipway-os/slipway/pkg/role"
)

// oldestKubelet is how many minor versions a kubelet may be behind the API
// server (Kubernetes, "Version Skew Policy").
const oldestKubelet = 3

// CheckSkew compares the version of the image with the cluster's, which is in
// its ClusterConfiguration. What may not be together is an error; note says what
// the node then lacks otherwise. A cluster that gives no version that can be
// read is left to itself.
func CheckSkew(r *role.Role, image manifest.Image, clusterConfiguration string) (note string, err error) {
	its, err := readStored(clusterConfiguration)
	if err != nil {
		return "", err
	}
	own, ownErr := parseVersion(image.KubernetesVersion)
	cluster, clusterErr := parseVersion(its.KubernetesVersion)
	if errors.Join(ownErr, clusterErr) != nil || own.Equal(*cluster) {
		return "", nil
	}
	const bake = "bake an image of a version that the cluster takes, or upgrade the cluster first"
	refuse := func(why string) error {
		return diag.Inputf("this image has Kubernetes %s, but the cluster %s: %s; %s", image.KubernetesVersion, its.KubernetesVersion, why, bake)
	}
	sameRepository := its.ImageRepository == image.ImageRepository
	switch minors := own.Minor - cluster.Minor; {
	case own.Major != cluster.Major:
		return "", refuse("these do not fit together")
	case minors > 0:
		return "", refuse("a kubelet may not be newer than the API server")
	case minors < -oldestKubelet:
		return "", refuse(fmt.Sprintf("a kubelet may be older by %d minor versions at most", oldestKubelet))
	case r.Role != role.ControlPlane:
		if sameRepository && !Disabled(r, "proxy") {
			note = fmt.Sprintf("the cluster's kube-proxy is %s, and this image has that of %s only: it has to be pulled", its.KubernetesVersion, image.KubernetesVersion)
		}
		return note, nil
	case minors != 0:
		return "", refuse("a control plane joins one of the same minor version")
	case sameRepository:
		return "", refuse("kubeadm would start the cluster's version here, whose images this one lacks")
	}
	return "", nil
}

func parseVersion(text string) (*semver.Version, error) {
	return semver.NewVersion(strings.TrimPrefix(text, "v"))
}
