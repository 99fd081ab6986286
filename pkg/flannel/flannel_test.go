package flannel

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/slipway-os/slipway/pkg/role"
)

var update = flag.Bool("update", false, "write the golden files anew; look at the difference before you keep it")

func TestObjects(t *testing.T) {
	for name, cluster := range map[string]role.Cluster{
		"ipv4-vxlan":  {PodSubnets: []string{"10.244.0.0/16"}, PodNetwork: role.PodNetwork{Backend: role.VXLAN}},
		"dual-vxlan":  {PodSubnets: []string{"10.244.0.0/16", "fd00:10:244::/56"}, PodNetwork: role.PodNetwork{Backend: role.VXLAN}},
		"ipv6-hostgw": {PodSubnets: []string{"fd00:10:244::/56"}, PodNetwork: role.PodNetwork{Backend: role.HostGW}},
	} {
		t.Run(name, func(t *testing.T) {
			objects, err := Objects(cluster, "slipway.local/flannel:v0.28.10", "cp.example.net", "6443")
			if err != nil {
				t.Fatal(err)
			}
			got, err := json.MarshalIndent(objects, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, '\n')
			file := filepath.Join("testdata", name+".json")
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if want, err := os.ReadFile(file); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s differs (%v); got\n%s", file, err, got)
			}
		})
	}
}
