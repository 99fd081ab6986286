// Package debiantest makes small Debian package repositories for tests. They
// are real: signed, served over HTTP, with packages that can be unpacked.
package debiantest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/klauspost/compress/gzip"
)

// Repository is a mirror with the three suites of a release: NAME and
// NAME-updates below /debian, NAME-security below /debian-security.
type Repository struct {
	Main, Updates, Security *Suite

	server *httptest.Server

	mu        sync.Mutex
	files     map[string][]byte // what is served, by path
	asked     []string
	intercept func(w http.ResponseWriter, r *http.Request) bool
}

// Suite is a suite. What its fields say is what it says of itself.
type Suite struct {
	Name       string
	Date       time.Time
	ValidUntil time.Time // zero: it does not say
	Packages   []Package
	Signers    []*openpgp.Entity
	ByHash     bool                        // indexes are served under their digests too
	Edit       func(release string) string // changes the Release file before it is signed

	base string // below the server's root
}

// New returns a repository of a release, "trixie", with a server. All suites
// are of date, valid for a week (the main one for ever) and signed by key.
// They hold nothing yet, and nothing is published.
func New(t testing.TB, release string, date time.Time, key *openpgp.Entity) *Repository {
	week := date.Add(7 * 24 * time.Hour)
	r := &Repository{
		Main:     &Suite{Name: release, Date: date, base: "debian"},
		Updates:  &Suite{Name: release + "-updates", Date: date, ValidUntil: week, base: "debian"},
		Security: &Suite{Name: release + "-security", Date: date, ValidUntil: week, base: "debian-security"},
	}
	for _, s := range r.suites() {
		s.Signers, s.ByHash = []*openpgp.Entity{key}, true
	}
	r.server = httptest.NewServer(r)
	t.Cleanup(r.server.Close)
	return r
}

func (r *Repository) suites() []*Suite { return []*Suite{r.Main, r.Updates, r.Security} }

// Mirror returns the address of the main suite's repository.
func (r *Repository) Mirror() string { return r.server.URL + "/debian" }

// SecurityMirror returns the address of the security suite's repository.
func (r *Repository) SecurityMirror() string { return r.server.URL + "/debian-security" }

// Close takes the server down.
func (r *Repository) Close() { r.server.Close() }

// Asked returns the paths that were asked for so far, in order.
func (r *Repository) Asked() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.asked)
}

// ServeHTTP serves the files.
func (r *Repository) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	name := strings.TrimPrefix(request.URL.Path, "/")
	r.mu.Lock()
	r.asked = append(r.asked, name)
	data, ok := r.files[name]
	intercept := r.intercept
	r.mu.Unlock()
	switch {
	case intercept != nil && intercept(w, request):
	case !ok:
		http.NotFound(w, request)
	default:
		http.ServeContent(w, request, "", time.Time{}, bytes.NewReader(data))
	}
}

// Intercept lets a function answer requests itself: those for which it
// returns true.
func (r *Repository) Intercept(fn func(w http.ResponseWriter, r *http.Request) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.intercept = fn
}

// Tamper changes the published files whose path matches a pattern (path.Match);
// there must be one. What becomes nil is not served any more.
func (r *Repository) Tamper(t testing.TB, pattern string, change func(data []byte) []byte) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	found := false
	for _, name := range slices.Sorted(maps.Keys(r.files)) {
		if ok, err := path.Match(pattern, name); err != nil {
			t.Fatal(err)
		} else if !ok {
			continue
		}
		found = true
		if data := change(bytes.Clone(r.files[name])); data != nil {
			r.files[name] = data
		} else {
			delete(r.files, name)
		}
	}
	if !found {
		t.Fatalf("nothing is published as %s", pattern)
	}
}

// Publish makes the packages and the signed indexes of all suites anew.
func (r *Repository) Publish(t testing.TB) {
	t.Helper()
	files := map[string][]byte{}
	for _, s := range r.suites() {
		s.publish(t, files)
	}
	r.mu.Lock()
	r.files = files
	r.mu.Unlock()
}

