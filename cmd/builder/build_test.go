package main

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/slipway-os/slipway/pkg/debian/debiantest"
	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/lock"
	"github.com/slipway-os/slipway/pkg/store"
)

// noKernel is where a build of the site ends: its packages are there, but
// none of them holds a kernel.
const noKernel = `DIR/profiles/p.yaml:8:19: package "linux" brings no kernel (name one of the linux-image packages)`

func TestBadInputToBuild(t *testing.T) {
	week := 7 * 24 * time.Hour
	for _, c := range []struct {
		name    string
		prepare func(t *testing.T, s *site)
		args    string
		want    string // a text that ends in "…" is the start of what is wanted
		exit    int
		allowed []string // files in the output folder
	}{
		{name: "flag", args: "--profil p", want: "unknown flag: --profil; see 'builder build --help'", exit: diag.ExitInput},
		{name: "argument", args: "p", want: `unexpected argument "p" (did you mean "--profile p"?); see 'builder build --help'`, exit: diag.ExitInput},
		{name: "output", args: "--output yaml", want: `--output "yaml": text or json`, exit: diag.ExitInput},
		{name: "no profile", args: "--profile=", want: "--profile is missing; `builder profiles` lists what there is", exit: diag.ExitInput},
		{name: "no project", args: "--project DIR/overlays", want: `reading project "DIR/overlays": it has no profiles/, images/ and overlays/`, exit: diag.ExitInput},

		{name: "unknown profile", args: "--profile pp", want: `unknown profile "pp" (` + "`builder profiles` lists them)", exit: diag.ExitInput},
		{name: "unknown file", args: "--profile DIR/site.yaml", want: `reading profile "DIR/site.yaml": there is no file DIR/site.yaml`, exit: diag.ExitInput},
		{name: "unknown field", prepare: func(t *testing.T, s *site) { s.edit(t, "profiles/p.yaml", "packages", "packges") },
			want: `DIR/profiles/p.yaml:7:3: unknown field "packges" (did you mean "packages"?)`, exit: diag.ExitInput},
		{name: "wrong type", prepare: func(t *testing.T, s *site) { s.edit(t, "profiles/p.yaml", "[app]", "app") },
			want: `DIR/profiles/p.yaml:7:13: os.packages must be a list, not "app"`, exit: diag.ExitInput},
		{name: "field twice", prepare: func(t *testing.T, s *site) { s.edit(t, "profiles/p.yaml", "images: none", "images: none\nimages: all") },
			want: `DIR/profiles/p.yaml:11:1: field "images" is given twice`, exit: diag.ExitInput},
		{name: "extends cycle", prepare: func(t *testing.T, s *site) {
			s.write(t, "profiles/p.yaml", "extends: [q]\n")
			s.write(t, "profiles/q.yaml", "extends:\n  - p\n")
		}, want: `DIR/profiles/q.yaml:2:5: profiles extend one another in a circle: p -> q -> p (remove one of these from extends)`, exit: diag.ExitInput},
		{name: "missing overlay", prepare: func(t *testing.T, s *site) { s.edit(t, "profiles/p.yaml", "[base]", "[bsae]") },
			want: `DIR/profiles/p.yaml:11:12: unknown overlay "bsae" (did you mean "base"?)`, exit: diag.ExitInput},
		{name: "missing component", prepare: func(t *testing.T, s *site) {
			s.edit(t, "profiles/p.yaml", "images: none", "images: none\ncomponents: [x]")
		}, want: `DIR/profiles/p.yaml:11:14: unknown component "x" (there is none)`, exit: diag.ExitInput},
		{name: "missing image", prepare: func(t *testing.T, s *site) { s.write(t, "images/sets/none.yaml", "images:\n  - etcd\n") },
			want: `DIR/images/sets/none.yaml:2:5: unknown image "etcd"…`, exit: diag.ExitInput},

		{name: "unknown package", prepare: func(t *testing.T, s *site) { s.edit(t, "profiles/p.yaml", "[app]", "[app, libap]") },
			want: `DIR/profiles/p.yaml:7:19: package "libap" does not exist in trixie, trixie-updates, trixie-security (did you mean "libapp"?)`, exit: diag.ExitInput},
		{name: "package of other architectures", prepare: func(t *testing.T, s *site) {
			s.repo.Main.Packages = append(s.repo.Main.Packages, debiantest.Package{Name: "loader", Version: "1", Architecture: "arm64"})
			s.repo.Publish(t)
			s.edit(t, "profiles/p.yaml", "[app]", "[app, loader]")
		}, want: `DIR/profiles/p.yaml:7:19: package "loader" does not exist in trixie, trixie-updates, trixie-security for amd64, only for arm64 (name it in profiles of those alone)`, exit: diag.ExitInput},
		{name: "kernel without an option", prepare: func(t *testing.T, s *site) {
			s.complete(t)
			s.repo.Main.Packages[2].Files["boot/config-6.1-test"] = "CONFIG_SQUASHFS=y\n# CONFIG_DM_VERITY is not set\n"
			s.repo.Publish(t)
			s.edit(t, "profiles/p.yaml", "package: linux", "options: [SQUASHFS, DM_VERITY], package: linux")
		}, want: `DIR/profiles/p.yaml:8:30: the kernel of package "linux" was built without DM_VERITY (name another kernel in kernel.package)`, exit: diag.ExitInput, allowed: []string{"lock.json"}},
		{name: "kernel that does not tell its options", prepare: func(t *testing.T, s *site) {
			s.complete(t)
			s.edit(t, "profiles/p.yaml", "package: linux", "options: [DM_VERITY], package: linux")
		}, want: `DIR/profiles/p.yaml:8:19: package "linux" brings no configuration of its kernel to look for kernel.options in (name another kernel, or leave kernel.options empty)`, exit: diag.ExitInput, allowed: []string{"lock.json"}},
		{name: "command line that is too long", prepare: func(t *testing.T, s *site) {
			s.complete(t)
			s.edit(t, "profiles/p.yaml", "package: linux", "commandLine: ["+strings.Repeat("x", 3000)+"], package: linux")
		}, want: `DIR/profiles/p.yaml:8:23: the command line has 3000 bytes, and the kernel takes 2047 (shorten it)`, exit: diag.ExitInput, allowed: []string{"lock.json"}},
		{name: "module that the kernel lacks", prepare: func(t *testing.T, s *site) {
			s.complete(t)
			s.edit(t, "profiles/p.yaml", "package: linux", "require: [nvme], package: linux")
		}, want: `DIR/profiles/p.yaml:8:20: the kernel of package "linux" has no module "nvme" (name another kernel in kernel.package)`, exit: diag.ExitInput, allowed: []string{"lock.json"}},
		{name: "unknown component of the archive", prepare: func(t *testing.T, s *site) {
			s.edit(t, "profiles/p.yaml", "suite: trixie", "suite: trixie\n  components: [main, non-free]")
		}, want: `DIR/profiles/p.yaml:4:22: suite trixie…`, exit: diag.ExitInput},
		{name: "unknown kernel", prepare: func(t *testing.T, s *site) { s.edit(t, "profiles/p.yaml", "linux", "linus") },
			want: `DIR/profiles/p.yaml:8:19: package "linus" does not exist in trixie, trixie-updates, trixie-security (did you mean "linux"?)`, exit: diag.ExitInput},
		{name: "dependency that nothing meets", prepare: func(t *testing.T, s *site) { s.edit(t, "profiles/p.yaml", "[app]", "[broken]") },
			want: `DIR/profiles/p.yaml:7:14: package "broken" -> libapp (>= 2): no such version; libapp 1 is in trixie (leave it out, or exclude what it should not need)`, exit: diag.ExitInput},
		{name: "unknown package in a layer", prepare: func(t *testing.T, s *site) {
			s.write(t, "images/sets/none.yaml", "images: [web]\n")
			s.write(t, "images/web.yaml", "tag: v1\nlayers: [web]\nentrypoint: [/web]\n")
			s.write(t, "images/layers/web.yaml", "packages:\n  - app\n  - web\n")
		}, want: `DIR/images/layers/web.yaml:3:5: package "web" does not exist in trixie, trixie-updates, trixie-security…`, exit: diag.ExitInput},
		{name: "package that is no kernel", want: noKernel, exit: diag.ExitInput, allowed: []string{"lock.json"}},

		{name: "mirror that is none", args: "--mirror mirror.example", want: `mirror "mirror.example": not an http, https or file address`, exit: diag.ExitInput},
		{name: "mirror that nobody reaches", prepare: func(t *testing.T, s *site) { s.repo.Close() },
			want: `reading the Release file of trixie…`, exit: diag.ExitDependency},
		{name: "mirror of something else", args: "--mirror MIRROR/x", want: `reading the Release file of trixie…`, exit: diag.ExitDependency},
		{name: "unknown suite", prepare: func(t *testing.T, s *site) { s.edit(t, "profiles/p.yaml", "suite: trixie", "suite: trixy") },
			want: `DIR/profiles/p.yaml:3:10: there is no suite trixy at 127.0.0.1 (did you mean "trixie"?)`, exit: diag.ExitInput},
		{name: "tampered index", prepare: func(t *testing.T, s *site) {
			s.repo.Tamper(t, "debian/dists/trixie/InRelease", func(data []byte) []byte { return bytes.Replace(data, []byte("Test"), []byte("Evil"), 1) })
		}, want: `reading the Release file of trixie at 127.0.0.1: its signature by key …`, exit: diag.ExitDependency},
		{name: "expired index", prepare: func(t *testing.T, s *site) {
			s.repo.Security.Date, s.repo.Security.ValidUntil = time.Now().Add(-2*week), time.Now().Add(-week)
			s.repo.Publish(t)
		}, want: `reading the Release file of trixie-security at 127.0.0.1: it expired on …`, exit: diag.ExitDependency},
		{name: "index older than the last build's", prepare: func(t *testing.T, s *site) {
			s.lock(t, func(l *lock.Lock) { l.Suites[0].Date = time.Now().Unix() })
			if err := os.Mkdir(s.file("out"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(s.file("x.lock"), s.file("out/lock.json")); err != nil {
				t.Fatal(err)
			}
		}, want: `reading the Release file of trixie at 127.0.0.1: it is of …`, exit: diag.ExitDependency, allowed: []string{"lock.json"}},
		{name: "index of another digest", prepare: func(t *testing.T, s *site) {
			s.repo.Tamper(t, "debian/dists/trixie/main/binary-amd64/by-hash/SHA256/*", func(data []byte) []byte { return append(data[:20], data[21:]...) })
		}, want: `reading the package index of trixie at 127.0.0.1: downloading MIRROR/dists/trixie/main/binary-amd64/by-hash/SHA256/…`, exit: diag.ExitDependency},
		{name: "package of another digest", prepare: func(t *testing.T, s *site) {
			s.repo.Tamper(t, "debian/pool/main/app_*", func(data []byte) []byte { data[300] ^= 1; return data })
		}, want: `downloading MIRROR/pool/main/app_1_amd64.deb: not the file that was expected: its sha256 is …`, exit: diag.ExitDependency},
		{name: "package that is gone", prepare: func(t *testing.T, s *site) {
			s.repo.Tamper(t, "debian/pool/main/app_*", func([]byte) []byte { return nil })
		}, want: `downloading MIRROR/pool/main/app_1_amd64.deb: status 404 Not Found (the server does not have this file, or no longer)`, exit: diag.ExitDependency},
		{name: "keys of somebody else", prepare: func(t *testing.T, s *site) {
			s.write(t, "profiles/keys/site.gpg", string(debiantest.Keyring(t, debiantest.NewKey(t, "other", time.Now()))))
		}, want: `reading the Release file of trixie…`, exit: diag.ExitDependency},
		{name: "Debian's keys", prepare: func(t *testing.T, s *site) { s.edit(t, "profiles/p.yaml", "  keyring: keys/site.gpg\n", "") },
			want: `reading the Release file of trixie…`, exit: diag.ExitDependency},
		{name: "keyring that is none", prepare: func(t *testing.T, s *site) { s.write(t, "profiles/keys/site.gpg", "key") },
			want: `DIR/profiles/p.yaml:6:12: reading the archive keyring: …`, exit: diag.ExitInput},
		{name: "keyring that is missing", prepare: func(t *testing.T, s *site) { os.Remove(s.file("profiles/keys/site.gpg")) },
			want: `DIR/profiles/p.yaml:6:12: reading keyring "keys/site.gpg": there is no file DIR/profiles/keys/site.gpg (the path is relative to this file)`, exit: diag.ExitInput},

		{name: "lock that is missing", args: "--lock DIR/none.lock", want: `reading lock "DIR/none.lock": no such file`, exit: diag.ExitInput},
		{name: "lock of another profile", prepare: func(t *testing.T, s *site) { s.lock(t, func(l *lock.Lock) { l.Profile = "q" }) }, args: "--lock DIR/x.lock",
			want: `DIR/x.lock: the lock is of profile "q" for amd64, not of "p" for amd64 (name that profile, or another lock)`, exit: diag.ExitInput},
		{name: "lock of another architecture", prepare: func(t *testing.T, s *site) { s.lock(t, func(l *lock.Lock) { l.Architecture = "arm64" }) }, args: "--lock DIR/x.lock",
			want: `DIR/x.lock: the lock is of profile "p" for arm64, not of "p" for amd64 (name that profile, or another lock)`, exit: diag.ExitInput},
		{name: "lock that is damaged", prepare: func(t *testing.T, s *site) {
			s.lock(t, nil)
			s.edit(t, "x.lock", `"sha256": "`, `"sha256": "x`)
		}, args: "--lock DIR/x.lock", want: `DIR/x.lock:20:17: "x…`, exit: diag.ExitInput},
		{name: "lock of another toolchain", prepare: func(t *testing.T, s *site) { s.lock(t, func(l *lock.Lock) { l.Toolchain = "go1.20" }) }, args: "--lock DIR/x.lock --offline",
			want: `DIR/x.lock: the lock was made with go1.20, this is ` + runtime.Version() + `: other bytes would come out (use that toolchain, or remove the lock to resolve anew)`, exit: diag.ExitInput},
		{name: "lock from before a package was wanted", prepare: func(t *testing.T, s *site) {
			s.lock(t, nil)
			s.edit(t, "profiles/p.yaml", "[app]", "[app, libapp]")
		}, args: "--lock DIR/x.lock", want: `DIR/profiles/p.yaml:7:19: package "libapp" is not in the lock DIR/x.lock (remove the lock to resolve anew)`, exit: diag.ExitInput},
		{name: "lock from before another kernel was wanted", prepare: func(t *testing.T, s *site) {
			s.lock(t, nil)
			s.edit(t, "profiles/p.yaml", "linux", "linux-rt")
		}, args: "--lock DIR/x.lock", want: `DIR/profiles/p.yaml:8:19: package "linux-rt" is not in the lock DIR/x.lock (remove the lock to resolve anew)`, exit: diag.ExitInput},
		{name: "lock of another suite", prepare: func(t *testing.T, s *site) {
			s.lock(t, nil)
			s.edit(t, "profiles/p.yaml", "suite: trixie", "suite: forky")
		}, args: "--lock DIR/x.lock", want: `DIR/profiles/p.yaml:3:10: the lock DIR/x.lock is of suite "trixie", not of "forky" (remove the lock to resolve anew, or build with the --with that it was made with)`, exit: diag.ExitInput},
		{name: "overlay that is no file", prepare: func(t *testing.T, s *site) {
			if err := unix.Mkfifo(s.file("overlays/base/fifo"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, want: `reading overlay "DIR/overlays/base": "DIR/overlays/base/fifo" is neither file, directory nor symlink`, exit: diag.ExitInput},
		{name: "lock beside the profile", prepare: func(t *testing.T, s *site) { s.write(t, "profiles/p.lock", "{") },
			want: `DIR/profiles/p.lock:1:2: not a lock: …`, exit: diag.ExitInput},
		{name: "lock of packages that no mirror has any more", prepare: func(t *testing.T, s *site) { s.lock(t, nil) }, args: "--lock DIR/x.lock",
			want: `downloading MIRROR/pool/main/app_0_amd64.deb: status 404 Not Found (the server does not have this file, or no longer); mirrors keep no old versions: name one that does, or remove the lock to resolve anew`, exit: diag.ExitDependency},
		{name: "offline without a lock", args: "--offline", want: `--offline needs a lock: name one with --lock, for example DIR/out/lock.json`, exit: diag.ExitInput},
		{name: "offline with an empty store", prepare: func(t *testing.T, s *site) { s.lock(t, nil) }, args: "--offline --lock DIR/x.lock",
			want: `not in the store: MIRROR/pool/main/app_0_amd64.deb, MIRROR/pool/main/app_0_amd64.deb; build once without --offline`, exit: diag.ExitDependency},

		{name: "output folder that cannot be", prepare: func(t *testing.T, s *site) { s.write(t, "file", "") }, args: "--out DIR/file/out",
			want: `making the output folder: mkdir DIR/file: not a directory; name another with --out`, exit: diag.ExitIO},
		{name: "store that cannot be", prepare: func(t *testing.T, s *site) { s.write(t, "file", "") }, args: "--store DIR/file/store",
			want: `opening store "DIR/file/store": mkdir DIR/file: not a directory; name another with --store`, exit: diag.ExitIO},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			if c.prepare != nil {
				c.prepare(t, s)
			}
			var args []string
			for _, a := range strings.Fields(c.args) {
				args = append(args, strings.NewReplacer("DIR", s.dir, "MIRROR", s.repo.Mirror()).Replace(a))
			}
			out, err := s.build(t.Context(), args...)
			if err == nil {
				t.Fatalf("built: %s", out)
			}
			got := s.plain(err.Error())
			if start, ok := strings.CutSuffix(c.want, "…"); got != c.want && !(ok && strings.HasPrefix(got, start)) {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if strings.Contains(got, "\n") || out != "" {
				t.Errorf("more than a line: %s, %s", got, out)
			}
			if code := diag.ExitCode(err); code != c.exit {
				t.Errorf("exit status %d, want %d", code, c.exit)
			}
			s.clean(t, c.allowed...)
		})
	}
}

func TestAnOutputFolderThatIsNotWritable(t *testing.T) {
	s := newSite(t)
	if err := os.Mkdir(s.file("out"), 0o555); err != nil {
		t.Fatal(err)
	}
	why := "permission denied"
	if os.Getuid() == 0 { // modes do not stop root, a read-only file system does
		why = "read-only file system"
		if err := unix.Mount("none", s.file("out"), "tmpfs", unix.MS_RDONLY, ""); err != nil {
			t.Skipf("root here may not mount (%v): run as an ordinary user", err)
		}
		t.Cleanup(func() { unix.Unmount(s.file("out"), 0) })
	}
	_, err := s.build(t.Context())
	if want := `writing to the output folder "DIR/out": ` + why + `; name another with --out`; err == nil || s.plain(err.Error()) != want || diag.ExitCode(err) != diag.ExitIO {
		t.Errorf("got %v, want %s", err, want)
	}
}

// A build that is interrupted ends at once, and the next goes on from there.
func TestAnInterruptedBuild(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	ctx, interrupt := context.WithCancel(t.Context())
	s.repo.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/libapp_") {
			return false
		}
		interrupt()
		<-r.Context().Done() // it would take for ever
		return true
	})
	if _, err := s.build(ctx); !errors.Is(err, context.Canceled) || diag.ExitCode(err) != diag.ExitInterrupt {
		t.Errorf("got %v, exit status %d", err, diag.ExitCode(err))
	}
	s.clean(t)
	s.repo.Intercept(nil)
	if _, err := s.build(t.Context()); err == nil || s.plain(err.Error()) != noKernel {
		t.Errorf("the next build: %v", err)
	}
}

// Two builds at once on one store fetch each package once.
func TestTwoBuildsAtOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	var group sync.WaitGroup
	for i := range 3 {
		group.Go(func() {
			if _, err := s.build(t.Context(), "--out", s.file(fmt.Sprintf("out/%d", i))); err == nil || s.plain(err.Error()) != noKernel {
				t.Errorf("build %d: %v", i, err)
			}
		})
	}
	group.Wait()
	asked := map[string]int{}
	for _, name := range s.repo.Asked() {
		if asked[name]++; strings.HasSuffix(name, ".deb") && asked[name] > 1 {
			t.Errorf("%s was asked for twice", name)
		}
	}
	s.clean(t, "lock.json")
}

