package firmware_test

import (
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/firmware"
	"github.com/slipway-os/slipway/pkg/tree"
)

const release = "6.12.1-test"

// root makes a root of firmware files, given below firmware.Dir; "a -> b" is a
// symlink. A path that begins with a slash is one from the root.
func root(t *testing.T, paths ...string) *tree.Builder {
	t.Helper()
	b := tree.NewBuilder(1)
	for _, p := range append(paths, "/etc/passwd") {
		p, target, isLink := strings.Cut(p, " -> ")
		n := &tree.Node{Type: tree.File, Mode: 0o644, Content: tree.String(p)}
		if isLink {
			n = &tree.Node{Type: tree.Symlink, Mode: 0o777, Target: target}
		}
		if !strings.HasPrefix(p, "/") {
			p = path.Join(firmware.Dir, p)
		}
		if err := b.Put(p, n); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// below returns the files and links of a tree below firmware.Dir.
func below(t *testing.T, tr *tree.Tree) string {
	t.Helper()
	var list []string
	err := tr.Walk(func(p string, n *tree.Node) error {
		if rel, ok := strings.CutPrefix(p, firmware.Dir+"/"); ok && n.Type != tree.Dir {
			list = append(list, rel)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(list, " ")
}

func TestFind(t *testing.T) {
	for _, c := range []struct {
		name  string
		there []string
		asked string
		want  string // of the paths, those below Dir; "" if there is none
	}{
		{"as it is", []string{"a/b.fw"}, "a/b.fw", "a a/b.fw"},
		{"missing", []string{"a/b.fw"}, "a/c.fw", ""},
		{"missing directory", []string{"a/b.fw"}, "b/b.fw", ""},
		{"a directory", []string{"a/b.fw"}, "a", ""},
		{"a file for a directory", []string{"a"}, "a/b.fw", ""},
		{"compressed by xz", []string{"b.fw.xz"}, "b.fw", "b.fw.xz"},
		{"compressed by zstd", []string{"b.fw.zst", "b.fw.xz"}, "b.fw", "b.fw.zst"},
		{"plain before compressed", []string{"b.fw", "updates/b.fw.xz"}, "b.fw", "b.fw"},
		{"compressed in a way the kernel knows not", []string{"b.fw.gz"}, "b.fw", ""},
		{"updates first", []string{"b.fw", "updates/b.fw"}, "b.fw", "updates updates/b.fw"},
		{"of this kernel", []string{"b.fw", release + "/b.fw"}, "b.fw", release + " " + release + "/b.fw"},
		{"of another kernel", []string{"6.1/b.fw"}, "b.fw", ""},
		{"symlink", []string{"ice.pkg -> ddp/ice-1.pkg", "ddp/ice-1.pkg"}, "ice.pkg", "ice.pkg ddp ddp/ice-1.pkg"},
		{"symlink to a compressed file", []string{"a.fw.xz -> b.fw.xz", "b.fw.xz"}, "a.fw", "a.fw.xz b.fw.xz"},
		{"symlink upwards", []string{"a/b.fw -> ../c/b.fw", "c/b.fw"}, "a/b.fw", "a a/b.fw c c/b.fw"},
		{"symlink to a directory", []string{"new -> old", "old/b.fw"}, "new/b.fw", "new old old/b.fw"},
		{"absolute symlink", []string{"b.fw -> /etc/passwd"}, "b.fw", "b.fw"},
		{"symlink out of the root", []string{"b.fw -> ../../../../../etc/passwd"}, "b.fw", "b.fw"},
		{"symlink to nothing", []string{"b.fw -> c.fw"}, "b.fw", ""},
		{"symlinks in a circle", []string{"b.fw -> c.fw", "c.fw -> b.fw"}, "b.fw", ""},
		{"pattern", []string{"i/ish_a.bin", "i/ish_b.bin.xz", "i/other.bin", "updates/i/ish_c.bin"}, "i/ish_*.bin", "i i/ish_a.bin i/ish_b.bin.xz updates updates/i updates/i/ish_c.bin"},
		{"pattern of nothing", []string{"i/other.bin"}, "i/ish_*.bin", ""},
		{"pattern that is none", []string{"a"}, "[", ""},
		{"empty", []string{"a"}, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, p := range firmware.NewFinder(root(t, c.there...).Tree(), release).Find(c.asked) {
				if rel, ok := strings.CutPrefix(p, firmware.Dir+"/"); ok && !slices.Contains(got, rel) {
					got = append(got, rel)
				}
			}
			if s := strings.Join(got, " "); s != c.want {
				t.Errorf("got %q, want %q", s, c.want)
			}
		})
	}
}

func TestMissing(t *testing.T) {
	f := firmware.NewFinder(root(t, "a/1.fw", "a/2.fw").Tree(), release)
	requests := []firmware.Request{
		{Module: "whole", Files: []string{"a/1.fw", "a/2.fw"}},
		{Module: "half", Files: []string{"a/3.fw", "a/1.fw", "b/1.fw"}},
		{Module: "none", Files: []string{"c.fw", "b/1.fw"}},
	}
	for _, c := range []struct{ waive, missing, idle string }{
		{"", "half: a/3.fw b/1.fw, none: b/1.fw c.fw", ""},
		{"b", "half: a/3.fw, none: c.fw", ""},
		{"b/*.fw a/[3-9].fw", "none: c.fw", ""},
		{"a/1.fw", "half: a/3.fw b/1.fw, none: b/1.fw c.fw", "a/1.fw"}, // it is there
		{"* b x/y", "", "x/y"},
		{"?.fw", "half: a/3.fw b/1.fw, none: b/1.fw", ""},
	} {
		missing, idle := f.Missing(requests, strings.Fields(c.waive))
		var list []string
		for _, m := range missing {
			list = append(list, m.Module+": "+strings.Join(m.Files, " "))
		}
		if got := strings.Join(list, ", "); got != c.missing || strings.Join(idle, " ") != c.idle {
			t.Errorf("%q: missing %q, idle %q; want %q, %q", c.waive, got, idle, c.missing, c.idle)
		}
	}
}

func TestTrim(t *testing.T) {
	there := []string{"a/1.fw", "a/2.fw", "b/1.fw", "ice.pkg -> ddp/ice-1.pkg", "ddp/ice-1.pkg", "ddp/ice-0.pkg", "gone.fw -> b/1.fw", "dead -> nothing"}
	for _, c := range []struct {
		asked, keep, want string
		files             int
	}{
		{"", "", "", 0},
		{"a/1.fw x.fw", "", "a/1.fw", 1},
		{"ice.pkg", "", "ddp/ice-1.pkg ice.pkg", 1},
		{"", "gone.fw", "b/1.fw gone.fw", 1},
		{"a/1.fw", "a ddp", "a/1.fw a/2.fw ddp/ice-0.pkg ddp/ice-1.pkg", 4},
		{"", "dead", "", 0},
		{"b/*", "*/2.fw", "a/2.fw b/1.fw", 2},
	} {
		b := root(t, there...)
		files, size := firmware.Trim(b, release, []firmware.Request{{Module: "m", Files: strings.Fields(c.asked)}}, strings.Fields(c.keep))
		tr := b.Tree()
		if got := below(t, tr); got != c.want || files != c.files || (size > 0) != (files > 0) {
			t.Errorf("%q and %q: kept %q (%d files, %d bytes), want %q (%d)", c.asked, c.keep, got, files, size, c.want, c.files)
		}
		if tr.Lookup("etc/passwd") == nil {
			t.Error("took what is no firmware")
		}
	}
}

func TestCheck(t *testing.T) {
	for glob, good := range map[string]bool{
		"a": true, "a/*.bin": true, "[ab]/c": true, "": false, "/a": false, "../a": false, "a/": false, "a//b": false, ".": false, "[": false,
	} {
		if err := firmware.Check(glob); (err == nil) != good {
			t.Errorf("%q: %v", glob, err)
		}
	}
}

// Whatever a module or a profile names, what is found lies in the tree, and
// what Trim keeps is found again.
func FuzzFind(f *testing.F) {
	f.Add("a/b.fw", "a/b.fw", "../x")
	f.Add("i/ish_*.bin", "i/ish_a.bin", "/usr/lib/firmware/i")
	f.Add("[", "a/../..", "")
	f.Fuzz(func(t *testing.T, name, file, target string) {
		b := tree.NewBuilder(1)
		b.Put(path.Join(firmware.Dir, file), &tree.Node{Type: tree.File, Content: tree.String("x")})
		b.Put(path.Join(firmware.Dir, "link"), &tree.Node{Type: tree.Symlink, Target: target})
		before := b.Tree()
		found := firmware.NewFinder(before, release).Find(name)
		for _, p := range found {
			if before.Lookup(p) == nil {
				t.Fatalf("%q led to %q, which is not there", name, p)
			}
		}
		firmware.Trim(b, release, []firmware.Request{{Module: "m", Files: []string{name}}}, nil)
		again := firmware.NewFinder(b.Tree(), release).Find(name)
		if !slices.Equal(found, again) {
			t.Fatalf("%q: found %q, and %q when trimmed", name, found, again)
		}
	})
}
