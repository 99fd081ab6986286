package main

import (
	"bytes"
	"context"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-os/slipway/pkg/debian/debiantest"
	"github.com/slipway-os/slipway/pkg/lock"
)

// site is a project directory with one profile, "p", whose packages come from
// a mirror of its own, signed by a key of its own.
type site struct {
	dir  string
	repo *debiantest.Repository
}

// profileText is the profile. MIRROR and SECURITY stand for addresses.
const profileText = `architecture: amd64
os:
  suite: trixie
  mirror: MIRROR
  securityMirror: SECURITY
  keyring: keys/site.gpg
  packages: [app]
kernel: {package: linux}
kubernetes: {version: v1.37.2, imageRepository: slipway.local}
images: none
overlays: [base]
disk: {boot: 64MiB, root: 64MiB, verity: 1MiB, state: 16MiB}
`

// newSite makes a site. Every test gets its own, and shares nothing with the
// others: neither the working directory nor the environment.
func newSite(t *testing.T) *site {
	t.Helper()
	date := time.Now().Add(-time.Hour)
	key := debiantest.NewKey(t, "site", date)
	s := &site{dir: t.TempDir(), repo: debiantest.New(t, "trixie", date, key)}
	s.repo.Main.Packages = []debiantest.Package{
		{Name: "app", Version: "1", Architecture: "amd64", Fields: map[string]string{"Depends": "libapp"}},
		{Name: "libapp", Version: "1", Architecture: "amd64", Files: map[string]string{"usr/lib/libapp.so": noise(100_000)}},
		{Name: "linux", Version: "1", Architecture: "amd64"},
		{Name: "broken", Version: "1", Architecture: "amd64", Fields: map[string]string{"Depends": "libapp (>= 2)"}},
	}
	s.repo.Publish(t)
	s.write(t, "profiles/p.yaml", profileText)
	s.write(t, "profiles/keys/site.gpg", string(debiantest.Keyring(t, key)))
	s.write(t, "images/sets/none.yaml", "images: []\n")
	s.write(t, "overlays/base/etc/motd", "hello\n")
	if err := os.Mkdir(s.file("profiles/components"), 0o755); err != nil {
		t.Fatal(err)
	}
	return s
}

// noise is a text that no compression makes smaller.
func noise(size int) string {
	data := make([]byte, size)
	rand.NewChaCha8([32]byte{}).Read(data)
	return string(data)
}

func (s *site) file(name string) string { return filepath.Join(s.dir, name) }

func (s *site) write(t *testing.T, name, text string) {
	t.Helper()
	text = strings.NewReplacer("MIRROR", s.repo.Mirror(), "SECURITY", s.repo.SecurityMirror()).Replace(text)
	if err := os.MkdirAll(filepath.Dir(s.file(name)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.file(name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// edit replaces a part of a file that must be there.
func (s *site) edit(t *testing.T, name, old, new string) {
	t.Helper()
	data, err := os.ReadFile(s.file(name))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(data, []byte(old)) {
		t.Fatalf("%q is not in %s", old, name)
	}
	s.write(t, name, strings.Replace(string(data), old, new, 1))
}

// build runs the program: builder build, with the site's directories, of
// profile p unless the arguments say of which.
func (s *site) build(ctx context.Context, args ...string) (out string, err error) {
	out, _, err = s.watch(ctx, args...)
	return out, err
}

// watch is build that returns what it printed of its progress, too.
func (s *site) watch(ctx context.Context, args ...string) (out, progress string, err error) {
	var stdout, stderr bytes.Buffer
	c := newRootCommand()
	c.SetOut(&stdout)
	c.SetErr(&stderr)
	args = append([]string{"build", "--project", s.dir, "--store", s.file("store"), "--out", s.file("out")}, args...)
	if !slices.ContainsFunc(args, func(a string) bool { return a == "--all" || strings.HasPrefix(a, "--profile") }) {
		args = append(args, "--profile", "p")
	}
	c.SetArgs(args)
	err = c.ExecuteContext(ctx)
	return stdout.String(), stderr.String(), err
}

func (s *site) plain(text string) string {
	return strings.NewReplacer(s.repo.SecurityMirror(), "SECURITY", s.repo.Mirror(), "MIRROR", s.dir, "DIR").Replace(text)
}

// clean complains about what a failed build left in the output folder, beside
// what may be there, and about what is half done in the store.
func (s *site) clean(t *testing.T, allowed ...string) {
	t.Helper()
	filepath.WalkDir(s.file("out"), func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !slices.Contains(allowed, d.Name()) {
			t.Errorf("left in the output folder: %s", name)
		}
		return nil
	})
	left, err := filepath.Glob(s.file("store/tmp/*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range left {
		if !strings.HasPrefix(filepath.Base(name), "partial-") { // goes on next time
			t.Errorf("left in the store: %s", name)
		}
	}
}

// lock writes a lock of the site's packages.
func (s *site) lock(t *testing.T, change func(l *lock.Lock)) {
	t.Helper()
	digest := strings.Repeat("0123456789abcdef", 4)
	l := &lock.Lock{
		Format: lock.Format, Profile: "p", Architecture: "amd64", Epoch: 1_778_320_000, Toolchain: runtime.Version(),
		Suites: []lock.Suite{{Name: "trixie", Date: 1_778_320_000}},
		Packages: []lock.Package{
			{Name: "app", Version: "0", Architecture: "amd64", Suite: "trixie", Filename: "pool/main/app_0_amd64.deb", Size: 12, SHA256: digest},
			{Name: "linux", Version: "0", Architecture: "amd64", Suite: "trixie", Filename: "pool/main/app_0_amd64.deb", Size: 12, SHA256: digest},
		},
		Sets: []lock.Set{{Name: lock.RootSet, Packages: []string{"app", "linux"}}},
	}
	if change != nil {
		change(l)
	}
	if err := l.Write(s.file("x.lock")); err != nil {
		t.Fatal(err)
	}
}

// flip changes a bit of a file.
func flip(file string) error {
	data, err := os.ReadFile(file)
	if err == nil && len(data) > 0 {
		data[len(data)/2] ^= 1
		err = os.WriteFile(file, data, 0o644)
	}
	return err
}

// each does something with every file of a pattern; there must be one.
func (s *site) each(t *testing.T, pattern string, do func(file string) error) {
	t.Helper()
	files, err := filepath.Glob(s.file(pattern))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %q, %v", pattern, files, err)
	}
	for _, f := range files {
		if err := do(f); err != nil {
			t.Fatal(err)
		}
	}
}

// records returns the store's records of some kinds, by path.
func (s *site) records(t *testing.T, kinds ...string) map[string]os.FileInfo {
	t.Helper()
	found := map[string]os.FileInfo{}
	for _, kind := range kinds {
		s.each(t, "store/records/"+kind+"/*/*", func(file string) (err error) {
			found[file], err = os.Stat(file)
			return err
		})
	}
	return found
}
