package kmod

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/tree"
)

func TestDamaged(t *testing.T) {
	good := ko{info: []string{"alias=a"}, needs: []string{"x"}}.bytes()
	for name, data := range map[string][]byte{"empty": {}, "text": []byte("hello"), "short": good[:len(good)-1], "header": good[:64]} {
		root := install(t, map[string][]byte{"kernel/m.ko": data})
		tr, err := tree.FromDir(root, 1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Read(t.Context(), tr, testRelease, nil); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for _, release := range []string{"", "..", "a/b", "6.2"} {
		if _, err := Read(t.Context(), tree.NewBuilder(1).Tree(), release, nil); err == nil {
			t.Errorf("release %q: no error", release)
		}
	}
}

// A file in which many symbols share one long name must not take much memory.
func TestHostile(t *testing.T) {
	k := ko{needs: []string{strings.Repeat("x", maxName)}}.bytes()
	if _, err := parseModule(k); err != nil {
		t.Error(err)
	}
	k = ko{needs: []string{strings.Repeat("x", maxName+1)}}.bytes()
	if _, err := parseModule(k); err == nil {
		t.Error("took a long name")
	}
	many := ko{needs: slices.Repeat([]string{strings.Repeat("x", 1000)}, 20000)}.bytes()
	if _, err := parseModule(many); err == nil {
		t.Error("took many names")
	}
	bomb := install(t, map[string][]byte{"kernel/bomb.ko.zst": make([]byte, maxModule+1)})
	tr, err := tree.FromDir(bomb, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Read(t.Context(), tr, testRelease, nil); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("bomb: %v", err)
	}
}

func FuzzParseModule(f *testing.F) {
	k := ko{info: []string{"alias=a-[b]", "softdep=pre: a post: b", "depends=a,b"}, exports: []string{"e"}, needs: []string{"n"}, versions: []string{"v"}}
	f.Add(k.bytes())
	k.order = binary.BigEndian
	k.exports, k.strings = nil, []string{"s"}
	f.Add(k.bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := parseModule(data)
		if err != nil {
			return
		}
		var m Module
		m.Name = "m"
		m.read(s.info)
		m.exports, m.needs = s.exports, s.needs
		m.Path = "kernel/m.ko"
		set := &Set{release: "1", modules: []Module{m}}
		set.Closure(append(m.Aliases, m.SoftPre...))
		set.Index() // must not panic; what is not ASCII is an error
	})
}
