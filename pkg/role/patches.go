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
		r.checkTarget(c, path+".target", p.Target)
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
		case p.Type == "json":
			c.operations(path+".patch", p.Patch.([]any))
		}
	}
}

// checkTarget refuses what a node of the role does not have. An etcd member's
// kubelet is configured without kubeadm, which alone reads patches.
func (r *Role) checkTarget(c *checker, path, target string) {
	switch {
	case !slices.Contains(patchTargets(), target):
	case r.Role == Worker && target != "kubeletconfiguration":
		c.errorf(path, "kubeletconfiguration", "%s: a worker has no %s", path, target)
	case r.Role == Etcd && target == "kubeletconfiguration":
		c.errorf(path, "say it with kubelet", "%s: the kubelet of an etcd member reads no patches", path)
	case r.Role == Etcd && target != "etcd":
		c.errorf(path, "etcd", "%s: an etcd member has no %s", path, target)
	}
}

// operations checks a JSON patch (RFC 6902).
func (c *checker) operations(path string, list []any) {
	for i, o := range list {
		where := at(path, i)
		operation, is := o.(map[string]any)
		if !is {
			c.errorf(where, "for example {op: add, path: /metadata/labels, value: {a: b}}", "%s must be an operation", where)
			continue
		}
		op, _ := operation["op"].(string)
		c.oneOf(where+".op", op, []string{"add", "remove", "replace", "move", "copy", "test"})
		pointers := []string{"path"}
		switch op {
		case "move", "copy":
			pointers = append(pointers, "from")
		case "add", "replace", "test":
			if _, given := operation["value"]; !given {
				c.errorf(where, "", "%s has no value", where)
			}
		}
		for _, name := range pointers {
			if s, _ := operation[name].(string); !strings.HasPrefix(s, "/") {
				c.errorf(where+"."+name, "for example /metadata/labels", "%s.%s must be a path that begins with /", where, name)
			}
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