// With a lock nothing is resolved, and with a full store nothing is asked for.
func TestALockIsEnough(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	if _, err := s.build(t.Context()); err == nil || s.plain(err.Error()) != noKernel {
		t.Fatalf("got %v", err)
	}
	first, err := os.ReadFile(s.file("out/lock.json"))
	if err != nil {
		t.Fatal(err)
	}
	before := len(s.repo.Asked())
	for _, args := range [][]string{{"--lock", s.file("out/lock.json")}, {"--lock", s.file("out/lock.json"), "--offline"}} {
		if _, err := s.build(t.Context(), args...); err == nil || s.plain(err.Error()) != noKernel {
			t.Errorf("%q: %v", args, err)
		}
	}
	if asked := s.repo.Asked()[before:]; len(asked) > 0 {
		t.Errorf("asked for %q", asked)
	}
	if again, err := os.ReadFile(s.file("out/lock.json")); err != nil || !bytes.Equal(again, first) {
		t.Errorf("the lock changed: %v\n%s", err, again)
	}
}

// A package that is damaged in the store is fetched again.
func TestADamagedStoreIsMended(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		damage func(t *testing.T, s *site)
	}{
		{"cut off", func(t *testing.T, s *site) {
			s.each(t, "store/blobs/*/*", func(file string) error { return os.Truncate(file, 10) })
		}},
		{"bytes changed, and nothing decoded", func(t *testing.T, s *site) {
			s.each(t, "store/records/deb", os.RemoveAll)
			s.each(t, "store/blobs/*/*", flip)
		}},
		{"records changed", func(t *testing.T, s *site) {
			s.each(t, "store/records/*/*/*", flip)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			if _, err := s.build(t.Context()); err == nil || s.plain(err.Error()) != noKernel {
				t.Fatalf("got %v", err)
			}
			c.damage(t, s)
			_, err := s.build(t.Context())
			if err != nil && strings.Contains(err.Error(), "build again") { // it says so, and mends the store
				if code := diag.ExitCode(err); code != diag.ExitIO {
					t.Errorf("exit status %d: %v", code, err)
				}
				_, err = s.build(t.Context())
			}
			if err == nil || s.plain(err.Error()) != noKernel {
				t.Errorf("got %v", err)
			}
			s.clean(t, "lock.json")
		})
	}
}

