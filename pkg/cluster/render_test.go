package cluster_test

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coreos/ignition/v2/config/v3_6/types"
	"go.yaml.in/yaml/v3"

	"github.com/slipway-os/slipway/pkg/cluster"
	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/kubeadm"
	"github.com/slipway-os/slipway/pkg/pki"
	"github.com/slipway-os/slipway/pkg/provision"
	"github.com/slipway-os/slipway/pkg/role"
	"github.com/slipway-os/slipway/pkg/secrets"
)

func newSecrets(t testing.TB, name string) *secrets.Secrets {
	t.Helper()
	s, err := secrets.New(secrets.Options{Cluster: name, Algorithm: pki.DefaultAlgorithm, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func example(t testing.TB, name string) *cluster.Cluster {
	t.Helper()
	data, err := os.ReadFile("../../docs/examples/" + name + "-cluster.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, string(data))
}

func render(t testing.TB, c *cluster.Cluster, s *secrets.Secrets, butane ...provision.ButaneFile) []cluster.Config {
	t.Helper()
	configs, err := c.Render(t.Context(), s, butane, cluster.Signed{})
	if err != nil {
		t.Fatal(err)
	}
	return configs
}

// lay writes the files of a config below a directory, as Ignition would, and
// returns their paths, sorted.
func lay(t *testing.T, config []byte, root string) []string {
	t.Helper()
	var c types.Config
	if err := json.Unmarshal(config, &c); err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, f := range c.Storage.Files {
		_, text, _ := strings.Cut(*f.Contents.Source, "base64,")
		data, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(root, f.Path)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, data, fs.FileMode(*f.Mode)); err != nil {
			t.Fatal(err)
		}
		if secret := bytes.Contains(data, []byte("PRIVATE KEY")) || bytes.Contains(data, []byte("client-key-data")); secret && *f.Mode != 0o600 {
			t.Errorf("%s has the mode %o", f.Path, *f.Mode)
		}
		paths = append(paths, f.Path)
	}
	slices.Sort(paths)
	return paths
}

func TestEachNodeIsGivenWhatItNeedsAndNoMore(t *testing.T) {
	const (
		common  = "/etc/hostname /etc/slipway/role.yaml"
		account = " sa.key sa.pub"
		cas     = "ca.crt ca.key front-proxy-ca.crt front-proxy-ca.key"
		member  = "etcd/ca.crt etcd/healthcheck-client.crt etcd/healthcheck-client.key etcd/peer.crt etcd/peer.key etcd/server.crt etcd/server.key"
		client  = "apiserver-etcd-client.crt apiserver-etcd-client.key ca.crt ca.key etcd/ca.crt front-proxy-ca.crt front-proxy-ca.key"
		stacked = "ca.crt ca.key etcd/ca.crt etcd/ca.key front-proxy-ca.crt front-proxy-ca.key"
	)
	for name, want := range map[string]map[string]string{
		"ha":            {"cp1": stacked + account + " ../apiserver/encryption.yaml", "cp2": stacked + account + " ../apiserver/encryption.yaml join", "worker1": "join", "worker2": "join"},
		"external-etcd": {"etcd1": member, "cp1": client + account, "cp2": client + account + " join", "worker1": "join"},
	} {
		for _, config := range render(t, example(t, name), newSecrets(t, "example")) {
			node := config.Node.Name
			list, given := want[node]
			if !given {
				continue
			}
			t.Run(name+" "+node, func(t *testing.T) {
				var paths []string
				for _, f := range strings.Fields(list) {
					if f == "join" {
						paths = append(paths, kubeadm.CredentialsFile)
						continue
					}
					paths = append(paths, path.Join(kubeadm.PKIDir, f))
				}
				paths = append(paths, strings.Fields(common)...)
				slices.Sort(paths)
				root := t.TempDir()
				got := slices.DeleteFunc(lay(t, config.Data, root), func(p string) bool { return strings.HasPrefix(p, "/etc/systemd/") })
				if !slices.Equal(got, paths) {
					t.Errorf("got  %q\nwant %q", got, paths)
				}
				inspect(t, root, config.Node)
			})
		}
	}
}

// inspect judges what a node is given as the node itself does, and as openssl
// does.
func inspect(t *testing.T, root string, n *cluster.Node) {
	t.Helper()
	dir := filepath.Join(root, kubeadm.PKIDir)
	files := kubeadm.NewPKI(dir, n.Role)
	if err := files.Check(); err != nil {
		t.Error(err)
	}
	for leaf, ca := range files.Delivered {
		verify(t, filepath.Join(dir, ca+".crt"), filepath.Join(dir, leaf+".crt"), "sslclient")
		if leaf == "etcd/server" || leaf == "etcd/peer" {
			verify(t, filepath.Join(dir, ca+".crt"), filepath.Join(dir, leaf+".crt"), "sslserver", "-verify_hostname", n.Name, "-verify_ip", n.Role.Node.IP)
		}
	}
	roleText, err := os.ReadFile(filepath.Join(root, role.File))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(roleText, []byte("KEY")) {
		t.Error("the role has a key")
	}
	if n.Role.Join != nil {
		checkJoin(t, root, n)
	}
}

func verify(t *testing.T, ca, cert, purpose string, more ...string) {
	t.Helper()
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is missing, which judges certificates: `make judges` installs it, and `make test` does so first")
	}
	args := append([]string{"verify", "-x509_strict", "-purpose", purpose, "-CAfile", ca}, more...)
	if out, err := exec.Command(openssl, append(args, cert)...).CombinedOutput(); err != nil {
		t.Errorf("openssl verify: %v: %s", err, out)
	}
}

func checkJoin(t *testing.T, root string, n *cluster.Node) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, kubeadm.CredentialsFile))
	if err != nil {
		t.Fatal(err)
	}
	cert := client(t, root, data, n.Role.Cluster.Endpoint)
	if cert.Subject.CommonName != "system:node:"+n.Name || !slices.Equal(cert.Subject.Organization, []string{"system:nodes"}) {
		t.Errorf("it joins as %s", cert.Subject)
	}
}

