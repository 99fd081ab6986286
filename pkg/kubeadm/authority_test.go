package kubeadm_test

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/slipway-os/slipway/pkg/kubeadm"
	"github.com/slipway-os/slipway/pkg/kubeadm/kubeadmtest"
	"github.com/slipway-os/slipway/pkg/role"
)

func TestMakeAuthorities(t *testing.T) {
	dir := t.TempDir()
	if err := all(dir).Make(&role.Role{}, time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := all(dir).Check(); err != nil {
		t.Errorf("they are not whole: %v", err)
	}
	before := map[string][]byte{}
	for _, f := range all(dir).AuthorityFiles() {
		info, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(f, ".key") && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %o", f, info.Mode().Perm())
		}
		if before[f], err = os.ReadFile(f); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("never twice", func(t *testing.T) {
		// Half of one is damage, for a person to look at.
		if err := os.Remove(filepath.Join(dir, "ca.key")); err != nil {
			t.Fatal(err)
		}
		if err := all(dir).Make(&role.Role{}, time.Now()); err != nil {
			t.Fatal(err)
		}
		for f, data := range before {
			now, err := os.ReadFile(f)
			if filepath.Base(f) == "ca.key" && filepath.Dir(f) == dir {
				if err == nil {
					t.Errorf("%s was made anew", f)
				}
			} else if !bytes.Equal(now, data) {
				t.Errorf("%s was made anew", f)
			}
		}
	})
	t.Run("as the role says", func(t *testing.T) {
		dir := t.TempDir()
		r := &role.Role{Kubeadm: []map[string]any{{"kind": "ClusterConfiguration", "encryptionAlgorithm": "RSA-2048", "caCertificateValidityPeriod": "48h"}}}
		if err := all(dir).Make(r, time.Now()); err != nil {
			t.Fatal(err)
		}
		pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "etcd/ca.crt"), filepath.Join(dir, "etcd/ca.key"))
		if err != nil {
			t.Fatal(err)
		}
		if pair.Leaf.PublicKeyAlgorithm.String() != "RSA" || pair.Leaf.NotAfter.After(time.Now().Add(49*time.Hour)) || pair.Leaf.Subject.CommonName != "etcd-ca" {
			t.Errorf("%s of %s until %s", pair.Leaf.Subject, pair.Leaf.PublicKeyAlgorithm, pair.Leaf.NotAfter)
		}
	})
}

func TestLetKubeletRotate(t *testing.T) {
	dir := t.TempDir()
	pki := filepath.Join(dir, "kubelet", "pki")
	authorities := kubeadmtest.Authorities(t, filepath.Join(dir, "pki"))
	kubeadmtest.Kubeconfigs(t, dir, authorities["ca"])
	read := func() (u struct {
		Users []struct{ User map[string]string }
	}) {
		data, err := os.ReadFile(filepath.Join(dir, "kubelet.conf"))
		if err == nil {
			err = yaml.Unmarshal(data, &u)
		}
		if err != nil || len(u.Users) != 1 {
			t.Fatalf("%v: %s", err, data)
		}
		return u
	}
	embedded, err := base64.StdEncoding.DecodeString(read().Users[0].User["client-certificate-data"])
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // a second call changes nothing
		if err := kubeadm.LetKubeletRotate(dir, pki); err != nil {
			t.Fatal(err)
		}
		user := read().Users[0].User
		if len(user) != 2 || user["client-certificate"] != filepath.Join(pki, "kubelet-client-current.pem") || user["client-key"] != user["client-certificate"] {
			t.Fatalf("the kubeconfig has %v", user)
		}
		if _, err := tls.LoadX509KeyPair(user["client-certificate"], user["client-key"]); err != nil {
			t.Errorf("the kubelet could not use it: %v", err)
		}
		data, err := os.ReadFile(user["client-certificate"])
		if err != nil || !bytes.HasPrefix(data, embedded) {
			t.Errorf("another certificate: %v", err)
		}
	}
	if info, err := os.Stat(filepath.Join(pki, "kubelet-client-current.pem")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	dropped, err := kubeadm.DropDamagedKubeconfigs(dir, filepath.Join(dir, "pki"), kubeadm.Kubeconfigs(false))
	if err != nil || len(dropped) > 0 {
		t.Errorf("taken for damaged: %v, %v", dropped, err)
	}
}
