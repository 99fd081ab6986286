package loadbalancer_test

import (
	"flag"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/slipway-os/slipway/pkg/loadbalancer"
	"github.com/slipway-os/slipway/pkg/role"
)

var update = flag.Bool("update", false, "write the golden files anew; look at the difference before you keep it")

func three() role.VirtualIP {
	return role.VirtualIP{
		Addresses: []string{"192.0.2.100", "2001:db8::100"}, RouterID: 51,
		ControlPlanes: []role.Member{{Name: "cp1", IP: "192.0.2.11"}, {Name: "cp2", IP: "192.0.2.12"}, {Name: "cp3", IP: "192.0.2.13"}},
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%s differs; got\n%s", file, got)
	}
}

func TestHAProxy(t *testing.T) {
	got := loadbalancer.HAProxy(three(), "6443", 6444, "/etc/kubernetes/pki/ca.crt")
	golden(t, "haproxy.cfg", got)
	program, err := exec.LookPath("haproxy")
	if err != nil {
		t.Skip("haproxy is missing, which judges its configuration: `make judges` installs it, and `make test` does so first")
	}
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca.crt")
	if out, err := exec.Command("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=kubernetes", "-keyout", os.DevNull, "-out", ca).CombinedOutput(); err != nil {
		t.Fatalf("making an authority: %v: %s", err, out)
	}
	file := filepath.Join(dir, "haproxy.cfg")
	if err := os.WriteFile(file, loadbalancer.HAProxy(three(), "6443", 6444, ca), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(program, "-c", "-f", file).CombinedOutput(); err != nil {
		t.Errorf("haproxy: %v: %s", err, out)
	}
}

func TestKeepalived(t *testing.T) {
	got, err := loadbalancer.Keepalived(three(), "192.0.2.12", "eth0")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "keepalived.conf", got)
	if _, err := loadbalancer.Keepalived(three(), "192.0.2.14", "eth0"); err == nil {
		t.Error("configured a node that is none of the control planes")
	}
	program, err := exec.LookPath("keepalived")
	if err != nil {
		t.Skip("keepalived is missing, which judges its configuration: `make judges` installs it, and `make test` does so first")
	}
	file := filepath.Join(t.TempDir(), "keepalived.conf")
	own, err := loadbalancer.Keepalived(three(), "192.0.2.12", card(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, own, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(program, "--config-test", "--use-file", file).CombinedOutput(); err != nil {
		t.Errorf("keepalived: %v: %s", err, out)
	}
}

// card returns an interface of this machine, which keepalived asks for.
func card(t *testing.T) string {
	t.Helper()
	all, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range all {
		if i.Flags&net.FlagLoopback == 0 && i.Flags&net.FlagUp != 0 {
			return i.Name
		}
	}
	t.Skip("keepalived asks for a network interface, and this machine has none but its loopback: as root, `ip link add dummy0 type dummy && ip link set dummy0 up` makes one")
	return ""
}
