package configurator

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/slipway-os/slipway/pkg/journal"
	"github.com/slipway-os/slipway/pkg/kubeadm"
	"github.com/slipway-os/slipway/pkg/kubeadm/kubeadmtest"
	"github.com/slipway-os/slipway/pkg/role"
)

// site is a node's disk with all that kubeadm makes, as it was when the power
// went.
type site struct {
	*Configurator
	t    *testing.T
	said *[]string
}

// newSite makes a node whose steps are done up to, and with, the named one.
// all is what a control plane has that starts a cluster.
func all(dir string) kubeadm.PKI { return kubeadm.NewPKI(dir, &role.Role{Role: role.ControlPlane}) }

func newSite(t *testing.T, whole, upTo string) *site {
	t.Helper()
	root := t.TempDir()
	must(t, os.CopyFS(filepath.Join(root, "etc/kubernetes"), os.DirFS(whole)))
	report, said := newReport(t)
	s := &site{&Configurator{root: root, role: &role.Role{}, status: report}, t, said}
	var done []string
	for _, step := range s.steps() {
		if upTo != "" {
			done = append(done, fmt.Sprintf(`{"step":%q,"begun":"2026-01-02T03:04:05Z","done":"2026-01-02T03:04:06Z","attempts":1}`, step.name))
		}
		if step.name == upTo {
			break
		}
	}
	write(t, root, journalFile, `{"format":1,"steps":[`+strings.Join(done, ",")+`]}`)
	j, err := journal.Open(filepath.Join(root, journalFile))
	must(t, err)
	s.journal = j
	return s
}

// makePKI makes what is copied into each site.
func makePKI(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	kubeadmtest.Kubeconfigs(t, dir, kubeadmtest.PKI(t, filepath.Join(dir, "pki"))["ca"])
	return dir
}

func (s *site) empty(name string) {
	s.t.Helper()
	must(s.t, os.Truncate(filepath.Join(s.root, "etc/kubernetes", name), 0))
}

func (s *site) remove(name string) {
	s.t.Helper()
	must(s.t, os.Remove(filepath.Join(s.root, "etc/kubernetes", name)))
}

// TestDamage is the table of what kubeadm does not notice, row by row: what is
// made again, and what is refused because nothing can make it again.
func TestDamage(t *testing.T) {
	whole := makePKI(t)
	const refused, certificates, kubeconfigs = "refused", "certificates", "kubeconfigs"
	for _, row := range []struct {
		file    string
		empty   string // what becomes of it when it is empty
		missing string
	}{
		// kubeadm: exit 0, not repaired, a broken control plane later.
		{"pki/apiserver.key", certificates, certificates},
		{"pki/etcd/peer.key", certificates, certificates},
		{"pki/etcd/ca.key", refused, refused},
		{"pki/sa.pub", refused, refused},
		// kubeadm: exit 0, taken for an external authority.
		{"pki/ca.key", refused, refused},
		// kubeadm: exit 0, a new key written silently.
		{"pki/sa.key", refused, refused},
		// kubeadm: a loud error.
		{"pki/ca.crt", refused, refused},
		{"pki/apiserver.crt", certificates, certificates},
		{"controller-manager.conf", kubeconfigs, kubeconfigs},
		// kubeadm: made again if missing.
		{"admin.conf", kubeconfigs, kubeconfigs},
		{"kubelet.conf", kubeconfigs, kubeconfigs},
	} {
		for how, want := range map[string]string{"empty": row.empty, "missing": row.missing} {
			t.Run(row.file+" "+how, func(t *testing.T) {
				s := newSite(t, whole, "coredns")
				if how == "empty" {
					s.empty(row.file)
				} else {
					s.remove(row.file)
				}
				err := s.inspect()
				var fatal *FatalError
				if (want == refused) != errors.As(err, &fatal) {
					t.Fatalf("got %v, want %s", err, want)
				}
				if want == refused {
					name := strings.TrimSuffix(row.file, filepath.Ext(row.file))
					if !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "backup") {
						t.Errorf("it does not say what to do: %v", err)
					}
				} else {
					must(t, err)
				}
				for _, step := range []string{certificates, kubeconfigs} {
					if done := s.journal.Done(step); done == (step == want) {
						t.Errorf("step %s done: %v, want %s to be done again", step, done, want)
					}
				}
				if !s.journal.Done("authorities") {
					t.Error("the authorities would be made again")
				}
				// A second look finds nothing more.
				if again := s.inspect(); (again == nil) != (err == nil) {
					t.Errorf("a second look: %v", again)
				}
			})
		}
	}
}

