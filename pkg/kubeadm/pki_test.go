package kubeadm_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-os/slipway/pkg/kubeadm"
	"github.com/slipway-os/slipway/pkg/kubeadm/kubeadmtest"
	"github.com/slipway-os/slipway/pkg/role"
)

// all is what a control plane has that starts a cluster.
func all(dir string) kubeadm.PKI { return kubeadm.NewPKI(dir, &role.Role{Role: role.ControlPlane}) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// harm is what may happen to a file.
type harm struct {
	name string
	do   func(t *testing.T, file string)
}

// copyOf returns a copy of a directory.
func copyOf(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	must(t, os.CopyFS(to, os.DirFS(dir)))
	return to
}

// harms are what power cuts and disks do to files, and hands too.
func harms(t *testing.T) []harm {
	others := t.TempDir()
	kubeadmtest.PKI(t, others)
	return []harm{
		{"missing", func(t *testing.T, file string) { must(t, os.Remove(file)) }},
		{"empty", func(t *testing.T, file string) { must(t, os.Truncate(file, 0)) }},
		{"cut off", func(t *testing.T, file string) {
			info, err := os.Stat(file)
			must(t, err)
			must(t, os.Truncate(file, info.Size()/2))
		}},
		{"zeros", func(t *testing.T, file string) {
			info, err := os.Stat(file)
			must(t, err)
			must(t, os.WriteFile(file, make([]byte, info.Size()), 0o600))
		}},
		{"something else", func(t *testing.T, file string) {
			must(t, os.WriteFile(file, []byte("-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n"), 0o600))
		}},
		{"another's", func(t *testing.T, file string) {
			data, err := os.ReadFile(filepath.Join(others, filepath.Base(file)))
			if errors.Is(err, fs.ErrNotExist) {
				data, err = os.ReadFile(filepath.Join(others, "etcd", filepath.Base(file)))
			}
			must(t, err)
			must(t, os.WriteFile(file, data, 0o600))
		}},
	}
}

func TestWholeAuthorities(t *testing.T) {
	dir := t.TempDir()
	kubeadmtest.PKI(t, dir)
	must(t, all(dir).Check())
	must(t, all(dir).CheckGiven())
	if dropped, err := all(dir).DropDamagedLeaves(); err != nil || len(dropped) > 0 {
		t.Errorf("dropped %v, %v", dropped, err)
	}
}

// kubeadm itself takes an empty or missing key for a good one. Here every
// damage of every file of the authorities is found and named, and no message
// holds a part of a key.
func TestDamagedAuthorities(t *testing.T) {
	whole := t.TempDir()
	kubeadmtest.PKI(t, whole)
	for _, harm := range harms(t) {
		t.Run(harm.name, func(t *testing.T) {
			for _, file := range all("").AuthorityFiles() {
				dir := copyOf(t, whole)
				harm.do(t, filepath.Join(dir, file))
				err := all(dir).Check()
				if err == nil {
					t.Errorf("%s: not found", file)
					continue
				}
				name := strings.TrimSuffix(file, filepath.Ext(file))
				if !strings.Contains(err.Error(), filepath.Join(dir, name)) {
					t.Errorf("%s: the error names another file: %v", file, err)
				}
				if strings.Contains(err.Error(), "PRIVATE") {
					t.Errorf("%s: the error quotes a key: %v", file, err)
				}
				if _, err := all(dir).DropDamagedLeaves(); strings.HasSuffix(name, "ca") && err == nil {
					t.Errorf("%s: leaves are judged by a damaged authority", file)
				}
			}
		})
	}
}

// Whatever is wrong with a leaf, both of its files go, so that kubeadm makes
// it again. The others stay.
func TestDamagedLeaves(t *testing.T) {
	whole := t.TempDir()
	kubeadmtest.PKI(t, whole)
	for _, harm := range harms(t) {
		t.Run(harm.name, func(t *testing.T) {
			for _, file := range all("").LeafFiles() {
				dir := copyOf(t, whole)
				harm.do(t, filepath.Join(dir, file))
				leaf := strings.TrimSuffix(file, filepath.Ext(file))
				dropped, err := all(dir).DropDamagedLeaves()
				if err != nil || !reflect.DeepEqual(dropped, []string{leaf}) {
					t.Errorf("%s: dropped %v, %v", file, dropped, err)
				}
				for _, f := range all(dir).LeafFiles() {
					_, err := os.Stat(f)
					if gone := errors.Is(err, fs.ErrNotExist); gone != strings.HasPrefix(f, filepath.Join(dir, leaf)+".") {
						t.Errorf("%s: %s gone: %v", file, f, gone)
					}
				}
			}
		})
	}
}

// A leaf that is missing altogether has to be made too: kubeadm's later
// phases do not say what is missing.
func TestMissingLeaf(t *testing.T) {
	dir := t.TempDir()
	kubeadmtest.PKI(t, dir)
	must(t, os.Remove(filepath.Join(dir, "etcd/peer.crt")))
	must(t, os.Remove(filepath.Join(dir, "etcd/peer.key")))
	if dropped, err := all(dir).DropDamagedLeaves(); err != nil || !reflect.DeepEqual(dropped, []string{"etcd/peer"}) {
		t.Errorf("got %v, %v", dropped, err)
	}
}

// What cannot be read is not damaged: nothing is removed for it.
func TestUnreadableIsNotDamaged(t *testing.T) {
	dir := t.TempDir()
	kubeadmtest.PKI(t, dir)
	// A directory cannot be read as a file, by root neither.
	file := filepath.Join(dir, "apiserver.key")
	must(t, os.Remove(file))
	must(t, os.Mkdir(file, 0o755))
	if dropped, err := all(dir).DropDamagedLeaves(); err == nil || len(dropped) > 0 {
		t.Errorf("dropped %v, %v", dropped, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "apiserver.crt")); err != nil {
		t.Error(err)
	}
}

func TestDates(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		name     string
		validity kubeadmtest.Validity
		leafOnly bool
		says     string
	}{
		{"authority of the future: the clock is wrong", kubeadmtest.Validity{From: now.Add(time.Hour), To: now.Add(2 * time.Hour)}, false, "valid from"},
		{"authority of the past", kubeadmtest.Validity{From: now.Add(-2 * time.Hour), To: now.Add(-time.Hour)}, false, "expired on"},
		{"leaf of the future: the clock is wrong", kubeadmtest.Validity{From: now.Add(time.Hour), To: now.Add(2 * time.Hour)}, true, ""},
		{"leaf that expired: it is renewed", kubeadmtest.Validity{From: now.Add(-2 * time.Hour), To: now.Add(-time.Hour)}, true, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			authorities := kubeadmtest.PKI(t, dir)
			if c.leafOnly {
				authorities["ca"].Sign(t, "apiserver", c.validity).Write(t, dir, "apiserver")
				dropped, err := all(dir).DropDamagedLeaves()
				if err != nil || len(dropped) > 0 {
					t.Errorf("dropped %v, %v", dropped, err)
				}
				// Another's is damage, whatever its date.
				kubeadmtest.Authority(t, "ca", kubeadmtest.Validity{}).Sign(t, "apiserver", c.validity).Write(t, dir, "apiserver")
				if dropped, err = all(dir).DropDamagedLeaves(); err != nil || !reflect.DeepEqual(dropped, []string{"apiserver"}) {
					t.Errorf("dropped %v of another authority's, %v", dropped, err)
				}
				return
			}
			kubeadmtest.Authority(t, "ca", c.validity).Write(t, dir, "ca")
			err := all(dir).Check()
			var clock *kubeadm.ClockError
			if !errors.As(err, &clock) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "the clock says") {
				t.Errorf("got %v", err)
			}
			// The date may be the clock's fault: nothing is removed for it.
			must(t, all(dir).DropDamagedAuthorities())
			if _, err := os.Stat(filepath.Join(dir, "ca.key")); err != nil {
				t.Error(err)
			}
		})
	}
}

