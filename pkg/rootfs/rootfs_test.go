package rootfs_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/deb"
	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/rootfs"
	"github.com/slipway-os/slipway/pkg/tree"
)

const epoch = 1_700_000_000

// files is a small tree, by path: a path that ends in "/" is a directory, a
// value that starts with "-> " makes a symlink, any other is a file's content.
type files map[string]string

func (f files) tree(t testing.TB) *tree.Tree {
	t.Helper()
	b := tree.NewBuilder(epoch)
	for _, p := range slices.Sorted(maps.Keys(f)) {
		n := &tree.Node{Type: tree.File, Mode: 0o644, ModTime: epoch, Content: tree.String(f[p])}
		if target, ok := strings.CutPrefix(f[p], "-> "); ok {
			n = &tree.Node{Type: tree.Symlink, Mode: 0o777, ModTime: epoch, Target: target}
		} else if strings.HasSuffix(p, "/") {
			n = &tree.Node{Type: tree.Dir, Mode: 0o755, ModTime: epoch}
		}
		if err := b.Put(p, n); err != nil {
			t.Fatal(err)
		}
	}
	return b.Tree()
}

func (f files) pkg(t testing.TB, name string) *deb.Package {
	return &deb.Package{Control: map[string]string{"Package": name}, Tree: f.tree(t)}
}

// masters are base-passwd's, shortened.
func masters() files {
	return files{
		"usr/share/base-passwd/passwd.master": "root:*:0:0:root:/root:/bin/bash\n_apt:*:42:65534::/nonexistent:/usr/sbin/nologin\nnobody:*:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
		"usr/share/base-passwd/group.master":  "root:*:0:\nadm:*:4:syslog\nshadow:*:42:\nnogroup:*:65534:\n",
	}
}

// compose composes a root of packages, with those that every root needs.
func compose(t testing.TB, s rootfs.Sources) (*tree.Tree, error) {
	t.Helper()
	s.Packages = append(s.Packages, masters().pkg(t, "base-passwd"))
	s.Epoch = epoch
	return rootfs.Compose(s)
}

