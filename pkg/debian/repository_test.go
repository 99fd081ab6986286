package debian_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"

	"github.com/slipway-os/slipway/pkg/deb"
	"github.com/slipway-os/slipway/pkg/debian"
	"github.com/slipway-os/slipway/pkg/debian/debiantest"
	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/fetch"
	"github.com/slipway-os/slipway/pkg/store"
	"github.com/slipway-os/slipway/pkg/tree"
)

// now is the time at which everything here happens.
var now = time.Date(2026, 5, 9, 10, 0, 0, 0, time.UTC)

// machine is one that builds: a store, and a client of a repository.
type machine struct {
	store  *store.Store
	fetch  *fetch.Client
	client *debian.Client
}

func newMachine(t *testing.T, keyring []byte) *machine {
	t.Helper()
	st, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	m := &machine{store: st, fetch: fetch.New(st, fetch.Options{Backoff: time.Microsecond})}
	if m.client, err = debian.New(st, m.fetch, debian.Options{Keyring: keyring, Now: now}); err != nil {
		t.Fatal(err)
	}
	return m
}

func suites(r *debiantest.Repository) []debian.Suite {
	return debian.Suites(r.Mirror(), r.SecurityMirror(), "trixie")
}

// From a signed index to the files in a package.
func TestPackagesComeFromASignedRepository(t *testing.T) {
	key := debiantest.NewKey(t, "archive", now)
	repo := debiantest.New(t, "trixie", now, key)
	repo.Main.Packages = []debiantest.Package{
		{Name: "app", Version: "1.0-1", Architecture: "amd64", Fields: map[string]string{"Depends": "libapp (>= 1.0), data", "Source": "application (1.0)", "Priority": "optional"}, Files: map[string]string{"usr/bin/app": "app"}},
		{Name: "app", Version: "1.0-1", Architecture: "arm64"},
		{Name: "libapp", Version: "1.0-1", Architecture: "amd64"},
		{Name: "data", Version: "7", Files: map[string]string{"usr/share/data": "data"}},
	}
	repo.Security.Packages = []debiantest.Package{
		{Name: "libapp", Version: "1.0-1+deb13u1", Architecture: "amd64", Files: map[string]string{"usr/lib/libapp.so": "mended"}},
	}
	repo.Publish(t)
	m := newMachine(t, debiantest.Keyring(t, key))
	indexes, err := m.client.Indexes(t.Context(), suites(repo), "amd64")
	if err != nil {
		t.Fatal(err)
	}
	if indexes[0].Len() != 3 || indexes[1].Len() != 0 || indexes[2].Len() != 1 || indexes[0].Date != now.Unix() {
		t.Errorf("indexes of %d, %d and %d packages, date %d", indexes[0].Len(), indexes[1].Len(), indexes[2].Len(), indexes[0].Date)
	}
	packages, err := debian.Resolve(indexes, []string{"app"}, nil, "amd64")
	if err != nil {
		t.Fatal(err)
	}
	var items []fetch.Item
	var got []string
	for _, p := range packages {
		got = append(got, strings.Join([]string{p.Name, p.Version, p.Architecture, p.Source, p.Suite}, " "))
		address, err := p.URL(suites(repo))
		if err != nil {
			t.Fatal(err)
		}
		items = append(items, fetch.Item{URL: address, Size: p.Size, SHA256: p.SHA256})
	}
	want := []string{"app 1.0-1 amd64 application (1.0) trixie", "data 7 all  trixie", "libapp 1.0-1+deb13u1 amd64  trixie-security"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	// A transfer that is cut off goes on where it was.
	var cut atomic.Bool
	repo.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/app_") || cut.Swap(true) {
			return false
		}
		w.Header().Set("Content-Length", "100000")
		panic(http.ErrAbortHandler)
	})
	blobs, err := m.fetch.Fetch(t.Context(), items, nil)
	if err != nil {
		t.Fatal(err)
	}
	debs, err := deb.OpenAll(t.Context(), m.store, blobs, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, file := range []string{"usr/bin/app", "usr/share/data", "usr/lib/libapp.so"} {
		if data, err := tree.ReadAll(debs[i].Tree.Lookup(file).Content, 100); err != nil || !slices.Contains([]string{"app", "data", "mended"}, string(data)) {
			t.Errorf("%s: %q, %v", file, data, err)
		}
	}
	// Another client asks only for what is signed: it may have changed.
	before := len(repo.Asked())
	another, err := debian.New(m.store, m.fetch, debian.Options{Keyring: debiantest.Keyring(t, key), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := another.Indexes(t.Context(), suites(repo), "amd64"); err != nil {
		t.Fatal(err)
	}
	if len(repo.Asked()) != before+3 {
		t.Errorf("asked for %q", repo.Asked()[before:])
	}
	for _, name := range repo.Asked()[before:] {
		if path.Base(name) != "InRelease" {
			t.Errorf("asked again for %s", name)
		}
	}
}

// What one client answers is of one state of the repository, and asked for once.
func TestAClientSeesOneState(t *testing.T) {
	key := debiantest.NewKey(t, "archive", now)
	repo := debiantest.New(t, "trixie", now.Add(-time.Hour), key)
	repo.Main.Packages = []debiantest.Package{{Name: "app", Version: "1", Architecture: "amd64"}, {Name: "app", Version: "1", Architecture: "arm64"}}
	repo.Publish(t)
	m := newMachine(t, debiantest.Keyring(t, key))
	version := func(arch string) string {
		t.Helper()
		indexes, err := m.client.Indexes(t.Context(), suites(repo), arch)
		if err != nil {
			t.Fatal(err)
		}
		packages, err := debian.Resolve(indexes, []string{"app"}, nil, arch)
		if err != nil || len(packages) != 1 {
			t.Fatalf("got %v, %v", packages, err)
		}
		return packages[0].Architecture + " " + packages[0].Version
	}
	if got := version("amd64"); got != "amd64 1" {
		t.Errorf("got %s", got)
	}
	before := len(repo.Asked())
	repo.Main.Packages[0].Version, repo.Main.Date = "2", now
	repo.Publish(t)
	if got := version("amd64"); got != "amd64 1" || len(repo.Asked()) != before {
		t.Errorf("the same again: got %s, asked for %q", got, repo.Asked()[before:])
	}
	if got := version("arm64"); got != "arm64 1" {
		t.Errorf("another architecture: got %s", got)
	}
	for _, name := range repo.Asked()[before:] {
		if path.Base(name) == "InRelease" {
			t.Errorf("asked again for %s", name)
		}
	}
	if got := version("amd64"); got != "amd64 1" {
		t.Errorf("and back: got %s", got)
	}
	// A state that the repository has no more is not insisted on.
	repo.Tamper(t, "debian/dists/trixie/main/binary-arm64/by-hash/SHA256/*", func([]byte) []byte { return nil })
	repo.Main.Packages[1].Version = "3"
	repo.Publish(t)
	if err := os.RemoveAll(filepath.Join(m.store.Dir(), "records")); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(m.store.Dir(), "blobs")); err != nil {
		t.Fatal(err)
	}
	if got := version("arm64"); got != "arm64 3" {
		t.Errorf("after a change: got %s", got)
	}
	// What was asked for before is still refused if it is too old for another build.
	old := suites(repo)
	old[0].NotBefore = now.Unix() + 1
	if _, err := m.client.Indexes(t.Context(), old, "amd64"); err == nil || diag.ExitCode(err) != diag.ExitDependency {
		t.Errorf("an index that is too old: got %v", err)
	}
}

// Packages of other components than main are seen where a suite has them, if
// they are asked for.
func TestComponents(t *testing.T) {
	key := debiantest.NewKey(t, "archive", now)
	repo := debiantest.New(t, "trixie", now, key)
	for _, s := range []*debiantest.Suite{repo.Main, repo.Updates, repo.Security} {
		s.Packages = []debiantest.Package{{Name: "app", Version: "1"}, {Name: "firmware-" + s.Name, Version: "1", Component: "non-free-firmware"}}
	}
	repo.Publish(t)
	m := newMachine(t, debiantest.Keyring(t, key))
	for _, c := range []struct {
		components string
		size       int // of each index
	}{{"", 1}, {"main", 1}, {"non-free-firmware", 1}, {"main non-free-firmware", 2}} {
		asked := debian.Suites(repo.Mirror(), repo.SecurityMirror(), "trixie", strings.Fields(c.components)...)
		indexes, err := m.client.Indexes(t.Context(), asked, "amd64")
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range indexes {
			if x.Len() != c.size {
				t.Errorf("%q: %d packages in %s, not %d", c.components, x.Len(), x.Suite, c.size)
			}
		}
		_, err = debian.Resolve(indexes, []string{"firmware-trixie"}, nil, "amd64")
		if found := err == nil; found != strings.Contains(c.components, "firmware") {
			t.Errorf("%q: %v", c.components, err)
		}
	}
	_, err := m.client.Indexes(t.Context(), debian.Suites(repo.Mirror(), repo.SecurityMirror(), "trixie", "main", "contrib"), "amd64")
	var wrong *debian.ComponentError
	if !errors.As(err, &wrong) || wrong.Component != "contrib" || !slices.Equal(wrong.Known, []string{"main", "non-free-firmware"}) {
		t.Errorf("got %v", err)
	}
}

func TestRepositoriesAreRefused(t *testing.T) {
	key := debiantest.NewKey(t, "archive", now)
	stranger := debiantest.NewKey(t, "stranger", now)
	const day = 24 * time.Hour
	replace := func(old, new string) func(data []byte) []byte {
		return func(data []byte) []byte {
			if !bytes.Contains(data, []byte(old)) {
				t.Errorf("%q is not in\n%s", old, data)
			}
			return bytes.Replace(data, []byte(old), []byte(new), 1)
		}
	}
	edit := func(old, new string) func(string) string {
		return func(release string) string { return string(replace(old, new)([]byte(release))) }
	}
	for _, c := range []struct {
		name      string
		prepare   func(r *debiantest.Repository) // before it is published
		tamper    func(r *debiantest.Repository) // afterwards
		notBefore time.Time
		frozen    bool
		want      string // "" if it is accepted
	}{
		{name: "nothing is wrong"},
		{name: "an index without its digest in its name", prepare: func(r *debiantest.Repository) { r.Main.ByHash = false }},
		{name: "signed by others too", prepare: func(r *debiantest.Repository) { r.Main.Signers = []*openpgp.Entity{stranger, key} }},
		{name: "as old as the lock", notBefore: now},
		{name: "a mirror that was copied without the digests", tamper: func(r *debiantest.Repository) {
			r.Tamper(t, "debian/dists/trixie/main/binary-amd64/by-hash/SHA256/*", func([]byte) []byte { return nil })
		}},
		{name: "a frozen mirror", frozen: true, prepare: func(r *debiantest.Repository) {
			r.Security.Date, r.Security.ValidUntil = now.Add(-9*day), now.Add(-2*day)
			r.Updates.ValidUntil = time.Time{}
		}},
		{name: "a frozen mirror of an earlier state than the lock", frozen: true, notBefore: now.Add(time.Second), want: "older than the"},

		{name: "the Release file was changed", tamper: func(r *debiantest.Repository) {
			r.Tamper(t, "debian/dists/trixie/InRelease", replace("Origin: Test", "Origin: Evil"))
		}, want: "reading the Release file of trixie at 127.0.0.1: its signature by key "},
		{name: "text was put before what is signed", tamper: func(r *debiantest.Repository) {
			r.Tamper(t, "debian/dists/trixie/InRelease", func(data []byte) []byte { return append([]byte("Date: Thu, 01 Jan 2032 00:00:00 UTC\n\n"), data...) })
		}},
		{name: "signed by a stranger", prepare: func(r *debiantest.Repository) { r.Security.Signers = []*openpgp.Entity{stranger} },
			want: "reading the Release file of trixie-security at 127.0.0.1: it is signed by none of the keys in the archive keyring"},
		{name: "not signed", tamper: func(r *debiantest.Repository) {
			r.Tamper(t, "debian/dists/trixie/InRelease", func([]byte) []byte { return []byte("Codename: trixie\nDate: Sat, 09 May 2026 10:00:00 UTC\n") })
		}, want: "it is not a clear-signed file: a proxy's error page, or tampered with"},
		{name: "signed in the future", prepare: func(r *debiantest.Repository) { r.Main.Date = now.Add(day) },
			want: "is not valid at this time (now is 2026-05-09 10:00 UTC): is this machine's clock right?"},
		{name: "of a date yet to come", prepare: func(r *debiantest.Repository) {
			r.Main.Edit = edit("Date: Sat, 09 May 2026", "Date: Sun, 10 May 2026")
		}, want: "it is of 2026-05-10 10:00 UTC, which is yet to come"},
		{name: "expired", prepare: func(r *debiantest.Repository) {
			r.Security.Date, r.Security.ValidUntil = now.Add(-9*day), now.Add(-2*day)
		}, want: "reading the Release file of trixie-security at 127.0.0.1: it expired on 2026-05-07 10:00 UTC (now is 2026-05-09 10:00 UTC): the mirror is stale, or this machine's clock is wrong"},
		{name: "the main suite expired", prepare: func(r *debiantest.Repository) { r.Main.Date, r.Main.ValidUntil = now.Add(-9*day), now.Add(-day) },
			want: "it expired on 2026-05-08"},
		{name: "updates that would be valid for ever", prepare: func(r *debiantest.Repository) { r.Updates.ValidUntil = time.Time{} },
			want: "reading the Release file of trixie-updates at 127.0.0.1: it has no Valid-Until; without one an old state with known holes could be served for ever"},
		{name: "security that would be valid for ever", prepare: func(r *debiantest.Repository) { r.Security.ValidUntil = time.Time{} },
			want: "reading the Release file of trixie-security at 127.0.0.1: it has no Valid-Until"},
		{name: "older than the lock", notBefore: now.Add(time.Second),
			want: "it is of 2026-05-09 10:00 UTC, older than the 2026-05-09 10:00 UTC of the lock: the mirror lags behind or was rolled back; name another mirror or wait"},
		{name: "another suite under this name", prepare: func(r *debiantest.Repository) {
			r.Updates.Edit = edit("Codename: trixie-updates", "Codename: bookworm-updates")
		}, want: `it is of suite "bookworm-updates" (stable), not "trixie-updates"; the mirror is mixed up`},
		{name: "another architecture", prepare: func(r *debiantest.Repository) { r.Main.Edit = edit("Architectures: all amd64", "Architectures: all") },
			want: "it has no packages for amd64, only for all, arm64"},
		{name: "no date", prepare: func(r *debiantest.Repository) { r.Main.Edit = edit("Date:", "Day:") }, want: "it has no Date"},
		{name: "a date in another zone", prepare: func(r *debiantest.Repository) { r.Main.Edit = edit("UTC", "CET") },
			want: `Date: "Sat, 09 May 2026 10:00:00 CET" is not a date in UTC`},
		{name: "no index", prepare: func(r *debiantest.Repository) {
			r.Main.Edit = func(release string) string { return strings.ReplaceAll(release, "amd64/Packages", "amd64/Sources") }
		},
			want: "reading the package index of trixie at 127.0.0.1: the suite has no main/binary-amd64/Packages"},
		{name: "a digest that is none", prepare: func(r *debiantest.Repository) { r.Main.Edit = edit("SHA256:\n ", "SHA256:\n ../") },
			want: "is not a digest, a size and a name"},
		{name: "a huge index", prepare: func(r *debiantest.Repository) {
			r.Main.Edit = func(release string) string {
				return strings.Replace(release, "SHA256:\n", "SHA256:\n "+strings.Repeat("0", 64)+" 999999999999 main/binary-amd64/Packages.xz\n", 1)
			}
		}, want: "main/binary-amd64/Packages.xz has 999999999999 bytes: more than the limit"},

		{name: "the index was changed", tamper: func(r *debiantest.Repository) {
			r.Tamper(t, "debian/dists/trixie/main/binary-amd64/by-hash/SHA256/*", func(data []byte) []byte { return append(data[:len(data)-1], data[len(data)-1]+1) })
		}, want: "not the file that was expected: its sha256 is "},
		{name: "the index is longer", tamper: func(r *debiantest.Repository) {
			r.Tamper(t, "debian/dists/trixie/main/binary-amd64/by-hash/SHA256/*", func(data []byte) []byte { return append(data, 0) })
		}, want: "not the file that was expected: it has "},
		{name: "a mirror between two states", tamper: func(r *debiantest.Repository) {
			r.Tamper(t, "debian/dists/trixie/main/binary-amd64/by-hash/SHA256/*", func([]byte) []byte { return nil })
			r.Tamper(t, "debian/dists/trixie/main/binary-amd64/Packages.gz", func(data []byte) []byte { return append(data, 0) })
		}, want: "the mirror is between two states: try later, or name another"},
		{name: "the index is gone", tamper: func(r *debiantest.Repository) {
			r.Tamper(t, "debian/dists/trixie/main/binary-amd64/by-hash/SHA256/*", func([]byte) []byte { return nil })
			r.Tamper(t, "debian/dists/trixie/main/binary-amd64/Packages.gz", func([]byte) []byte { return nil })
		}, want: "status 404 Not Found (the server does not have this file, or no longer)"},
		{name: "the suite is gone", tamper: func(r *debiantest.Repository) {
			r.Tamper(t, "debian-security/dists/*/InRelease", func([]byte) []byte { return nil })
		}, want: "reading the Release file of trixie-security at 127.0.0.1: downloading http://127.0.0.1:"},
		{name: "nobody answers", tamper: func(r *debiantest.Repository) { r.Close() }, want: "connection refused (is the server reachable from this machine (network, proxy)?)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			repo := debiantest.New(t, "trixie", now, key)
			repo.Main.Packages = []debiantest.Package{{Name: "app", Version: "1", Architecture: "amd64"}}
			if c.prepare != nil {
				c.prepare(repo)
			}
			repo.Publish(t)
			if c.tamper != nil {
				c.tamper(repo)
			}
			m := newMachine(t, debiantest.Keyring(t, key))
			wanted := suites(repo)
			for i := range wanted {
				wanted[i].Frozen = c.frozen
			}
			if !c.notBefore.IsZero() {
				wanted[0].NotBefore = c.notBefore.Unix()
			}
			indexes, err := m.client.Indexes(t.Context(), wanted, "amd64")
			if c.want == "" {
				if err != nil || indexes[0].Len() != 1 {
					t.Errorf("got %v, %v", indexes, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("got  %v\nwant %s", err, c.want)
			}
			if code := diag.ExitCode(err); code != diag.ExitDependency {
				t.Errorf("exit status %d, want %d", code, diag.ExitDependency)
			}
		})
	}
}

func TestAPackageThatDiffersIsRefused(t *testing.T) {
	key := debiantest.NewKey(t, "archive", now)
	repo := debiantest.New(t, "trixie", now, key)
	repo.Main.Packages = []debiantest.Package{{Name: "app", Version: "1", Architecture: "amd64"}}
	repo.Publish(t)
	repo.Tamper(t, "debian/pool/main/app_*", func(data []byte) []byte {
		data[len(data)/2] ^= 1
		return data
	})
	m := newMachine(t, debiantest.Keyring(t, key))
	indexes, err := m.client.Indexes(t.Context(), suites(repo), "amd64")
	if err != nil {
		t.Fatal(err)
	}
	packages, err := debian.Resolve(indexes, []string{"app"}, nil, "amd64")
	if err != nil {
		t.Fatal(err)
	}
	address, err := packages[0].URL(suites(repo))
	if err != nil {
		t.Fatal(err)
	}
	_, err = m.fetch.Fetch(t.Context(), []fetch.Item{{URL: address, Size: packages[0].Size, SHA256: packages[0].SHA256}}, nil)
	if diag.ExitCode(err) != diag.ExitDependency || !strings.Contains(err.Error(), "/debian/pool/main/app_1_amd64.deb: not the file that was expected: its sha256 is ") {
		t.Errorf("got %v", err)
	}
}

func TestReadingIndexesCanBeInterrupted(t *testing.T) {
	key := debiantest.NewKey(t, "archive", now)
	repo := debiantest.New(t, "trixie", now, key)
	repo.Publish(t)
	ctx, interrupt := context.WithCancel(t.Context())
	repo.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
		interrupt()
		<-r.Context().Done()
		return true
	})
	if _, err := newMachine(t, debiantest.Keyring(t, key)).client.Indexes(ctx, suites(repo), "amd64"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestKeyrings(t *testing.T) {
	st, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		keyring []byte
		want    string
	}{
		{"the one that is built in", nil, ""},
		{"empty", []byte{}, "reading the archive keyring: there is no key in it"},
		{"no keyring", []byte("key"), "reading the archive keyring: "},
		{"damaged armour", []byte("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nxx\n-----END PGP PUBLIC KEY BLOCK-----\n"), "reading the archive keyring: "},
	} {
		_, err := debian.New(st, fetch.New(st, fetch.Options{}), debian.Options{Keyring: c.keyring, Now: now})
		if c.want == "" {
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		if err == nil || !strings.HasPrefix(err.Error(), c.want) || diag.ExitCode(err) != diag.ExitInput {
			t.Errorf("%s: got %v", c.name, err)
		}
	}
}
