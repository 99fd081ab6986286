package loadbalancer_test

import (
	"flag"
	"fmt"
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
		ControlPlanes: []role.Plane{{Name: "cp1", IP: "192.0.2.11"}, {Name: "cp2", IP: "192.0.2.12"}, {Name: "cp3", IP: "192.0.2.13"}},
	}
}

// both are three control planes with addresses of both families.
func both() role.VirtualIP {
	v := three()
	for i := range v.ControlPlanes {
		v.ControlPlanes[i].SecondIP = fmt.Sprintf("2001:db8::1%d", i+1)
	}
	return v
}

// only is v with other addresses to share.
func only(v role.VirtualIP, addresses ...string) role.VirtualIP {
	v.Addresses = addresses
	return v
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
	single := only(three(), "192.0.2.100")
	single.ControlPlanes = single.ControlPlanes[1:2]
	for _, c := range []struct {
		name   string
		v      role.VirtualIP
		golden string
	}{
		{"one family", only(three(), "192.0.2.100"), "one-family.conf"},
		{"an address of a family that the control planes have none of", three(), "moves-along.conf"},
		{"the same, named first", only(three(), "2001:db8::100", "192.0.2.100"), "moves-along.conf"},
		{"both families", both(), "both-families.conf"},
		{"both families, one of them shared", only(both(), "2001:db8::100"), "second-family.conf"},
		{"one control plane", single, "alone.conf"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := loadbalancer.Keepalived(c.v, "192.0.2.12", func(string) string { return "eth0" })
			if err != nil {
				t.Fatal(err)
			}
			golden(t, c.golden, got)
			program, err := exec.LookPath("keepalived")
			if err != nil {
				t.Skip("keepalived is missing, which judges its configuration: `make judges` installs it, and `make test` does so first")
			}
			file := filepath.Join(t.TempDir(), "keepalived.conf")
			link := card(t)
			own, err := loadbalancer.Keepalived(c.v, "192.0.2.12", func(string) string { return link })
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, own, 0o600); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command(program, "--config-test", "--use-file", file).CombinedOutput(); err != nil {
				t.Errorf("keepalived: %v: %s", err, out)
			}
		})
	}
}

func TestKeepalivedOfNodesThatCannotShare(t *testing.T) {
	first := func(ip string) string {
		if ip == "192.0.2.12" {
			return "eth0"
		}
		return ""
	}
	for _, c := range []struct {
		name, ip, want string
		v              role.VirtualIP
	}{
		{"none of the control planes", "192.0.2.14", "configuring the virtual address: this node's address 192.0.2.14 is none of the control planes'", three()},
		{"the second address is not there yet", "192.0.2.12", "configuring the virtual address: no interface has this node's own address 2001:db8::12", both()},
		{"no address of the shared one's family", "192.0.2.12", "configuring the virtual address: the control planes have no addresses of the family of 2001:db8::100", only(three(), "2001:db8::100")},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := loadbalancer.Keepalived(c.v, c.ip, first); err == nil || err.Error() != c.want {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
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
