package seed

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

const (
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	configType   = "application/vnd.oci.image.config.v1+json"
	layerType    = "application/vnd.oci.image.layer.v1.tar"
)

// baked is a set of images in the making: references to the names of layers.
type baked struct {
	t     testing.TB
	dir   string
	index []descriptor
}

func bake(t testing.TB) *baked {
	t.Helper()
	b := &baked{t: t, dir: t.TempDir()}
	b.write("blobs/sha256/.keep", nil)
	return b
}

func (b *baked) write(name string, data []byte) {
	b.t.Helper()
	path := filepath.Join(b.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o755); err != nil {
		b.t.Fatal(err)
	}
}

func (b *baked) blob(v any, mediaType string) descriptor {
	b.t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		b.t.Fatal(err)
	}
	d := descriptor{MediaType: mediaType, Digest: digest(data), Size: int64(len(data))}
	b.write("blobs/sha256/"+strings.TrimPrefix(d.Digest, "sha256:"), data)
	return d
}

// layer is the directory of the layer of that name. Nobody has the tar file,
// so that any digest will do.
func (b *baked) layer(name string) string {
	return "layers/" + strings.TrimPrefix(digest([]byte(name)), "sha256:")
}

func (b *baked) image(reference string, names ...string) descriptor {
	b.t.Helper()
	var ids []string
	var layers []descriptor
	for _, name := range names {
		if _, err := os.Stat(filepath.Join(b.dir, b.layer(name))); err != nil {
			b.write(b.layer(name)+"/etc/"+name, []byte(name))
		}
		id := digest([]byte(name))
		ids = append(ids, id)
		layers = append(layers, descriptor{MediaType: layerType, Digest: id, Size: 10240})
	}
	config := b.blob(map[string]any{
		"architecture": "amd64", "os": "linux", "author": reference,
		"config": map[string]any{"Entrypoint": []string{"/bin/hello"}, "User": "65534:65534", "Env": []string{"PATH=/bin"}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": ids},
	}, configType)
	m := b.blob(map[string]any{"schemaVersion": 2, "mediaType": manifestType, "config": config, "layers": layers}, manifestType)
	m.Annotations = map[string]string{refName: reference}
	b.index = append(b.index, m)
	data, err := json.Marshal(map[string]any{"schemaVersion": 2, "manifests": b.index})
	if err != nil {
		b.t.Fatal(err)
	}
	b.write("index.json", data)
	return m
}

// chain is the chain ID of layers.
func chain(names ...string) string {
	c := digest([]byte(names[0]))
	for _, name := range names[1:] {
		c = digest([]byte(c + " " + digest([]byte(name))))
	}
	return c
}

// three is three images; two share a layer, and the third has it on another
// one.
func three(t *testing.T) *baked {
	b := bake(t)
	b.image("registry.k8s.io/a:v1", "base", "a")
	b.image("registry.k8s.io:5000/x/b:v1", "base", "b")
	b.image("registry.k8s.io/c", "c", "base")
	return b
}

// fake seeds with recorded mounts.
type fake struct {
	t      *testing.T
	root   string
	mounts map[string]string // target to source
}

func newFake(t *testing.T) *fake {
	return &fake{t: t, root: filepath.Join(t.TempDir(), "containerd")}
}

func (f *fake) seed(b *baked) Result {
	f.t.Helper()
	f.mounts = map[string]string{}
	result, err := Seed(f.t.Context(), f.options(b.dir))
	if err != nil {
		f.t.Fatal(err)
	}
	f.check(b.dir)
	return result
}

func (f *fake) options(images string) Options {
	return Options{Images: images, Root: f.root, Now: time.Unix(1e9, 0), Mount: func(source, target string) error {
		f.mounts[target] = source
		return nil
	}}
}

func (f *fake) path(db string) string {
	return filepath.Join(f.root, map[string]string{"meta": metadataDir + "/meta.db", "storage": snapshotsDir + "/metadata.db"}[db])
}

// change changes a database as if containerd had.
func (f *fake) change(db string, fn func(tx *bbolt.Tx) error) {
	f.t.Helper()
	path := f.path(db)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		f.t.Fatal(err)
	}
	d, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second})
	if err != nil {
		f.t.Fatal(err)
	}
	defer d.Close()
	if err := d.Update(fn); err != nil {
		f.t.Fatal(err)
	}
}