// A user's own authority is used, and never replaced: an interrupted attempt
// removes only what is not whole.
func TestAUsersOwnAuthority(t *testing.T) {
	must(t, all(t.TempDir()).CheckGiven()) // none is right too
	whole := t.TempDir()
	kubeadmtest.Authorities(t, whole)
	for _, file := range all("").AuthorityFiles() {
		dir := copyOf(t, whole)
		must(t, os.Remove(filepath.Join(dir, file)))
		if err := all(dir).CheckGiven(); err == nil {
			t.Errorf("without %s it was accepted", file)
		}
		must(t, all(dir).DropDamagedAuthorities())
		if err := all(dir).CheckGiven(); err != nil {
			t.Errorf("half of %s is left: %v", file, err)
		}
		for _, f := range all("").AuthorityFiles() {
			_, err := os.Stat(filepath.Join(dir, f))
			half := strings.TrimSuffix(f, filepath.Ext(f)) == strings.TrimSuffix(file, filepath.Ext(file))
			if gone := errors.Is(err, fs.ErrNotExist); gone != half {
				t.Errorf("half of %s: %s gone: %v", file, f, gone)
			}
		}
	}
}

func TestALeafIsNoAuthority(t *testing.T) {
	dir := t.TempDir()
	authorities := kubeadmtest.PKI(t, dir)
	authorities["ca"].Sign(t, "ca", kubeadmtest.Validity{}).Write(t, dir, "ca")
	if err := all(dir).Check(); err == nil || !strings.Contains(err.Error(), "no certificate authority") {
		t.Errorf("got %v", err)
	}
}

