package kubeadm_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/slipway-os/slipway/pkg/kubeadm"
	"github.com/slipway-os/slipway/pkg/kubeadm/kubeadmtest"
	"github.com/slipway-os/slipway/pkg/role"
)

const (
	day  = 24 * time.Hour
	year = 365 * day
)

// aged is a control plane whose certificates began some time ago.
type aged struct {
	t           *testing.T
	dir         string
	authorities map[string]kubeadmtest.Pair
}

// newAged makes one whose authorities live for ten years, and all else for one.
func newAged(t *testing.T, began time.Time) aged {
	t.Helper()
	a := aged{t, t.TempDir(), map[string]kubeadmtest.Pair{}}
	all := all(a.pki())
	for _, name := range all.Authorities {
		a.authorities[name] = kubeadmtest.Authority(t, name, kubeadmtest.Validity{From: began, To: began.Add(10 * year)})
		a.authorities[name].Write(t, a.pki(), name)
	}
	lives := kubeadmtest.Validity{From: began, To: began.Add(year)}
	for leaf, by := range all.Leaves {
		a.authorities[by].Sign(t, leaf, lives).Write(t, a.pki(), leaf)
	}
	ca := a.authorities["ca"]
	for _, name := range kubeadm.Kubeconfigs(false) {
		must(t, os.WriteFile(filepath.Join(a.dir, name), kubeadmtest.Kubeconfig(t, "https://x:6443", ca, ca.Sign(t, name, lives)), 0o600))
	}
	must(t, kubeadm.LetKubeletRotate(a.dir, a.kubelet()))
	return a
}

func (a aged) pki() string     { return filepath.Join(a.dir, "pki") }
func (a aged) kubelet() string { return filepath.Join(a.dir, "kubelet") }

// renewal is that of a control plane that joined, or that started the cluster.
func (a aged) renewal(joined bool) kubeadm.Renewal {
	r := kubeadm.Renewal{PKI: all(a.pki()), Kubelet: kubeadm.KubeletClient(a.kubelet()), Period: year}
	for _, name := range kubeadm.Kubeconfigs(joined) {
		r.Kubeconfigs = append(r.Kubeconfigs, filepath.Join(a.dir, name))
	}
	return r
}

// holders are the files that hold certificates that are renewed.
func (a aged) holders(r kubeadm.Renewal) []string {
	var files []string
	for leaf := range r.PKI.Leaves {
		files = append(files, filepath.Join(a.pki(), leaf+".crt"))
	}
	for _, f := range r.Kubeconfigs {
		if filepath.Base(f) != "kubelet.conf" { // it names the kubelet's file
			files = append(files, f)
		}
	}
	slices.Sort(files)
	return append(files, filepath.Join(a.kubelet(), "kubelet-client-first.pem"))
}

// content reads all files; links stay what they are.
func (a aged) content() map[string]string {
	a.t.Helper()
	files := map[string]string{}
	must(a.t, filepath.WalkDir(a.dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(name)
		files[name] = string(data)
		return err
	}))
	return files
}

