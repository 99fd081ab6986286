package state_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/state"
)

// The names on the state partition must stay what they are: machines have
// data there.
func TestPaths(t *testing.T) {
	want := []state.Path{
		{Path: "/etc", Mode: 0o755, Overlay: true},
		{Path: "/var", Mode: 0o755},
		{Path: "/home", Mode: 0o755},
		{Path: "/root", Mode: 0o700},
		{Path: "/srv", Mode: 0o755},
		{Path: "/opt", Mode: 0o755},
		{Path: "/usr/local", Mode: 0o755},
	}
	got := state.Paths()
	names := map[string]bool{}
	for i, p := range got {
		if i >= len(want) || p != want[i] {
			t.Errorf("entry %d: %+v is new or changed", i, p)
		}
		if p.Path != filepath.Clean(p.Path) || !filepath.IsAbs(p.Path) {
			t.Errorf("%q is no clean absolute path", p.Path)
		}
		base := filepath.Base(p.Path)
		if names[base] {
			t.Errorf("two paths would share the directory %q", base)
		}
		names[base] = true
	}
	if len(got) != len(want) {
		t.Errorf("%d entries, want %d", len(got), len(want))
	}
	if l := state.List(); l != "/etc, /var, /home, /root, /srv, /opt, /usr/local" {
		t.Errorf("list %q", l)
	}
}

func TestWritable(t *testing.T) {
	for _, c := range []struct {
		path string
		want bool
	}{
		{"/etc", true},
		{"/etc/", true},
		{"/etc/hostname", true},
		{"/var/lib/kubelet/config.yaml", true},
		{"/root/.ssh/authorized_keys", true},
		{"/usr/local/bin/tool", true},
		{"/opt/cni/bin/bridge", true},
		{"/etc/./x", true},
		{"//etc///x", true},
		{"/etc/../etc/x", true},
		{"/usr/../etc/x", true},
		{"/etc/..x", true},

		{"", false},
		{"/", false},
		{"/usr", false},
		{"/usr/lib/x", false},
		{"/usr/localx", false},
		{"/usr/locale", false},
		{"/etcetera", false},
		{"/varx/y", false},
		{"/etc/../usr/bin/x", false},
		{"/etc/../../usr/x", false},
		{"/var/..", false},
		{"/home/../boot/x", false},
		{"/boot/x", false},
		{"/run/x", false},     // is lost at the end of the boot
		{"/var/run/x", false}, // a link to it
		{"/var/lock", false},
		{"/var/./run/../run/x", false},
		{"/var/running", true},
		{"/tmp/x", false},
		{"/dev/x", false},
		{"/ETC/x", false},
		{"/etc\x00/x", false},
		{"/etc\n/x", false},
		{"/proc/1/root/etc/x", false}, // names a link, and is not followed
		{"/lib/x", false},
	} {
		if got := state.Writable(c.path); got != c.want {
			t.Errorf("%q: %v, want %v", c.path, got, c.want)
		}
	}
}

func FuzzWritable(f *testing.F) {
	for _, s := range []string{"/etc/x", "/etc/../usr", "/usr/local/../lib", "etc", "/var/./../", "\xff/etc"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, p string) {
		// By another way: what is left of the path lies below a table's path.
		want := false
		for _, w := range state.Paths() {
			rel, err := filepath.Rel(w.Path, filepath.Join("/", p))
			want = want || err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
		}
		for _, link := range []string{"/var/run", "/var/lock"} {
			if rel, err := filepath.Rel(link, filepath.Join("/", p)); err == nil && rel != ".." && !strings.HasPrefix(rel, "../") {
				want = false
			}
		}
		if got := state.Writable(p); got != want {
			t.Errorf("%q: %v, want %v", p, got, want)
		}
	})
}
