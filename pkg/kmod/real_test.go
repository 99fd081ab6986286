package kmod

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-os/slipway/pkg/tree"
)

// TestRealKernel compares the indexes of a kernel package's modules with those
// that depmod writes into it. SLIPWAY_KERNEL_ROOT names where "dpkg-deb -x" put
// the package, with lib leading to usr/lib.
func TestRealKernel(t *testing.T) {
	root := os.Getenv("SLIPWAY_KERNEL_ROOT")
	if root == "" {
		t.Skip("no SLIPWAY_KERNEL_ROOT")
	}
	found, err := filepath.Glob(filepath.Join(root, "lib/modules/*"))
	if err != nil || len(found) != 1 {
		t.Fatalf("kernels: %q, %v", found, err)
	}
	tr, err := tree.FromDir(root, 1)
	if err != nil {
		t.Fatal(err)
	}
	memo := memory{}
	for _, how := range []string{"anew", "from memo"} {
		start := time.Now()
		s, err := Read(t.Context(), tr, filepath.Base(found[0]), memo)
		if err != nil {
			t.Fatal(err)
		}
		took := time.Since(start)
		start = time.Now()
		if _, err := s.Index(); err != nil {
			t.Fatal(err)
		}
		t.Logf("%d modules read %s in %v, indexed in %v", len(s.Modules()), how, took, time.Since(start))
		compare(t, root, s)
		if how == "anew" {
			closures(t, root, s)
			for i := 0; i < len(s.Modules()); i += 5 {
				compareFirmware(t, root, s.Modules()[i])
			}
		}
	}
	for _, record := range memo {
		t.Logf("record of %d bytes", len(record))
	}
}

// closures compares what some modules bring along with what modprobe would load
// for them. It heeds only the first of a module's softdeps.
func closures(t *testing.T, root string, s *Set) {
	for i := 0; i < len(s.Modules()); i += 20 {
		name := s.Modules()[i].Name
		want := make(map[string]bool)
		out := run(t, "modprobe", "-C", "/dev/null", "-d", root, "-S", s.Release(), "--show-depends", name)
		for line := range strings.Lines(out) {
			if file, ok := strings.CutPrefix(line, "insmod "); ok {
				want[moduleName(strings.Fields(file)[0])] = true
			}
		}
		list := slices.Sorted(maps.Keys(want))
		set := s.Closure([]string{name})
		several := slices.ContainsFunc(set.Modules(), func(m Module) bool { return len(m.softdeps) > 1 })
		got := strings.Fields(names(set))
		missing := slices.ContainsFunc(list, func(name string) bool { return !slices.Contains(got, name) })
		if missing || !several && len(got) != len(list) {
			t.Errorf("%s: %s, not %s", name, got, list)
		}
	}
}