func mustCompose(t testing.TB, s rootfs.Sources) *tree.Tree {
	t.Helper()
	root, err := compose(t, s)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func content(t testing.TB, root *tree.Tree, p string) string {
	t.Helper()
	n := root.Lookup(p)
	if n == nil {
		t.Fatalf("there is no %s", p)
	}
	data, err := tree.ReadAll(n.Content, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestPackagesGoThroughTheLinksOfBaseFiles(t *testing.T) {
	root := mustCompose(t, rootfs.Sources{Packages: []*deb.Package{
		files{"lib/x": "x", "bin/y": "y"}.pkg(t, "aaa"), // before base-files by name
		files{"lib": "-> usr/lib", "bin": "-> usr/bin", "usr/lib/": "", "usr/bin/": ""}.pkg(t, "base-files"),
	}})
	for p, want := range map[string]string{"usr/lib/x": "x", "usr/bin/y": "y"} {
		if got := content(t, root, p); got != want {
			t.Errorf("%s holds %q", p, got)
		}
	}
}

func TestWhatIsLaidOverWhat(t *testing.T) {
	root := mustCompose(t, rootfs.Sources{
		Packages: []*deb.Package{files{"etc/a": "package", "etc/b": "package", "etc/c": "package", "etc/d": "package"}.pkg(t, "p")},
		Overlays: []*tree.Tree{
			files{"etc/b": "first overlay", "etc/c": "first overlay"}.tree(t),
			files{"etc/c": "second overlay", "etc/d": "-> a"}.tree(t),
		},
		Trees: []*tree.Tree{files{"etc/e": "component"}.tree(t)},
	})
	for p, want := range map[string]string{"etc/a": "package", "etc/b": "first overlay", "etc/c": "second overlay", "etc/e": "component"} {
		if got := content(t, root, p); got != want {
			t.Errorf("%s is the %s's, not the %s's", p, got, want)
		}
	}
	if n := root.Lookup("etc/d"); n.Type != tree.Symlink || n.Target != "a" {
		t.Errorf("etc/d is %v to %q", n.Type, n.Target)
	}
}

// git keeps no modes of directories, so an overlay cannot mean to change one.
func TestDirectoriesKeepTheirModes(t *testing.T) {
	private := files{"root/.profile": "", "var/lib/secret/x": ""}.pkg(t, "p")
	b := tree.NewBuilder(epoch)
	if err := b.PutTree(".", private.Tree); err != nil {
		t.Fatal(err)
	}
	if err := b.Put("var/lib/secret", &tree.Node{Type: tree.Dir, Mode: 0o2750, GID: 4, ModTime: epoch}); err != nil {
		t.Fatal(err)
	}
	private.Tree = b.Tree()
	root := mustCompose(t, rootfs.Sources{
		Packages: []*deb.Package{private, files{"var/lib/secret/y": ""}.pkg(t, "q")},
		Overlays: []*tree.Tree{files{"root/.bashrc": "", "var/lib/secret/z": "", "tmp/x": ""}.tree(t)},
		Trees:    []*tree.Tree{files{"root/bin/program": ""}.tree(t)},
	})
	for p, want := range map[string]uint32{"root": 0o700, "var/lib/secret": 0o2750, "tmp": 0o1777, "proc": 0o555, "usr/local": 0o755} {
		if got := root.Lookup(p).Mode; got != want {
			t.Errorf("%s has mode %o, not %o", p, got, want)
		}
	}
	if gid := root.Lookup("var/lib/secret").GID; gid != 4 {
		t.Errorf("var/lib/secret belongs to group %d", gid)
	}
}

func TestPathsThatCannotBeBothAreBadInput(t *testing.T) {
	for name, c := range map[string]struct {
		overlay files
		want    string
	}{
		"file over a full directory": {files{"usr/lib/p": "x"}, `placing "usr/lib/p": a directory with content ("usr/lib/p/a") is in its place`},
		"directory over a file":      {files{"etc/conf/": ""}, `placing directory "etc/conf": something else is in its place`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := compose(t, rootfs.Sources{
				Packages: []*deb.Package{files{"usr/lib/p/a": "", "usr/lib/p/b": "", "etc/conf": ""}.pkg(t, "p")},
				Overlays: []*tree.Tree{c.overlay.tree(t)},
			})
			if err == nil || !strings.Contains(err.Error(), c.want) || diag.ExitCode(err) != diag.ExitInput {
				t.Errorf("got %v (status %d)", err, diag.ExitCode(err))
			}
		})
	}
}

func TestPrune(t *testing.T) {
	all := files{
		"usr/share/doc/p/copyright": "", "usr/share/doc/p/changelog.gz": "", "usr/share/doc/p/NEWS": "", "usr/share/doc/p/examples/a/b": "",
		"usr/share/man/man1/x.1": "", "usr/bin/x": "", "boot/vmlinuz": "",
	}
	for _, c := range []struct {
		name  string
		globs []string
		kept  string
	}{
		{"nothing", nil, "boot/vmlinuz usr/bin/x usr/share/doc/p/NEWS usr/share/doc/p/changelog.gz usr/share/doc/p/copyright usr/share/doc/p/examples/a/b usr/share/man/man1/x.1"},
		{"a directory takes all in it", []string{"usr/share"}, "boot/vmlinuz usr/bin/x"},
		{"documentation but for the licences", []string{"usr/share/man", "usr/share/doc/*/[!c]*", "usr/share/doc/*/c[!o]*"}, "boot/vmlinuz usr/bin/x usr/share/doc/p/copyright"},
		{"the other sign for none of these", []string{"usr/share/doc/*/[^c]*", "boot/*"}, "usr/bin/x usr/share/doc/p/changelog.gz usr/share/doc/p/copyright usr/share/man/man1/x.1"},
		{"a star stays inside a name", []string{"usr/*1", "*/x"}, "boot/vmlinuz usr/bin/x usr/share/doc/p/NEWS usr/share/doc/p/changelog.gz usr/share/doc/p/copyright usr/share/doc/p/examples/a/b usr/share/man/man1/x.1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := tree.NewBuilder(epoch)
			if err := rootfs.Unpack(b, []*deb.Package{all.pkg(t, "p")}, c.globs, false, epoch); err != nil {
				t.Fatal(err)
			}
			var kept []string
			for _, p := range b.Paths() {
				if b.Lookup(p).Type == tree.File {
					kept = append(kept, p)
				}
			}
			if got := strings.Join(kept, " "); got != c.kept {
				t.Errorf("kept %s\nwant %s", got, c.kept)
			}
		})
	}
	_, err := compose(t, rootfs.Sources{Prune: []string{"usr/[a"}})
	if err == nil || err.Error() != `pruning "usr/[a": syntax error in pattern` || diag.ExitCode(err) != diag.ExitInput {
		t.Errorf("a bad glob: %v", err)
	}
}

func TestCertificatesAreJoinedBeforeTheyArePruned(t *testing.T) {
	const dir = "usr/share/ca-certificates/mozilla/"
	p := files{dir + "B.crt": "two\n\n", dir + "A.crt": "one", dir + "README": "no", "usr/share/ca-certificates/other/C.crt": "no"}.pkg(t, "ca-certificates")
	root := mustCompose(t, rootfs.Sources{Packages: []*deb.Package{p}, Prune: []string{"usr/share/ca-certificates"}})
	if got := content(t, root, "etc/ssl/certs/ca-certificates.crt"); got != "one\ntwo\n" {
		t.Errorf("the bundle holds %q", got)
	}
	if root.Lookup(dir+"A.crt") != nil {
		t.Error("the single ones are still there")
	}
	b := tree.NewBuilder(epoch)
	if err := rootfs.Unpack(b, []*deb.Package{p}, nil, false, epoch); err != nil {
		t.Fatal(err)
	}
	if b.Lookup("etc/ssl/certs/ca-certificates.crt") != nil {
		t.Error("a bundle that nobody asked for")
	}
}

func TestSettings(t *testing.T) {
	const template = "usr/lib/slipway/containerd.toml"
	for _, c := range []struct{ name, text, want, problem string }{
		{"filled in", "sandbox = \"${sandboxImage}\"\n${b}${b}", "sandbox = \"x/pause:1\"\n${sandboxImage}${sandboxImage}", ""},
		{"nothing to fill in", "$x {y} $$\n", "$x {y} $$\n", ""},
		{"unknown", "a\n\nx = ${nothing}\n", "", `filling in "usr/lib/slipway/containerd.toml": line 3 names the setting "nothing", which does not exist`},
		{"no end", "a ${b\n}", "", `filling in "usr/lib/slipway/containerd.toml": line 1 names the setting "b", which does not exist`},
	} {
		t.Run(c.name, func(t *testing.T) {
			settings := map[string]string{"sandboxImage": "x/pause:1", "b": "${sandboxImage}"}
			if c.name == "no end" {
				delete(settings, "b")
			}
			root, err := compose(t, rootfs.Sources{Overlays: []*tree.Tree{files{template: c.text}.tree(t)}, Settings: settings})
			if c.problem != "" {
				if err == nil || err.Error() != c.problem || diag.ExitCode(err) != diag.ExitInput {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := content(t, root, template); got != c.want {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestWhatScriptsWouldDo(t *testing.T) {
	root := mustCompose(t, rootfs.Sources{Packages: []*deb.Package{
		files{"usr/share/base-files/profile": "profile", "var/run/": "", "usr/share/openssh/sshd_config": "Port 22"}.pkg(t, "p"),
	}})
	if got := content(t, root, "etc/profile") + content(t, root, "etc/ssh/sshd_config"); got != "profilePort 22" {
		t.Errorf("copies hold %q", got)
	}
	for p, want := range map[string]string{"var/run": "/run", "var/lock": "/run/lock"} {
		if n := root.Lookup(p); n == nil || n.Type != tree.Symlink || n.Target != want {
			t.Errorf("%s is %+v", p, n)
		}
	}
	if n := root.Lookup("etc/machine-id"); n.Size() != 0 || n.Mode != 0o444 {
		t.Errorf("machine-id has %d bytes, mode %o", n.Size(), n.Mode)
	}
}

func TestNoTimeIsLaterThanTheEpoch(t *testing.T) {
	late := &tree.Node{Type: tree.File, Mode: 0o644, ModTime: epoch + 99, Content: tree.String("x")}
	b := tree.NewBuilder(epoch)
	for _, p := range []string{"usr/a", "usr/b"} {
		if err := b.Put(p, late); err != nil {
			t.Fatal(err)
		}
	}
	root := mustCompose(t, rootfs.Sources{Packages: []*deb.Package{{Control: map[string]string{"Package": "p"}, Tree: b.Tree()}}})
	root.Walk(func(p string, n *tree.Node) error {
		if n.ModTime > epoch {
			t.Errorf("%s is of %d", p, n.ModTime)
		}
		return nil
	})
	if root.Lookup("usr/a") != root.Lookup("usr/b") {
		t.Error("the hard links are apart")
	}
}

// The order in which maps yield must not show.
func TestTheSameRootTwice(t *testing.T) {
	describe := func() string {
		var s strings.Builder
		root := mustCompose(t, rootfs.Sources{
			Packages: []*deb.Package{files{"usr/lib/sysusers.d/a.conf": "u a -\nu b -\ng c -\nm a c\nm b c\n", "usr/share/ca-certificates/mozilla/x.crt": "x"}.pkg(t, "p")},
			Overlays: []*tree.Tree{files{"usr/lib/slipway/containerd.toml": "${a}${b}", "etc/sysusers.d/z.conf": "u z -\n"}.tree(t)},
			Settings: map[string]string{"a": "${b}", "b": "${a}"},
		})
		root.Walk(func(p string, n *tree.Node) error {
			fmt.Fprintf(&s, "%s %v %o %d:%d %d %s %s\n", p, n.Type, n.Mode, n.UID, n.GID, n.ModTime, n.Target, n.Digest())
			return nil
		})
		return s.String()
	}
	want := describe()
	for range 10 {
		if got := describe(); got != want {
			t.Fatalf("got\n%s\nwant\n%s", got, want)
		}
	}
}
