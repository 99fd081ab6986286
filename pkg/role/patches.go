package role

import (
	"slices"
	"strings"

	"github.com/slipway-os/slipway/pkg/diag"
)

// Patch is laid over something that kubeadm writes on this node.
type Patch struct {
	Target string `yaml:"target" doc:"What it is laid over: etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kubeletconfiguration or corednsdeployment."`
	Type   string `yaml:"type" doc:"How: strategic (default), merge or json."`
	Patch  any    `yaml:"patch" doc:"The patch: an object; with json a list of operations."`
}

// What kubeadm patches, and how (kubeadm v1beta4, Patches.directory).
func patchTargets() []string {
	return []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubeletconfiguration", "corednsdeployment"}
}

func patchTypes() []string { return []string{"strategic", "merge", "json"} }

func (r *Role) checkPatches(c *checker) {
	for i := range r.Patches {
		p, path := &r.Patches[i], at("patches", i)
		c.oneOf(path+".target", p.Target, patchTargets())
		if r.Role == Worker && p.Target != "kubeletconfiguration" && slices.Contains(patchTargets(), p.Target) {
			c.errorf(path+".target", "kubeletconfiguration", "%s.target: a worker has no %s", path, p.Target)
		}
		if p.Type == "" && !c.doc.Has(path+".type") {
			p.Type = patchTypes()[0]
		}
		c.oneOf(path+".type", p.Type, patchTypes())
		_, list := p.Patch.([]any)
		_, object := p.Patch.(map[string]any)
		switch {
		case !c.doc.Has(path + ".patch"):
			c.errorf(path, "give patch", "%s has no patch", path)
		case p.Type == "json" && !list:
			c.errorf(path+".patch", "for example [{op: add, path: /metadata/labels, value: {a: b}}]", "%s.patch must be a list of operations", path)
		case p.Type != "json" && !object:
			c.errorf(path+".patch", "for example {metadata: {labels: {a: b}}}", "%s.patch must be an object", path)
		}
	}
}

// oneOf checks a word that has to be one of a few.
func (c *checker) oneOf(path, word string, known []string) {
	if slices.Contains(known, word) {
		return
	}
	hint := diag.Suggest(word, known)
	if hint == "" {
		hint = "known: " + strings.Join(known, ", ")
	}
	c.errorf(path, hint, "%s: unknown %q", path, word)
}
