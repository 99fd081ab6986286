// Package kubeadm drives kubeadm: it writes the configuration, runs single
// phases, and checks what an interrupted phase left behind.
package kubeadm

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/slipway-os/slipway/pkg/manifest"
	"github.com/slipway-os/slipway/pkg/role"
)

// Pinned is what each run of kubeadm would otherwise make anew. It holds
// secrets.
type Pinned struct {
	Kind           string `json:"kind,omitempty"` // which steps the node goes through
	NodeName       string `json:"nodeName"`
	NodeIP         string `json:"nodeIP"`
	SecondIP       string `json:"secondIP,omitempty"` // of the other family, on a node of both
	Token          string `json:"token"`              // bootstrap token
	CertificateKey string `json:"certificateKey"`     // hex, AES-256
	// The cluster's subnets, where the role leaves them to the cluster.
	PodSubnets     []string `json:"podSubnets,omitempty"`
	ServiceSubnets []string `json:"serviceSubnets,omitempty"`
	// EtcdMembers are the members of the etcd cluster that took this node in, as etcd's
	// initial-cluster: "e1=https://192.0.2.11:2380,…". Empty where it starts one.
	EtcdMembers string `json:"etcdMembers,omitempty"`
	// Keyless are the authorities whose keys the node was not given.
	Keyless []string `json:"keyless,omitempty"`
}

// NewPinned makes the random ones.
func NewPinned(nodeName, nodeIP string) (Pinned, error) {
	const alphabet = "abcdefghijklmnopqrstuvwxyz012345" // 32: no bias
	random := make([]byte, 22+32)
	if _, err := io.ReadFull(rand.Reader, random); err != nil {
		return Pinned{}, err
	}
	var token strings.Builder
	for i, b := range random[:22] {
		if i == 6 {
			token.WriteByte('.')
		}
		token.WriteByte(alphabet[b%32])
	}
	return Pinned{NodeName: nodeName, NodeIP: nodeIP, Token: token.String(), CertificateKey: hex.EncodeToString(random[22:])}, nil
}

type object = map[string]any

const (
	api         = "kubeadm.k8s.io/v1beta4"
	criSocket   = "unix:///run/containerd/containerd.sock"
	defaultPort = "6443"
)

// CredentialsFile is where a node that joins finds its credentials: a
// kubeconfig, kubeadm's discovery file.
const CredentialsFile = "/etc/slipway/join.conf"

// Config returns the configuration of kubeadm's phases for a role, as YAML
// documents. It holds the secrets of p. Where a node joins, discovery is the
// kubeconfig by which it finds the cluster, unless the role has a token.
func Config(r *role.Role, image manifest.Image, p Pinned, discovery string) ([]byte, error) {
	documents := []object{clusterConfiguration(r, image, p), initConfiguration(r, p)}
	switch {
	case r.Join != nil:
		documents = []object{joinConfiguration(r, p, discovery)}
	case r.Role == role.ControlPlane:
		kubelet := object{"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", "cgroupDriver": "systemd"}
		merge(kubelet, r.Kubelet)
		proxy := object{"apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration"}
		merge(proxy, r.KubeProxy)
		documents = append(documents, kubelet, proxy)
	}
	for _, d := range documents {
		for _, raw := range r.Kubeadm {
			if raw["kind"] == d["kind"] {
				merge(d, raw)
			}
		}
	}
	return yamlDocuments(documents...)
}

