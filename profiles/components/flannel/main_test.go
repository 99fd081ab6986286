package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/flannel-io/flannel/pkg/subnet"
)

func parsed(t *testing.T, list string) addresses {
	t.Helper()
	a, err := parseAddresses(list)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestAddresses(t *testing.T) {
	for list, want := range map[string]string{
		"192.0.2.1":             "192.0.2.1",
		"2001:db8::1,192.0.2.1": "192.0.2.1, 2001:db8::1",
		"192.0.2.1, 192.0.2.2,2001:db8::1,2001:db8::2": "192.0.2.1, 2001:db8::1",
	} {
		if got := parsed(t, list).String(); got != want {
			t.Errorf("%s: got %s, want %s", list, got, want)
		}
	}
	for _, list := range []string{"", "eth0", "192.0.2.1,"} {
		if a, err := parseAddresses(list); err == nil {
			t.Errorf("%q: taken as %v", list, a)
		}
	}
}

const dual = `{"Network": "10.244.0.0/16", "EnableIPv4": true, "IPv6Network": "fd00:10:244::/56", "EnableIPv6": true, "Backend": {"Type": "vxlan", "VNI": 4096, "Port": 4789}}`

// A node of one family takes part with that one.
func TestReduce(t *testing.T) {
	for _, c := range []struct {
		name, addresses, config string
		four, six               bool
	}{
		{"both of both", "192.0.2.1,2001:db8::1", dual, true, true},
		{"IPv4 of both", "192.0.2.1", dual, true, false},
		{"IPv6 of both", "2001:db8::1", dual, false, true},
		{"both of IPv6", "192.0.2.1,2001:db8::1", strings.Replace(dual, `"EnableIPv4": true`, `"EnableIPv4": false`, 1), false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("TMPDIR", t.TempDir())
			file := filepath.Join(t.TempDir(), "net-conf.json")
			if err := os.WriteFile(file, []byte(c.config), 0o644); err != nil {
				t.Fatal(err)
			}
			file, err := reduce(file, parsed(t, c.addresses))
			if err != nil {
				t.Fatal(err)
			}
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			config, err := subnet.ParseConfig(string(data))
			if err != nil {
				t.Fatal(err)
			}
			if config.EnableIPv4 != c.four || config.EnableIPv6 != c.six || config.BackendType != "vxlan" || !strings.Contains(string(config.Backend), "4096") {
				t.Errorf("got %s", data)
			}
		})
	}
	file := filepath.Join(t.TempDir(), "net-conf.json")
	if err := os.WriteFile(file, []byte(strings.Replace(dual, `"EnableIPv6": true`, `"EnableIPv6": false`, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	if file, err := reduce(file, parsed(t, "2001:db8::1")); err == nil {
		t.Errorf("a node of another family than its pods: %s", file)
	}
}

// What every machine has, the loopback, stands for the uplink.
func TestUplink(t *testing.T) {
	loopback, err := net.InterfaceByName("lo")
	if err != nil {
		t.Skip("needs an interface lo")
	}
	for _, c := range []struct {
		name, kind string
		four, six  bool
		less       int
	}{
		{"vxlan over IPv4", "vxlan", true, false, 0},
		{"vxlan over IPv6", "vxlan", false, true, 20},
		{"vxlan over both", "vxlan", true, true, 20},
		{"routes of both", "host-gw", true, true, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := findUplink(parsed(t, "127.0.0.1,::1"), &subnet.Config{EnableIPv4: c.four, EnableIPv6: c.six, BackendType: c.kind})
			if err != nil && c.six {
				t.Skipf("needs an IPv6 loopback: %v", err)
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.IfaceName != loopback.Name || got.Iface.MTU != loopback.MTU-c.less {
				t.Errorf("got %s with MTU %d", got.IfaceName, got.Iface.MTU)
			}
			if (got.ExtAddr != nil) != c.four || (got.ExtV6Addr != nil) != c.six || !got.ExtAddr.Equal(got.IfaceAddr) || !got.ExtV6Addr.Equal(got.IfaceV6Addr) {
				t.Errorf("got addresses %v, %v, %v, %v", got.IfaceAddr, got.ExtAddr, got.IfaceV6Addr, got.ExtV6Addr)
			}
			// host-gw refuses an address that is not the interface's.
			if _, err := newBackend(c.kind, nil, got); err != nil {
				t.Error(err)
			}
		})
	}
	if got, err := findUplink(parsed(t, "192.0.2.77"), &subnet.Config{EnableIPv4: true}); err == nil {
		t.Errorf("an address that no interface has: %s", got.IfaceName)
	}
}
