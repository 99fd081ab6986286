package seed

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"golang.org/x/sys/unix"

	"github.com/slipway-os/slipway/pkg/component"
	"github.com/slipway-os/slipway/pkg/cri"
	"github.com/slipway-os/slipway/pkg/store"
)

// daemon is the containerd that images get, in a directory of its own.
type daemon struct {
	t    *testing.T
	dir  string // bin, root, state, config.toml, log
	cmd  *exec.Cmd
	done chan struct{}
}

func newDaemon(t *testing.T) *daemon {
	t.Helper()
	switch {
	case testing.Short():
		t.Skip("containerd is not started in a short test")
	case runtime.GOARCH != "amd64":
		t.Skipf("the containerd of the tests is for amd64, not %s", runtime.GOARCH)
	case os.Getuid() != 0:
		t.Skip("containerd wants root")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	cache = filepath.Join(cache, "slipway")
	if dir := os.Getenv("SLIPWAY_STORE"); dir != "" {
		cache = dir
	}
	st, err := store.Open(cache)
	if err != nil {
		t.Fatal(err)
	}
	c, err := component.Catalog{Dir: "../../profiles/components", Builder: component.NewBuilder(st)}.Component(t.Context(), "containerd", "amd64")
	if err != nil {
		t.Fatal(err)
	}
	// Not t.TempDir: a socket's path has 108 bytes.
	dir, err := os.MkdirTemp("", "seed")
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{t: t, dir: dir}
	t.Cleanup(func() {
		d.stop()
		unmountBelow(t, dir)
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	for _, f := range c.Files {
		r, err := f.Content.Open()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(io.NewSectionReader(r, 0, f.Content.Size()))
		r.Close()
		if err != nil {
			t.Fatal(err)
		}
		d.write("bin/"+f.Name, string(data))
	}
	d.write("config.toml", fmt.Sprintf(`version = 4
root = %[1]q
state = %[2]q
disabled_plugins = ["io.containerd.nri.v1.nri", "io.containerd.snapshotter.v1.erofs", "io.containerd.snapshotter.v1.blockfile"]
[plugins."io.containerd.server.v1.grpc"]
address = %[3]q
[plugins."io.containerd.server.v1.ttrpc"]
address = %[5]q
[plugins."io.containerd.cri.v1.runtime".cni]
conf_dir = %[4]q
bin_dirs = [%[4]q]
`, d.root(), dir+"/state", d.socket(), dir+"/cni", dir+"/ttrpc"))
	return d
}

func (d *daemon) root() string   { return d.dir + "/root" }
func (d *daemon) socket() string { return d.dir + "/s" }

func (d *daemon) write(name, data string) {
	d.t.Helper()
	path := filepath.Join(d.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		d.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(data), 0o755); err != nil {
		d.t.Fatal(err)
	}
}

// start starts containerd and waits until CRI answers.
func (d *daemon) start() *cri.Client {
	d.t.Helper()
	log, err := os.OpenFile(d.dir+"/log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		d.t.Fatal(err)
	}
	defer log.Close()
	d.cmd = exec.Command(d.dir+"/bin/containerd", "--config", d.dir+"/config.toml")
	d.cmd.Env = append(os.Environ(), "PATH="+d.dir+"/bin:"+os.Getenv("PATH"))
	d.cmd.Stdout, d.cmd.Stderr = log, log
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := time.Now()
	if err := d.cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	d.done = make(chan struct{})
	go func(cmd *exec.Cmd, done chan struct{}) { cmd.Wait(); close(done) }(d.cmd, d.done)
	client := cri.New(d.socket())
	d.t.Cleanup(client.Close)
	for time.Since(started) < 20*time.Second {
		select {
		case <-d.done:
			d.t.Fatalf("containerd ended:\n%s", d.log())
		case <-time.After(20 * time.Millisecond):
		}
		if _, err = client.Version(d.t.Context()); err == nil {
			d.t.Logf("containerd answers after %v", time.Since(started).Round(time.Millisecond))
			return client
		}
	}
	d.t.Fatalf("containerd does not answer: %v\n%s", err, d.log())
	return nil
}

func (d *daemon) stop() {
	if d.done == nil {
		return
	}
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.done:
	case <-time.After(20 * time.Second):
		_ = d.cmd.Process.Kill()
		<-d.done
	}
	d.done = nil
}

func (d *daemon) log() string {
	data, _ := os.ReadFile(d.dir + "/log")
	return string(data)
}

func (d *daemon) ctr(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(d.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, d.dir+"/bin/ctr", append([]string{"--address", d.socket(), "-n", namespace}, args...)...)
	cmd.Env = append(os.Environ(), "PATH="+d.dir+"/bin:"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (d *daemon) must(args ...string) string {
	d.t.Helper()
	out, err := d.ctr(args...)
	if err != nil {
		d.t.Fatalf("ctr %q: %v\n%s\n%s", args, err, out, d.log())
	}
	return out
}

func (d *daemon) seed(b *baked) Result {
	d.t.Helper()
	r, err := Seed(d.t.Context(), Options{Images: b.dir, Root: d.root()})
	if err != nil {
		d.t.Fatal(err)
	}
	return r
}

// images lists the images once CRI has loaded all of them, by their tags.
func (d *daemon) images(client *cri.Client, tags ...string) map[string]cri.Image {
	d.t.Helper()
	var list []cri.Image
	byTag := map[string]cri.Image{}
	for range 100 {
		var err error
		if list, err = client.ListImages(d.t.Context()); err != nil {
			d.t.Fatal(err)
		}
		clear(byTag)
		for _, img := range list {
			for _, tag := range img.RepoTags {
				byTag[tag] = img
			}
		}
		missing := slices.ContainsFunc(tags, func(tag string) bool { _, ok := byTag[tag]; return !ok })
		if !missing && len(byTag) == len(tags) && len(list) == len(tags) {
			return byTag
		}
		time.Sleep(50 * time.Millisecond)
	}
	d.t.Fatalf("images %+v, want %q\n%s", list, tags, d.log())
	return nil
}

func unmountBelow(t testing.TB, dir string) {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Error(err)
		return
	}
	var points []string
	for line := range strings.Lines(string(data)) {
		if point := strings.Fields(line)[4]; strings.HasPrefix(point, dir+"/") {
			points = append(points, point)
		}
	}
	slices.Reverse(points)
	for _, point := range points {
		if err := unix.Unmount(point, unix.MNT_DETACH); err != nil {
			t.Errorf("unmounting %s: %v", point, err)
		}
	}
}

// canMount skips the test where bind mounts are refused.
func canMount(t *testing.T) {
	t.Helper()
	source, target := t.TempDir(), t.TempDir()
	if err := bindReadOnly(source, target); err != nil {
		t.Skipf("this machine lets nobody make bind mounts: %v", err)
	}
	if err := detach(target); err != nil {
		t.Fatal(err)
	}
}

// hello is a static program that tells what it sees.
func hello(t *testing.T) []byte {
	t.Helper()
	dir := t.TempDir()
	src := `package main

import (
	"fmt"
	"os"
)

func main() {
	for _, dir := range []string{"/etc", "/"} {
		entries, err := os.ReadDir(dir)
		fmt.Print(dir, " ", err)
		for _, e := range entries {
			fmt.Print(" ", e.Name())
		}
		fmt.Println()
	}
	fmt.Println("uid", os.Getuid(), os.WriteFile("/written", nil, 0o600))
}
`
	if err := os.WriteFile(dir+"/main.go", []byte(src), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "build", "-o", dir+"/hello", dir+"/main.go")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	data, err := os.ReadFile(dir + "/hello")
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// archive is an image as `docker save` writes it.
func archive(t *testing.T, reference string, layers ...[]byte) string {
	t.Helper()
	img := mutate.MediaType(empty.Image, "application/vnd.docker.distribution.manifest.v2+json")
	var added []v1.Layer
	for _, data := range layers {
		l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil })
		if err != nil {
			t.Fatal(err)
		}
		added = append(added, l)
	}
	img, err := mutate.AppendLayers(img, added...)
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config.OS, config.Architecture = "linux", "amd64"
	if img, err = mutate.ConfigFile(img, config); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "image.tar")
	ref, err := name.NewTag(reference)
	if err != nil {
		t.Fatal(err)
	}
	if err := tarball.WriteToFile(path, ref, img); err != nil {
		t.Fatal(err)
	}
	return path
}

// bytesBelow counts the bytes of files that are on the same file system, that
// is, not in a mounted layer, and not in a database.
func bytesBelow(t *testing.T, dir string) (n int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() {
			var st unix.Statx_t
			if err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, 0, &st); err != nil {
				return err
			}
			if st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0 {
				return fs.SkipDir
			}
			return nil
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if strings.HasSuffix(path, ".db") {
			return nil
		}
		n += info.Size()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}
