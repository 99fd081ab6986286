package role

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"github.com/slipway-os/slipway/pkg/kubefields"
)

// checkRaw checks what is handed on to Kubernetes as it stands: that it can be,
// and that Kubernetes knows its fields. What they mean is Kubernetes' to judge.
func (r *Role) checkRaw(c *checker) {
	for _, raw := range []struct {
		path, kind, group string
		fields            map[string]any
	}{
		{"kubelet", "KubeletConfiguration", "kubelet.config.k8s.io/v1beta1", r.Kubelet},
		{"kubeProxy", "KubeProxyConfiguration", "kubeproxy.config.k8s.io/v1alpha1", r.KubeProxy},
	} {
		if v, given := raw.fields["kind"]; given && v != raw.kind {
			c.errorf(raw.path+".kind", "leave it out", "%s.kind must be %s", raw.path, raw.kind)
		}
		c.group(raw.path, raw.group, raw.fields)
		c.own(raw.path, raw.fields, raw.kind)
		c.fields(raw.path, raw.kind, raw.fields)
	}
	r.checkContradictions(c)
	seen := map[string]bool{}
	known := r.kubeadmKinds()
	for i, d := range r.Kubeadm {
		path := at("kubeadm", i)
		c.group(path, "kubeadm.k8s.io/v1beta4", d)
		kind, _ := d["kind"].(string)
		switch {
		case slices.Contains(known, kind):
			if seen[kind] {
				c.errorf(path+".kind", "put both into one", "%s.kind: %s is given twice", path, kind)
			}
			seen[kind] = true
			c.own(path, d, kind)
			c.fields(path, kind, d)
			r.checkFlags(c, path, kind, d)
			if _, given := d["controlPlane"]; given && kind == "JoinConfiguration" && r.Role == Worker {
				c.foreignf(path+".controlPlane", "leave it out, or write role: control-plane", "%s.controlPlane does not go with role %q", path, r.Role)
			}
			continue
		case kind == "":
			c.errorf(path+".kind", strings.Join(known, " or "), "%s.kind is missing", path)
			continue
		}
		hint := strings.Join(known, " or ")
		switch kind {
		case "KubeletConfiguration":
			hint = "give its fields in kubelet:"
		case "KubeProxyConfiguration":
			hint = "give its fields in kubeProxy:"
		}
		c.foreignf(path+".kind", hint, "%s.kind: %q cannot be given here", path, kind)
	}
}

// kubeadmKinds are the kinds of kubeadm's documents that mean something to the
// node. Control planes may all be given the same ones: each reads its own.
func (r *Role) kubeadmKinds() []string {
	switch r.Role {
	case Worker:
		return []string{"JoinConfiguration"}
	case Etcd:
		return []string{"ClusterConfiguration"}
	}
	return []string{"ClusterConfiguration", "InitConfiguration", "JoinConfiguration"}
}

// group sees to it that a document is of the version whose fields are known.
func (c *checker) group(path, version string, fields map[string]any) {
	if v, given := fields["apiVersion"]; given && v != version {
		c.errorf(path+".apiVersion", "leave it out", "%s.apiVersion must be %s", path, version)
	}
}

// fields compares the fields of a document with those that Kubernetes knows.
func (c *checker) fields(path, kind string, fields map[string]any) {
	for _, p := range kubefields.Check(kind, fields) {
		at := path + "." + p.Path
		c.errorf(at, p.Hint, "%s %s", at, p.Text)
	}
}

// checkContradictions refuses what says otherwise than the role, or the image.
func (r *Role) checkContradictions(c *checker) {
	if v, _ := r.Kubelet["clusterDomain"].(string); v != "" && v != r.Cluster.DNSDomain {
		c.errorf("kubelet.clusterDomain", "say it with cluster.dnsDomain", "kubelet.clusterDomain is %s, but cluster.dnsDomain is %s", v, r.Cluster.DNSDomain)
	}
	if r.Kubelet["cgroupDriver"] == "cgroupfs" {
		c.errorf("kubelet.cgroupDriver", "leave it out", "kubelet.cgroupDriver must be systemd, as containerd's is")
	}
	if r.Kubelet["registerNode"] == false && r.Role != Etcd {
		c.errorf("kubelet.registerNode", "leave it out", "kubelet.registerNode: a node that does not register is never Ready")
	}
	if v, _ := r.KubeProxy["clusterCIDR"].(string); v != "" && r.Init != nil && !sameSubnets(strings.Split(v, ","), r.Cluster.PodSubnets) {
		c.errorf("kubeProxy.clusterCIDR", "say it with cluster.podSubnets", "kubeProxy.clusterCIDR is %s, but cluster.podSubnets is %s", v, strings.Join(r.Cluster.PodSubnets, ","))
	}
}

