package seed

import (
	"archive/tar"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/slipway-os/slipway/pkg/cri"
)

// The images are what containerd says they are, in its own words.
func TestContainerd(t *testing.T) {
	d := newDaemon(t)
	canMount(t)
	program := hello(t)
	b := bake(t)
	b.write(b.layer("base")+"/bin/hello", program)
	b.write(b.layer("base")+"/etc/base", []byte("base"))
	const tagA, tagB, tagC = "registry.k8s.io/a:v1", "registry.k8s.io/x/b:v1", "docker.io/user/c:v1"
	b.image(tagA, "base", "a")
	manifestB := b.image(tagB, "base", "b", "base2")
	if r := d.seed(b); r.Images != 2 || r.Snapshots != 4 || len(r.Notes) > 0 {
		t.Errorf("result %+v", r)
	}
	client := d.start()
	images := d.images(client, tagA, tagB)
	checkImages(t, b, images)
	status, err := client.Status(t.Context())
	if err != nil || !status.Ready(cri.RuntimeReady) {
		t.Errorf("status %+v, %v", status, err)
	}
	version, err := client.Version(t.Context())
	if err != nil || version.RuntimeName != "containerd" || version.RuntimeVersion != "v2.4.2" {
		t.Errorf("version %+v, %v", version, err)
	}

	checkCtr(t, d, b)
	if n := bytesBelow(t, d.root()); n > 20000 {
		t.Errorf("%d bytes below the root: layers were copied", n)
	} else {
		t.Logf("%d bytes below the root, databases apart; the layers have %d", n, len(program))
	}
	run := func(id string, args ...string) {
		t.Helper()
		if _, err := exec.LookPath("runc"); err != nil {
			t.Log("no container is run: there is no runc")
			return
		}
		out, err := d.ctr(append([]string{"run", "--rm"}, args...)...)
		if err != nil && !strings.Contains(out, "/etc <nil>") {
			t.Logf("no container is run: this machine refuses to: %v\n%s", err, out)
			return
		}
		t.Logf("%s says: %s", id, strings.ReplaceAll(out, "\n", "; "))
		for _, want := range []string{"/etc <nil> " + id + " base", "/ <nil> bin ", "uid 65534"} {
			if !strings.Contains(out, want) {
				t.Errorf("container %s says %q, without %q", id, out, want)
			}
		}
	}
	run("a", tagA, "run-a")
	run("b", "--read-only", tagB, "run-b")

	// The user imports an image; then all is stopped and seeded again.
	d.must("images", "import", archive(t, "user/c:v1", layerTar(t, "etc/c")))
	d.images(client, tagA, tagB, tagC)
	d.must("snapshots", "prepare", "a-container", chain("base", "a"))
	client.Close()
	d.stop()
	if r := d.seed(b); r.Written != 0 || len(r.Notes) > 0 {
		t.Errorf("seeded again: %+v", r)
	}
	unmountBelow(t, d.dir) // as a reboot does
	if r := d.seed(b); r.Written != 0 || len(r.Notes) > 0 {
		t.Errorf("seeded after a reboot: %+v", r)
	}
	client = d.start()
	checkImages(t, b, d.images(client, tagA, tagB, tagC))
	checkCtr(t, d, b)
	run("a", tagA, "run-a2")
	if out := d.must("images", "check"); !strings.Contains(out, tagC) {
		t.Error(out)
	}
	client.Close()
	d.stop()

	// The next root has b only, from another directory.
	next := bake(t)
	next.write(next.layer("base")+"/bin/hello", program)
	next.write(next.layer("base")+"/etc/base", []byte("base"))
	next.image(tagB, "base", "b", "base2")
	if next.index[0].Digest != manifestB.Digest {
		t.Fatal("another b")
	}
	r := d.seed(next)
	t.Logf("without %s: %+v", tagA, r)
	client = d.start()
	images = d.images(client, tagB, tagC)
	checkImages(t, next, images)
	run("b", tagB, "run-b2")
	out := d.must("snapshots", "list")
	if strings.Contains(out, chain("base", "a")+" ") && !strings.Contains(out, stalePrefix) {
		t.Errorf("the former image's layer is there:\n%s", out)
	}
	// As long as something lies on it, it stays, then it goes.
	d.must("snapshots", "remove", "a-container")
	d.must("images", "import", archive(t, "user/d:v1", layerTar(t, "etc/d")))
	d.must("images", "remove", "--sync", "docker.io/user/d:v1") // collects garbage
	time.Sleep(100 * time.Millisecond)
	if out := d.must("snapshots", "list"); strings.Contains(out, stalePrefix) {
		t.Errorf("stale snapshots stay:\n%s", out)
	}
	if out := d.must("content", "list"); strings.Contains(out, b.index[0].Digest) {
		t.Errorf("stale blobs stay:\n%s", out)
	}
	client.Close()
	d.stop()
	if log := d.log(); strings.Contains(log, "level=error") {
		for line := range strings.Lines(log) {
			if strings.Contains(line, "level=error") {
				t.Log(line)
			}
		}
	}
}

