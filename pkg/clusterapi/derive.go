package clusterapi

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/slipway-os/slipway/pkg/document"
	"github.com/slipway-os/slipway/pkg/kubeadm"
	"github.com/slipway-os/slipway/pkg/role"
)

// derive makes a role of kubeadm's documents. What the role has no fields for
// goes on as kubeadm's own.
func (r *reader) derive(docs settings) *yaml.Node {
	d := derivation{reader: r, tree: document.Mapping(nil)}
	cluster, init, join := docs["ClusterConfiguration"], docs["InitConfiguration"], docs["JoinConfiguration"]
	first := join
	for _, n := range []*yaml.Node{init, cluster} {
		if first == nil {
			first = n
		}
	}
	if first == nil {
		for _, n := range docs {
			first = n
		}
		r.refuse(r.where(first), "", "neither InitConfiguration nor JoinConfiguration is given")
		return d.tree
	}
	if join != nil && (init != nil || cluster != nil) {
		r.refuse(r.where(join), "a node either starts a cluster or joins one", "JoinConfiguration does not go with InitConfiguration or ClusterConfiguration")
		return d.tree
	}
	version := r.scalar(first, "1")
	version.Tag = "!!int"
	d.set(d.tree, "version", version)
	// Whoever uses Cluster API brings a network of their own.
	none := r.scalar(first, role.NoNetwork)
	if join != nil {
		d.join(join)
		d.set(d.tree, "cluster.podSubnets", r.list(first)) // the cluster says them
		d.set(d.tree, "cluster.serviceSubnets", r.list(first))
	} else {
		d.set(d.tree, "role", r.scalar(first, role.ControlPlane))
		d.set(d.tree, "init", r.object(first))
	}
	d.set(d.tree, "cluster.podNetwork.backend", none)
	if cluster == nil && join == nil {
		cluster = r.object(first)
		document.Put(cluster, "kind", r.scalar(first, "ClusterConfiguration"))
	}
	if init != nil {
		d.start(init, cluster)
	}
	if cluster != nil {
		d.cluster(cluster)
	}
	if proxy := docs["KubeProxyConfiguration"]; proxy != nil {
		d.set(d.tree, "kubeProxy", proxy)
	}
	if kubelet := docs["KubeletConfiguration"]; kubelet != nil {
		d.set(d.tree, "kubelet", kubelet)
	}
	var rest []*yaml.Node
	for _, n := range []*yaml.Node{cluster, init, join} {
		if n != nil && slices.ContainsFunc(keys(n), func(k string) bool { return k != "apiVersion" && k != "kind" }) {
			rest = append(rest, n)
		}
	}
	if len(rest) > 0 {
		d.set(d.tree, "kubeadm", r.list(rest[0], rest...))
	}
	if len(r.times) > 0 {
		d.set(d.tree, "time.servers", r.list(r.times[0], r.times...))
	}
	return d.tree
}

func keys(n *yaml.Node) []string {
	var names []string
	for i := 0; i+1 < len(n.Content); i += 2 {
		names = append(names, n.Content[i].Value)
	}
	return names
}

// derivation is a role in the making.
type derivation struct {
	*reader
	tree *yaml.Node
}

// move makes fields of the role of fields of a document.
func (d derivation) move(n *yaml.Node, fields ...string) {
	for i := 0; i < len(fields); i += 2 {
		d.set(d.tree, fields[i+1], take(n, fields[i]))
	}
}

// fixed drops a field that says what is so anyway, and refuses any other value.
func (d derivation) fixed(n *yaml.Node, hint, path string, values ...string) {
	if v := take(n, path); v != nil && !(v.Kind == yaml.ScalarNode && slices.Contains(values, v.Value)) {
		d.refuse(d.where(v), hint, "%s.%s cannot be given here", document.Value(n, "kind").Value, path)
	}
}

const baked = "leave it out: nothing is downloaded at first boot"

// cluster takes a ClusterConfiguration.
func (d derivation) cluster(n *yaml.Node) {
	d.move(n,
		"clusterName", "cluster.name", "controlPlaneEndpoint", "cluster.endpoint", "kubernetesVersion", "cluster.kubernetesVersion",
		"networking.dnsDomain", "cluster.dnsDomain", "apiServer.certSANs", "certSANs")
	for _, f := range [][2]string{{"networking.podSubnet", "cluster.podSubnets"}, {"networking.serviceSubnet", "cluster.serviceSubnets"}} {
		v := take(n, f[0])
		if v == nil {
			continue
		}
		var subnets []*yaml.Node
		for _, s := range strings.Split(v.Value, ",") {
			subnets = append(subnets, d.scalar(v, strings.TrimSpace(s)))
		}
		d.set(d.tree, f[1], d.list(v, subnets...))
	}
	d.fixed(n, "leave it out", "certificatesDir", kubeadm.PKIDir)
	d.fixed(n, "etcd on the control planes, or a role of its own for each member", "etcd.external")
	for _, path := range []string{"dns.imageRepository", "dns.imageTag", "etcd.local.imageRepository", "etcd.local.imageTag"} {
		d.fixed(n, baked, path)
	}
}