// After Ready, a node repairs what can be repaired, and runs on with what
// cannot: it says so.
func TestDamageAfterReady(t *testing.T) {
	whole := makePKI(t)
	for _, c := range []struct {
		name, file string
		redo       string
		warns      bool
	}{
		{"nothing", "", "", false},
		{"a leaf", "pki/apiserver.key", "certificates", false},
		{"a kubeconfig", "scheduler.conf", "kubeconfigs", false},
		{"the kubelet's kubeconfig", "kubelet.conf", "kubeconfigs", false},
		{"the key to everything, which was taken off the node", "super-admin.conf", "", false},
		{"an authority", "pki/ca.key", "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t, whole, ready)
			if c.file != "" {
				s.remove(c.file)
			}
			must(t, s.inspect())
			var redo []string
			for _, step := range s.steps() {
				if !s.journal.Done(step.name) {
					redo = append(redo, step.name)
				}
			}
			if got := strings.Join(redo, " "); got != c.redo {
				t.Errorf("to be done again: %q, want %q", got, c.redo)
			}
			if warned := strings.Contains(strings.Join(*s.said, "\n"), "WARNING"); warned != c.warns {
				t.Errorf("said %q", *s.said)
			}
		})
	}
}

// A node that is not to have the key of an authority does not go on with it;
// one that was Ready says so.
func TestForeignKeys(t *testing.T) {
	whole := makePKI(t)
	for _, c := range []struct {
		name string
		role role.Role
		want string
	}{
		{"a worker", role.Role{Role: role.Worker}, `/etc/kubernetes/pki/ca.key does not go with role "worker": whoever has it owns the cluster (remove it here, and leave it out of the config)`},
		{"an etcd member", role.Role{Role: role.Etcd}, `/etc/kubernetes/pki/ca.key does not go with role "etcd": whoever has it owns the cluster (remove it here, and leave it out of the config)`},
		{"a control plane without etcd", role.Role{Role: role.ControlPlane, Etcd: &role.EtcdCluster{}}, "/etc/kubernetes/pki/etcd/ca.key does not go with etcd.members: a control plane needs the certificate only (remove it here, and leave it out of the config)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t, whole, "network")
			s.role = &c.role
			err := s.inspect()
			if fatal := (&FatalError{}); !errors.As(err, &fatal) || err.Error() != c.want {
				t.Errorf("got  %v\nwant %v", err, c.want)
			}
			s = newSite(t, whole, ready)
			s.role = &c.role
			if s.inspect(); !strings.Contains(strings.Join(*s.said, "\n"), "WARNING: "+c.want) {
				t.Errorf("said %q", *s.said)
			}
		})
	}
}

// A clock before the cluster's own date is named for what it is, and waited
// for: time synchronisation may set it.
func TestWrongClock(t *testing.T) {
	dir := t.TempDir()
	kubeadmtest.PKI(t, filepath.Join(dir, "pki"))
	kubeadmtest.Authority(t, "ca", kubeadmtest.Validity{From: time.Now().Add(time.Hour), To: time.Now().Add(2 * time.Hour)}).Write(t, filepath.Join(dir, "pki"), "ca")
	for _, upTo := range []string{"network", "authorities", ready} {
		s := newSite(t, dir, upTo)
		err := s.inspect()
		var fatal *FatalError
		if err == nil || errors.As(err, &fatal) || !strings.HasPrefix(err.Error(), "THE CLOCK IS WRONG: ") {
			t.Errorf("after %s: %v", upTo, err)
		}
		if upTo != "network" && !s.journal.Done("authorities") {
			t.Errorf("after %s: the authorities would be made again", upTo)
		}
	}
}

