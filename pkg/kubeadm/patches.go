package kubeadm

import (
	"fmt"

	"github.com/slipway-os/slipway/pkg/role"
)

// PatchDir is where the patches lie that kubeadm lays over what it writes.
const PatchDir = "/var/lib/slipway/patches"

// Patches returns the files below PatchDir, by their names (kubeadm v1beta4,
// Patches.directory: target, a suffix that gives the order, type). A node that
// joins fetches the configuration of kubelets from the cluster: what its role
// says of its own is laid over that.
func Patches(r *role.Role) (map[string][]byte, error) {
	files := map[string][]byte{}
	add := func(target string, order int, kind string, patch any) error {
		data, err := plainYAML(patch)
		if err != nil {
			return fmt.Errorf("writing a patch of %s: %w", target, err)
		}
		files[fmt.Sprintf("%s%03d+%s.yaml", target, order, kind)] = data
		return nil
	}
	if _, given := r.Kubelet["crashLoopBackOff"]; r.Role == role.ControlPlane && !given {
		// At every boot what a control plane consists of ends a few times, until
		// the API server answers. To wait for five minutes then helps nobody.
		if err := add("kubeletconfiguration", 0, "merge", object{"crashLoopBackOff": object{"maxContainerRestartPeriod": "20s"}}); err != nil {
			return nil, err
		}
	}
	var ownPods []string
	switch {
	case r.Role == role.Etcd:
		ownPods = []string{"etcd"}
	case r.Role == role.ControlPlane && r.Etcd != nil:
		ownPods = []string{"kube-apiserver", "kube-scheduler"}
	case r.Role == role.ControlPlane:
		ownPods = []string{"etcd", "kube-apiserver", "kube-scheduler"}
	}
	for _, name := range ownPods {
		// kubeadm lets the kubelet ask every second whether they are ready, over
		// connections made anew, which costs more than an idle cluster's work; and
		// nothing goes by the answer so soon.
		container := object{"name": name, "readinessProbe": object{"periodSeconds": 5}}
		if name == "etcd" {
			// Under load everything waits for it. kubeadm asks for less than half of
			// an API server's share, with which it starves beside one.
			container["resources"] = object{"requests": object{"cpu": "300m"}}
		}
		if err := add(name, 0, "strategic", object{"spec": object{"containers": []any{container}}}); err != nil {
			return nil, err
		}
	}
	if r.Init != nil {
		// Workers have no image of it.
		err := add("corednsdeployment", 0, "strategic", object{"spec": object{"template": object{"spec": object{
			"nodeSelector": object{"node-role.kubernetes.io/control-plane": ""},
		}}}})
		if err != nil {
			return nil, err
		}
	}
	if r.Join != nil && len(r.Kubelet) > 0 {
		if err := add("kubeletconfiguration", 1, "merge", r.Kubelet); err != nil {
			return nil, err
		}
	}
	for i, p := range r.Patches {
		if err := add(p.Target, i+2, p.Type, p.Patch); err != nil {
			return nil, err
		}
	}
	return files, nil
}
