package seed

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/bbolt"
)

func TestFresh(t *testing.T) {
	f, b := newFake(t), three(t)
	result := f.seed(b)
	// 6 blobs, their 6 records, 6 snapshots, 3 names of 3 images.
	if result.Images != 3 || result.Snapshots != 5 || result.Written != 6+6+5+9 || len(result.Notes) > 0 {
		t.Errorf("result %+v", result)
	}
	meta := f.dump("meta")
	if meta["v1|version"] != "\x08" {
		t.Errorf("version %q", meta["v1|version"])
	}
	var names []string
	for key := range meta {
		if rest, ok := strings.CutPrefix(key, "v1|k8s.io|images|"); ok && strings.HasSuffix(rest, "|createdat") {
			names = append(names, strings.TrimSuffix(rest, "|createdat"))
		}
	}
	images, _ := readImages(b.dir)
	var want []string
	for i, repository := range []string{"registry.k8s.io/a", "registry.k8s.io:5000/x/b", "registry.k8s.io/c"} {
		want = append(want, images[i].reference, repository+"@"+images[i].manifest.digest, images[i].config.digest)
	}
	slices.Sort(names)
	slices.Sort(want)
	if !slices.Equal(names, want) {
		t.Errorf("names %q, want %q", names, want)
	}
	if len(f.mounts) != 5 {
		t.Errorf("mounts %v", f.mounts)
	}
	for path, mode := range map[string]os.FileMode{
		"": 0o700, metadataDir: 0o711, metadataDir + "/meta.db": 0o644, snapshotsDir: 0o700, snapshotsDir + "/metadata.db": 0o600,
		snapshotsDir + "/snapshots/1": 0o700, snapshotsDir + "/snapshots/1/fs": 0o755,
		contentDir + "/blobs/sha256/" + strings.TrimPrefix(images[0].config.digest, "sha256:"): 0o444,
	} {
		if info, err := os.Stat(filepath.Join(f.root, path)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v %v, want %v", path, info, err, mode)
		}
	}
}

func TestAgain(t *testing.T) {
	f, b := newFake(t), three(t)
	f.seed(b)
	before := map[string]string{}
	for _, db := range []string{"meta", "storage"} {
		data, err := os.ReadFile(f.path(db))
		if err != nil {
			t.Fatal(err)
		}
		before[db] = string(data)
	}
	result := f.seed(b)
	if result.Written != 0 || len(f.mounts) != 5 {
		t.Errorf("result %+v, mounts %v", result, f.mounts)
	}
	for db, want := range before {
		if data, err := os.ReadFile(f.path(db)); err != nil || string(data) != want {
			t.Errorf("%s was changed (%v)", db, err)
		}
	}
}

func TestNoImages(t *testing.T) {
	f, b := newFake(t), three(t)
	f.seed(b)
	result := f.seed(bake(t))
	if result.Images != 0 || result.Snapshots != 0 {
		t.Errorf("result %+v", result)
	}
	for key := range f.dump("meta") {
		if strings.Contains(key, "|images|") || strings.Contains(key, "|overlayfs|sha256:") {
			t.Errorf("%s is still there", key)
		}
	}
}

// user adds a container on image a's snapshot, an image of the user's own on
// the same, and one that has nothing to do with it.
func user(f *fake, kept bool) {
	known := []string{"v1", "k8s.io", "snapshots", "overlayfs"}
	at := func(rest ...string) []string { return append(slices.Clone(known), rest...) }
	upper := digest([]byte("upper"))
	f.change("meta", func(tx *bbolt.Tx) error {
		for _, p := range [][]string{
			append([]string{"k8s.io/100/ctr"}, at("ctr", "name")...), append([]string{chain("base", "a")}, at("ctr", "parent")...),
			append([]string{""}, at(chain("base", "a"), "children", "ctr")...),
			append([]string{"k8s.io/101/" + upper}, at(upper, "name")...), append([]string{chain("base", "a")}, at(upper, "parent")...),
			append([]string{""}, at(chain("base", "a"), "children", upper)...),
			{"sha256:um", "v1", "k8s.io", "images", "user/up:1", "target", "digest"},
			{"sha256:uc", "v1", "k8s.io", "content", "blob", "sha256:um", "labels", labelConfigRef},
			{"sha256:ul", "v1", "k8s.io", "content", "blob", "sha256:um", "labels", labelLayerRef + "0"},
			{upper, "v1", "k8s.io", "content", "blob", "sha256:uc", "labels", labelSnapshotRef},
			{"sha256:om", "v1", "k8s.io", "images", "user/own:1", "target", "digest"},
			{"k8s.io/102/sha256:own", "v1", "k8s.io", "snapshots", "overlayfs", "sha256:own", "name"},
			{"spec", "v1", "k8s.io", "containers", "ctr", "spec"},
		} {
			if err := put(tx, p[0], p[1:]...); err != nil {
				return err
			}
		}
		if kept {
			return put(tx, "x", "v1", "k8s.io", "content", "blob", "sha256:ul", "size")
		}
		return nil
	})
	f.change("storage", func(tx *bbolt.Tx) error {
		for i, name := range []string{"k8s.io/100/ctr", "k8s.io/101/" + upper, "k8s.io/102/sha256:own"} {
			if err := put(tx, string(rune(100+i)), "v1", "snapshots", name, "id"); err != nil {
				return err
			}
		}
		return nil
	})
}

