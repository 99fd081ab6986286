package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// TestConfinedBuild builds images once more, in one run, elsewhere: as nobody, in other
// directories and another time zone, under another umask, with everything but
// the big components made anew, with a PATH that holds only go, and without
// the system calls that tools for images usually need. Every program that is executed
// and every attempt at such a call is traced. The disks must be the same, bit for bit.
// SLIPWAY_BAKED names the profiles, of any architecture; without it, it is the
// control plane for this machine's.
func TestConfinedBuild(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute; run without -short")
	}
	for _, p := range []string{"strace", "setpriv", "sh"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("%s is missing: make judges", p)
		}
	}
	project, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	names, asked := baked()
	of := func(name, file string) string { return filepath.Join(project, "out", name, file) }
	for _, name := range names {
		for _, wanted := range []string{of(name, "disk.raw"), of(name, "lock.json"), defaultStore()} {
			if !exists(wanted) {
				notBaked(t, asked, name, wanted)
			}
		}
	}
	dir, err := os.MkdirTemp("", "slipway confined ") // with a space, and not where tests usually are
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// Go makes its module cache read-only.
		filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				os.Chmod(p, 0o700)
			}
			return nil
		})
		os.RemoveAll(dir)
	})
	for _, d := range []string{"profiles", "images", "overlays", "cmd", "pkg", "go.mod", "go.sum"} {
		run(t, "cp", "-a", filepath.Join(project, d), dir)
	}
	for _, d := range []string{"bin", "path", "home", "tmp", "out"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	builder := filepath.Join(dir, "bin", "builder")
	run(t, "go", "build", "-C", project, "-trimpath", "-buildvcs=false", "-o", builder, "./cmd/builder")
	compiler := strings.TrimSpace(run(t, "go", "env", "GOROOT")) + "/bin/go"
	if err := os.Symlink(compiler, filepath.Join(dir, "path", "go")); err != nil {
		t.Fatal(err)
	}
	store := filepath.Join(dir, "store")
	copyStore(t, defaultStore(), store)
	args := []string{
		"-f", "-qq", "--seccomp-bpf", "-s", "4096", "-o", filepath.Join(dir, "trace"),
		"-e", "trace=execve,execveat,mount,unshare,setns,pivot_root,chroot,clone,clone3,init_module,finit_module,openat",
		"-e", "inject=mount,unshare,setns,pivot_root,chroot:error=EPERM",
	}
	if os.Getuid() == 0 {
		run(t, "chown", "-R", "65534:65534", dir)
		run(t, "chmod", "755", dir)
		args = append(args, "setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--no-new-privs")
	}
	args = append(args, "sh", "-c", `umask 077; cd "$1"; shift; exec "$@"`, "sh", filepath.Join(dir, "tmp"),
		builder, "build", "--project", dir, "--store", store, "--out", filepath.Join(dir, "out"))
	if with := os.Getenv("SLIPWAY_WITH"); with != "" { // what the images were baked with
		own := filepath.Join(dir, "with.yaml")
		run(t, "cp", filepath.Join(project, with), own)
		run(t, "chmod", "644", own)
		args = append(args, "--with", own)
	}
	for _, name := range names {
		args = append(args, "--profile", name)
		lock := filepath.Join(dir, "profiles", name+".lock")
		run(t, "cp", of(name, "lock.json"), lock)
		run(t, "chmod", "644", lock)
	}
	cmd := exec.CommandContext(t.Context(), "strace", args...)
	cmd.Env = []string{
		"PATH=" + filepath.Join(dir, "path"), "HOME=" + filepath.Join(dir, "home"), "TMPDIR=" + filepath.Join(dir, "tmp"),
		"TZ=Asia/Kathmandu", "LANG=tr_TR.UTF-8", "GOPROXY=" + strings.TrimSpace(run(t, "go", "env", "GOPROXY")),
	}
	if cmd.Path, err = exec.LookPath("strace"); err != nil {
		t.Fatal(err)
	}
	if sh, err := exec.LookPath("sh"); err == nil {
		cmd.Args[slices.Index(cmd.Args, "sh")] = sh
	}
	if setpriv, err := exec.LookPath("setpriv"); err == nil && os.Getuid() == 0 {
		cmd.Args[slices.Index(cmd.Args, "setpriv")] = setpriv
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	trace, err := os.ReadFile(filepath.Join(dir, "trace"))
	if err != nil {
		t.Fatal(err)
	}
	checkTrace(t, string(trace), builder, filepath.Dir(filepath.Dir(compiler)), filepath.Join(dir, "path", "go"))
	for _, name := range names {
		disk := filepath.Join(dir, "out", name, "disk.raw")
		if len(names) == 1 {
			disk = filepath.Join(dir, "out", "disk.raw")
		}
		if got, want := digest(t, disk), digest(t, of(name, "disk.raw")); got != want {
			t.Errorf("the disk's sha256 is %s here and %s in out/%s; if anything changed since that was baked, run make image PROFILE=%[3]s first", got, want, name)
		}
	}
}

// baked returns the profiles whose images are to be tested, and whether somebody
// named them: then each has to be there.
func baked() (names []string, asked bool) {
	if names := strings.Fields(os.Getenv("SLIPWAY_BAKED")); len(names) > 0 {
		return names, true
	}
	return []string{"cp-" + runtime.GOARCH}, false
}

// notBaked ends a test that lacks an image: make test, which bakes one first and
// names it, fails; go test by itself goes without.
func notBaked(t *testing.T, asked bool, name, missing string) {
	t.Helper()
	text := fmt.Sprintf("%s is missing, for the image was not baked: `make image PROFILE=%s` bakes it; `make test` does that, too, before it runs this", missing, name)
	if asked {
		t.Fatal(text)
	}
	t.Skip(text)
}

// copyStore copies what takes long to make: the big components. Everything
// else, and a small component, are made anew.
func copyStore(t *testing.T, from, to string) {
	t.Helper()
	for _, d := range []string{"records", "blobs"} {
		if err := os.MkdirAll(filepath.Join(to, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	run(t, "cp", "-a", filepath.Join(from, "blobs"), to)
	records, err := filepath.Glob(filepath.Join(from, "records", "component-*"))
	if err != nil || len(records) == 0 {
		t.Fatalf("no component lies in the store %s: %v", from, err)
	}
	for _, r := range records {
		run(t, "cp", "-a", r, filepath.Join(to, "records"))
	}
	dropped := 0
	err = filepath.WalkDir(filepath.Join(to, "records"), func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(p)
		if err == nil && (strings.Contains(string(data), `"Name":"pause"`) || strings.Contains(string(data), `"Name":"firstboot"`)) {
			dropped++
			err = os.Remove(p)
		}
		return err
	})
	if err != nil || dropped == 0 {
		t.Fatalf("dropping a component from the copy of the store: %d dropped, %v", dropped, err)
	}
}

var (
	executed  = regexp.MustCompile(`execve(?:at)?\("([^"]*)"`)
	forbidden = regexp.MustCompile(`\b(mount|unshare|setns|pivot_root|chroot|init_module|finit_module)\(|clone3?\(.*CLONE_NEW|openat\(.*"/dev/(loop|kvm|mapper|nbd)`)
)

// checkTrace finds programs and calls that the build has no need of.
func checkTrace(t *testing.T, trace, builder, goroot, goProgram string) {
	t.Helper()
	programs := map[string]int{}
	began := false
	for _, line := range strings.Split(trace, "\n") {
		if m := executed.FindStringSubmatch(line); m != nil && !strings.Contains(line, " = -1 E") {
			if began = began || m[1] == builder; began {
				programs[m[1]]++
			}
		}
		if began && forbidden.MatchString(line) {
			t.Errorf("the build tried: %s", line)
		}
	}
	if programs[builder] != 1 || programs[goProgram]+programs[filepath.Join(goroot, "bin", "go")] == 0 {
		t.Errorf("the trace shows neither the builder nor go: %v", programs)
	}
	compiled := false
	for p := range programs {
		compiled = compiled || filepath.Base(p) == "compile"
		if p != builder && p != goProgram && !strings.HasPrefix(p, goroot+"/") {
			t.Errorf("the build executed %s", p)
		}
	}
	if !compiled {
		t.Errorf("nothing was compiled: %v", programs)
	}
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).Output()
	if err != nil {
		t.Fatalf("%s %s: %v", name, strings.Join(args, " "), err)
	}
	return string(out)
}

func digest(t *testing.T, file string) string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}