// pair reads the certificate and key of a holder.
func (a aged) pair(file string) tls.Certificate {
	a.t.Helper()
	cert, err := os.ReadFile(file)
	must(a.t, err)
	key := cert
	switch filepath.Ext(file) {
	case ".crt":
		key, err = os.ReadFile(strings.TrimSuffix(file, ".crt") + ".key")
		must(a.t, err)
	case ".conf":
		var k struct {
			Users []struct {
				User struct {
					Cert string `yaml:"client-certificate-data"`
					Key  string `yaml:"client-key-data"`
				}
			}
		}
		must(a.t, yaml.Unmarshal(cert, &k))
		cert, err = base64.StdEncoding.DecodeString(k.Users[0].User.Cert)
		must(a.t, err)
		key, err = base64.StdEncoding.DecodeString(k.Users[0].User.Key)
		must(a.t, err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	must(a.t, err)
	return pair
}

func TestRenewal(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		name  string
		began time.Time
		due   bool
	}{
		{"new", now.Add(-day), false},
		{"more than a third is left", now.Add(-year*2/3 + day), false},
		{"less than a third is left", now.Add(-year*2/3 - day), true},
		{"ended while the node was off", now.Add(-3 * year), true},
	} {
		for _, joined := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, joined %v", c.name, joined), func(t *testing.T) {
				a := newAged(t, c.began)
				r := a.renewal(joined)
				before, pairs := a.content(), map[string]tls.Certificate{}
				for _, f := range a.holders(r) {
					pairs[f] = a.pair(f)
				}
				done, err := r.Run(now)
				must(t, err)
				var want []string
				if c.due {
					want = a.holders(r)
				}
				if got := slices.Sorted(slices.Values(done.Files)); !reflect.DeepEqual(got, slices.Sorted(slices.Values(want))) || len(done.Ending) > 0 {
					t.Errorf("renewed %v, want %v; ending %v", got, want, done.Ending)
				}
				for f, data := range a.content() {
					if same := data == before[f]; same == slices.Contains(want, f) {
						t.Errorf("%s stayed: %v", f, same)
					}
				}
				for _, f := range want {
					was, is := pairs[f], a.pair(f)
					if !was.Leaf.PublicKey.(*ecdsa.PublicKey).Equal(is.Leaf.PublicKey) {
						t.Errorf("%s has another key", f)
					}
					if end := is.Leaf.NotAfter.Sub(now); end < year-time.Minute || end > year {
						t.Errorf("%s lives for %v", f, end)
					}
				}
				if again, err := r.Run(now); err != nil || len(again.Files) > 0 {
					t.Errorf("again: %v, %v", again, err)
				}
				if dropped, err := all(a.pki()).DropDamagedLeaves(); err != nil || len(dropped) > 0 {
					t.Errorf("dropped %v, %v", dropped, err)
				}
				if err := kubeadm.CheckKubeconfigs(a.dir, a.pki(), kubeadm.Kubeconfigs(joined)); c.due && err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// The power may go between any two files: what is left is done by the next
// run, and what was cut off is cleared away.
func TestRenewalIsCutOff(t *testing.T) {
	now := time.Now()
	whole := newAged(t, now.Add(-2*year))
	holders := whole.holders(whole.renewal(false))
	for n := range holders {
		dir := t.TempDir()
		a := aged{t, dir, whole.authorities}
		must(t, os.CopyFS(dir, os.DirFS(whole.dir)))
		r := a.renewal(false)
		// A run over the first n files, and half of the next.
		_, err := r.Run(now)
		must(t, err)
		for _, f := range holders[n:] {
			rest := strings.TrimPrefix(f, whole.dir)
			data, err := os.ReadFile(f)
			must(t, err)
			must(t, os.WriteFile(dir+rest, data, 0o600))
		}
		next := dir + strings.TrimPrefix(holders[n], whole.dir)
		torn := filepath.Join(filepath.Dir(next), "."+filepath.Base(next)+"-123")
		must(t, os.WriteFile(torn, []byte("half"), 0o600))
		done, err := r.Run(now)
		if err != nil || len(done.Files) != len(holders)-n {
			t.Errorf("after %d: %v, %v", n, done.Files, err)
		}
		for _, f := range a.holders(r) {
			if end := a.pair(f).Leaf.NotAfter; end.Before(now.Add(year - time.Minute)) {
				t.Errorf("after %d: %s ends on %v", n, f, end)
			}
		}
		if _, err := os.Stat(torn); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("after %d: %s is left: %v", n, torn, err)
		}
	}
}

// What is not to be signed anew stays as it is, byte by byte.
func TestRenewalLeaves(t *testing.T) {
	now := time.Now()
	later := kubeadmtest.Validity{From: now.Add(day), To: now.Add(year)}
	for _, c := range []struct {
		name   string
		began  time.Time
		do     func(a aged, r *kubeadm.Renewal)
		stays  []string // of the holders, below the directory
		clock  bool
		ending string
	}{
		{"a leaf that is only valid later", now.Add(-day), func(a aged, _ *kubeadm.Renewal) {
			a.authorities["ca"].Sign(a.t, "apiserver", later).Write(a.t, a.pki(), "apiserver")
		}, []string{"pki/apiserver.crt"}, true, ""},
		{"a kubeconfig that is only valid later", now.Add(-day), func(a aged, _ *kubeadm.Renewal) {
			ca := a.authorities["ca"]
			must(a.t, os.WriteFile(filepath.Join(a.dir, "admin.conf"), kubeadmtest.Kubeconfig(a.t, "https://x:1", ca, ca.Sign(a.t, "x", later)), 0o600))
		}, []string{"admin.conf"}, true, ""},
		{"a kubelet's certificate that is only valid later", now.Add(-day), func(a aged, _ *kubeadm.Renewal) {
			p := a.authorities["ca"].Sign(a.t, "x", later)
			must(a.t, os.WriteFile(filepath.Join(a.kubelet(), "kubelet-client-first.pem"), append(p.CertPEM(), p.KeyPEM(a.t)...), 0o600))
		}, []string{"kubelet/kubelet-client-first.pem"}, true, ""},
		{"signed elsewhere, ending soon", now.Add(-year + 20*day), func(a aged, r *kubeadm.Renewal) {
			must(a.t, os.Remove(filepath.Join(a.pki(), "ca.key")))
			r.PKI = r.PKI.Without([]string{"ca"})
		}, []string{"pki/apiserver.crt", "admin.conf", "kubelet/kubelet-client-first.pem"}, false, "apiserver.crt ends on " + now.Add(20*day).UTC().Format(time.DateOnly)},
		{"signed elsewhere, ended", now.Add(-2 * year), func(a aged, r *kubeadm.Renewal) {
			must(a.t, os.Remove(filepath.Join(a.pki(), "ca.key")))
			r.PKI = r.PKI.Without([]string{"ca"})
		}, []string{"pki/apiserver.crt", "admin.conf"}, false, ""},
		{"the authority's key is lost", now.Add(-2 * year), func(a aged, _ *kubeadm.Renewal) {
			must(a.t, os.Remove(filepath.Join(a.pki(), "etcd/ca.key")))
		}, []string{"pki/etcd/peer.crt", "pki/apiserver-etcd-client.crt"}, false, ""},
		{"the key is damaged", now.Add(-2 * year), func(a aged, _ *kubeadm.Renewal) {
			must(a.t, os.Truncate(filepath.Join(a.pki(), "apiserver.key"), 10))
		}, []string{"pki/apiserver.crt"}, false, ""},
		{"another authority signed it", now.Add(-2 * year), func(a aged, _ *kubeadm.Renewal) {
			a.authorities["etcd/ca"].Sign(a.t, "apiserver", kubeadmtest.Validity{From: now.Add(-2 * day), To: now.Add(-day)}).Write(a.t, a.pki(), "apiserver")
		}, []string{"pki/apiserver.crt"}, false, ""},
		{"the authority is not valid yet", now.Add(-2 * year), func(a aged, _ *kubeadm.Renewal) {
			kubeadmtest.Authority(a.t, "ca", later).Write(a.t, a.pki(), "ca")
		}, []string{"pki/apiserver.crt", "admin.conf", "kubelet/kubelet-client-first.pem"}, false, ""},
		{"the authority has ended", now.Add(-11 * year), func(aged, *kubeadm.Renewal) {}, []string{"pki/apiserver.crt", "pki/etcd/peer.crt", "admin.conf"}, false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newAged(t, c.began)
			r := a.renewal(false)
			c.do(a, &r)
			before := a.content()
			done, err := r.Run(now)
			var clock *kubeadm.ClockError
			if errors.As(err, &clock) != c.clock || err != nil && !c.clock {
				t.Errorf("got %v", err)
			}
			for _, name := range c.stays {
				f := filepath.Join(a.dir, name)
				if data, err := os.ReadFile(f); err != nil || string(data) != before[f] || slices.Contains(done.Files, f) {
					t.Errorf("%s did not stay: %v", name, err)
				}
			}
			if text := strings.Join(done.Ending, "\n"); !strings.Contains(text, c.ending) || (text == "") != (c.ending == "") {
				t.Errorf("ending: %s", text)
			}
			// Nor does anybody remove what is only out of date.
			if c.clock {
				if dropped, err := all(a.pki()).DropDamagedLeaves(); err != nil || len(dropped) > 0 {
					t.Errorf("dropped %v, %v", dropped, err)
				}
				if dropped, err := kubeadm.DropDamagedKubeconfigs(a.dir, a.pki(), kubeadm.Kubeconfigs(false)); err != nil || len(dropped) > 0 {
					t.Errorf("dropped %v, %v", dropped, err)
				}
			}
		})
	}
}

// Nothing outlives its authority, and one that ends with it is not written
// again at each boot.
func TestRenewalEndsWithTheAuthority(t *testing.T) {
	now := time.Now()
	a := newAged(t, now.Add(-10*year+30*day))
	r := a.renewal(false)
	done, err := r.Run(now)
	must(t, err)
	if len(done.Files) != len(a.holders(r)) || len(done.Ending) != len(r.PKI.Authorities) {
		t.Errorf("renewed %v; ending %v", done.Files, done.Ending)
	}
	end := a.authorities["ca"].Cert.NotAfter
	for _, f := range done.Files {
		if got := a.pair(f).Leaf.NotAfter; !got.Equal(end) {
			t.Errorf("%s ends on %v, the authority on %v", f, got, end)
		}
	}
	if done, err = r.Run(now.Add(day)); err != nil || len(done.Files) > 0 || len(done.Ending) == 0 {
		t.Errorf("again: %v, %v", done, err)
	}
}

// A clock that is years ahead, once, leaves certificates that are of use when
// it is right again.
func TestRenewalByAClockThatIsAhead(t *testing.T) {
	now := time.Now()
	a := newAged(t, now.Add(-day))
	r := a.renewal(false)
	done, err := r.Run(now.Add(5 * year))
	if err != nil || len(done.Files) != len(a.holders(r)) {
		t.Errorf("renewed %v, %v", done.Files, err)
	}
	must(t, kubeadm.CheckKubeconfigs(a.dir, a.pki(), kubeadm.Kubeconfigs(false)))
	if done, err = r.Run(now); err != nil || len(done.Files) > 0 {
		t.Errorf("and by the right clock: %v, %v", done, err)
	}
}

// What lived for less than a year, because somebody wants that, does so again.
func TestRenewalKeepsShortLives(t *testing.T) {
	now := time.Now()
	a := newAged(t, now.Add(-day))
	a.authorities["ca"].Sign(t, "apiserver", kubeadmtest.Validity{From: now.Add(-27 * day), To: now.Add(3 * day)}).Write(t, a.pki(), "apiserver")
	r := a.renewal(false)
	file := filepath.Join(a.pki(), "apiserver.crt")
	done, err := r.Run(now)
	if err != nil || !reflect.DeepEqual(done.Files, []string{file}) {
		t.Fatalf("renewed %v, %v", done.Files, err)
	}
	if end := a.pair(file).Leaf.NotAfter.Sub(now); end > 30*day || end < 29*day {
		t.Errorf("it lives for %v", end)
	}
}

// Certificates that follow the first, of authorities between, stay.
func TestRenewalKeepsTheChain(t *testing.T) {
	now := time.Now()
	a := newAged(t, now.Add(-2*year))
	file := filepath.Join(a.pki(), "apiserver.crt")
	data, err := os.ReadFile(file)
	must(t, err)
	chain := a.authorities["ca"].CertPEM()
	must(t, os.WriteFile(file, append(data, chain...), 0o644))
	_, err = a.renewal(true).Run(now)
	must(t, err)
	data, err = os.ReadFile(file)
	must(t, err)
	first, rest := pem.Decode(data)
	if cert, err := x509.ParseCertificate(first.Bytes); err != nil || cert.NotAfter.Before(now) || !bytes.Equal(rest, chain) {
		t.Errorf("%v, followed by %s", err, rest)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode: %v, %v", info.Mode(), err) // as it was
	}
}

func TestLeafPeriod(t *testing.T) {
	for _, c := range []struct {
		name string
		raw  []map[string]any
		want time.Duration
	}{
		{"none is given", nil, kubeadm.LeafValidity},
		{"given", []map[string]any{{"kind": "ClusterConfiguration", "certificateValidityPeriod": "720h"}}, 720 * time.Hour},
		{"given where it says nothing", []map[string]any{{"kind": "InitConfiguration", "certificateValidityPeriod": "720h"}}, kubeadm.LeafValidity},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := kubeadm.LeafPeriod(&role.Role{Kubeadm: c.raw}); got != c.want {
				t.Errorf("got %v", got)
			}
		})
	}
}