// The hash is what `openssl x509 -pubkey | openssl pkey -pubin -outform der |
// openssl dgst -sha256` says of this certificate.
func TestCAHash(t *testing.T) {
	const known = `-----BEGIN CERTIFICATE-----
MIIBgTCCASegAwIBAgIUfL/110MHKpB03wbjdUYXpHTjldQwCgYIKoZIzj0EAwIw
FTETMBEGA1UEAwwKa3ViZXJuZXRlczAgFw0yNjExMjUwMzAxNTlaGA8yMTI2MTEw
MTAzMDE1OVowFTETMBEGA1UEAwwKa3ViZXJuZXRlczBZMBMGByqGSM49AgEGCCqG
SM49AwEHA0IABCEJLEgl26GUCrh22/GKQyIxAvgAHtpeTlIN6dUCVFKcqSG9fIk9
5nO6L+w4CEDfG5YWGEjXjJJsN1e3pUjAVWSjUzBRMB0GA1UdDgQWBBShEpL5yMX5
sJ6YQ2BFb0yPEZMvLjAfBgNVHSMEGDAWgBShEpL5yMX5sJ6YQ2BFb0yPEZMvLjAP
BgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0gAMEUCIGCJZX7fev9gPG/gIWC2
+3mvy3A0j80iciw+HtLj4NCaAiEAumnu45dA4YHXkEXELNAWnetk4je9ZVjflzNa
6SEGxCg=
-----END CERTIFICATE-----
`
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "ca.crt"), []byte(known), 0o644))
	got, err := all(dir).CAHash()
	if want := "sha256:fafe7086393529b4b76afe485bd3200c92983792e654a64a89289e6a4aa5dec7"; err != nil || got != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
}

