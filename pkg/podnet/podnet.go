// Package podnet makes the network of the pods of one node: containerd's CNI
// configuration from the node's pod subnet, and masquerading for what leaves
// the cluster. Between nodes, package flannel takes over.
package podnet

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/slipway-os/slipway/pkg/durable"
	"github.com/slipway-os/slipway/pkg/role"
)

// Places of the files.
const (
	Template  = "/run/slipway/cni.template"
	generated = "/etc/cni/net.d/10-containerd-net.conflist" // by containerd, from the template
	bridge    = "cni0"
	services  = "slipway-svc"
)

// Prepare renders the template and removes what containerd made of it at an
// earlier boot: it would not be made again, and the subnet may have changed.
// It runs before containerd does, and so before the role was checked: an empty
// Cluster is one with all defaults.
func Prepare(cluster role.Cluster) error { return prepare("/", cluster) }

func prepare(root string, cluster role.Cluster) error {
	if err := remove(root, generated); err != nil {
		return fmt.Errorf("removing the pod network of an earlier boot: %w", err)
	}
	return renderAt(root, cluster, mtu(links()))
}

// Render writes the template with the MTU that the uplinks leave to pods now.
// containerd reads it when the kubelet tells it the node's pod subnet; before
// there is an uplink, it holds a guess. A cluster without a network of ours has
// no template: containerd waits for whoever writes /etc/cni/net.d.
func Render(cluster role.Cluster) error { return renderAt("/", cluster, mtu(links())) }

func renderAt(root string, cluster role.Cluster, uplink int) error {
	if cluster.PodNetwork.Backend == role.NoNetwork {
		// The role may be younger than the template.
		if err := errors.Join(remove(root, Template), remove(root, generated)); err != nil {
			return fmt.Errorf("removing the pod network, which the role asks not to have: %w", err)
		}
		return nil
	}
	text, err := render(uplink - overhead(cluster))
	if err != nil {
		return err
	}
	if err := durable.WriteFile(filepath.Join(root, Template), text, 0o644); err != nil {
		return fmt.Errorf("writing the template of the pod network: %w", err)
	}
	return nil
}

func remove(root, file string) error {
	err := os.Remove(filepath.Join(root, file))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// overhead is what is put around a packet between nodes, in bytes (RFC 7348):
// the Ethernet header of the packet in the packet 14, VXLAN's own 8, UDP's 8,
// and 20 or 40 of the IP version of the nodes, which is the pods' own. Of pods
// with both, the larger one counts.
func overhead(cluster role.Cluster) int {
	switch {
	case cluster.PodNetwork.Backend == role.HostGW:
		return 0
	case slices.ContainsFunc(cluster.PodSubnets, isV6):
		return 14 + 8 + 8 + 40
	}
	return 14 + 8 + 8 + 20
}

func isV6(subnet string) bool { return strings.Contains(subnet, ":") }

// render returns the template. Its own fields are containerd's: pod subnets
// and routes.
func render(mtu int) ([]byte, error) {
	const ranges, routes = `"RANGES"`, `"ROUTES"`
	list := map[string]any{
		"cniVersion": "1.0.0",
		"name":       "slipway",
		"plugins": []any{
			map[string]any{
				"type": "bridge", "bridge": bridge, "isGateway": true, "hairpinMode": true, "ipMasq": false, "mtu": mtu,
				"ipam": map[string]any{
					"type": "host-local", "ranges": "RANGES", "routes": "ROUTES",
					// No pod outlives a boot, nor does its address.
					"dataDir": "/run/cni/networks",
				},
			},
			map[string]any{"type": "portmap", "capabilities": map[string]bool{"portMappings": true}, "snat": true},
		},
	}
	data, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return nil, err
	}
	text := strings.Replace(string(data), ranges, `[{{range $i, $r := .PodCIDRRanges}}{{if $i}}, {{end}}[{"subnet": "{{$r}}"}]{{end}}]`, 1)
	text = strings.Replace(text, routes, `[{{range $i, $r := .Routes}}{{if $i}}, {{end}}{"dst": "{{$r}}"}{{end}}]`, 1)
	return []byte(text + "\n"), nil
}
