package cluster_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/slipway-os/slipway/pkg/cluster"
	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/kubeadm"
	"github.com/slipway-os/slipway/pkg/pki"
	"github.com/slipway-os/slipway/pkg/secrets"
)

// A name does not tell one cluster from another.
func TestADirectoryIsOfOneCluster(t *testing.T) {
	s, other := newSecrets(t, "demo"), newSecrets(t, "demo")
	// A user's own authority may found two clusters.
	sister, err := secrets.New(secrets.Options{Cluster: "demo", Algorithm: pki.DefaultAlgorithm, Now: time.Now(), Authorities: map[string]pki.Pair{"ca": s.Authorities["ca"]}})
	if err != nil {
		t.Fatal(err)
	}
	index, err := parse(t, pair).Index(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, index string
		secrets     *secrets.Secrets
		want        string // %s is the name of the index, and %s the directory
	}{
		{"nothing there", "", other, ""},
		{"the same secrets", string(index), s, ""},
		{"other secrets", string(index), other, "%s: the configs there are of another cluster: its authority is " + s.CAHash() + ", that of the secrets " + other.CAHash() + " (give the secrets of that cluster, or another --out; remove %s if the cluster is to start anew)"},
		{"other secrets with the same authority", string(index), sister, "%s: the configs there are of another cluster: its key of service accounts is " + s.AccountHash() + ", that of the secrets " + sister.AccountHash() + " (give the secrets of that cluster, or another --out; remove %s if the cluster is to start anew)"},
		{"written before there were digests", `{"version": 1, "cluster": "demo"}`, other, ""},
		{"damaged", "{", other, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			name := filepath.Join(dir, cluster.IndexName)
			if c.index != "" {
				if err := os.WriteFile(name, []byte(c.index), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			err := cluster.SameCluster(dir, c.secrets)
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (err == nil || err.Error() != fmt.Sprintf(c.want, name, dir) || diag.ExitCode(err) != diag.ExitInput):
				t.Errorf("got  %v\nwant "+c.want, err, name, dir)
			}
		})
	}
}

// The digest is the one that kubeadm and the nodes tell.
func TestTheDigestIsKubeadms(t *testing.T) {
	s, dir := newSecrets(t, "demo"), t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "ca.crt"), s.Authorities["ca"].Public, 0o644); err != nil {
		t.Fatal(err)
	}
	hash, err := kubeadm.PKI{Dir: dir}.CAHash()
	if err != nil || hash != s.CAHash() {
		t.Errorf("got %s, and on a node %s, %v", s.CAHash(), hash, err)
	}
}
