package clusterapi

import (
	"cmp"
	"path"
	"regexp"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/slipway-os/slipway/pkg/document"
)

// How kubeadm names patches (kubeadm v1beta4, Patches.directory): target,
// suffix, type.
var patchName = regexp.MustCompile(`^(etcd|kube-apiserver|kube-controller-manager|kube-scheduler|kubeletconfiguration|corednsdeployment)([^+]*)(?:\+(strategic|merge|json))?\.(?:yaml|json)$`)

// patches takes the files of a directory of patches into the role.
func (d derivation) patches(n *yaml.Node) {
	dir := take(n, "patches.directory")
	if dir == nil {
		return
	}
	var found []given
	d.files = slices.DeleteFunc(d.files, func(f given) bool {
		if path.Dir(f.Path) == path.Clean(dir.Value) {
			found = append(found, f)
			return true
		}
		return false
	})
	if len(found) == 0 {
		d.refuse(d.where(dir), "write them with files", "patches.directory: no files are given there")
		return
	}
	slices.SortStableFunc(found, func(a, b given) int { return cmp.Compare(a.Path, b.Path) })
	list := d.list(dir)
	for _, f := range found {
		m := patchName.FindStringSubmatch(path.Base(f.Path))
		docs := d.read(f.text)
		if m == nil || len(docs) != 1 {
			d.refuse(f.pos, "TARGET[SUFFIX][+TYPE].yaml, with one patch", "%s is not a patch that kubeadm reads", f.Path)
			continue
		}
		patch := d.object(docs[0])
		document.Put(patch, "target", d.scalar(docs[0], m[1]))
		if m[3] != "" {
			document.Put(patch, "type", d.scalar(docs[0], m[3]))
		}
		document.Put(patch, "patch", docs[0])
		list.Content = append(list.Content, patch)
	}
	d.set(d.tree, "patches", list)
}
