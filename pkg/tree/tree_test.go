package tree_test

import (
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