func checkImages(t *testing.T, b *baked, images map[string]cri.Image) {
	t.Helper()
	want, err := readImages(b.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, img := range want {
		got := images[img.reference]
		names := img.names()
		if got.ID != img.config.digest || !got.Pinned || strings.Join(got.RepoTags, " ") != img.reference || strings.Join(got.RepoDigests, " ") != names[1] {
			t.Errorf("image %+v, want %q", got, names)
		}
	}
}

func checkCtr(t *testing.T, d *daemon, b *baked) {
	t.Helper()
	images, err := readImages(b.dir)
	if err != nil {
		t.Fatal(err)
	}
	check := d.must("images", "check")
	t.Logf("\n%s", check)
	for _, img := range images {
		found := false
		for line := range strings.Lines(check) {
			fields := strings.Fields(line)
			if fields[0] != img.reference {
				continue
			}
			found = true
			// Layers are there as snapshots only: STATUS is "incomplete",
			// which neither CRI nor ctr minds, UNPACKED is "true".
			if !strings.HasSuffix(strings.TrimSpace(line), "true") {
				t.Errorf("ctr images check: %s", line)
			}
		}
		if !found {
			t.Errorf("ctr images check does not list %s", img.reference)
		}
	}
	parents := map[string]string{}
	for line := range strings.Lines(d.must("snapshots", "list")) {
		switch f := strings.Fields(line); len(f) {
		case 2:
			parents[f[0]] = ""
		case 3:
			parents[f[0]] = f[1]
		}
	}
	for _, l := range layers(images) {
		if parent, ok := parents[l.chain]; !ok || parent != l.parent {
			t.Errorf("snapshot %s has parent %q (%v), want %q", l.chain, parent, ok, l.parent)
		}
	}
}

func layerTar(t *testing.T, names ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range names {
		if err := w.WriteHeader(&tar.Header{Name: name, Size: 1, Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// The user has a baked image already, with its layers.
func TestContainerdImported(t *testing.T) {
	d := newDaemon(t)
	canMount(t)
	// Only to have containerd make everything itself.
	client := d.start()
	d.must("images", "import", archive(t, "user/c:v1", layerTar(t, "etc/c")))
	client.Close()
	d.stop()
	compareModes(t, d)
	b := bake(t)
	b.image("docker.io/user/c:v1", "base")
	r := d.seed(b)
	if len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "docker.io/user/c:v1 was sha256:") {
		t.Errorf("result %+v", r)
	}
	client = d.start()
	checkImages(t, b, map[string]cri.Image{"docker.io/user/c:v1": findImage(t, client, "docker.io/user/c:v1")})

	// Somebody removes it: containerd must not get at the layer's files, and
	// the next boot brings it back.
	images, err := readImages(b.dir)
	if err != nil {
		t.Fatal(err)
	}
	d.must(append([]string{"images", "remove", "--sync"}, images[0].names()...)...)
	for range 50 {
		if out := d.must("snapshots", "list"); !strings.Contains(out, chain("base")) {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if out := d.must("snapshots", "list"); strings.Contains(out, chain("base")) {
		t.Errorf("the snapshot is still there:\n%s", out)
	}
	if _, err := os.Stat(filepath.Join(images[0].layers[0].dir, "etc", "base")); err != nil {
		t.Errorf("containerd removed a baked file: %v", err)
	}
	client.Close()
	d.stop()
	unmountBelow(t, d.dir)
	if r := d.seed(b); r.Written == 0 || len(r.Notes) > 0 {
		t.Errorf("result %+v", r)
	}
	client = d.start()
	checkImages(t, b, map[string]cri.Image{"docker.io/user/c:v1": findImage(t, client, "docker.io/user/c:v1")})
}

func findImage(t *testing.T, client *cri.Client, tag string) cri.Image {
	t.Helper()
	for range 100 {
		list, err := client.ListImages(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, img := range list {
			if strings.Join(img.RepoTags, " ") == tag && img.Pinned && len(img.RepoDigests) > 0 {
				return img
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("no image %s", tag)
	return cri.Image{}
}

// compareModes compares the store that containerd made with a seeded one.
func compareModes(t *testing.T, d *daemon) {
	t.Helper()
	f := newFake(t)
	f.seed(three(t))
	modes := func(root string) map[string]os.FileMode {
		all := map[string]os.FileMode{}
		for _, pattern := range []string{"", contentDir, contentDir + "/blobs", contentDir + "/blobs/sha256", contentDir + "/blobs/sha256/*", metadataDir, metadataDir + "/meta.db", snapshotsDir, snapshotsDir + "/metadata.db", snapshotsDir + "/snapshots", snapshotsDir + "/snapshots/*", snapshotsDir + "/snapshots/*/fs"} {
			paths, err := filepath.Glob(filepath.Join(root, pattern))
			if err != nil || len(paths) == 0 {
				t.Fatal(pattern, err)
			}
			info, err := os.Stat(paths[0])
			if err != nil {
				t.Fatal(err)
			}
			all[pattern] = info.Mode()
		}
		return all
	}
	want := modes(d.root())
	for pattern, mode := range modes(f.root) {
		if mode != want[pattern] {
			t.Errorf("%q has mode %v, containerd's %v", pattern, mode, want[pattern])
		}
	}
}

// Seed waits for the databases, and does not touch them while containerd runs.
func TestContainerdRuns(t *testing.T) {
	d := newDaemon(t)
	d.start()
	f := &fake{t: t, root: d.root(), mounts: map[string]string{}}
	started := time.Now()
	if _, err := Seed(t.Context(), f.options(three(t).dir)); err == nil || !strings.Contains(err.Error(), "is containerd running?") {
		t.Errorf("after %v: %v", time.Since(started), err)
	}
}

func TestBind(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting wants root")
	}
	canMount(t)
	dir := t.TempDir()
	t.Cleanup(func() { unmountBelow(t, dir) })
	for _, name := range []string{"one", "two", "target"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	target := filepath.Join(dir, "target")
	mountpoints := func() (n int) {
		data, err := os.ReadFile("/proc/self/mountinfo")
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(string(data), " "+target+" ")
	}
	for _, name := range []string{"one", "one", "two", "one"} {
		source := filepath.Join(dir, name)
		if err := bindReadOnly(source, target); err != nil {
			t.Fatal(err)
		}
		if n := mountpoints(); n != 1 {
			t.Errorf("%d mounts of %s", n, name)
		}
		if err := os.WriteFile(filepath.Join(source, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(target, name)); err != nil {
			t.Error(err)
		}
		if err := os.WriteFile(filepath.Join(target, "x"), nil, 0o600); err == nil {
			t.Error("the mount is writable")
		}
	}
	// A mount that is not read-only is replaced.
	if err := detach(target); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(filepath.Join(dir, "one"), target, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	if err := bindReadOnly(filepath.Join(dir, "one"), target); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(target, "x"), nil, 0o600); err == nil || mountpoints() != 1 {
		t.Errorf("%v, %d mounts", err, mountpoints())
	}
}