// What the user has stays while the images do, and what needs the layers of a
// former root does not pass for complete.
func TestStale(t *testing.T) {
	for _, kept := range []bool{false, true} {
		f, b := newFake(t), three(t)
		f.seed(b)
		user(f, kept)
		if r := f.seed(b); r.Written != 0 || len(r.Notes) > 0 {
			t.Errorf("result %+v", r)
		}
		next := bake(t)
		next.image("registry.k8s.io/b:v2", "base", "b")
		r := f.seed(next)
		meta := f.dump("meta")
		for key := range meta {
			if strings.Contains(key, "images|registry.k8s.io/a") || strings.Contains(key, "images|registry.k8s.io/c") || strings.Contains(key, "5000/x/b") {
				t.Errorf("%s is still there", key)
			}
		}
		known := "v1|k8s.io|snapshots|overlayfs|"
		if meta[known+chain("base")+"|name"] == "" || meta["v1|k8s.io|containers|ctr|spec"] == "" || meta[known+"sha256:own|name"] == "" || meta["v1|k8s.io|images|user/own:1|target|digest"] == "" {
			t.Error("too much was removed")
		}
		parent := meta[known+"ctr|parent"]
		if !strings.HasPrefix(parent, stalePrefix) || meta[known+parent+"|name"] == "" || meta[known+parent+"|parent"] != chain("base") {
			t.Errorf("the container's parent is %q", parent)
		}
		if _, ok := meta[known+digest([]byte("upper"))+"|name"]; ok {
			t.Error("a snapshot without parent passes for complete")
		}
		if _, ok := meta["v1|k8s.io|images|user/up:1|target|digest"]; ok != kept {
			t.Errorf("the user's image on it is there: %v; its layer: %v", ok, kept)
		}
		if len(r.Notes) == 0 {
			t.Error("no notes")
		}
		if r := f.seed(next); r.Written != 0 {
			t.Errorf("again: %+v", r)
		}
		// Back to the former root.
		f.seed(b)
	}
}

// An image that the user had is his again when it is no longer baked.
func TestAdopted(t *testing.T) {
	f, b := newFake(t), bake(t)
	m := b.image("x/a:1", "base")
	other := b.image("x/b:1", "base")
	images, _ := readImages(b.dir)
	f.change("meta", func(tx *bbolt.Tx) error {
		for _, p := range [][]string{
			{m.Digest, "v1", "k8s.io", "images", "x/a:1", "target", "digest"},
			{"sha256:other", "v1", "k8s.io", "images", "x/b:1", "target", "digest"},
			{"note", "v1", "k8s.io", "images", "x/b:1", "annotations", "key"},
			{"sha256:other", "v1", "k8s.io", "images", images[0].config.digest, "target", "digest"},
			{"k8s.io/7/" + chain("base"), "v1", "k8s.io", "snapshots", "overlayfs", chain("base"), "name"},
		} {
			if err := put(tx, p[0], p[1:]...); err != nil {
				return err
			}
		}
		return nil
	})
	f.change("storage", func(tx *bbolt.Tx) error {
		if err := put(tx, "\x03", "v1", "snapshots", "k8s.io/7/"+chain("base"), "kind"); err != nil {
			return err
		}
		return put(tx, "\x09", "v1", "snapshots", "k8s.io/7/"+chain("base"), "id")
	})
	r := f.seed(b)
	if len(f.mounts) != 0 {
		t.Errorf("mounted over the user's layer: %v", f.mounts)
	}
	if len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "x/b:1 was sha256:other") {
		t.Errorf("notes %q", r.Notes)
	}
	meta := f.dump("meta")
	if got := meta["v1|k8s.io|images|x/b:1|target|digest"]; got != other.Digest || meta["v1|k8s.io|images|x/b:1|annotations|key"] != "" {
		t.Errorf("x/b:1 is %s", got)
	}
	if got := meta["v1|k8s.io|images|"+images[0].config.digest+"|target|digest"]; got != "sha256:other" {
		t.Errorf("the user's image ID is %s", got)
	}
	// x/b:1 is pulled anew.
	f.change("meta", func(tx *bbolt.Tx) error {
		return put(tx, "sha256:new", "v1", "k8s.io", "images", "x/b:1", "target", "digest")
	})
	if r = f.seed(b); len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "x/b:1 was sha256:new") {
		t.Errorf("notes %q", r.Notes)
	}
	f.change("meta", func(tx *bbolt.Tx) error {
		return put(tx, "sha256:new", "v1", "k8s.io", "images", "x/b:1", "target", "digest")
	})
	f.seed(bake(t))
	meta = f.dump("meta")
	for name, want := range map[string]string{"x/a:1": m.Digest, "x/b:1": "sha256:new"} {
		if got := meta["v1|k8s.io|images|"+name+"|target|digest"]; got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
		if got := meta["v1|k8s.io|images|"+name+"|labels|"+labelPinned]; got != "" {
			t.Errorf("%s is %s", name, got)
		}
	}
	if meta["v1|k8s.io|snapshots|overlayfs|"+chain("base")+"|name"] == "" {
		t.Error("the user's snapshot is gone")
	}
}