// sameSubnets compares subnets however they are written.
func sameSubnets(a, b []string) bool {
	return slices.EqualFunc(a, b, func(a, b string) bool {
		p, err := netip.ParsePrefix(strings.TrimSpace(a))
		q, err2 := netip.ParsePrefix(b)
		return err == nil && err2 == nil && p == q
	})
}

// owned is a field of a raw document that may not be given there.
type owned struct {
	kind, field string
	instead     string // field of the role that says it; "" if nothing does
	why         string // nothing does; "" if the image settles it
}

// hint is what to do about it.
func (f owned) hint() string {
	if f.instead != "" {
		return "say it with " + f.instead
	}
	return "leave it out: " + f.reason()
}

func (f owned) reason() string { return cmp.Or(f.why, "it is part of the image") }

const (
	undone = "the node would stay as it is"
	each   = "each node has its own"
)

// ownedFields are the fields of raw documents that the role has fields for, or
// that are part of the image.
func ownedFields() []owned {
	return []owned{
		{"ClusterConfiguration", "clusterName", "cluster.name", ""},
		{"ClusterConfiguration", "controlPlaneEndpoint", "cluster.endpoint", ""},
		{"ClusterConfiguration", "networking.podSubnet", "cluster.podSubnets", ""},
		{"ClusterConfiguration", "networking.serviceSubnet", "cluster.serviceSubnets", ""},
		{"ClusterConfiguration", "networking.dnsDomain", "cluster.dnsDomain", ""},
		{"ClusterConfiguration", "apiServer.certSANs", "certSANs", ""},
		{"ClusterConfiguration", "certificatesDir", "", ""},
		{"ClusterConfiguration", "dns.imageRepository", "", ""},
		{"ClusterConfiguration", "dns.imageTag", "", ""},
		{"ClusterConfiguration", "etcd.external", "etcd.members", ""},
		{"ClusterConfiguration", "etcd.local.imageRepository", "", ""},
		{"ClusterConfiguration", "etcd.local.imageTag", "", ""},
		{"InitConfiguration", "nodeRegistration.name", "node.name", ""},
		{"InitConfiguration", "nodeRegistration.taints", "node.taints", ""},
		{"InitConfiguration", "nodeRegistration.criSocket", "", ""},
		{"InitConfiguration", "nodeRegistration.imagePullPolicy", "", ""},
		{"InitConfiguration", "localAPIEndpoint.advertiseAddress", "node.ip", ""},
		{"InitConfiguration", "localAPIEndpoint.bindPort", "", ""},
		{"InitConfiguration", "dryRun", "", undone},
		{"InitConfiguration", "patches", "patches", ""},
		{"InitConfiguration", "skipPhases", "proxy or dns of ClusterConfiguration, disabled: true", ""},
		{"JoinConfiguration", "nodeRegistration.name", "node.name", ""},
		{"JoinConfiguration", "nodeRegistration.taints", "node.taints", ""},
		{"JoinConfiguration", "nodeRegistration.criSocket", "", ""},
		{"JoinConfiguration", "nodeRegistration.imagePullPolicy", "", ""},
		{"JoinConfiguration", "discovery", "join", ""},
		{"JoinConfiguration", "caCertPath", "", ""},
		{"JoinConfiguration", "controlPlane.certificateKey", "join.certificateKey", ""},
		{"JoinConfiguration", "controlPlane.localAPIEndpoint.advertiseAddress", "node.ip", ""},
		{"JoinConfiguration", "controlPlane.localAPIEndpoint.bindPort", "", ""},
		{"JoinConfiguration", "dryRun", "", undone},
		{"JoinConfiguration", "patches", "patches", ""},
		{"JoinConfiguration", "skipPhases", "proxy or dns of ClusterConfiguration, disabled: true", ""},
		{"KubeletConfiguration", "containerRuntimeEndpoint", "", ""},
		{"KubeletConfiguration", "imageServiceEndpoint", "", ""},
		{"KubeletConfiguration", "registerWithTaints", "node.taints", ""},
		{"KubeletConfiguration", "staticPodPath", "", ""},
		{"KubeProxyConfiguration", "hostnameOverride", "", each},
	}
}

// own refuses fields of a raw document that the role has fields for:
// of two answers to one question, other parts of the node would follow the
// other one.
func (c *checker) own(path string, document map[string]any, kind string) {
	for _, f := range ownedFields() {
		names := strings.Split(f.field, ".")
		fields := document
		for _, outer := range names[:len(names)-1] {
			fields, _ = fields[outer].(map[string]any)
		}
		if _, given := fields[names[len(names)-1]]; !given || kind != f.kind {
			continue
		}
		c.errorf(path+"."+f.field, f.hint(), "%s.%s cannot be given here", path, f.field)
	}
}