// A user's own authority is taken whole or not at all, and an attempt that is
// cut off never replaces it.
func TestAUsersOwnAuthority(t *testing.T) {
	whole := t.TempDir()
	kubeadmtest.Authorities(t, filepath.Join(whole, "pki"))
	step := func(s *site) step {
		for _, step := range s.steps() {
			if step.name == "authorities" {
				return step
			}
		}
		t.Fatal("there is no such step")
		panic(0)
	}
	t.Run("whole", func(t *testing.T) {
		s := newSite(t, whole, "network")
		must(t, s.inspect())
		before, err := all(s.path(kubeadm.PKIDir)).CAHash()
		must(t, err)
		must(t, s.journal.Begin("authorities")) // and the power is cut
		must(t, s.inspect())
		must(t, step(s).clean())
		if after, err := all(s.path(kubeadm.PKIDir)).CAHash(); err != nil || after != before {
			t.Errorf("%s became %s, %v", before, after, err)
		}
	})
	t.Run("without its key", func(t *testing.T) {
		s := newSite(t, whole, "network")
		s.remove("pki/ca.key")
		err := s.inspect()
		var fatal *FatalError
		if !errors.As(err, &fatal) || !strings.Contains(err.Error(), "give each with its key") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("what a cut left of made ones goes", func(t *testing.T) {
		s := newSite(t, whole, "network")
		must(t, s.journal.Begin("authorities"))
		s.empty("pki/etcd/ca.crt")
		must(t, s.inspect())
		must(t, step(s).clean())
		if _, err := os.Stat(s.path(kubeadm.PKIDir + "/etcd/ca.key")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the key of half an authority: %v", err)
		}
		if _, err := os.Stat(s.path(kubeadm.PKIDir + "/ca.key")); err != nil {
			t.Error(err)
		}
	})
}

// Cleaning up touches nothing but what kubeadm makes: static pods and files of
// the user's own lie in the same directories.
func TestCleaningIsNarrow(t *testing.T) {
	s := newSite(t, makePKI(t), "")
	s.systemctl = func(context.Context, ...string) error { return nil }
	theirs := []string{
		"etc/kubernetes/manifests/kube-vip.yaml", "etc/kubernetes/manifests/my-etcd.yaml", "etc/kubernetes/audit.conf",
		"etc/kubernetes/pki/other.crt", "var/lib/kubelet/pki/kubelet.crt", "etc/kubernetes/patches/etcd.yaml",
	}
	ours := []string{
		"etc/kubernetes/manifests/etcd.yaml", "etc/kubernetes/manifests/kube-apiserver.yaml",
		"etc/kubernetes/manifests/kube-controller-manager.yaml", "etc/kubernetes/manifests/kube-scheduler.yaml",
		"var/lib/kubelet/config.yaml", "var/lib/kubelet/instance-config.yaml", "var/lib/kubelet/kubeadm-flags.env",
	}
	for _, f := range append(theirs, ours...) {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(s.root, f)), 0o755))
		must(t, os.WriteFile(filepath.Join(s.root, f), []byte("x"), 0o600))
	}
	for _, step := range s.steps() {
		if step.clean != nil {
			must(t, step.clean())
			must(t, step.clean()) // as often as one likes
		}
	}
	for _, f := range theirs {
		if _, err := os.Stat(filepath.Join(s.root, f)); err != nil {
			t.Error(err)
		}
	}
	for _, f := range ours {
		if _, err := os.Stat(filepath.Join(s.root, f)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", f, err)
		}
	}
}