// Whatever subset of the files a power cut left, the next run mends it.
func TestPowerCut(t *testing.T) {
	old, b := bake(t), three(t)
	old.image("registry.k8s.io/a:v1", "base", "old")
	read := func(f *fake) map[string]string {
		files := map[string]string{}
		for _, db := range []string{"meta", "storage"} {
			data, err := os.ReadFile(f.path(db))
			if err != nil {
				t.Fatal(err)
			}
			files[db] = string(data)
		}
		return files
	}
	before := newFake(t)
	before.seed(old)
	after := newFake(t)
	after.seed(old)
	after.seed(b)
	states := map[string]map[string]string{"none": {}, "empty": {"meta": "", "storage": ""}, "old": read(before), "new": read(after)}
	for _, meta := range slices.Sorted(maps.Keys(states)) {
		for _, storage := range slices.Sorted(maps.Keys(states)) {
			t.Run(meta+" and "+storage, func(t *testing.T) {
				f := newFake(t)
				for db, state := range map[string]string{"meta": meta, "storage": storage} {
					if data, ok := states[state][db]; ok {
						if err := os.MkdirAll(filepath.Dir(f.path(db)), 0o700); err != nil {
							t.Fatal(err)
						}
						if err := os.WriteFile(f.path(db), []byte(data), 0o600); err != nil {
							t.Fatal(err)
						}
						if err := os.WriteFile(f.path(db)+".slipway", []byte(data)[:len(data)/2], 0o600); err != nil {
							t.Fatal(err)
						}
					}
				}
				f.seed(b)
				seeded := 0
				for key := range f.dump("storage") {
					if strings.HasSuffix(key, "|labels|"+Label) {
						seeded++
					}
				}
				// The old image's are there until containerd removes them.
				if seeded < 5 || seeded > 6 {
					t.Errorf("%d snapshots", seeded)
				}
				if r := f.seed(b); r.Written != 0 || len(r.Notes) > 0 {
					t.Errorf("again: %+v", r)
				}
				f.seed(old)
			})
		}
	}
}

// BenchmarkSeed seeds seven images of five layers: all of it, after a reboot,
// and with nothing to do.
func BenchmarkSeed(b *testing.B) {
	images := bake(b)
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g"} {
		images.image("registry.k8s.io/"+name+":v1", "base", "certificates", name+"1", name+"2", name+"3")
	}
	root := filepath.Join(b.TempDir(), "containerd")
	o := Options{Images: images.dir, Root: root}
	if os.Getuid() != 0 {
		o.Mount = func(_, _ string) error { return nil }
	}
	run := func(b *testing.B) {
		r, err := Seed(b.Context(), o)
		if err != nil || r.Snapshots != 23 {
			b.Fatal(r, err)
		}
	}
	b.Cleanup(func() { unmountBelow(b, root) })
	b.Run("fresh", func(b *testing.B) {
		for range b.N {
			b.StopTimer()
			unmountBelow(b, root)
			if err := os.RemoveAll(root); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
			run(b)
		}
	})
	b.Run("rebooted", func(b *testing.B) {
		for range b.N {
			b.StopTimer()
			unmountBelow(b, root)
			b.StartTimer()
			run(b)
		}
	})
	b.Run("again", func(b *testing.B) {
		for range b.N {
			run(b)
		}
	})
}
