package kubeadm_test

import (
	"bytes"
	"encoding/hex"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/kubeadm"
	"github.com/slipway-os/slipway/pkg/kubeadm/kubeadmtest"
	"github.com/slipway-os/slipway/pkg/manifest"
	"github.com/slipway-os/slipway/pkg/role"
)

var update = flag.Bool("update", false, "write the golden files anew; look at the difference before you keep it")

func image() manifest.Image {
	return manifest.Image{KubernetesVersion: "v1.37.2", ImageRepository: "slipway.local"}
}

// pinned are addresses as the node would find them out. The secrets are made up.
func pinned(file string) kubeadm.Pinned {
	p := kubeadm.Pinned{NodeName: "cp1", NodeIP: "192.0.2.10", Token: "abcdef.0123456789abcdef", CertificateKey: strings.Repeat("0123456789abcdef", 4)}
	switch file {
	case "ipv6":
		p.NodeIP = "2001:db8::11"
	case "dual", "virtual-ip":
		p.SecondIP = "2001:db8::11"
	}
	return p
}

func parse(t *testing.T, file string) *role.Role {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	r, err := role.Parse(file, data)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestConfig compares what roles become with golden files, and lets kubeadm
// itself judge them.
func TestConfig(t *testing.T) {
	roles, err := filepath.Glob("testdata/*.role.yaml")
	if err != nil || len(roles) == 0 {
		t.Fatalf("no roles in testdata (%v)", err)
	}
	for _, file := range roles {
		name := strings.TrimSuffix(filepath.Base(file), ".role.yaml")
		t.Run(name, func(t *testing.T) {
			r := parse(t, file)
			got, err := kubeadm.Config(r, image(), pinned(name), kubeadm.CredentialsFile)
			if err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", name+".golden.yaml")
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%s differs; got\n%s", golden, got)
			}
			// The role must come out of it as it went in.
			if again, err := kubeadm.Config(r, image(), pinned(name), kubeadm.CredentialsFile); err != nil || !bytes.Equal(again, got) {
				t.Errorf("a second time it is not the same (%v)", err)
			}
			t.Run("kubeadm config validate", func(t *testing.T) { validate(t, got) })
		})
	}
}

// validate lets the real kubeadm read a configuration.
func validate(t *testing.T, config []byte) {
	program := kubeadmtest.Program(t)
	file := filepath.Join(t.TempDir(), "kubeadm.yaml")
	// The credentials that it names must be there.
	ca := kubeadmtest.Authority(t, "kubernetes", kubeadmtest.Validity{})
	credentials := filepath.Join(t.TempDir(), "join.conf")
	if err := os.WriteFile(credentials, kubeadmtest.Kubeconfig(t, "https://192.0.2.1:6443", ca, ca.Sign(t, "node", kubeadmtest.Validity{})), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{kubeadm.CredentialsFile, "/etc/slipway/discovery.conf"} {
		config = bytes.ReplaceAll(config, []byte(file), []byte(credentials))
	}
	if err := os.WriteFile(file, config, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), program, "config", "validate", "--config", file).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, line := range strings.Split(string(out), "\n") {
		if strings.HasPrefix(line, "W") {
			t.Errorf("kubeadm warns: %s", line)
		}
	}
}

// The kubeadm that judges must be one that refuses.
func TestTheJudgeRefuses(t *testing.T) {
	program := kubeadmtest.Program(t)
	good, err := os.ReadFile("testdata/single.golden.yaml")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "kubeadm.yaml")
	if err := os.WriteFile(file, bytes.Replace(good, []byte("certificateKey:"), []byte("certificateKeys:"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), program, "config", "validate", "--config", file).CombinedOutput(); err == nil {
		t.Errorf("it accepted an unknown field: %s", out)
	}
}

// Each run pins secrets of its own, in the forms that kubeadm demands
// (bootstrap token: Kubernetes, "Authenticating with Bootstrap Tokens";
// certificate key: hex of an AES-256 key).
func TestPinned(t *testing.T) {
	token := regexp.MustCompile(`^[a-z0-9]{6}\.[a-z0-9]{16}$`)
	seen := map[string]bool{}
	for range 100 {
		p, err := kubeadm.NewPinned("cp1", "192.0.2.10")
		if err != nil {
			t.Fatal(err)
		}
		if !token.MatchString(p.Token) {
			t.Errorf("token %q", p.Token)
		}
		if key, err := hex.DecodeString(p.CertificateKey); err != nil || len(key) != 32 {
			t.Errorf("certificate key %q", p.CertificateKey)
		}
		if seen[p.Token] || seen[p.CertificateKey] {
			t.Error("the same again")
		}
		seen[p.Token], seen[p.CertificateKey] = true, true
		if p.NodeName != "cp1" || p.NodeIP != "192.0.2.10" {
			t.Errorf("node %q %q", p.NodeName, p.NodeIP)
		}
	}
}

func TestSplitEndpoint(t *testing.T) {
	for _, c := range []struct{ in, host, port string }{
		{"cp.example.net", "cp.example.net", "6443"},
		{"cp.example.net:8443", "cp.example.net", "8443"},
		{"192.0.2.1", "192.0.2.1", "6443"},
		{"192.0.2.1:1", "192.0.2.1", "1"},
		{"2001:db8::1", "2001:db8::1", "6443"},
		{"[2001:db8::1]", "2001:db8::1", "6443"},
		{"[2001:db8::1]:8443", "2001:db8::1", "8443"},
		{"", "", "6443"},
	} {
		if host, port := kubeadm.SplitEndpoint(c.in); host != c.host || port != c.port {
			t.Errorf("%q: got %q, %q; want %q, %q", c.in, host, port, c.host, c.port)
		}
	}
}

// A Corefile with a forwarder but no resolver to forward to keeps CoreDNS from
// starting.
func TestCorefile(t *testing.T) {
	for _, c := range []struct {
		golden   string
		upstream bool
	}{{"testdata/upstream.Corefile", true}, {"testdata/alone.Corefile", false}} {
		got := kubeadm.Corefile("cluster.local", c.upstream)
		if *update {
			if err := os.WriteFile(c.golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(c.golden)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s differs; got\n%s", c.golden, got)
		}
	}
}
