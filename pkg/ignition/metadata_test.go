package ignition

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestPlatformMetadata(t *testing.T) {
	for _, c := range []struct {
		name       string
		dmi        map[string]string
		lease      string
		wantID     string
		wantedHost string
	}{
		{"Amazon", map[string]string{"sys_vendor": "Amazon EC2\n", "board_asset_tag": "i-0123456789abcdef0\n"}, "# lease\nHOSTNAME=ip-192-0-2-7\nDOMAINNAME=ec2.internal\n", "i-0123456789abcdef0", "ip-192-0-2-7.ec2.internal"},
		{"Amazon, virtual as of old", map[string]string{"sys_vendor": "Amazon EC2", "board_asset_tag": "Amazon EC2"}, "", "", ""},
		{"Google", map[string]string{"sys_vendor": "Google"}, "HOSTNAME=a.c.p.internal\n", "", "a.c.p.internal"},
		{"OpenStack, whose lease has a name of its own", map[string]string{"sys_vendor": "OpenStack Foundation", "product_uuid": "0F2C9B0A-1111-4222-8333-444455556666"}, "HOSTNAME=host-192-0-2-7\n", "0f2c9b0a-1111-4222-8333-444455556666", ""},
		{"any other", map[string]string{"sys_vendor": "QEMU", "product_uuid": "0F2C9B0A-1111-4222-8333-444455556666"}, "HOSTNAME=a\n", "", ""},
		{"no tables", nil, "", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := machine{t.TempDir(), t.TempDir()}
			for name, value := range c.dmi {
				write(t, filepath.Join(m.sys, "class/dmi/id", name), value)
			}
			leases := t.TempDir()
			if c.lease != "" {
				write(t, filepath.Join(leases, "2"), c.lease)
			}
			got := m.platform(leases)
			if got["instance_id"] != c.wantID || got["local_hostname"] != c.wantedHost {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestMetadataOfMedia(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want map[string]string
	}{
		"OpenStack's": {`{"uuid": "u", "hostname": "h", "launch_index": 0, "keys": [{"name": "k"}], "meta": {"a": "b"}, "project": null}`, map[string]string{"uuid": "u", "hostname": "h", "launch_index": "0"}},
		"NoCloud's":   {"instance-id: i\nlocal-hostname: h\nnetwork: {}\n", map[string]string{"instance_id": "i", "local_hostname": "h"}},
		"empty":       {"", map[string]string{}},
	} {
		got, err := plainValues([]byte(c.text))
		if err != nil || !maps.Equal(got, c.want) {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
	if _, err := plainValues([]byte("- a\n")); err == nil {
		t.Error("a list is taken")
	}
}

// A medium is anybody's: what it calls its metadata may be anything.
func TestMetadataFile(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(t *testing.T, file string)
		want string // nothing: it is read
	}{
		{"a file", func(t *testing.T, file string) { write(t, file, "uuid: u") }, ""},
		{"an empty file, as NoCloud allows", func(t *testing.T, file string) { write(t, file, "") }, ""},
		{"a link within the medium", func(t *testing.T, file string) {
			write(t, file+".real", "uuid: u")
			link(t, "meta_data.json.real", file)
		}, ""},
		{"a link that leads out", func(t *testing.T, file string) {
			outside := filepath.Join(t.TempDir(), "shadow")
			write(t, outside, "root: secret")
			link(t, outside, file)
		}, "escapes"},
		{"a pipe", func(t *testing.T, file string) {
			if err := unix.Mkfifo(file, 0o600); err != nil {
				t.Fatal(err)
			}
		}, "it is not a file"},
		{"a file too large", func(t *testing.T, file string) { write(t, file, strings.Repeat(" ", 1<<20+1)) }, "it is larger than 1 MiB"},
		{"no file", func(*testing.T, string) {}, "no such file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			medium := t.TempDir()
			write(t, filepath.Join(medium, "latest/other"), "")
			c.make(t, filepath.Join(medium, "latest/meta_data.json"))
			_, err := readMetadata(medium, "latest/meta_data.json")
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func link(t *testing.T, target, name string) {
	t.Helper()
	if err := os.Symlink(target, name); err != nil {
		t.Fatal(err)
	}
}

func FuzzMetadata(f *testing.F) {
	f.Add([]byte(`{"uuid": "u", "a-b": [1]}`))
	f.Add([]byte("instance-id: &a i\nlocal-hostname: *a\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := plainValues(data); err != nil {
			return
		}
	})
}
