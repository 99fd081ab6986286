package configurator

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/slipway-os/slipway/pkg/kubeadm"
	"github.com/slipway-os/slipway/pkg/kubeadm/kubeadmtest"
	"github.com/slipway-os/slipway/pkg/role"
)

// makeAged makes the certificates of a control plane that live as long as given.
func makeAged(t *testing.T, lives kubeadmtest.Validity) (dir string, authorities map[string]kubeadmtest.Pair) {
	t.Helper()
	dir = t.TempDir()
	pki := filepath.Join(dir, "pki")
	authorities = kubeadmtest.Authorities(t, pki)
	for leaf, by := range all(pki).Leaves {
		authorities[by].Sign(t, leaf, lives).Write(t, pki, leaf)
	}
	ca := authorities["ca"]
	for _, name := range kubeadm.Kubeconfigs(true) {
		write(t, dir, name, string(kubeadmtest.Kubeconfig(t, "https://x:6443", ca, ca.Sign(t, name, lives))))
	}
	return dir, authorities
}

// newAgedSite makes a control plane from it; one that joined has its kubelet's
// certificate from the cluster.
func newAgedSite(t *testing.T, dir string, ca kubeadmtest.Pair, lives kubeadmtest.Validity, join *role.Join, upTo string) *site {
	t.Helper()
	s := newSite(t, dir, "")
	s.role = &role.Role{Role: role.ControlPlane, Join: join}
	for _, step := range s.steps() {
		must(t, s.journal.Begin(step.name))
		must(t, s.journal.End(step.name, 0))
		if step.name == upTo {
			break
		}
	}
	client := ca.Sign(t, "system:node:cp2", lives)
	write(t, s.root, kubeletPKI+"/kubelet-client-2026.pem", string(client.CertPEM())+string(client.KeyPEM(t)))
	must(t, os.Symlink("kubelet-client-2026.pem", s.path(kubeletPKI+"/kubelet-client-current.pem")))
	own := s.path(kubeletPKI + "/kubelet-client-current.pem")
	write(t, s.root, kubeletConfig, "clusters: [{}]\nusers: [{user: {client-certificate: "+own+", client-key: "+own+"}}]\n")
	if join == nil {
		write(t, s.root, superAdminConfig, string(kubeadmtest.Kubeconfig(t, "https://x:6443", ca, ca.Sign(t, "x", lives))))
	}
	for _, name := range []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler"} {
		write(t, s.root, kubeadm.ConfigDir+"/manifests/"+name+".yaml", "{kind: Pod, metadata: {name: x}}")
	}
	return s
}

// pods are the static pods that are started anew.
func (s *site) restarted() string {
	s.t.Helper()
	var names []string
	for _, name := range []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler"} {
		data, err := os.ReadFile(s.manifest(name))
		must(s.t, err)
		if strings.Contains(string(data), "credentials-renewed") {
			names = append(names, name)
		}
	}
	return strings.Join(names, " ")
}

// A control plane that was off until its certificates had ended starts with
// others, which need no cluster: its own API server is what it would ask.
func TestCertificatesThatEnded(t *testing.T) {
	ended := kubeadmtest.Validity{From: time.Now().Add(-20 * time.Hour), To: time.Now().Add(-time.Hour)}
	dir, authorities := makeAged(t, ended)
	for _, c := range []struct {
		name, upTo string
		join       *role.Join
	}{
		{"of one that started the cluster", ready, nil},
		{"of one that joined", ready, &role.Join{}},
		{"of one that was joining", "kubeconfigs", &role.Join{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newAgedSite(t, dir, authorities["ca"], ended, c.join, c.upTo)
			must(t, s.inspect())
			for _, step := range []string{"certificates", "kubeconfigs"} {
				if !s.journal.Done(step) {
					t.Errorf("step %s would be done again, with the cluster", step)
				}
			}
			must(t, kubeadm.CheckKubeconfigs(s.path(kubeadm.ConfigDir), s.path(kubeadm.PKIDir), append(s.kubeconfigs(), "kubelet.conf")))
			must(t, kubeadm.CheckKubeletClient(s.path(kubeletPKI)))
			if got, want := s.restarted(), "kube-controller-manager kube-scheduler"; got != want {
				t.Errorf("started anew: %q, want %q", got, want)
			}
			if said := strings.Join(*s.said, "\n"); !strings.Contains(said, "signed anew") || !strings.Contains(said, "apiserver.crt") || strings.Contains(said, "WARNING") {
				t.Errorf("said %q", said)
			}
			*s.said = nil
			must(t, s.inspect())
			if len(*s.said) > 0 {
				t.Errorf("a second look said %q", *s.said)
			}
		})
	}
}

// A boot with a clock that is behind destroys nothing, and says what is wrong.
func TestAClockThatIsBehindDestroysNothing(t *testing.T) {
	later := kubeadmtest.Validity{From: time.Now().Add(time.Hour), To: time.Now().Add(20 * time.Hour)}
	dir, authorities := makeAged(t, later)
	for _, join := range []*role.Join{nil, {}} {
		for _, upTo := range []string{"kubeconfigs", ready} {
			s := newAgedSite(t, dir, authorities["ca"], later, join, upTo)
			err := s.inspect()
			said := strings.Join(*s.said, "\n")
			if err != nil {
				said = err.Error()
			}
			if runsOn := err == nil; runsOn != (upTo == ready) || !strings.Contains(said, "THE CLOCK IS WRONG: ") {
				t.Errorf("after %s: %v, said %q", upTo, err, said)
			}
			for _, file := range []string{"pki/apiserver.crt", "pki/etcd/peer.key", "admin.conf", "scheduler.conf", "kubelet.conf"} {
				if _, err := os.Stat(s.path(filepath.Join(kubeadm.ConfigDir, file))); err != nil {
					t.Errorf("after %s: %v", upTo, err)
				}
			}
			if !s.journal.Done("certificates") || !s.journal.Done("kubeconfigs") || s.restarted() != "" {
				t.Errorf("after %s something is made again", upTo)
			}
		}
	}
}

// Where the authority is kept elsewhere, a node says what ends, and when.
func TestCertificatesOfOthersThatEnd(t *testing.T) {
	soon := kubeadmtest.Validity{From: time.Now().Add(-20 * time.Hour), To: time.Now().Add(time.Hour)}
	dir, authorities := makeAged(t, soon)
	s := newAgedSite(t, dir, authorities["ca"], soon, &role.Join{}, ready)
	s.remove("pki/ca.key")
	s.pinned.Keyless = []string{"ca"}
	before, err := os.ReadFile(s.path(kubeadm.PKIDir + "/apiserver.crt"))
	must(t, err)
	must(t, s.inspect())
	if after, err := os.ReadFile(s.path(kubeadm.PKIDir + "/apiserver.crt")); err != nil || string(after) != string(before) {
		t.Errorf("it is another one: %v", err)
	}
	said := strings.Join(*s.said, "\n")
	for _, want := range []string{"WARNING: " + s.path(kubeadm.PKIDir+"/apiserver.crt") + " ends on " + soon.To.UTC().Format(time.DateTime), "etcd/peer.crt"} {
		if !strings.Contains(said, want) {
			t.Errorf("no %q in %q", want, said)
		}
	}
}
