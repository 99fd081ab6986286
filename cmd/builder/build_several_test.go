package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/build"
	"github.com/slipway-os/slipway/pkg/diag"
)

// family makes a site of three profiles that can be built, p, q and r, and of
// base, which they extend.
func family(t *testing.T) *site {
	t.Helper()
	s := newSite(t)
	s.complete(t)
	text, err := os.ReadFile(s.file("profiles/p.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	architecture, base, _ := strings.Cut(string(text), "\n")
	s.write(t, "profiles/base.yaml", base)
	for _, name := range []string{"p", "q", "r"} {
		s.write(t, "overlays/"+name+"/etc/name", name)
		s.write(t, "profiles/"+name+".yaml", architecture+"\nextends: [base]\noverlays: ["+name+"]\n")
	}
	return s
}

// Several profiles come out of one run as they come out of one run each.
func TestSeveralProfiles(t *testing.T) {
	t.Parallel()
	s := family(t)
	out, progress, err := s.watch(t.Context(), "--profile", "q", "--profile", "p")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile(`^\n  PROFILE +TIME +ALLOCATED +ROOT +DISK\n  q +[0-9.]+s +[0-9.]+ MB +[0-9.]+ MB  DIR/out/q/disk.raw\n  p +[0-9.]+s +[0-9.]+ MB +[0-9.]+ MB  DIR/out/p/disk.raw\n$`)
	if !rows.MatchString(s.plain(out)) {
		t.Errorf("printed %s", s.plain(out))
	}
	for _, line := range strings.Split(strings.TrimSpace(progress), "\n") {
		if !strings.HasPrefix(line, "[1/2] q: ") && !strings.HasPrefix(line, "[2/2] p: ") {
			t.Errorf("of which profile is this: %s", line)
		}
	}
	for _, stage := range []string{"[1/2] q: resolve ", "[2/2] p: resolve ", "[2/2] p: disk ", "[2/2] p: components   done in 0.0s"} {
		if !strings.Contains(progress, "\n"+stage) && !strings.HasPrefix(progress, stage) {
			t.Errorf("%q is not in\n%s", stage, progress)
		}
	}
	asked := s.repo.Asked()
	for i, name := range asked {
		if slices.Contains(asked[:i], name) {
			t.Errorf("%s was asked for twice", name)
		}
	}
	s.clean(t, "disk.raw", "lock.json", "result.json")
	for _, name := range []string{"p", "q"} {
		single := s.file("single-" + name)
		if _, err := s.build(t.Context(), "--profile", name, "--store", s.file("other"), "--out", single); err != nil {
			t.Fatal(err)
		}
		if sumOf(t, single+"/disk.raw") != sumOf(t, s.file("out/"+name+"/disk.raw")) || sumOf(t, single+"/lock.json") != sumOf(t, s.file("out/"+name+"/lock.json")) {
			t.Errorf("%s differs from what is built of it alone", name)
		}
	}
	if sumOf(t, s.file("out/p/disk.raw")) == sumOf(t, s.file("out/q/disk.raw")) {
		t.Error("both disks are the same")
	}

	t.Run("made anew, what they share is made once", func(t *testing.T) {
		before := s.records(t, "deb", "squashfs")
		if _, err := s.build(t.Context(), "--profile", "p", "--profile", "q", "--no-cache", "--out", s.file("anew")); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"p", "q"} {
			if sumOf(t, s.file("anew/"+name+"/disk.raw")) != sumOf(t, s.file("out/"+name+"/disk.raw")) {
				t.Errorf("%s: other bytes came out", name)
			}
		}
		for file, info := range s.records(t, "deb", "squashfs") {
			if old := before[file]; old != nil && os.SameFile(old, info) {
				t.Errorf("%s was not made anew", file)
			}
		}
	})
	t.Run("all there are", func(t *testing.T) {
		out, err := s.build(t.Context(), "--all", "--output", "json")
		if err != nil {
			t.Fatal(err)
		}
		var results []build.Result
		if err := json.Unmarshal([]byte(out), &results); err != nil {
			t.Fatalf("%v in %s", err, out)
		}
		var got []string
		for _, r := range results {
			got = append(got, r.Profile+" "+s.plain(r.Disk)+" "+s.plain(r.Lock))
		}
		want := []string{"p DIR/out/p/disk.raw DIR/out/p/lock.json", "q DIR/out/q/disk.raw DIR/out/q/lock.json", "r DIR/out/r/disk.raw DIR/out/r/lock.json"}
		if !slices.Equal(got, want) {
			t.Errorf("got %q", got)
		}
	})
	t.Run("from the locks beside them, with nothing but these and the store", func(t *testing.T) {
		for _, name := range []string{"p", "q"} {
			if err := os.Link(s.file("out/"+name+"/lock.json"), s.file("profiles/"+name+".lock")); err != nil {
				t.Fatal(err)
			}
		}
		before := len(s.repo.Asked())
		if _, err := s.build(t.Context(), "--profile", "p", "--profile", "q", "--offline", "--out", s.file("locked")); err != nil {
			t.Fatal(err)
		}
		if asked := s.repo.Asked()[before:]; len(asked) > 0 {
			t.Errorf("asked for %q", asked)
		}
		for _, name := range []string{"p", "q"} {
			if sumOf(t, s.file("locked/"+name+"/disk.raw")) != sumOf(t, s.file("out/"+name+"/disk.raw")) {
				t.Errorf("%s: other bytes came out", name)
			}
		}
	})
	t.Run("all of a project that has one", func(t *testing.T) {
		for _, name := range []string{"p", "r"} {
			if err := os.Remove(s.file("profiles/" + name + ".yaml")); err != nil {
				t.Fatal(err)
			}
		}
		out, err := s.build(t.Context(), "--all", "--output", "json")
		var results []build.Result
		if err != nil || json.Unmarshal([]byte(out), &results) != nil || len(results) != 1 || results[0].Disk != s.file("out/q/disk.raw") {
			t.Errorf("got %s, %v", out, err)
		}
	})
}

// One profile that fails leaves the others be.
func TestOneOfSeveralProfilesFails(t *testing.T) {
	t.Parallel()
	s := family(t)
	s.write(t, "profiles/q.yaml", "extends: [p]\nos: {packages: [libap]}\n")
	s.write(t, "profiles/r.yaml", "extends: [p]\ndisk: {root: 1MiB}\n")
	const (
		q = `q: DIR/profiles/q.yaml:2:17: package "libap" does not exist in trixie, trixie-updates, trixie-security (did you mean "libapp"?)`
		r = `r: DIR/profiles/r.yaml:2:14: disk.root is too small: `
	)
	out, progress, err := s.watch(t.Context(), "--profile", "q", "--profile", "p", "--profile", "r")
	if err == nil || diag.ExitCode(err) != diag.ExitInput {
		t.Fatalf("got %v, exit status %d", err, diag.ExitCode(err))
	}
	if lines := strings.Split(s.plain(err.Error()), "\n"); len(lines) != 2 || lines[0] != q || !strings.HasPrefix(lines[1], r) {
		t.Errorf("got %s", s.plain(err.Error()))
	}
	if !strings.Contains(s.plain(progress), q+"\ngoing on with the rest\n[2/3] p: ") {
		t.Errorf("nothing is said of it when it happens:\n%s", progress)
	}
	if rows := regexp.MustCompile(`\n  q +\S+ +failed\n  p +\S+ .*  DIR/out/p/disk.raw\n  r +\S+ +failed\n$`); !rows.MatchString(s.plain(out)) {
		t.Errorf("printed %s", out)
	}
	if !exists(s.file("out/p/disk.raw")) || exists(s.file("out/q/disk.raw")) || exists(s.file("out/r/disk.raw")) {
		t.Error("not that disk alone is there which was finished")
	}
	s.clean(t, "disk.raw", "lock.json", "result.json")

	// The exit status is that of the first failure, whatever the others are.
	s.write(t, "profiles/r.yaml", "extends: [p]\nos: {packages: [extra]}\n")
	s.repo.Main.Packages = append(s.repo.Main.Packages, s.repo.Main.Packages[0])
	s.repo.Main.Packages[len(s.repo.Main.Packages)-1].Name = "extra"
	s.repo.Publish(t)
	s.repo.Tamper(t, "debian/pool/main/extra_*", func([]byte) []byte { return nil })
	out, err = s.build(t.Context(), "--profile", "r", "--profile", "q", "--output", "json")
	if err == nil || diag.ExitCode(err) != diag.ExitDependency || strings.TrimSpace(out) != "[]" {
		t.Errorf("got %v, exit status %d, printed %s", err, diag.ExitCode(err), out)
	}
}

// An interruption is not one profile's failure: it ends all.
func TestSeveralProfilesInterrupted(t *testing.T) {
	t.Parallel()
	s := family(t)
	s.write(t, "profiles/q.yaml", "extends: [p]\nos: {packages: [extra]}\n")
	s.repo.Main.Packages = append(s.repo.Main.Packages, s.repo.Main.Packages[0])
	s.repo.Main.Packages[len(s.repo.Main.Packages)-1].Name = "extra"
	s.repo.Publish(t)
	ctx, interrupt := context.WithCancel(t.Context())
	s.repo.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(path.Base(r.URL.Path), "extra_") {
			return false
		}
		interrupt()
		<-r.Context().Done()
		return true
	})
	_, progress, err := s.watch(ctx, "--profile", "p", "--profile", "q", "--profile", "r")
	if !errors.Is(err, context.Canceled) || diag.ExitCode(err) != diag.ExitInterrupt {
		t.Errorf("got %v", err)
	}
	if !exists(s.file("out/p/disk.raw")) || exists(s.file("out/q/disk.raw")) || strings.Contains(progress, "[3/3]") {
		t.Errorf("it did not stop where it was interrupted:\n%s", progress)
	}
	s.clean(t, "disk.raw", "lock.json", "result.json")
}

