package tree_test

import (
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/tree"
)

func file(s string) *tree.Node {
	return &tree.Node{Type: tree.File, Mode: 0o644, Content: tree.String(s)}
}
func link(to string) *tree.Node { return &tree.Node{Type: tree.Symlink, Mode: 0o777, Target: to} }
func dir() *tree.Node           { return &tree.Node{Type: tree.Dir, Mode: 0o755} }

type put struct {
	path string
	node *tree.Node
}

func TestBuilderPlacesAsUnpackingWould(t *testing.T) {
	for _, c := range []struct {
		name string
		puts []put
		want []string
		err  string
	}{
		{"parents are made", []put{{"usr/bin/a", file("a")}}, []string{".", "usr", "usr/bin", "usr/bin/a"}, ""},
		{"a linked directory is followed", []put{{"usr/lib", dir()}, {"lib", link("usr/lib")}, {"lib/x", file("x")}}, []string{".", "lib", "usr", "usr/lib", "usr/lib/x"}, ""},
		{"a directory over a link to one leaves the link", []put{{"usr/lib", dir()}, {"lib", link("usr/lib")}, {"lib", dir()}, {"lib/x", file("x")}}, []string{".", "lib", "usr", "usr/lib", "usr/lib/x"}, ""},
		{"a dangling link's target is made", []put{{"lib", link("usr/lib")}, {"lib/x", file("x")}}, []string{".", "lib", "usr", "usr/lib", "usr/lib/x"}, ""},
		{"absolute links start at the root", []put{{"var/run", link("/run")}, {"var/run/x", file("x")}}, []string{".", "run", "run/x", "var", "var/run"}, ""},
		{"nothing climbs out", []put{{"../../etc/x", file("x")}}, []string{".", "etc", "etc/x"}, ""},
		{"a link that climbs stays inside", []put{{"a", link("../../..")}, {"a/x", file("x")}}, []string{".", "a", "x"}, ""},
		{"a file is no directory", []put{{"a", file("a")}, {"a/b", file("b")}}, nil, `placing "a/b": "a" is not a directory`},
		{"nor is one far below it", []put{{"a", file("a")}, {"a/b/c/d", file("d")}}, nil, `placing "a/b/c/d": "a/b/c" is not below a directory`},
		{"a dangling link to a place below a file", []put{{"f", file("f")}, {"a", link("f/x")}, {"a/b", file("b")}}, nil, `placing "a/b": "f/x" is not below a directory`},
		{"a link to nothing is replaced by a directory", []put{{"a", link("b")}, {"a", dir()}}, []string{".", "a"}, ""},
		{"an empty directory is replaced by a file", []put{{"a", dir()}, {"a", file("a")}}, []string{".", "a"}, ""},
		{"the root stays a directory", []put{{"/", link("etc")}}, nil, `placing ".": the root must be a directory`},
		{"a full directory is not replaced", []put{{"a/b", file("b")}, {"a", file("a")}}, nil, `a directory with content`},
		{"a circle of links is refused", []put{{"a", link("b")}, {"b", link("a")}, {"a/x", file("x")}}, nil, `placing`},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := tree.NewBuilder(0)
			var err error
			for _, p := range c.puts {
				if err = b.Put(p.path, p.node); err != nil {
					break
				}
			}
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("got error %v, want %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := b.Paths(); !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestHardLinksShareANode(t *testing.T) {
	b := tree.NewBuilder(0)
	for _, err := range []error{b.Put("usr/bin/kubelet", file("k")), b.Link("usr/bin/kubelet", "srv/layer/kube-proxy")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	b.ClampTimes(-1)
	tr := b.Tree()
	if tr.Lookup("usr/bin/kubelet") != tr.Lookup("srv/layer/kube-proxy") {
		t.Error("the two paths lead to different nodes")
	}
	sub, err := tr.Sub("srv")
	if err != nil {
		t.Fatal(err)
	}
	if sub.Lookup("layer/kube-proxy") != tr.Lookup("usr/bin/kubelet") {
		t.Error("taking a part of the tree copied the node")
	}
}

func TestLinksThatCannotBe(t *testing.T) {
	b := tree.NewBuilder(0)
	if err := b.Put("usr/bin/x", file("x")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ from, to, want string }{
		{"usr/bin/y", "z", `linking "z" to "usr/bin/y": the latter does not exist`},
		{"usr/bin", "z", `linking "z" to "usr/bin": the latter is a directory`},
		{"usr/bin/x", "usr", `a directory with content ("usr/bin") is in its place`},
	} {
		if err := b.Link(c.from, c.to); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}

func TestATreeStaysAsItIs(t *testing.T) {
	b := tree.NewBuilder(7)
	x := &tree.Node{Type: tree.File, ModTime: 20, Xattrs: []tree.Xattr{{Name: "user.b"}, {Name: "user.a"}}}
	if err := b.Put("a/x", x); err != nil {
		t.Fatal(err)
	}
	before := b.Tree()
	b.ClampTimes(10)
	b.Remove("a/none")
	b.Remove("/")
	after := b.Tree()
	b.Remove("a")
	if before.Len() != 3 || after.Len() != 3 || b.Tree().Len() != 1 {
		t.Errorf("%d, %d and %d paths", before.Len(), after.Len(), b.Tree().Len())
	}
	if was, is := before.Lookup("a/x"), after.Lookup("a/x"); was.ModTime != 20 || is.ModTime != 10 || is.Xattrs[0].Name != "user.a" || x.Xattrs[0].Name != "user.b" {
		t.Errorf("before %+v, after %+v, given %+v", was, is, x)
	}
	if got := after.Lookup("a").ModTime; got != 7 {
		t.Errorf("a directory that nobody put is of %d, want 7", got)
	}
}

func TestResolveGoesWhereAProcessWould(t *testing.T) {
	b := tree.NewBuilder(0)
	for _, p := range []put{
		{"usr/lib/x", file("x")}, {"lib", link("usr/lib")}, {"abs", link("/usr")}, {"up", link("../..")},
		{"circle", link("circle")}, {"usr/back", link("../lib/x")}, {"gone", link("nowhere")},
	} {
		if err := b.Put(p.path, p.node); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		path, want string
		ok         bool
	}{
		{"lib/x", "usr/lib/x", true},
		{"abs/lib/x", "usr/lib/x", true},
		{"usr/back", "usr/lib/x", true},
		{"up/usr/../lib", "usr/lib", true},
		{"/", ".", true},
		{"gone", "nowhere", false},
		{"lib/y/z", "usr/lib/y/z", false},
		{"circle", "", false},
	} {
		if got, ok := b.Tree().Resolve(c.path); got != c.want || ok != c.ok {
			t.Errorf("%s: got %q, %v; want %q, %v", c.path, got, ok, c.want, c.ok)
		}
	}
	if sub, err := b.Tree().Sub("usr/lib/x"); err == nil {
		t.Errorf("a file is taken for a tree: %v", sub)
	}
}

// Whatever is put, and in whatever order, a path's parents are directories.
func FuzzBuilder(f *testing.F) {
	f.Add("d a\nl lib usr/lib\nf lib/x\nf ../../y\nl a ..\nf a/b")
	f.Add("l a b\nl b a\nf a/b/c\nd a\nf a")
	f.Fuzz(func(t *testing.T, script string) {
		b := tree.NewBuilder(0)
		for line := range strings.Lines(script) {
			fields := append(strings.Fields(line), "", "", "")
			switch fields[0] {
			case "f":
				b.Put(fields[1], file(""))
			case "d":
				b.Put(fields[1], dir())
			case "l":
				b.Put(fields[1], link(fields[2]))
			case "h":
				b.Link(fields[1], fields[2])
			case "r":
				b.Remove(fields[1])
			}
		}
		tr := b.Tree()
		seen := 0
		tr.Walk(func(p string, n *tree.Node) error {
			seen++
			if up := tr.Lookup(path.Dir(p)); up == nil || up.Type != tree.Dir {
				t.Errorf("%q lies in %+v", p, up)
			}
			tr.Resolve(p)
			return nil
		})
		if seen != tr.Len() {
			t.Errorf("%d of %d paths can be reached", seen, tr.Len())
		}
	})
}

func TestWalkIsSortedAndParentsComeFirst(t *testing.T) {
	b := tree.NewBuilder(0)
	for _, p := range []string{"b/z", "b/a", "a-b", "a/x", "B"} {
		if err := b.Put(p, file(p)); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	err := b.Tree().Walk(func(p string, _ *tree.Node) error { got = append(got, p); return nil })
	if want := []string{".", "B", "a", "a/x", "a-b", "b", "b/a", "b/z"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q (%v), want %q", got, err, want)
	}
}

func TestRemoveTakesWhatIsBelow(t *testing.T) {
	b := tree.NewBuilder(0)
	for _, p := range []string{"usr/share/doc/a/copyright", "usr/share/doc/a/changelog", "usr/share/man/x"} {
		if err := b.Put(p, file(p)); err != nil {
			t.Fatal(err)
		}
	}
	b.Remove("usr/share/man")
	b.RemoveFunc(func(p string, _ *tree.Node) bool { return strings.HasSuffix(p, "changelog") })
	want := []string{".", "usr", "usr/share", "usr/share/doc", "usr/share/doc/a", "usr/share/doc/a/copyright"}
	if got := b.Paths(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