func clusterConfiguration(r *role.Role, image manifest.Image, p Pinned) object {
	cluster := object{
		"apiVersion": api, "kind": "ClusterConfiguration",
		"clusterName": r.Cluster.Name, "kubernetesVersion": image.KubernetesVersion, "imageRepository": image.ImageRepository,
		"encryptionAlgorithm": "ECDSA-P256",
		"networking": object{
			"podSubnet": strings.Join(r.Cluster.PodSubnets, ","), "serviceSubnet": strings.Join(r.Cluster.ServiceSubnets, ","), "dnsDomain": r.Cluster.DNSDomain,
		},
	}
	names := slices.Clone(r.CertSANs)
	if r.Cluster.Endpoint != "" {
		host, port := SplitEndpoint(r.Cluster.Endpoint)
		cluster["controlPlaneEndpoint"] = net.JoinHostPort(host, port)
	}
	// A forwarded port of the loopback is how people reach a virtual machine.
	also := []string{"127.0.0.1", "localhost"}
	if r.VirtualIP != nil {
		also = append(also, r.VirtualIP.Addresses...)
	}
	for _, n := range also {
		if !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	cluster["apiServer"] = apiServer(r, names)
	if r.Cluster.Endpoint == "" && r.Role == role.ControlPlane {
		// Without an endpoint no other control plane can join: nobody waits for
		// this one to fail. A slow machine is not to lose its own lease; after a
		// restart, which takes longer, it has run out.
		patient := object{"extraArgs": []any{
			object{"name": "leader-elect-lease-duration", "value": "30s"},
			object{"name": "leader-elect-renew-deadline", "value": "25s"},
			object{"name": "leader-elect-retry-period", "value": "3s"},
		}}
		cluster["controllerManager"], cluster["scheduler"] = patient, maps.Clone(patient)
	}
	switch {
	case r.Role == role.Etcd:
		var members []string
		for _, m := range r.Etcd.Members {
			members = append(members, m.Name+"="+etcdURL(m.IP, "2380"))
		}
		initial, state := strings.Join(members, ","), "new"
		if p.EtcdMembers != "" {
			initial, state = p.EtcdMembers, "existing"
		}
		cluster["etcd"] = object{"local": object{"extraArgs": []any{
			object{"name": "initial-cluster", "value": initial},
			object{"name": "initial-cluster-state", "value": state},
			object{"name": "initial-cluster-token", "value": r.Cluster.Name},
		}}}
	case r.Etcd != nil:
		var endpoints []any
		for _, m := range r.Etcd.Members {
			endpoints = append(endpoints, etcdURL(m.IP, "2379"))
		}
		cluster["etcd"] = object{"external": object{
			"endpoints": endpoints, "caFile": PKIDir + "/etcd/ca.crt",
			"certFile": PKIDir + "/apiserver-etcd-client.crt", "keyFile": PKIDir + "/apiserver-etcd-client.key",
		}}
	}
	return cluster
}

func etcdURL(ip, port string) string { return "https://" + net.JoinHostPort(ip, port) }

func initConfiguration(r *role.Role, p Pinned) object {
	return object{
		"apiVersion": api, "kind": "InitConfiguration",
		"patches":          object{"directory": PatchDir},
		"bootstrapTokens":  []any{object{"token": p.Token, "ttl": "24h0m0s", "usages": []any{"signing", "authentication"}, "groups": []any{"system:bootstrappers:kubeadm:default-node-token"}}},
		"certificateKey":   p.CertificateKey,
		"localAPIEndpoint": object{"advertiseAddress": p.NodeIP, "bindPort": r.APIPort()},
		"nodeRegistration": registration(r, p),
		"timeouts":         timeouts(),
	}
}

func joinConfiguration(r *role.Role, p Pinned, discovery string) object {
	join := object{
		"apiVersion": api, "kind": "JoinConfiguration",
		"nodeRegistration": registration(r, p),
		"timeouts":         timeouts(),
		"patches":          object{"directory": PatchDir},
	}
	switch {
	case r.Join.Token == "":
		join["discovery"] = object{"file": object{"kubeConfigPath": discovery}}
	case r.Join.DiscoveryFile != "":
		join["discovery"] = object{"file": object{"kubeConfigPath": r.Join.DiscoveryFile}, "tlsBootstrapToken": r.Join.Token}
	default:
		host, port := SplitEndpoint(r.Cluster.Endpoint)
		join["discovery"] = object{"bootstrapToken": object{
			"token": r.Join.Token, "apiServerEndpoint": net.JoinHostPort(host, port), "caCertHashes": anySlice(r.Join.CACertHashes),
		}}
	}
	if r.Role == role.ControlPlane {
		plane := object{"localAPIEndpoint": object{"advertiseAddress": p.NodeIP, "bindPort": r.APIPort()}}
		if r.Join.CertificateKey != "" {
			plane["certificateKey"] = r.Join.CertificateKey
		}
		join["controlPlane"] = plane
	}
	return join
}

// timeouts are generous: a slow machine is no reason for the kubelet to kill
// what is still starting.
func timeouts() object {
	return object{
		"controlPlaneComponentHealthCheck": "20m0s", "kubeletHealthCheck": "10m0s", "kubernetesAPICall": "5m0s",
		"etcdAPICall": "10m0s", "tlsBootstrap": "20m0s", "discovery": "20m0s",
	}
}

// registration is how the node registers.
func registration(r *role.Role, p Pinned) object {
	addresses := p.NodeIP
	if p.SecondIP != "" {
		addresses += "," + p.SecondIP
	}
	extra := []any{object{"name": "node-ip", "value": addresses}}
	if len(r.Node.Labels) > 0 {
		var labels []string
		for _, k := range slices.Sorted(maps.Keys(r.Node.Labels)) {
			labels = append(labels, k+"="+r.Node.Labels[k])
		}
		extra = append(extra, object{"name": "node-labels", "value": strings.Join(labels, ",")})
	}
	registration := object{
		"name": p.NodeName, "criSocket": criSocket, "imagePullPolicy": "Never", "imagePullSerial": true, "kubeletExtraArgs": extra,
	}
	if r.Node.Taints != nil {
		taints := []any{}
		for _, t := range r.Node.Taints {
			taint := object{"key": t.Key, "effect": t.Effect}
			if t.Value != "" {
				taint["value"] = t.Value
			}
			taints = append(taints, taint)
		}
		registration["taints"] = taints
	}
	return registration
}

// StandaloneKubelet returns the configuration of a kubelet that only runs what
// lies in its directory of manifests: it belongs to no cluster, and nobody can
// ask it anything.
func StandaloneKubelet(r *role.Role) ([]byte, error) {
	kubelet := object{
		"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", "cgroupDriver": "systemd",
		"containerRuntimeEndpoint": criSocket, "staticPodPath": ConfigDir + "/manifests", "resolvConf": "/run/systemd/resolve/resolv.conf",
		"enableServer":   false,
		"authentication": object{"anonymous": object{"enabled": false}, "webhook": object{"enabled": false}},
		"authorization":  object{"mode": "AlwaysAllow"}, // the other mode asks an API server
	}
	merge(kubelet, r.Kubelet)
	return yamlDocuments(kubelet)
}

func yamlDocuments(documents ...object) ([]byte, error) {
	var out bytes.Buffer
	for _, d := range documents {
		data, err := plainYAML(d)
		if err != nil {
			return nil, fmt.Errorf("writing the kubeadm configuration: %w", err)
		}
		out.WriteString("---\n")
		out.Write(data)
	}
	return out.Bytes(), nil
}

// plainYAML goes through JSON so that values of any Go type come out as the
// plain ones, with sorted keys.
func plainYAML(v any) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var plain any
	if err := json.Unmarshal(data, &plain); err != nil {
		return nil, err
	}
	return yaml.Marshal(plain)
}

