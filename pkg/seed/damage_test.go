package seed

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

func TestDamagedDatabase(t *testing.T) {
	b := three(t)
	fresh := filepath.Join(t.TempDir(), "db")
	d, err := bbolt.Open(fresh, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	d.Close()
	made, err := os.ReadFile(fresh)
	if err != nil {
		t.Fatal(err)
	}
	garbage := strings.Repeat("garbage ", 8192)
	for name, test := range map[string]struct{ data, note string }{
		"empty":          {"", "was empty"},
		"zeros":          {strings.Repeat("\x00", 16384), "no database (16384 bytes"},
		"garbage":        {garbage, "no database"},
		"one byte":       {"x", "no database"},
		"just made":      {string(made), ""},
		"half made":      {string(made[:len(made)/2]), ""},
		"a page made":    {string(made[:os.Getpagesize()]), ""},
		"metas and none": {string(made[:2*os.Getpagesize()]) + strings.Repeat("\x00", 2*os.Getpagesize()), ""},
	} {
		for _, db := range []string{"meta", "storage"} {
			f := newFake(t)
			if err := os.MkdirAll(filepath.Join(f.root, snapshotsDir, "snapshots", "41", "fs"), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.MkdirAll(filepath.Dir(f.path(db)), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(f.path(db), []byte(test.data), 0o600); err != nil {
				t.Fatal(err)
			}
			r := f.seed(b)
			if notes := strings.Join(r.Notes, "\n"); !strings.Contains(notes, test.note) || (notes == "") != (test.note == "") {
				t.Errorf("%s: notes %q, want %q", name, notes, test.note)
			}
			kept, err := os.ReadFile(f.path(db) + ".damaged")
			if strings.HasPrefix(test.note, "no") != (err == nil) || err == nil && string(kept) != test.data {
				t.Errorf("%s: kept %d bytes, %v", name, len(kept), err)
			}
			if _, ok := f.mounts[filepath.Join(f.root, snapshotsDir, "snapshots", "42", "fs")]; !ok {
				t.Errorf("%s: a directory that is there already is used: %v", name, f.mounts)
			}
		}
	}
}

// A database that cannot be read is kept, and the images come back without
// what was pulled: nobody is there to mend it.
func TestUnreadableDatabase(t *testing.T) {
	b := three(t)
	pages := 2 * os.Getpagesize()
	for name, damage := range map[string]func(good string) string{
		"zeros after the meta pages":   func(good string) string { return good[:pages] + strings.Repeat("\x00", len(good)-pages) },
		"garbage after the meta pages": func(good string) string { return good[:pages] + strings.Repeat("\xa5", len(good)-pages) },
		"cut off":                      func(good string) string { return good[:pages+100] },
	} {
		for _, db := range []string{"meta", "storage"} {
			f := newFake(t)
			f.seed(b)
			user(f, true)
			good, err := os.ReadFile(f.path(db))
			if err != nil {
				t.Fatal(err)
			}
			damaged := damage(string(good))
			if err := os.WriteFile(f.path(db), []byte(damaged), 0o600); err != nil {
				t.Fatal(err)
			}
			r := f.seed(b) // which checks that all images are there
			if notes := strings.Join(r.Notes, "\n"); !strings.Contains(notes, "database "+f.path(db)+" is damaged (") || !strings.Contains(notes, "kept as "+f.path(db)+".damaged") {
				t.Errorf("%s, %s: notes %q", db, name, notes)
			}
			if kept, err := os.ReadFile(f.path(db) + ".damaged"); err != nil || string(kept) != damaged {
				t.Errorf("%s, %s: kept %d bytes, %v", db, name, len(kept), err)
			}
			if r := f.seed(b); r.Written != 0 || len(r.Notes) > 0 {
				t.Errorf("%s, %s: the next boot: %+v", db, name, r)
			}
		}
	}
}

// A database that somebody has open may be in the middle of a change: it is no
// damage that it cannot be read.
func TestDatabaseInUse(t *testing.T) {
	f, b := newFake(t), three(t)
	f.seed(b)
	d, err := bbolt.Open(f.path("meta"), 0o600, &bbolt.Options{Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	_, err = Seed(t.Context(), f.options(b.dir))
	if err == nil || !strings.Contains(err.Error(), "is containerd running?") {
		t.Errorf("got %v", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(f.path("meta") + ".damaged"); err == nil {
		t.Error("it was set aside")
	}
	f.check(b.dir)
}

func TestBadLayout(t *testing.T) {
	for name, test := range map[string]struct {
		damage func(b *baked, m descriptor)
		want   string
	}{
		"index": {func(b *baked, _ descriptor) { b.write("index.json", []byte("{")) }, "index"},
		"no reference": {func(b *baked, m descriptor) {
			b.write("index.json", []byte(`{"manifests":[{"digest":"sha256:x"}]}`))
		}, "no annotation"},
		"twice": {func(b *baked, _ descriptor) { b.image("x/a:1", "base") }, "twice"},
		"list": {func(b *baked, _ descriptor) {
			b.index[0].MediaType = "application/vnd.oci.image.index.v1+json"
			b.image("x/b:1", "base")
		}, "only single images"},
		"blob": {func(b *baked, m descriptor) {
			b.write("blobs/sha256/"+strings.TrimPrefix(m.Digest, "sha256:"), []byte("x"))
		}, "checking blob"},
		"digest": {func(b *baked, _ descriptor) {
			b.index[0].Digest = "sha256:../../../etc/passwd"
			b.image("x/b:1", "base")
		}, "parsing digest"},
		"layer": {func(b *baked, _ descriptor) { os.RemoveAll(filepath.Join(b.dir, "layers")) }, "finding layer"},
		"none":  {func(b *baked, _ descriptor) { b.image("x/b:1") }, "0 diff IDs"},
	} {
		b := bake(t)
		test.damage(b, b.image("x/a:1", "base"))
		root := filepath.Join(t.TempDir(), "containerd")
		_, err := Seed(t.Context(), Options{Images: b.dir, Root: root})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
		if _, err := os.Stat(root); err == nil {
			t.Errorf("%s: something was written", name)
		}
	}
}
