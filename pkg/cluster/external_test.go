package cluster_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-os/slipway/pkg/cluster"
	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/kubeadm"
	"github.com/slipway-os/slipway/pkg/pki"
	"github.com/slipway-os/slipway/pkg/secrets"
)

// elsewhere is an authority that signs with openssl.
type elsewhere struct {
	dir     string // with ca.crt and ca.key
	openssl string
}

func newElsewhere(t *testing.T) (elsewhere, *secrets.Secrets) {
	t.Helper()
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is missing, which judges certificates: `make judges` installs it, and `make test` does so first")
	}
	e := elsewhere{dir: t.TempDir(), openssl: openssl}
	e.run(t, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "400", "-subj", "/CN=elsewhere",
		"-addext", "keyUsage=critical,keyCertSign", "-keyout", e.dir+"/ca.key", "-out", e.dir+"/ca.crt")
	cert, err := os.ReadFile(e.dir + "/ca.crt")
	if err != nil {
		t.Fatal(err)
	}
	s, err := secrets.New(secrets.Options{
		Cluster: "example", Algorithm: pki.DefaultAlgorithm, Now: time.Now(),
		Authorities: map[string]pki.Pair{"ca": {Public: cert}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return e, s
}

func (e elsewhere) run(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command(e.openssl, args...).CombinedOutput(); err != nil {
		t.Fatalf("openssl %s: %v: %s", args[0], err, out)
	}
}

// sign signs requests, for some days, into a directory.
func (e elsewhere) sign(t *testing.T, dir, days string, requests ...cluster.Request) {
	t.Helper()
	for _, r := range requests {
		in, out := filepath.Join(dir, r.Name+".csr"), filepath.Join(dir, r.Name+".crt")
		if err := os.MkdirAll(filepath.Dir(in), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(in, r.Data, 0o600); err != nil {
			t.Fatal(err)
		}
		e.run(t, "x509", "-req", "-in", in, "-CA", e.dir+"/ca.crt", "-CAkey", e.dir+"/ca.key", "-CAcreateserial", "-copy_extensions", "copyall", "-days", days, "-out", out)
	}
}

func TestAuthorityElsewhere(t *testing.T) {
	e, s := newElsewhere(t)
	c := example(t, "ha")
	configs := render(t, c, s)
	plane := []string{"apiserver", "apiserver-kubelet-client", "admin.conf", "super-admin.conf", "controller-manager.conf", "scheduler.conf", "kubelet.conf"}
	joining := slices.DeleteFunc(slices.Clone(plane), func(name string) bool { return name == "super-admin.conf" })
	for i, want := range [][]string{plane, joining, joining, {"kubelet.conf"}, {"kubelet.conf"}} {
		if got := configs[i]; !slices.Equal(got.Missing, want) || got.Data != nil || len(got.Requests) != len(want) {
			t.Errorf("%s lacks %q, want %q", got.Node.Name, got.Missing, want)
		}
	}
	if again := render(t, c, s); !bytes.Equal(again[0].Requests[0].Data, configs[0].Requests[0].Data) {
		t.Error("the second time, it is another request")
	}
	if _, err := c.Admin(s, cluster.Signed{}); err == nil || diag.ExitCode(err) != diag.ExitInput {
		t.Errorf("an administrator without a certificate: %v", err)
	}

	dir := t.TempDir()
	e.sign(t, dir, "300", configs[0].Requests...)
	e.sign(t, dir, "29", configs[3].Requests...)
	signed := cluster.Signed{Dir: "signed", FS: os.DirFS(dir), Now: time.Now()}
	configs, err := c.Render(t.Context(), s, nil, signed)
	if err != nil {
		t.Fatal(err)
	}
	for i, whole := range []bool{true, false, false, true, false} {
		if got := configs[i].Data != nil; got != whole {
			t.Errorf("%s was rendered: %v", configs[i].Node.Name, got)
		}
	}
	if w := configs[3].Warnings; len(configs[0].Warnings) > 0 || len(w) != 1 || !strings.HasPrefix(w[0].Error(), "signed/worker1/kubelet.conf.crt: expires on ") {
		t.Errorf("warnings %v", w)
	}
	root := t.TempDir()
	paths := lay(t, configs[0].Data, root)
	for _, f := range []string{"pki/ca.crt", "pki/apiserver.crt", "pki/apiserver.key", "pki/front-proxy-ca.key", "pki/etcd/ca.key", "pki/sa.key", "admin.conf", "super-admin.conf", "kubelet.conf"} {
		if !slices.Contains(paths, kubeadm.ConfigDir+"/"+f) {
			t.Errorf("%s is missing", f)
		}
	}
	if slices.Contains(paths, kubeadm.PKIDir+"/ca.key") || slices.Contains(paths, kubeadm.CredentialsFile) {
		t.Errorf("too much: %q", paths)
	}
	apiserver := filepath.Join(root, kubeadm.PKIDir, "apiserver.crt")
	for _, name := range []string{"cp1", "kubernetes.default.svc.cluster.local", "api.example.net"} {
		verify(t, e.dir+"/ca.crt", apiserver, "sslserver", "-verify_hostname", name)
	}
	for _, ip := range []string{"192.0.2.10", "192.0.2.11", "10.96.0.1", "127.0.0.1"} {
		verify(t, e.dir+"/ca.crt", apiserver, "sslserver", "-verify_ip", ip)
	}
	admin, err := c.Admin(s, signed)
	if err != nil {
		t.Fatal(err)
	}
	if cert := client(t, t.TempDir(), admin, "192.0.2.10:6443"); cert.Issuer.CommonName != "elsewhere" {
		t.Errorf("signed by %s", cert.Issuer)
	}
	lay(t, configs[3].Data, root)
	checkJoin(t, root, configs[3].Node)
}

func TestCertificatesThatWereNotRequested(t *testing.T) {
	e, s := newElsewhere(t)
	c := parse(t, "version: 1\nname: example\ncluster: {endpoint: cp.example.net}\nnodes:\n  - {name: cp1, role: control-plane, ip: 192.0.2.1}\n  - {name: w1, role: worker}\n  - {name: w2, role: worker}\n")
	configs := render(t, c, s)
	dir := t.TempDir()
	e.sign(t, dir, "300", configs[1].Requests[0], configs[2].Requests[0])
	read := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	other, _ := newElsewhere(t)
	foreign := t.TempDir()
	other.sign(t, foreign, "300", configs[1].Requests[0])
	byAnother, err := os.ReadFile(filepath.Join(foreign, "w1/kubelet.conf.crt"))
	if err != nil {
		t.Fatal(err)
	}
	right := read("w1/kubelet.conf.crt")
	const file, hint = "signed/w1/kubelet.conf.crt: ", " (have the request signed again)"
	for _, c := range []struct {
		name string
		data []byte
		now  time.Time
		want string
	}{
		{"right", right, time.Now(), ""},
		{"of another node", read("w2/kubelet.conf.crt"), time.Now(), "is for another key than that of the request"},
		{"by another authority", byAnother, time.Now(), "was not signed by the cluster's authority"},
		{"text", []byte("hunter2"), time.Now(), "holds no certificate in PEM"},
		{"of the future", right, time.Now().AddDate(-1, 0, 0), "is not valid before "},
		{"old", right, time.Now().AddDate(2, 0, 0), "expired on "},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.MkdirAll(filepath.Join(dir, "w1"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "w1/kubelet.conf.crt"), c.data, 0o600); err != nil {
				t.Fatal(err)
			}
			one := parse(t, "version: 1\nname: example\ncluster: {endpoint: cp.example.net}\nnodes:\n  - {name: cp1, role: control-plane, ip: 192.0.2.1}\n  - {name: w1, role: worker}\n")
			_, err := one.Render(t.Context(), s, nil, cluster.Signed{Dir: "signed", FS: os.DirFS(dir), Now: c.now})
			got := ""
			if err != nil {
				got = err.Error()
			}
			switch {
			case c.want == "" && err != nil, c.want != "" && (!strings.HasPrefix(got, file+c.want) || !strings.HasSuffix(got, hint)):
				t.Errorf("got  %s\nwant %s", got, file+c.want+hint)
			}
		})
	}
	noAddress := parse(t, "version: 1\nname: example\nnodes:\n  - {name: cp1, role: control-plane}\n")
	_, err = noAddress.Render(t.Context(), s, nil, cluster.Signed{})
	if want := "c.yaml:4:5: cp1: its certificates, which are signed elsewhere, must name its address (give its ip)"; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}