func TestDamagedKubeconfigs(t *testing.T) {
	whole := t.TempDir()
	ca := kubeadmtest.PKI(t, filepath.Join(whole, "pki"))["ca"]
	kubeadmtest.Kubeconfigs(t, whole, ca)
	must(t, os.WriteFile(filepath.Join(whole, "audit.conf"), nil, 0o600))
	for _, c := range []struct {
		name   string
		do     func(t *testing.T, file string, ca kubeadmtest.Pair)
		stays  bool
		remade bool
	}{
		{"whole", func(*testing.T, string, kubeadmtest.Pair) {}, true, false},
		{"missing", func(t *testing.T, file string, _ kubeadmtest.Pair) { must(t, os.Remove(file)) }, false, true},
		{"empty", func(t *testing.T, file string, _ kubeadmtest.Pair) { must(t, os.Truncate(file, 0)) }, false, true},
		{"cut off", func(t *testing.T, file string, _ kubeadmtest.Pair) { must(t, os.Truncate(file, 700)) }, false, true},
		{"zeros", func(t *testing.T, file string, _ kubeadmtest.Pair) {
			must(t, os.WriteFile(file, make([]byte, 4000), 0o600))
		}, false, true},
		{"of another cluster", func(t *testing.T, file string, _ kubeadmtest.Pair) {
			other := kubeadmtest.Authority(t, "ca", kubeadmtest.Validity{})
			must(t, os.WriteFile(file, kubeadmtest.Kubeconfig(t, "https://x:1", other, other.Sign(t, "x", kubeadmtest.Validity{})), 0o600))
		}, false, true},
		{"signed by another authority", func(t *testing.T, file string, ca kubeadmtest.Pair) {
			other := kubeadmtest.Authority(t, "ca", kubeadmtest.Validity{})
			must(t, os.WriteFile(file, kubeadmtest.Kubeconfig(t, "https://x:1", ca, other.Sign(t, "x", kubeadmtest.Validity{})), 0o600))
		}, false, true},
		{"with another's key", func(t *testing.T, file string, ca kubeadmtest.Pair) {
			client := ca.Sign(t, "x", kubeadmtest.Validity{})
			client.Key = ca.Key
			must(t, os.WriteFile(file, kubeadmtest.Kubeconfig(t, "https://x:1", ca, client), 0o600))
		}, false, true},
		{"expired: it is renewed", func(t *testing.T, file string, ca kubeadmtest.Pair) {
			client := ca.Sign(t, "x", kubeadmtest.Validity{From: time.Now().Add(-2 * time.Hour), To: time.Now().Add(-time.Hour)})
			must(t, os.WriteFile(file, kubeadmtest.Kubeconfig(t, "https://x:1", ca, client), 0o600))
		}, true, false},
		{"somebody's own, without a client certificate", func(t *testing.T, file string, _ kubeadmtest.Pair) {
			must(t, os.WriteFile(file, []byte("clusters: [{cluster: {server: 'https://x:1'}}]\nusers: [{user: {exec: {command: login}}}]\n"), 0o600))
		}, true, false},
		{"certificate in a file", func(t *testing.T, file string, ca kubeadmtest.Pair) {
			pem := writePEM(t, ca.Sign(t, "x", kubeadmtest.Validity{}))
			must(t, os.WriteFile(file, []byte("clusters: [{}]\nusers: [{user: {client-certificate: "+pem+", client-key: "+pem+"}}]\n"), 0o600))
		}, true, false},
		{"certificate in a file that expired", func(t *testing.T, file string, ca kubeadmtest.Pair) {
			pem := writePEM(t, ca.Sign(t, "x", kubeadmtest.Validity{From: time.Now().Add(-2 * time.Hour), To: time.Now().Add(-time.Hour)}))
			must(t, os.WriteFile(file, []byte("clusters: [{}]\nusers: [{user: {client-certificate: "+pem+", client-key: "+pem+"}}]\n"), 0o600))
			t.Cleanup(func() {
				if _, err := os.Stat(pem); err != nil {
					t.Errorf("it could not be renewed: %v", err)
				}
			})
		}, true, false},
		{"certificate in a file that is gone", func(t *testing.T, file string, _ kubeadmtest.Pair) {
			must(t, os.WriteFile(file, []byte("clusters: [{}]\nusers: [{user: {client-certificate: /nowhere/x.pem, client-key: /nowhere/x.pem}}]\n"), 0o600))
		}, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, name := range []string{"admin.conf", "kubelet.conf"} {
				dir := copyOf(t, whole)
				file := filepath.Join(dir, name)
				c.do(t, file, ca)
				dropped, err := kubeadm.DropDamagedKubeconfigs(dir, filepath.Join(dir, "pki"), kubeadm.Kubeconfigs(false))
				must(t, err)
				if remade := slices.Contains(dropped, name); remade != c.remade || len(dropped) > 1 {
					t.Errorf("%s: dropped %v", name, dropped)
				}
				if _, err := os.Stat(file); (err == nil) != c.stays {
					t.Errorf("%s: %v", name, err)
				}
				if _, err := os.Stat(filepath.Join(dir, "audit.conf")); err != nil {
					t.Errorf("%v: it is none of kubeadm's", err)
				}
			}
		})
	}
}

// writePEM writes certificate and key into one file, as the kubelet does.
func writePEM(t *testing.T, p kubeadmtest.Pair) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kubelet-client-current.pem")
	must(t, os.WriteFile(file, append(p.CertPEM(), p.KeyPEM(t)...), 0o600))
	return file
}