// put sets a value at a path of buckets.
func put(tx *bbolt.Tx, value string, path ...string) error {
	b, err := tx.CreateBucketIfNotExists([]byte(path[0]))
	for _, key := range path[1 : len(path)-1] {
		if err != nil {
			return err
		}
		b, err = b.CreateBucketIfNotExists([]byte(key))
	}
	if err != nil {
		return err
	}
	return b.Put([]byte(path[len(path)-1]), []byte(value))
}

// dump has all of a database: paths, separated by "|", to values.
func (f *fake) dump(db string) map[string]string {
	f.t.Helper()
	d, err := bbolt.Open(f.path(db), 0o600, &bbolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		f.t.Fatal(err)
	}
	defer d.Close()
	all := map[string]string{}
	var walk func(prefix string, b *bbolt.Bucket)
	walk = func(prefix string, b *bbolt.Bucket) {
		b.ForEach(func(k, v []byte) error {
			if sub := b.Bucket(k); sub != nil {
				walk(prefix+string(k)+"|", sub)
				return nil
			}
			all[prefix+string(k)] = string(v)
			return nil
		})
	}
	err = d.View(func(tx *bbolt.Tx) error {
		for err := range tx.Check() {
			f.t.Error(err)
		}
		return tx.ForEach(func(k []byte, b *bbolt.Bucket) error {
			walk(string(k)+"|", b)
			return nil
		})
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return all
}

// check compares what containerd would find with what is baked.
func (f *fake) check(dir string) {
	f.t.Helper()
	images, err := readImages(dir)
	if err != nil {
		f.t.Fatal(err)
	}
	meta, storage := f.dump("meta"), f.dump("storage")
	want := func(db map[string]string, value string, path ...string) {
		f.t.Helper()
		if got, ok := db[strings.Join(path, "|")]; !ok || got != value {
			f.t.Errorf("%q is %q, not %q", path, got, value)
		}
	}
	ids := map[string]string{}
	for key, v := range storage {
		if strings.HasSuffix(key, "|id") {
			if ids[v] != "" {
				f.t.Errorf("number %d is that of %s and %s", v[0], ids[v], key)
			}
			ids[v] = key
		}
	}
	known := "v1|k8s.io|snapshots|overlayfs|"
	for _, l := range layers(images) {
		name := meta[known+l.chain+"|name"]
		id := storage["v1|snapshots|"+name+"|id"]
		if id == "" {
			f.t.Errorf("no snapshot %q of %s", name, l.chain)
			continue
		}
		want(storage, "\x03", "v1", "snapshots", name, "kind")
		if l.parent != "" {
			want(meta, l.parent, known+l.chain+"|parent")
			want(meta, "", known+l.parent+"|children|"+l.chain)
			parent := meta[known+l.parent+"|name"]
			want(storage, parent, "v1", "snapshots", name, "parent")
			want(storage, name, "v1", "parents", storage["v1|snapshots|"+parent+"|id"]+"\x00"+id)
		}
		if meta[known+l.chain+"|labels|"+Label] != "" {
			target := filepath.Join(f.root, snapshotsDir, "snapshots", strconv.Itoa(int(id[0])), "fs")
			if f.mounts[target] != l.dir {
				f.t.Errorf("%s is mounted on %s, not %s", f.mounts[target], target, l.dir)
			}
			if info, err := os.Stat(target); err != nil || !info.IsDir() {
				f.t.Error(err)
			}
		}
	}
	for _, img := range images {
		want(meta, img.config.digest, "v1|k8s.io|content|blob", img.manifest.digest, "labels", labelConfigRef)
		want(meta, img.layers[len(img.layers)-1].chain, "v1|k8s.io|content|blob", img.config.digest, "labels", labelSnapshotRef)
		want(meta, img.manifest.digest, "v1|k8s.io|images", img.reference, "target", "digest")
		want(meta, "pinned", "v1|k8s.io|images", img.reference, "labels", labelPinned)
		for _, b := range []blob{img.manifest, img.config} {
			data, err := os.ReadFile(filepath.Join(f.root, contentDir, "blobs/sha256", strings.TrimPrefix(b.digest, "sha256:")))
			if err != nil || string(data) != string(b.data) {
				f.t.Errorf("blob %s: %q %v", b.digest, data, err)
			}
		}
	}
	// Every link leads somewhere.
	for key := range meta {
		rest, ok := strings.CutPrefix(key, known)
		if c, child, is := strings.Cut(rest, "|children|"); ok && is && meta[known+child+"|parent"] != c {
			f.t.Errorf("child %s of %s has parent %q", child, c, meta[known+child+"|parent"])
		}
	}
}
