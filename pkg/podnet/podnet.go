// Package podnet makes the network of the pods of one node: containerd's CNI
// configuration from the node's pod subnet, and masquerading for what leaves
// the cluster.
package podnet

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/slipway-os/slipway/pkg/durable"
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
// It runs before containerd does.
func Prepare() error { return prepare("/") }

func prepare(root string) error {
	if err := os.Remove(filepath.Join(root, generated)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing the pod network of an earlier boot: %w", err)
	}
	return renderAt(root, mtu(links()))
}

// Render writes the template with the MTU that the uplinks have now. containerd
// reads it when the kubelet tells it the node's pod subnet; before there is an
// uplink, it holds a guess.
func Render() error { return renderAt("/", mtu(links())) }

func renderAt(root string, mtu int) error {
	text, err := render(mtu)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(filepath.Join(root, Template), text, 0o644); err != nil {
		return fmt.Errorf("writing the template of the pod network: %w", err)
	}
	return nil
}

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