// client checks a kubeconfig for a server and returns its certificate.
func client(t *testing.T, dir string, data []byte, server string) *x509.Certificate {
	t.Helper()
	var config struct {
		Clusters []struct {
			Cluster struct {
				Server string `yaml:"server"`
				CA     string `yaml:"certificate-authority-data"`
			}
		}
		Users []struct {
			User struct {
				Cert string `yaml:"client-certificate-data"`
				Key  string `yaml:"client-key-data"`
			}
		}
	}
	if err := yaml.Unmarshal(data, &config); err != nil {
		t.Fatal(err)
	}
	if got := config.Clusters[0].Cluster.Server; got != "https://"+server {
		t.Errorf("the server is %s, want https://%s", got, server)
	}
	var files []string
	for i, text := range []string{config.Clusters[0].Cluster.CA, config.Users[0].User.Cert, config.Users[0].User.Key} {
		data, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, filepath.Join(dir, fmt.Sprint(i)))
		if err := os.WriteFile(files[i], data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	verify(t, files[0], files[1], "sslclient")
	data, err := os.ReadFile(files[1])
	if err != nil {
		t.Fatal(err)
	}
	b, _ := pem.Decode(data)
	cert, err := x509.ParseCertificate(b.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(files[2])
	if err != nil {
		t.Fatal(err)
	}
	if k, err := pki.ReadKey(key); err != nil || !k.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(cert.PublicKey) {
		t.Errorf("the key is another's: %v", err)
	}
	return cert
}

func TestAdmin(t *testing.T) {
	s := newSecrets(t, "example")
	data, err := example(t, "ha").Admin(s, cluster.Signed{})
	if err != nil {
		t.Fatal(err)
	}
	if cert := client(t, t.TempDir(), data, "192.0.2.10:6443"); cert.Subject.CommonName != "kubernetes-admin" || !slices.Equal(cert.Subject.Organization, []string{"kubeadm:cluster-admins"}) {
		t.Errorf("it is %s", cert.Subject)
	}
	alone := "version: 1\nname: demo\nnodes: [{name: cp1, role: control-plane"
	if _, err := parse(t, alone+"}]\n").Admin(newSecrets(t, "demo"), cluster.Signed{}); err == nil || diag.ExitCode(err) != diag.ExitInput {
		t.Errorf("a cluster that nobody knows the place of: %v", err)
	}
	data, err = parse(t, alone+", ip: 'fd00::1', with: {}}]\ncluster: {podSubnets: ['fd01::/56'], serviceSubnets: ['fd02::/112']}\n").Admin(newSecrets(t, "demo"), cluster.Signed{})
	if err != nil || !bytes.Contains(data, []byte("server: https://[fd00::1]:6443\n")) {
		t.Errorf("a cluster of one node: %v", err)
	}
}

func TestRenderingAgainGivesTheSameBytes(t *testing.T) {
	s := newSecrets(t, "example")
	file, err := s.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	again, err := secrets.Parse("s.yaml", file)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ha", "external-etcd"} {
		a, b := render(t, example(t, name), s), render(t, example(t, name), again)
		for i := range a {
			if !bytes.Equal(a[i].Data, b[i].Data) {
				t.Errorf("%s, %s: other bytes", name, a[i].File())
			}
		}
	}
}

func TestRenderRefuses(t *testing.T) {
	c := parse(t, pair)
	_, err := c.Render(t.Context(), newSecrets(t, "other"), nil, cluster.Signed{})
	if want := `c.yaml:2:7: the cluster is "demo", but the secrets are those of "other" (take the secrets of this cluster)`; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	// What is wrong for every node is said once.
	_, err = c.Render(t.Context(), newSecrets(t, "demo"), []provision.ButaneFile{{Name: "a.bu", Data: []byte("variant: fcos\nversion: 1.7.0\nx: 1\n")}}, cluster.Signed{})
	if err == nil || strings.Count(err.Error(), "a.bu:") != 1 || diag.ExitCode(err) != diag.ExitInput {
		t.Errorf("got %v", err)
	}
}

func TestIndex(t *testing.T) {
	s := newSecrets(t, "demo")
	data, err := parse(t, pair+"  - {name: w2, role: worker, select: {mac: '52:54:00:AA:00:01'}}\n").Index(s)
	if err != nil {
		t.Fatal(err)
	}
	var index cluster.Index
	if err := json.Unmarshal(data, &index); err != nil {
		t.Fatal(err)
	}
	want := cluster.Entry{Name: "w2", Role: role.Worker, File: "w2.ign", Select: &cluster.Select{MAC: "52:54:00:aa:00:01"}}
	got := index.Nodes[2]
	if index.Cluster != "demo" || index.CACertHash != s.CAHash() || got.Name != want.Name || got.File != want.File || *got.Select != *want.Select || got.Note != "" || index.Nodes[0].Note == "" {
		t.Errorf("got %s", data)
	}
}

func TestChanges(t *testing.T) {
	dir := t.TempDir()
	s := newSecrets(t, "demo")
	compare := func(text string) (lines []string, changes []cluster.Change) {
		t.Helper()
		changes, stale, err := cluster.Compare(dir, render(t, parse(t, text), s))
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range changes {
			lines = append(lines, c.Config.Node.Name+" "+c.State+" "+strings.Join(c.Differs, ", "))
		}
		for _, name := range stale {
			lines = append(lines, "stale "+name)
		}
		return lines, changes
	}
	write := func(text string) {
		t.Helper()
		_, changes := compare(text)
		index, err := parse(t, text).Index(s)
		if err != nil {
			t.Fatal(err)
		}
		if err := cluster.Write(t.Context(), dir, changes, index); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(what, text string, want ...string) {
		t.Helper()
		if got, _ := compare(text); !slices.Equal(got, want) {
			t.Errorf("%s:\ngot  %q\nwant %q", what, got, want)
		}
	}
	expect("nothing there", pair, "cp1 new ", "w1 new ")
	write(pair)
	expect("all there", pair, "cp1 unchanged ", "w1 unchanged ")
	for _, name := range []string{"cp1.ign", "w1.ign"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, %v", name, info.Mode(), err)
		}
	}
	expect("a label", pair+"workers: {node: {labels: {example.net/a: hunter2}}}\n", "cp1 unchanged ", "w1 changed /etc/slipway/role.yaml (node.labels.example.net/a)")
	expect("another endpoint", strings.Replace(pair, "cp.example.net", "api.example.net", 1), "cp1 changed /etc/slipway/role.yaml (cluster.endpoint)", "w1 changed /etc/slipway/join.conf, /etc/slipway/role.yaml (cluster.endpoint)")
	expect("time servers", pair+"workers: {time: {servers: [192.0.2.1]}}\n", "cp1 unchanged ", "w1 changed /etc/slipway/role.yaml (time.servers), /etc/systemd/timesyncd.conf.d/10-role.conf, systemd.units systemd-timesyncd.service")
	expect("a node gone, another come", strings.Replace(pair, "w1", "w2", 1), "cp1 unchanged ", "w2 new ", "stale w1.ign")
	if err := os.Chmod(filepath.Join(dir, "w1.ign"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "cp1.ign"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	expect("damaged", pair, "cp1 changed the old one cannot be read", "w1 changed the mode of w1.ign")
	write(pair)
	expect("mended", pair, "cp1 unchanged ", "w1 unchanged ")
}

func thousand() string {
	var text strings.Builder
	text.WriteString(strings.Replace(head, "example.net", "example.net, podSubnets: [10.0.0.0/12]", 1) + "all: {dns: {servers: [192.0.2.53]}}\nnodes:\n")
	for i := range 1000 {
		kind := role.Worker
		if i < 3 {
			kind = role.ControlPlane
		}
		fmt.Fprintf(&text, "  - {name: n%d, role: %s, ip: 172.16.%d.%d, select: {mac: '52:54:00:00:%02x:%02x'}}\n", i, kind, i/256, i%256, i/256, i%256)
	}
	return text.String()
}

// A cluster of a thousand nodes, from its description to files on the disk.
func BenchmarkThousandNodes(b *testing.B) {
	text, s := []byte(thousand()), newSecrets(b, "demo")
	for b.Loop() {
		c, err := cluster.Parse("c.yaml", text)
		if err != nil {
			b.Fatal(err)
		}
		dir := b.TempDir()
		index, err := c.Index(s)
		if err != nil {
			b.Fatal(err)
		}
		changes, _, err := cluster.Compare(dir, render(b, c, s))
		if err != nil {
			b.Fatal(err)
		}
		if err := cluster.Write(b.Context(), dir, changes, index); err != nil {
			b.Fatal(err)
		}
	}
}

// A cluster may be called what YAML would take for a number, or for false.
func TestNamesInKubeconfigs(t *testing.T) {
	for _, name := range []string{"123", "no", "null", "1e5"} {
		c := parse(t, "version: 1\nname: '"+name+"'\ncluster: {endpoint: cp.example.net}\nnodes: [{name: cp1, role: control-plane}]\n")
		data, err := c.Admin(newSecrets(t, name), cluster.Signed{})
		if err != nil {
			t.Fatal(err)
		}
		var config struct {
			Clusters, Contexts []struct{ Name any }
			Current            any `yaml:"current-context"`
		}
		if err := yaml.Unmarshal(data, &config); err != nil {
			t.Fatal(err)
		}
		if config.Clusters[0].Name != any(name) || config.Contexts[0].Name != any(name) || config.Current != any(name) {
			t.Errorf("%s: cluster %v, context %v, current %v", name, config.Clusters[0].Name, config.Contexts[0].Name, config.Current)
		}
	}
}

// Secrets are encrypted at rest where the description says so, by the same key
// on all control planes.
func TestEncryptionAtRest(t *testing.T) {
	c := parse(t, "version: 1\nname: example\ncluster: {endpoint: cp}\ncontrolPlanes: {apiServer: {encryption: true}}\nnodes:\n  - {name: cp1, role: control-plane, ip: 192.0.2.11}\n  - {name: cp2, role: control-plane, ip: 192.0.2.12}\n  - {name: w1, role: worker}\n")
	s := newSecrets(t, "example")
	var first []byte
	for _, config := range render(t, c, s) {
		root := t.TempDir()
		lay(t, config.Data, root)
		file := filepath.Join(root, kubeadm.EncryptionFile)
		data, err := os.ReadFile(file)
		if config.Node.Name == "w1" {
			if err == nil {
				t.Error("a worker has the key that Secrets are encrypted with")
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
		if !bytes.Contains(data, []byte(base64.StdEncoding.EncodeToString(s.EncryptionKey))) || first != nil && !bytes.Equal(data, first) {
			t.Errorf("%s: %s", config.Node.Name, data)
		}
		first = data
	}
}