// start takes an InitConfiguration.
func (d derivation) start(n, cluster *yaml.Node) {
	d.registration(n)
	d.move(n, "localAPIEndpoint.advertiseAddress", "node.ip")
	d.fixed(n, "leave it out", "localAPIEndpoint.bindPort", "6443")
	d.fixed(n, "leave it out", "dryRun", "false")
	d.patches(n)
	skip := take(n, "skipPhases")
	if skip == nil {
		return
	}
	for _, phase := range skip.Content {
		off := map[string][]string{"addon": {"proxy", "dns"}, "addon/kube-proxy": {"proxy"}, "addon/coredns": {"dns"}}[phase.Value]
		if off == nil && phase.Value != "preflight" { // there is none here
			d.refuse(d.where(phase), "preflight, addon, addon/kube-proxy and addon/coredns can be left out", "InitConfiguration.skipPhases: %q cannot be left out", phase.Value)
		}
		for _, addon := range off {
			yes := d.scalar(phase, "true")
			yes.Tag = "!!bool"
			take(cluster, addon+".disabled")
			d.set(cluster, addon+".disabled", yes)
		}
	}
}

// join takes a JoinConfiguration.
func (d derivation) join(n *yaml.Node) {
	kind := role.Worker
	plane := take(n, "controlPlane")
	if plane != nil {
		kind = role.ControlPlane
	}
	d.set(d.tree, "role", d.scalar(n, kind))
	d.set(d.tree, "join", d.object(n))
	if file := take(n, "discovery.file.kubeConfigPath"); file != nil {
		d.set(d.tree, "join.discoveryFile", file)
		d.move(n, "discovery.tlsBootstrapToken", "join.token")
		d.fixed(n, "a node finds its cluster one way", "discovery.bootstrapToken")
	}
	d.fixed(n, "write it with files, and say where with kubeConfigPath", "discovery.file")
	token := document.Value(n, "discovery")
	if token != nil {
		token = document.Value(token, "bootstrapToken")
	}
	if token != nil {
		if same := document.Value(token, "token"); same != nil {
			d.fixed(n, "it is that of discovery.bootstrapToken", "discovery.tlsBootstrapToken", same.Value)
		}
	}
	d.fixed(n, "give caCertHashes", "discovery.bootstrapToken.unsafeSkipCAVerification", "false")
	d.move(n, "discovery.bootstrapToken.token", "join.token", "discovery.bootstrapToken.caCertHashes", "join.caCertHashes",
		"discovery.bootstrapToken.apiServerEndpoint", "cluster.endpoint")
	d.fixed(n, "leave it out", "discovery")
	d.fixed(n, "leave it out", "caCertPath", kubeadm.PKIDir+"/ca.crt")
	d.fixed(n, "leave it out", "dryRun", "false")
	d.registration(n)
	d.patches(n)
	if skip := take(n, "skipPhases"); skip != nil {
		for _, phase := range skip.Content {
			if phase.Value != "preflight" {
				d.refuse(d.where(phase), "only preflight can be left out", "JoinConfiguration.skipPhases: %q cannot be left out", phase.Value)
			}
		}
	}
	if plane != nil {
		wrapped := d.object(plane)
		document.Put(wrapped, "kind", d.scalar(n, "JoinConfiguration"))
		document.Put(wrapped, "controlPlane", plane)
		d.move(wrapped, "controlPlane.certificateKey", "join.certificateKey", "controlPlane.localAPIEndpoint.advertiseAddress", "node.ip")
		d.fixed(wrapped, "leave it out", "controlPlane.localAPIEndpoint.bindPort", "6443")
		for _, name := range keys(plane) {
			d.refuse(d.where(document.Value(plane, name)), "leave it out", "JoinConfiguration.controlPlane.%s cannot be given here", name)
		}
	}
}

// registration takes how the node registers.
func (d derivation) registration(n *yaml.Node) {
	const at = "nodeRegistration."
	d.move(n, at+"name", "node.name")
	d.fixed(n, "leave it out: it is part of the image", at+"criSocket", "unix:///run/containerd/containerd.sock", "unix:///var/run/containerd/containerd.sock", "/run/containerd/containerd.sock", "/var/run/containerd/containerd.sock")
	d.fixed(n, baked, at+"imagePullPolicy", "IfNotPresent", "Never")
	take(n, at+"ignorePreflightErrors") // there are no such checks
	if taints := take(n, at+"taints"); taints != nil {
		d.set(d.tree, "node.taints", d.taints(taints))
	}
	args := document.Value(n, "nodeRegistration")
	if args != nil {
		args = document.Value(args, "kubeletExtraArgs")
	}
	if args == nil {
		return
	}
	var rest []*yaml.Node
	for _, arg := range args.Content {
		name, value := document.Value(arg, "name"), document.Value(arg, "value")
		switch {
		case arg.Kind != yaml.MappingNode || name == nil || value == nil:
			d.refuse(d.where(arg), "- {name: v, value: \"2\"}", "nodeRegistration.kubeletExtraArgs must be a list of names and values")
		case name.Value == "node-ip":
			d.set(d.tree, "node.ip", value)
		case name.Value == "node-labels":
			d.set(d.tree, "node.labels", d.labels(value))
		default:
			rest = append(rest, arg)
		}
	}
	if args.Content = rest; len(rest) == 0 {
		take(n, at+"kubeletExtraArgs")
	}
}

func (d derivation) taints(list *yaml.Node) *yaml.Node {
	taints := d.list(list)
	for _, t := range list.Content {
		field := func(name string) string {
			if v := document.Value(t, name); v != nil {
				return v.Value
			}
			return ""
		}
		taints.Content = append(taints.Content, d.scalar(t, role.Taint{Key: field("key"), Value: field("value"), Effect: field("effect")}.String()))
	}
	return taints
}

func (d derivation) labels(text *yaml.Node) *yaml.Node {
	labels := d.object(text)
	for _, l := range strings.Split(text.Value, ",") {
		if key, value, _ := strings.Cut(l, "="); l != "" && document.Value(labels, key) == nil {
			document.Put(labels, key, d.scalar(text, value))
		}
	}
	return labels
}
