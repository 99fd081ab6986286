// Package flannel writes the objects of the API that run flannel on every
// node: it brings the packets of pods from the node's own bridge, which package
// podnet sets up, to other nodes. The program is in profiles/components/flannel.
package flannel

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/slipway-os/slipway/pkg/role"
)

type object = map[string]any

const (
	name      = "flannel"
	namespace = "kube-system"
	configKey = "net-conf.json"
	configDir = "/etc/kube-flannel"
)

// What Windows nodes accept: they want no lower VNI (the field of a VXLAN
// packet that names the network, RFC 7348), and VXLAN's own port.
const (
	vxlanVNI  = 4096
	vxlanPort = 4789
)

// Objects returns the objects, in the order in which they are applied. image is
// the reference of the container image, host and port where all
// nodes reach the API server: so flannel does not wait for the services that it
// helps to work.
func Objects(cluster role.Cluster, image, host, port string) ([]map[string]any, error) {
	config, err := netConf(cluster)
	if err != nil {
		return nil, fmt.Errorf("writing the configuration of flannel: %w", err)
	}
	return []map[string]any{
		{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata()},
		{
			"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": object{"name": name},
			"rules": []any{
				object{"apiGroups": list(""), "resources": list("nodes"), "verbs": list("get", "list", "watch")},
				object{"apiGroups": list(""), "resources": list("nodes/status"), "verbs": list("patch")},
			},
		},
		{
			"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": object{"name": name},
			"roleRef":  object{"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
			"subjects": []any{object{"kind": "ServiceAccount", "name": name, "namespace": namespace}},
		},
		{"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(), "data": object{configKey: config}},
		daemonSet(image, host, port),
	}, nil
}

func metadata() object {
	return object{"name": name, "namespace": namespace, "labels": labels()}
}

func labels() object { return object{"k8s-app": name} }

func list(words ...string) []any {
	all := make([]any, len(words))
	for i, w := range words {
		all[i] = w
	}
	return all
}

// netConf returns flannel's configuration (flannel, Documentation/configuration.md).
func netConf(cluster role.Cluster) (string, error) {
	backend := object{"Type": cluster.PodNetwork.Backend}
	if cluster.PodNetwork.Backend == role.VXLAN {
		backend["VNI"], backend["Port"] = vxlanVNI, vxlanPort
	}
	conf := object{"EnableIPv4": false, "EnableIPv6": false, "Backend": backend}
	for _, s := range cluster.PodSubnets {
		if strings.Contains(s, ":") {
			conf["EnableIPv6"], conf["IPv6Network"] = true, s
		} else {
			conf["EnableIPv4"], conf["Network"] = true, s
		}
	}
	data, err := json.MarshalIndent(conf, "", "  ")
	return string(data) + "\n", err
}

// daemonSet runs flannel on every Linux node, whatever state it is in: other
// pods want its network first.
func daemonSet(image, host, port string) object {
	field := func(name, path string) object {
		return object{"name": name, "valueFrom": object{"fieldRef": object{"fieldPath": path}}}
	}
	container := object{
		"name": name, "image": image,
		// It is in the image of the node, and nowhere else.
		"imagePullPolicy": "Never",
		"env": []any{
			field("NODE_NAME", "spec.nodeName"),
			// The addresses that the node registers with, not one that moves.
			field("HOST_IPS", "status.hostIPs"),
			object{"name": "KUBERNETES_SERVICE_HOST", "value": host},
			object{"name": "KUBERNETES_SERVICE_PORT", "value": port},
		},
		"resources": object{"requests": object{"cpu": "20m", "memory": "32Mi"}},
		"securityContext": object{
			"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
			"capabilities": object{"drop": list("ALL"), "add": list("NET_ADMIN")},
		},
		"volumeMounts": []any{
			object{"name": "config", "mountPath": configDir, "readOnly": true},
			object{"name": "tmp", "mountPath": "/tmp"},
		},
	}
	return object{
		"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": metadata(),
		"spec": object{
			"selector": object{"matchLabels": labels()},
			"template": object{
				"metadata": object{"labels": labels()},
				"spec": object{
					"serviceAccountName": name, "hostNetwork": true, "dnsPolicy": "Default", "enableServiceLinks": false,
					"priorityClassName": "system-node-critical",
					"nodeSelector":      object{"kubernetes.io/os": "linux"},
					"tolerations":       []any{object{"operator": "Exists"}},
					"securityContext":   object{"seccompProfile": object{"type": "RuntimeDefault"}},
					"containers":        []any{container},
					"volumes": []any{
						object{"name": "config", "configMap": object{"name": name}},
						object{"name": "tmp", "emptyDir": object{}},
					},
				},
			},
		},
	}
}