// What is merged over profiles is in each of them, and none changes its name.
func TestProfilesWithASitesOwn(t *testing.T) {
	t.Parallel()
	s := family(t)
	s.write(t, "site.yaml", "description: of a site\nos: {frozen: true}\n")
	s.write(t, "more.yaml", "kernel: {commandLine: [site=1]}\n")
	if _, _, err := s.watch(t.Context(), "--profile", "p", "--profile", "q", "--with", s.file("site.yaml"), "--with", s.file("more.yaml")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"p", "q"} {
		out, err := again(t, "inspect", s.file("out/"+name+"/disk.raw"))
		if err != nil {
			t.Fatal(err)
		}
		if !regexp.MustCompile(`\n  profile +`+name+`\n`).MatchString(out) || !regexp.MustCompile(`\n  command line +.* site=1\n`).MatchString(out) {
			t.Errorf("%s came out as\n%s", name, out)
		}
	}
}

// What is wrong with any profile is found before anything is built of one.
func TestBadInputToBuildOfSeveral(t *testing.T) {
	const extended = `DIR/profiles/base.yaml:6:3: unknown field "packges" (did you mean "packages"?)`
	for _, c := range []struct {
		name    string
		prepare func(t *testing.T, s *site)
		args    string
		want    string
	}{
		{name: "all, and one", args: "--all --profile p", want: "--all builds every profile: leave out --profile, or --all"},
		{name: "an empty name", args: "--profile p --profile=", want: "--profile is missing; `builder profiles` lists what there is"},
		{name: "a lock for several", args: "--profile p --profile q --lock DIR/x.lock",
			want: `--lock "DIR/x.lock": a lock is of one profile, and several are to be built; leave it out, or lay each lock beside its profile as PROFILE.lock`},
		{name: "a lock for all", args: "--all --lock DIR/x.lock",
			want: `--lock "DIR/x.lock": a lock is of one profile, and several are to be built; leave it out, or lay each lock beside its profile as PROFILE.lock`},
		{name: "one twice", args: "--profile p --profile q --profile p",
			want: `--profile p: profile "p" is named already (--profile p), and both would go to the same folder`},
		{name: "one by its name and by its file", args: "--profile p --profile DIR/profiles/p.yaml",
			want: `--profile DIR/profiles/p.yaml: profile "p" is named already (--profile p), and both would go to the same folder`},
		{name: "two that do not exist", args: "--profile pp --profile p --profile DIR/z.yaml",
			want: `unknown profile "pp" (` + "`builder profiles` lists them)" + "\n" + `reading profile "DIR/z.yaml": there is no file DIR/z.yaml`},
		{name: "with one that does not exist", args: "--profile p --profile q --with DIR/site.yaml", want: `reading profile "DIR/site.yaml": there is no file DIR/site.yaml`},
		{name: "with one that is wrong", args: "--profile p --profile q --with DIR/site.yaml", prepare: func(t *testing.T, s *site) {
			s.write(t, "site.yaml", "overlays: [x]\n")
		}, want: `DIR/site.yaml:1:12: unknown overlay "x" (known: base, p, q, r)`},
		{name: "one that can only be extended", args: "--profile p --profile base",
			want: "DIR/profiles/base.yaml:1:1: architecture is missing (this profile can only be extended; `builder profiles` lists those that can be built)"},
		{name: "what two extend", args: "--profile p --profile q",
			prepare: func(t *testing.T, s *site) { s.edit(t, "profiles/base.yaml", "packages", "packges") }, want: extended},
		{name: "what all extend", args: "--all",
			prepare: func(t *testing.T, s *site) { s.edit(t, "profiles/base.yaml", "packages", "packges") }, want: extended},
		{name: "mistakes in several", args: "--all", prepare: func(t *testing.T, s *site) {
			s.edit(t, "profiles/p.yaml", "[p]", "[pp, x]")
			s.edit(t, "profiles/q.yaml", "overlays", "ovrlays")
			s.edit(t, "profiles/base.yaml", "16MiB", "1MiB")
		}, want: `DIR/profiles/q.yaml:3:1: unknown field "ovrlays" (did you mean "overlays"?)
DIR/profiles/p.yaml:3:12: unknown overlay "pp" (known: base, p, q, r)
DIR/profiles/p.yaml:3:16: unknown overlay "x" (known: base, p, q, r)
DIR/profiles/base.yaml:12:55: disk.state must be a whole number of MiB from 16MiB to 1TiB, not "1MiB" (for example 512MiB)`},
		{name: "none to build", args: "--all", prepare: func(t *testing.T, s *site) {
			for _, name := range []string{"p", "q", "r"} {
				if err := os.Remove(s.file("profiles/" + name + ".yaml")); err != nil {
					t.Fatal(err)
				}
			}
		}, want: "--all: no profile in DIR/profiles names an architecture and images"},
		{name: "an image set", args: "--profile p --profile q", prepare: func(t *testing.T, s *site) {
			s.write(t, "images/sets/none.yaml", "imges: []\n")
		}, want: `DIR/images/sets/none.yaml:1:1: unknown field "imges" (did you mean "images"?)`},
		{name: "a lock beside one that is of another", args: "--profile p --profile q", prepare: func(t *testing.T, s *site) {
			s.lock(t, nil)
			if err := os.Rename(s.file("x.lock"), s.file("profiles/q.lock")); err != nil {
				t.Fatal(err)
			}
		}, want: `DIR/profiles/q.lock: the lock is of profile "p" for amd64, not of "q" for amd64 (name that profile, or another lock)`},
		{name: "offline without locks", args: "--offline --profile p --profile q",
			want: `--offline needs a lock of each profile: for "p" there is no DIR/profiles/p.lock` + "\n" + `--offline needs a lock of each profile: for "q" there is no DIR/profiles/q.lock`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := family(t)
			if c.prepare != nil {
				c.prepare(t, s)
			}
			out, progress, err := s.watch(t.Context(), strings.Fields(strings.ReplaceAll(c.args, "DIR", s.dir))...)
			if err == nil {
				t.Fatalf("built: %s", out)
			}
			if got := s.plain(err.Error()); got != c.want || diag.ExitCode(err) != diag.ExitInput {
				t.Errorf("got  %s\nwant %s\nexit status %d", got, c.want, diag.ExitCode(err))
			}
			if out != "" || progress != "" || len(s.repo.Asked()) > 0 {
				t.Errorf("something was built: %s%s", out, progress)
			}
			s.clean(t)
		})
	}
}
