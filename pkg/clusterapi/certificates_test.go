package clusterapi_test

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coreos/ignition/v2/config/v3_6/types"

	"github.com/slipway-os/slipway/pkg/kubeadm"
	"github.com/slipway-os/slipway/pkg/kubeadm/kubeadmtest"
)

// Cluster API makes the authorities of a cluster itself. They lie where the
// node looks for them, are whole, and are not made anew.
func TestCertificatesAreUsed(t *testing.T) {
	from := t.TempDir()
	kubeadmtest.Authorities(t, from)
	names := []string{"ca.crt", "ca.key", "etcd/ca.crt", "etcd/ca.key", "front-proxy-ca.crt", "front-proxy-ca.key", "sa.pub", "sa.key"}
	given := map[string]string{}
	for _, n := range names {
		data, err := os.ReadFile(filepath.Join(from, n))
		if err != nil {
			t.Fatal(err)
		}
		given[n] = string(data)
	}
	cloud := read(t, "join-control-plane.cloud-config")
	cloud = cloud[strings.Index(cloud, "-   path: /run/kubeadm/"):]
	head := "## template: jinja\n#cloud-config\n\nwrite_files:\n"
	for _, n := range names {
		head += "-   path: /etc/kubernetes/pki/" + n + "\n    owner: root:root\n    permissions: '0600'\n    content: |\n      " + strings.ReplaceAll(given[n], "\n", "\n      ") + "\n"
	}
	ignition := edit(t, "init.ign2.json", func(c map[string]any) {
		for _, f := range c["storage"].(map[string]any)["files"].([]any) {
			f := f.(map[string]any)
			if n, ok := strings.CutPrefix(f["path"].(string), "/etc/kubernetes/pki/"); ok {
				f["contents"] = map[string]any{"source": "data:," + url.PathEscape(given[n])}
			}
		}
	})
	for name, data := range map[string]string{"a control plane that joins, cloud-config": head + cloud, "the first one, Ignition": ignition} {
		t.Run(name, func(t *testing.T) {
			tr, c := translate(t, data)
			root := t.TempDir()
			lay(t, root, c)
			pki := kubeadm.NewPKI(filepath.Join(root, kubeadm.PKIDir), tr.Role)
			if err := pki.Check(); err != nil {
				t.Fatal(err)
			}
			if err := pki.Make(tr.Role, time.Now()); err != nil {
				t.Fatal(err)
			}
			for n, want := range given {
				got, err := os.ReadFile(filepath.Join(root, kubeadm.PKIDir, n))
				if err != nil || string(got) != want {
					t.Errorf("%s is not the one that was given (%v)", n, err)
				}
			}
		})
	}
}

// lay writes the files of a config below a directory.
func lay(t *testing.T, root string, c types.Config) {
	t.Helper()
	for _, f := range c.Storage.Files {
		name := filepath.Join(root, f.Path)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content(t, c, f.Path)), os.FileMode(*f.Mode)); err != nil {
			t.Fatal(err)
		}
	}
}
