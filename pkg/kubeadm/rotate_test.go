package kubeadm_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/kubeadm"
	"github.com/slipway-os/slipway/pkg/kubeadm/kubeadmtest"
)

// A kubeconfig whose certificate the kubelet lost is worthless, and made anew.
func TestAKubeletThatLostItsCertificate(t *testing.T) {
	dir := t.TempDir()
	pki, current := filepath.Join(dir, "pki"), filepath.Join(dir, "kubelet/kubelet-client-current.pem")
	ca := kubeadmtest.PKI(t, pki)["ca"]
	kubeadmtest.Kubeconfigs(t, dir, ca)
	must(t, kubeadm.LetKubeletRotate(dir, filepath.Dir(current)))
	must(t, os.Truncate(current, 0))
	if dropped, err := kubeadm.DropDamagedKubeconfigs(dir, pki, kubeadm.Kubeconfigs(false)); err != nil || len(dropped) != 1 || dropped[0] != "kubelet.conf" {
		t.Errorf("dropped %v, %v", dropped, err)
	}
	if _, err := os.Lstat(current); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the kubelet would start from it: %v", err)
	}
	// And again to the end, over what is left.
	must(t, os.WriteFile(filepath.Join(dir, "kubelet.conf"), kubeadmtest.Kubeconfig(t, "https://x:6443", ca, ca.Sign(t, "kubelet", kubeadmtest.Validity{})), 0o600))
	must(t, kubeadm.LetKubeletRotate(dir, filepath.Dir(current)))
	if dropped, err := kubeadm.DropDamagedKubeconfigs(dir, pki, kubeadm.Kubeconfigs(false)); err != nil || len(dropped) > 0 {
		t.Errorf("dropped %v, %v", dropped, err)
	}
}

func TestLetKubeletRotateNamesWhatIsWrong(t *testing.T) {
	const secret = "aHVudGVyMg"
	for name, content := range map[string]string{
		"empty":      "",
		"not YAML":   "users: [{" + secret,
		"two users":  "users: [{}, {}]",
		"not base64": "users: [{user: {client-certificate-data: '!', client-key-data: '" + secret + "'}}]",
	} {
		dir := t.TempDir()
		must(t, os.WriteFile(filepath.Join(dir, "kubelet.conf"), []byte(content), 0o600))
		err := kubeadm.LetKubeletRotate(dir, filepath.Join(dir, "pki"))
		if err == nil || !strings.Contains(err.Error(), filepath.Join(dir, "kubelet.conf")) || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := kubeadm.LetKubeletRotate(t.TempDir(), t.TempDir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
}
