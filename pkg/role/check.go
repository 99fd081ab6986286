package role

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/document"
	"github.com/slipway-os/slipway/pkg/kubefields"
)

// checker collects problems.
type checker struct {
	doc      *document.Document
	problems []*diag.Error
	mistyped map[diag.Position]bool // values that could not even be decoded
}

// decoded takes the problems that decoding found. A value that is wrong by its
// type is not complained about a second time for what it says.
func (c *checker) decoded(err error) {
	c.mistyped = map[diag.Position]bool{}
	for _, err := range split(err) {
		var d *diag.Error
		if !errors.As(err, &d) {
			d = diag.At(c.doc.Position(""), "", "%v", err)
		}
		if strings.Contains(d.Msg, "PRIVATE KEY") || strings.Contains(d.Hint, "PRIVATE KEY") {
			d = diag.At(d.Pos, "remove it, and take it for stolen", "a private key is in the wrong place")
		}
		if d.Hint == "known: " {
			d.Hint = "write {}"
		}
		c.mistyped[d.Pos] = true
		c.problems = append(c.problems, d)
	}
}

// split takes apart what errors.Join joined.
func split(err error) []error {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, split(e)...)
	}
	return all
}

func (c *checker) errorf(path, hint, format string, args ...any) {
	pos := c.doc.Position(path)
	if c.doc.Has(path) && c.mistyped[pos] {
		return
	}
	c.problems = append(c.problems, diag.At(pos, hint, format, args...))
}

// given reports whether the file gives an optional string, and complains of
// one that is given empty.
func (c *checker) given(path, value string) bool {
	if !c.doc.Has(path) {
		return false
	}
	if value == "" {
		c.errorf(path, "leave it out, or give it a value", "%s is empty", path)
	}
	return value != ""
}

// sort sorts the problems by their places.
func (c *checker) sort() {
	slices.SortStableFunc(c.problems, func(a, b *diag.Error) int {
		return cmp.Or(cmp.Compare(a.Pos.Line, b.Pos.Line), cmp.Compare(a.Pos.Column, b.Pos.Column))
	})
}

func (c *checker) err() error {
	c.sort()
	var all []error
	for _, p := range c.problems {
		all = append(all, p)
	}
	return errors.Join(all...)
}

// at is the path of an element of a list.
func at(list string, i int) string { return fmt.Sprintf("%s[%d]", list, i) }

func (r *Role) check(c *checker) {
	if r.Version == 0 {
		hint := "write version: 1"
		if !c.doc.Has("version") {
			c.errorf("version", hint, "version is missing")
		} else {
			c.errorf("version", hint, "version must be 1")
		}
	}
	r.checkKind(c)
	r.checkCluster(c)
	r.checkPodNetwork(c)
	r.checkNode(c)
	r.checkLinks(c)
	r.checkVirtualIP(c)
	r.checkAPIServer(c)
	r.checkPatches(c)
	r.checkProxy(c)
	r.checkCertSANs(c)
	r.checkRaw(c)
	r.checkKeys(c)
	r.checkManifests(c)
	for i, s := range r.Time.Servers {
		if !isHost(s) {
			c.errorf(at("time.servers", i), "for example time.example.net", "%s: %q is neither a host name nor an IP address", at("time.servers", i), s)
		}
	}
	for i, s := range r.DNS.Servers {
		if _, err := parseAddr(s); err != nil {
			c.errorf(at("dns.servers", i), "for example 192.0.2.53", "%s: %q is not an IP address", at("dns.servers", i), s)
		}
	}
}

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
		c.fields(raw.path, raw.kind, raw.fields)
	}
	c.image("kubelet", r.Kubelet, "containerRuntimeEndpoint", "imageServiceEndpoint", "staticPodPath")
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
		c.errorf(path+".kind", hint, "%s.kind: %q cannot be given here", path, kind)
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

// image refuses what the image settles.
func (c *checker) image(path string, fields map[string]any, names ...string) {
	for _, name := range names {
		if _, given := fields[name]; given {
			c.errorf(path+"."+name, "leave it out: it is part of the image", "%s.%s cannot be given here", path, name)
		}
	}
}

// owned is a field of a raw kubeadm document that may not be given there.
type owned struct {
	kind, field string
	instead     string // field of the role that says it; "" if the image settles it
}

// ownedFields are the fields of raw kubeadm documents that the role has fields
// for, or that are part of the image.
func ownedFields() []owned {
	return []owned{
		{"ClusterConfiguration", "clusterName", "cluster.name"},
		{"ClusterConfiguration", "controlPlaneEndpoint", "cluster.endpoint"},
		{"ClusterConfiguration", "networking.podSubnet", "cluster.podSubnets"},
		{"ClusterConfiguration", "networking.serviceSubnet", "cluster.serviceSubnets"},
		{"ClusterConfiguration", "networking.dnsDomain", "cluster.dnsDomain"},
		{"ClusterConfiguration", "apiServer.certSANs", "certSANs"},
		{"ClusterConfiguration", "certificatesDir", ""},
		{"ClusterConfiguration", "dns.imageRepository", ""},
		{"ClusterConfiguration", "dns.imageTag", ""},
		{"ClusterConfiguration", "etcd.external", "etcd.members"},
		{"ClusterConfiguration", "etcd.local.imageRepository", ""},
		{"ClusterConfiguration", "etcd.local.imageTag", ""},
		{"InitConfiguration", "nodeRegistration.name", "node.name"},
		{"InitConfiguration", "nodeRegistration.taints", "node.taints"},
		{"InitConfiguration", "nodeRegistration.criSocket", ""},
		{"InitConfiguration", "nodeRegistration.imagePullPolicy", ""},
		{"InitConfiguration", "localAPIEndpoint.advertiseAddress", "node.ip"},
		{"InitConfiguration", "localAPIEndpoint.bindPort", ""},
		{"InitConfiguration", "patches", "patches"},
		{"InitConfiguration", "skipPhases", "proxy or dns of ClusterConfiguration, disabled: true"},
		{"JoinConfiguration", "nodeRegistration.name", "node.name"},
		{"JoinConfiguration", "nodeRegistration.taints", "node.taints"},
		{"JoinConfiguration", "nodeRegistration.criSocket", ""},
		{"JoinConfiguration", "nodeRegistration.imagePullPolicy", ""},
		{"JoinConfiguration", "discovery", "join"},
		{"JoinConfiguration", "caCertPath", ""},
		{"JoinConfiguration", "controlPlane.certificateKey", "join.certificateKey"},
		{"JoinConfiguration", "controlPlane.localAPIEndpoint.advertiseAddress", "node.ip"},
		{"JoinConfiguration", "controlPlane.localAPIEndpoint.bindPort", ""},
		{"JoinConfiguration", "patches", "patches"},
		{"JoinConfiguration", "skipPhases", "proxy or dns of ClusterConfiguration, disabled: true"},
	}
}

// own refuses fields of a raw kubeadm document that the role has fields for:
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
		hint := "leave it out: it is part of the image"
		if f.instead != "" {
			hint = "say it with " + f.instead
		}
		c.errorf(path+"."+f.field, hint, "%s.%s cannot be given here", path, f.field)
	}
}
