package podnet

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"text/template"

	"github.com/slipway-os/slipway/pkg/role"
)

var update = flag.Bool("update", false, "write the golden files anew; look at the difference before you keep it")

// golden compares with a file.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; got\n%s", file, got)
	}
}

// The template is filled in as containerd does (internal/cri/server,
// cniConfigTemplate).
func TestTemplate(t *testing.T) {
	type fields struct {
		PodCIDR       string
		PodCIDRRanges []string
		Routes        []string
	}
	for name, f := range map[string]fields{
		"ipv4.conflist": {"10.244.0.0/24", []string{"10.244.0.0/24"}, []string{"0.0.0.0/0"}},
		"ipv6.conflist": {"fd00:10:244::/64", []string{"fd00:10:244::/64"}, []string{"::/0"}},
		"dual.conflist": {"10.244.0.0/24", []string{"10.244.0.0/24", "fd00:10:244::/64"}, []string{"0.0.0.0/0", "::/0"}},
	} {
		t.Run(name, func(t *testing.T) {
			text, err := render(1450)
			if err != nil {
				t.Fatal(err)
			}
			tmpl, err := template.New("cni").Parse(string(text))
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			if err := tmpl.Execute(&out, f); err != nil {
				t.Fatal(err)
			}
			golden(t, name, out.Bytes())
			// What the CNI specification (1.0.0, section 1) asks of a list.
			var list struct {
				CNIVersion string `json:"cniVersion"`
				Name       string `json:"name"`
				Plugins    []struct {
					Type   string `json:"type"`
					MTU    int    `json:"mtu"`
					IPMasq bool   `json:"ipMasq"`
					IPAM   struct {
						Ranges [][]struct{ Subnet string }
						Routes []struct{ Dst string }
					}
				}
			}
			if err := json.Unmarshal(out.Bytes(), &list); err != nil {
				t.Fatal(err)
			}
			if list.Name == "" || len(list.Plugins) != 2 || list.Plugins[0].Type != "bridge" || list.Plugins[0].MTU != 1450 || list.Plugins[0].IPMasq {
				t.Errorf("got %+v", list)
			}
			if n := len(list.Plugins[0].IPAM.Ranges); n != len(f.PodCIDRRanges) || list.Plugins[0].IPAM.Ranges[n-1][0].Subnet != f.PodCIDRRanges[n-1] {
				t.Errorf("ranges %+v", list.Plugins[0].IPAM)
			}
		})
	}
}

// What containerd made of the template at an earlier boot goes, for its subnet
// may be another's by now; what a network add-on wrote stays.
func TestPrepare(t *testing.T) {
	root := t.TempDir()
	theirs := filepath.Join(root, "etc/cni/net.d/05-cilium.conflist")
	for _, f := range []string{theirs, filepath.Join(root, generated)} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(f), 0o755), os.WriteFile(f, []byte("{}"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // at every boot
		if err := prepare(root, role.Cluster{}); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(root, generated)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the pod network of an earlier boot: %v", err)
		}
		if _, err := os.Stat(theirs); err != nil {
			t.Error(err)
		}
		if text, err := os.ReadFile(filepath.Join(root, Template)); err != nil || !bytes.Contains(text, []byte(".PodCIDRRanges")) {
			t.Errorf("template %q, %v", text, err)
		}
	}
}

// What is put around packets between nodes is taken off the MTU.
func TestOverhead(t *testing.T) {
	v4, v6 := "10.244.0.0/16", "fd00:10:244::/56"
	for _, c := range []struct {
		name, backend string
		subnets       []string
		want          string
	}{
		{"no role yet", "", nil, `"mtu": 1450,`},
		{"vxlan over IPv4", role.VXLAN, []string{v4}, `"mtu": 1450,`},
		{"vxlan over IPv6", role.VXLAN, []string{v6}, `"mtu": 1430,`},
		{"vxlan over both", role.VXLAN, []string{v4, v6}, `"mtu": 1430,`},
		{"routed", role.HostGW, []string{v4, v6}, `"mtu": 1500,`},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := t.TempDir()
			cluster := role.Cluster{PodSubnets: c.subnets, PodNetwork: role.PodNetwork{Backend: c.backend}}
			if err := renderAt(root, cluster, 1500); err != nil {
				t.Fatal(err)
			}
			if text, err := os.ReadFile(filepath.Join(root, Template)); err != nil || !bytes.Contains(text, []byte(c.want)) {
				t.Errorf("got %s, %v; want %s", text, err, c.want)
			}
		})
	}
}

// A role that wants no pod network of ours finds none, though there was one
// before the role came; what another wrote stays.
func TestNoNetwork(t *testing.T) {
	root := t.TempDir()
	if err := prepare(root, role.Cluster{}); err != nil {
		t.Fatal(err)
	}
	theirs := filepath.Join(root, "etc/cni/net.d/05-cilium.conflist")
	for _, f := range []string{theirs, filepath.Join(root, generated)} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(f), 0o755), os.WriteFile(f, []byte("{}"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := renderAt(root, role.Cluster{PodNetwork: role.PodNetwork{Backend: role.NoNetwork}}, 1500); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{Template, generated} {
		if _, err := os.Stat(filepath.Join(root, f)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", f, err)
		}
	}
	if _, err := os.Stat(theirs); err != nil {
		t.Error(err)
	}
}
