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
	NodeName       string `json:"nodeName"`
	NodeIP         string `json:"nodeIP"`
	SecondIP       string `json:"secondIP,omitempty"` // of the other family, on a node of both
	Token          string `json:"token"`              // bootstrap token
	CertificateKey string `json:"certificateKey"`     // hex, AES-256
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

// Config returns the configuration of `kubeadm init` for a role, as YAML
// documents. It holds the secrets of p.
func Config(r *role.Role, image manifest.Image, p Pinned) ([]byte, error) {
	timeouts := object{
		// Generous: a slow machine is no reason for the kubelet to kill what
		// is still starting.
		"controlPlaneComponentHealthCheck": "20m0s", "kubeletHealthCheck": "10m0s", "kubernetesAPICall": "5m0s",
		"etcdAPICall": "10m0s", "tlsBootstrap": "20m0s", "discovery": "20m0s",
	}
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
	initialisation := object{
		"apiVersion": api, "kind": "InitConfiguration",
		"bootstrapTokens":  []any{object{"token": p.Token, "ttl": "24h0m0s", "usages": []any{"signing", "authentication"}, "groups": []any{"system:bootstrappers:kubeadm:default-node-token"}}},
		"certificateKey":   p.CertificateKey,
		"localAPIEndpoint": object{"advertiseAddress": p.NodeIP, "bindPort": 6443},
		"nodeRegistration": registration,
		"timeouts":         timeouts,
	}
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
	for _, n := range []string{"127.0.0.1", "localhost"} {
		if !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	cluster["apiServer"] = object{"certSANs": anySlice(names)}
	kubelet := object{"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", "cgroupDriver": "systemd"}
	merge(kubelet, r.Kubelet)
	proxy := object{"apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration"}
	merge(proxy, r.KubeProxy)
	for _, raw := range r.Kubeadm {
		switch raw["kind"] {
		case "ClusterConfiguration":
			merge(cluster, raw)
		case "InitConfiguration":
			merge(initialisation, raw)
		}
	}
	var out bytes.Buffer
	for _, d := range []object{cluster, initialisation, kubelet, proxy} {
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

// merge lays over onto base: objects are merged, everything else replaced.
func merge(base, over object) {
	for k, v := range over {
		if a, ok := base[k].(object); ok {
			if b, ok := v.(object); ok {
				merge(a, b)
				continue
			}
		}
		base[k] = v
	}
}

// SplitEndpoint returns host and port of an endpoint, whose port may be
// missing.
func SplitEndpoint(endpoint string) (host, port string) {
	if h, p, err := net.SplitHostPort(endpoint); err == nil {
		return h, p
	}
	return strings.Trim(endpoint, "[]"), defaultPort
}

// Corefile returns the configuration of CoreDNS: kubeadm's, with two
// differences. Where the node has no resolver of its own, nothing is forwarded
// to one; CoreDNS would not start. And it is without the loop plugin, which asks
// that resolver at each start: pods see the file of systemd-resolved that names
// no local stub, so there is no loop to find.
func Corefile(domain string, upstream bool) string {
	forward := ""
	if upstream {
		forward = "    forward . /etc/resolv.conf {\n       max_concurrent 1000\n    }\n"
	}
	return ".:53 {\n    errors\n    health {\n       lameduck 5s\n    }\n    ready\n    kubernetes " + domain +
		" in-addr.arpa ip6.arpa {\n       pods insecure\n       fallthrough in-addr.arpa ip6.arpa\n       ttl 30\n    }\n    prometheus :9153\n" +
		forward + "    cache 30 {\n       disable success " + domain + "\n       disable denial " + domain + "\n    }\n    reload\n    loadbalance\n}\n"
}