func TestBuildOnAFullDisk(t *testing.T) {
	s := newSite(t)
	small := s.file("small")
	if err := os.Mkdir(small, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", small, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("mounting a small disk needs root: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(small, unix.MNT_DETACH) })
	_, err := s.build(t.Context(), "--store", filepath.Join(small, "store"))
	if err == nil || diag.ExitCode(err) != diag.ExitIO || !strings.HasSuffix(err.Error(), "no space left on device; free some space, or name another store with --store") || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v, exit status %d", err, diag.ExitCode(err))
	}
	s.clean(t)
	st, err := store.Open(filepath.Join(small, "store"))
	if err != nil {
		t.Fatal(err)
	}
	if dropped, err := st.Scrub(t.Context()); dropped > 0 || err != nil {
		t.Errorf("%d blobs are not whole, %v", dropped, err)
	}
}

// Modules come from where the Go client's own settings say.
func TestModulesThatCannotBeHad(t *testing.T) {
	for _, c := range []struct{ name, version, sum, want string }{
		{"version that does not exist", "v1.2.4", "h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", `compiling tool: there is no module example.com/dep@v1.2.4: …`},
		{"checksum mismatch", "v1.2.3", "h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", `compiling tool: checksum mismatch of module example.com/dep@v1.2.3: …`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t)
			for name, value := range map[string]string{
				"GOPROXY": "file://" + s.file("proxy"), "GONOSUMDB": "*", "GOMODCACHE": s.file("mod"), "GOFLAGS": "-modcacherw",
			} {
				t.Setenv(name, value)
			}
			const dep = "module example.com/dep\n\ngo 1.26\n"
			var archive bytes.Buffer
			z := zip.NewWriter(&archive)
			for name, text := range map[string]string{"go.mod": dep, "dep.go": "package dep\n"} {
				w, err := z.Create("example.com/dep@v1.2.3/" + name)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := w.Write([]byte(text)); err != nil {
					t.Fatal(err)
				}
			}
			if err := z.Close(); err != nil {
				t.Fatal(err)
			}
			s.write(t, "proxy/example.com/dep/@v/v1.2.3.info", `{"Version":"v1.2.3"}`)
			s.write(t, "proxy/example.com/dep/@v/v1.2.3.mod", dep)
			s.write(t, "proxy/example.com/dep/@v/v1.2.3.zip", archive.String())
			s.write(t, "profiles/components/tool/component.yaml", "version: v1.0.0\nprograms:\n  - {package: ., paths: [usr/bin/tool]}\n")
			s.write(t, "profiles/components/tool/go.mod", "module example.com/tool\n\ngo 1.26\n\nrequire example.com/dep "+c.version+"\n")
			s.write(t, "profiles/components/tool/go.sum", fmt.Sprintf("example.com/dep %[1]s %[2]s\nexample.com/dep %[1]s/go.mod h1:jx0mGVa0KyCGNAW2FqNYFVdh3CdSqSOYpQn4J4Mk5vo=\n", c.version, c.sum))
			s.write(t, "profiles/components/tool/main.go", "package main\n\nimport _ \"example.com/dep\"\n\nfunc main() {}\n")
			s.edit(t, "profiles/p.yaml", "images: none", "images: none\ncomponents: [tool]")
			_, err := s.build(t.Context())
			if err == nil {
				t.Fatal("built")
			}
			if start, _ := strings.CutSuffix(c.want, "…"); !strings.HasPrefix(err.Error(), start) || strings.Contains(err.Error(), "\n") || diag.ExitCode(err) != diag.ExitDependency {
				t.Errorf("got  %v (exit status %d)\nwant %s", err, diag.ExitCode(err), c.want)
			}
			s.clean(t)
		})
	}
}