func (s *Suite) publish(t testing.TB, files map[string][]byte) {
	t.Helper()
	stanzas := map[string]*strings.Builder{} // of the indexes, by their directories
	components := []string{"main"}
	for _, p := range s.Packages {
		if !slices.Contains(components, p.component()) {
			components = append(components, p.component())
		}
	}
	for _, c := range components {
		for _, arch := range []string{"all", "amd64", "arm64"} {
			stanzas[c+"/binary-"+arch] = &strings.Builder{}
		}
	}
	for _, p := range s.Packages {
		deb := p.build(t)
		name := fmt.Sprintf("pool/%s/%s_%s_%s.deb", p.component(), p.Name, p.Version, p.arch())
		files[s.base+"/"+name] = deb
		for dir, b := range stanzas {
			component, arch, _ := strings.Cut(dir, "/binary-")
			if component == p.component() && (arch == p.arch() || p.arch() == "all") {
				fmt.Fprintf(b, "%sFilename: %s\nSize: %d\nMD5sum: 0\nSHA256: %s\n\n", p.control(), name, len(deb), digest(deb))
			}
		}
	}
	var release strings.Builder
	fmt.Fprintf(&release, "Origin: Test\nSuite: stable\nCodename: %s\nDate: %s\n", s.Name, s.Date.UTC().Format(time.RFC1123))
	if !s.ValidUntil.IsZero() {
		fmt.Fprintf(&release, "Valid-Until: %s\n", s.ValidUntil.UTC().Format(time.RFC1123))
	}
	if s.ByHash {
		release.WriteString("Acquire-By-Hash: yes\n")
	}
	fmt.Fprintf(&release, "No-Support-for-Architecture-all: Packages\nArchitectures: all amd64 arm64\nComponents: %s\nMD5Sum:\n 0 0 main/binary-amd64/Packages.gz\nSHA256:\n", strings.Join(components, " "))
	for _, dir := range slices.Sorted(maps.Keys(stanzas)) {
		index := zipped(t, []byte(stanzas[dir].String()))
		fmt.Fprintf(&release, " %s %d %s/Packages.gz\n", digest(index), len(index), dir)
		served := []string{dir + "/Packages.gz"}
		if s.ByHash {
			served = append(served, path.Join(dir, "by-hash/SHA256", digest(index)))
		}
		for _, name := range served {
			files[path.Join(s.base, "dists", s.Name, name)] = index
		}
	}
	text := release.String()
	if s.Edit != nil {
		text = s.Edit(text)
	}
	files[path.Join(s.base, "dists", s.Name, "InRelease")] = s.sign(t, text)
}

func (s *Suite) sign(t testing.TB, text string) []byte {
	t.Helper()
	var keys []*packet.PrivateKey
	for _, e := range s.Signers {
		keys = append(keys, e.PrivateKey)
	}
	var out bytes.Buffer
	w, err := clearsign.EncodeMulti(&out, keys, &packet.Config{Time: func() time.Time { return s.Date }})
	if err == nil {
		_, err = w.Write([]byte(text))
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return append(out.Bytes(), '\n')
}

// NewKey makes a key to sign with. It was made well before the date.
func NewKey(t testing.TB, name string, date time.Time) *openpgp.Entity {
	t.Helper()
	key, err := openpgp.NewEntity(name, "", name+"@example.org", &packet.Config{
		Algorithm: packet.PubKeyAlgoEdDSA, Time: func() time.Time { return date.Add(-365 * 24 * time.Hour) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Keyring returns the public halves of keys, as a file that holds them.
func Keyring(t testing.TB, keys ...*openpgp.Entity) []byte {
	t.Helper()
	var out bytes.Buffer
	for _, k := range keys {
		if err := k.Serialize(&out); err != nil {
			t.Fatal(err)
		}
	}
	return out.Bytes()
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func zipped(t testing.TB, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
