package ignition

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func write(t *testing.T, name, content string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(name), 0o755))
	must(t, os.WriteFile(name, []byte(content), 0o600))
}

// attach adds a block device to a machine: its content, a serial number if it
// has one.
func (m machine) attach(t *testing.T, name, serial string, content []byte) {
	t.Helper()
	write(t, filepath.Join(m.dev, name), string(content))
	write(t, filepath.Join(m.sys, "class/block", name, "size"), "0")
	if serial != "" {
		write(t, filepath.Join(m.sys, "block", name, "serial"), serial+"\n")
	}
}

// labelledDisk is an ext4 file system as far as a label goes.
func labelledDisk(label string) []byte {
	disk := make([]byte, 4096)
	copy(disk[1024+56:], "\x53\xef")
	copy(disk[1024+120:], label)
	return disk
}

func TestDetect(t *testing.T) {
	fw := func(size string) func(*testing.T, machine) {
		return func(t *testing.T, m machine) {
			write(t, filepath.Join(m.sys, fwcfg, "raw"), "{}")
			write(t, filepath.Join(m.sys, fwcfg, "size"), size)
		}
	}
	medium := func(t *testing.T, m machine) {
		m.attach(t, "sda", "", labelledDisk("root"))
		m.attach(t, "sdb1", "", labelledDisk("slipway"))
	}
	disk := func(t *testing.T, m machine) { m.attach(t, "vdb", "ignition", []byte("{\"a\":1}\x00\x00\x00")) }
	line := func(words ...string) map[string]string {
		out := map[string]string{}
		for i := 0; i < len(words); i += 2 {
			out[words[i]] = words[i+1]
		}
		return out
	}
	for _, c := range []struct {
		name string
		line map[string]string
		have []func(*testing.T, machine)
		want string // platform, medium, "-" for none
	}{
		{"nothing", nil, nil, "-"},
		{"the command line", line("ignition.config.url", "http://192.0.2.1/c"), nil, "metal"},
		{"the command line, on a platform", line("ignition.config.url", "http://192.0.2.1/c", "ignition.platform.id", "openstack"), nil, "openstack"},
		{"the command line wins", line("ignition.config.url", "http://192.0.2.1/c"), []func(*testing.T, machine){fw("2"), medium, disk}, "metal"},
		{"an empty argument is none", line("ignition.config.url", ""), nil, "-"},
		{"fw_cfg", nil, []func(*testing.T, machine){fw("2\n")}, "qemu"},
		{"fw_cfg before a medium", nil, []func(*testing.T, machine){fw("2"), medium}, "qemu"},
		{"an empty fw_cfg is none", nil, []func(*testing.T, machine){fw("0\n")}, "-"},
		{"a disk with the serial number", nil, []func(*testing.T, machine){disk}, "qemu"},
		{"a disk with another serial number", nil, []func(*testing.T, machine){func(t *testing.T, m machine) { m.attach(t, "vdb", "xignition", []byte("{}")) }}, "-"},
		{"a labelled partition", nil, []func(*testing.T, machine){medium}, "metal sdb1"},
		{"a labelled medium on a platform", line("ignition.platform.id", "openstack"), []func(*testing.T, machine){medium}, "metal sdb1"},
		{"loop devices are nobody's medium", nil, []func(*testing.T, machine){func(t *testing.T, m machine) {
			for _, name := range []string{"loop0", "ram0", "dm-0"} {
				m.attach(t, name, "", labelledDisk("SLIPWAY"))
			}
		}}, "-"},
		{"a platform", line("ignition.platform.id", "openstack"), nil, "openstack"},
		{"metal has nowhere to look", line("ignition.platform.id", "metal"), nil, "-"},
		{"qemu without a config", line("ignition.platform.id", "qemu"), nil, "-"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			m := machine{filepath.Join(dir, "sys"), filepath.Join(dir, "dev")}
			for _, have := range c.have {
				have(t, m)
			}
			s, ok := m.detect(c.line)
			got := s.Platform
			if s.Medium != "" {
				got += " " + filepath.Base(s.Medium)
			}
			if !ok {
				got = "-"
			}
			if got != c.want {
				t.Errorf("got %s (%s), want %s", got, s.What, c.want)
			}
			if ok && s.What == "" {
				t.Error("it does not say where the config is from")
			}
		})
	}
}

// What somebody could take off the machine is named, wherever its config came
// from.
func TestAttached(t *testing.T) {
	dir := t.TempDir()
	m := machine{filepath.Join(dir, "sys"), filepath.Join(dir, "dev")}
	m.attach(t, "sda", "other", labelledDisk("root"))
	write(t, filepath.Join(m.sys, fwcfg, "raw"), "{}")
	if got := Attached(dir); len(got) > 0 {
		t.Errorf("nothing is attached: %q", got)
	}
	m.attach(t, "vdb", "ignition", []byte("{}"))
	m.attach(t, "sdb1", "", labelledDisk("slipway"))
	m.attach(t, "sdc", "", labelledDisk("SLIPWAY"))
	want := []string{
		filepath.Join(m.dev, "vdb") + `, the disk with serial number "ignition"`,
		filepath.Join(m.dev, "sdb1") + ", labelled SLIPWAY",
		filepath.Join(m.dev, "sdc") + ", labelled SLIPWAY",
	}
	if got := Attached(dir); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// What a disk holds is taken from it on every architecture, without the zeros
// that fill it up.
func TestReadADisk(t *testing.T) {
	for name, c := range map[string]struct{ content, want, err string }{
		"a config":         {"{\"a\":1}\x00\x00\x00", `{"a":1}`, ""},
		"no room left":     {`{"a":1}`, `{"a":1}`, ""},
		"an empty disk":    {"\x00\x00\x00", "", "it is empty"},
		"more than it may": {strings.Repeat(" {}", most/3+1), "", "it is larger than 32 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			m := machine{filepath.Join(dir, "sys"), filepath.Join(dir, "dev")}
			m.attach(t, "vdb", "ignition", []byte(c.content))
			s, _ := m.detect(nil)
			err := s.Read(filepath.Join(dir, "to"))
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("got %v, want %q", err, c.err)
				}
				return
			}
			must(t, err)
			data, err := os.ReadFile(filepath.Join(dir, "to/user.ign"))
			if string(data) != c.want {
				t.Errorf("got %q, %v; want %q", data, err, c.want)
			}
		})
	}
}

// What is on the machine can be taken out of what programs print, before
// Ignition has fetched it.
func TestLocal(t *testing.T) {
	dir := t.TempDir()
	m := machine{filepath.Join(dir, "sys"), filepath.Join(dir, "dev")}
	m.attach(t, "vdb", "ignition", []byte("{\"a\":1}\x00\x00\x00"))
	s, _ := m.detect(nil)
	if got := string(s.local()); got != `{"a":1}` {
		t.Errorf("disk: %q", got)
	}
	write(t, filepath.Join(m.sys, fwcfg, "raw"), "{broken")
	write(t, filepath.Join(m.sys, fwcfg, "size"), "7")
	s, _ = m.detect(nil)
	if got := string(s.local()); got != "{broken" {
		t.Errorf("fw_cfg: %q", got)
	}
	if got := (Source{Platform: "openstack"}).local(); got != nil {
		t.Errorf("a platform: %q", got)
	}
	if got := (Source{raw: "/nowhere"}).local(); got != nil {
		t.Errorf("gone: %q", got)
	}
}