func anySlice(in []string) []any {
	out := make([]any, len(in))
	for i, s := range in {
		out[i] = s
	}
	return out
}

// merge lays over onto base: objects are merged, lists of named things too (a
// flag that is not mentioned stays), everything else replaced.
func merge(base, over object) {
	for k, v := range over {
		switch old := base[k].(type) {
		case object:
			if v, ok := v.(object); ok {
				merge(old, v)
				continue
			}
		case []any:
			if v, ok := v.([]any); ok && len(old) > 0 && len(v) > 0 && allNamed(old) && allNamed(v) {
				kept := slices.DeleteFunc(slices.Clone(old), func(o any) bool {
					return slices.ContainsFunc(v, func(n any) bool { return n.(object)["name"] == o.(object)["name"] })
				})
				base[k] = append(kept, v...)
				continue
			}
		}
		base[k] = v
	}
}

// allNamed reports whether all elements of a list are objects with a name.
func allNamed(list []any) bool {
	return !slices.ContainsFunc(list, func(e any) bool {
		o, _ := e.(object)
		name, _ := o["name"].(string)
		return name == ""
	})
}

// SplitEndpoint returns host and port of an endpoint, whose port may be
// missing.
func SplitEndpoint(endpoint string) (host, port string) {
	if h, p, err := net.SplitHostPort(endpoint); err == nil {
		return h, p
	}
	return strings.Trim(endpoint, "[]"), defaultPort
}
