// Package debian reads Debian package repositories: it verifies their signed
// indexes and finds out which packages a set of wanted ones needs.
package debian

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"golang.org/x/sync/errgroup"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/fetch"
	"github.com/slipway-os/slipway/pkg/store"
	"github.com/slipway-os/slipway/pkg/tree"
)

// Suite is a suite of a repository.
type Suite struct {
	URI        string // the repository's base, below which dists/ and pool/ lie
	Name       string // by codename: "trixie-security"
	Components []string
	Main       bool  // the released suite itself, which does not expire
	Frozen     bool  // kept as it was on some day: it may have expired
	NotBefore  int64 // seconds: a Release file of an earlier date is refused
}

// Suites returns the three suites that are always used together: the released
// one, its updates, and its security updates, which have a mirror of their own.
func Suites(mirror, security, name string, components ...string) []Suite {
	if len(components) == 0 {
		components = []string{"main"}
	}
	return []Suite{
		{URI: mirror, Name: name, Components: components, Main: true},
		{URI: mirror, Name: name + "-updates", Components: components},
		{URI: security, Name: name + "-security", Components: components},
	}
}

// Package is a package of a repository. (Its fields are those of a lock's.)
type Package struct {
	Name         string
	Version      string
	Architecture string // Debian's name, or "all"
	Source       string // source package, with its version if that differs; "" for one of the same name
	Suite        string
	Filename     string // below the URI of the suite
	Size         int64  // in bytes
	SHA256       string
}

// URL returns where a package is found, given the suites in use.
func (p Package) URL(suites []Suite) (string, error) {
	for _, s := range suites {
		if s.Name == p.Suite {
			return join(s.URI, p.Filename)
		}
	}
	return "", diag.Inputf("package %q is of suite %q, which is not in use", p.Name, p.Suite)
}

// join puts a path below a base address; what climbs out is refused. (The
// path's own percent signs are no escapes.)
func join(base, name string) (string, error) {
	if !filepath.IsLocal(name) || path.Clean(name) != name {
		return "", diag.Dependencyf("%q is not a path inside a repository", name)
	}
	u, err := url.Parse(base)
	if err != nil {
		return "", diag.Inputf("mirror: not an address")
	}
	return u.JoinPath((&url.URL{Path: name}).EscapedPath()).String(), nil
}

// Architecture returns Debian's name of an architecture that Go knows.
func Architecture(goarch string) (string, error) {
	switch goarch {
	case "amd64", "arm64", "s390x":
		return goarch, nil
	case "ppc64le":
		return "ppc64el", nil
	}
	return "", diag.Inputf("architecture %q: Slipway builds for amd64, arm64, ppc64le and s390x", goarch)
}

// Options are the settings of a repository client.
type Options struct {
	Keyring []byte    // OpenPGP public keys; default: Debian's archive keys
	Now     time.Time // by which signatures and indexes must not have expired
}

// Client reads repositories. It asks for each Release file once, so that all
// it answers is of one state of a repository, as long as the repository has
// that. Its methods may be called from any goroutine.
type Client struct {
	store *store.Store
	fetch *fetch.Client
	keys  openpgp.EntityList
	now   time.Time

	mu       sync.Mutex
	releases map[string]*release // by address
	last     map[string]*Index   // what Indexes returned last, by key; no more, as they are large
}

// New returns a client that keeps what it reads in st.
func New(st *store.Store, f *fetch.Client, o Options) (*Client, error) {
	if o.Keyring == nil {
		o.Keyring = archiveKeyring
	}
	keys, err := readKeyring(o.Keyring)
	if err != nil {
		return nil, err
	}
	return &Client{store: st, fetch: f, keys: keys, now: o.Now, releases: map[string]*release{}}, nil
}

// Indexes reads the package indexes of suites for an architecture (Go's name
// of it), and verifies them.
func (c *Client) Indexes(ctx context.Context, suites []Suite, goarch string) ([]*Index, error) {
	arch, err := Architecture(goarch)
	if err != nil {
		return nil, err
	}
	indexes, keys := make([]*Index, len(suites)), make([]string, len(suites))
	c.mu.Lock()
	for i, s := range suites {
		keys[i] = store.Key(s.URI, s.Name, s.Components, arch)
		indexes[i] = c.last[keys[i]]
	}
	c.last = nil
	c.mu.Unlock()
	group, inner := errgroup.WithContext(ctx)
	for i, s := range suites {
		group.Go(func() (err error) {
			indexes[i], err = c.index(inner, s, arch, indexes[i])
			return err
		})
	}
	if err := group.Wait(); err != nil {
		if notFound(err) {
			if wrong := c.missing(ctx, suites); wrong != nil {
				return nil, wrong
			}
		}
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = map[string]*Index{}
	for i, key := range keys {
		c.last[key] = indexes[i]
	}
	return indexes, nil
}

// index returns the index of a suite: the one that was read before, if it is
// not nil and the suite's Release file will do.
func (c *Client) index(ctx context.Context, s Suite, arch string, before *Index) (*Index, error) {
	r, known, err := c.release(ctx, s)
	if err == nil {
		if wrong := r.check(s, arch, c.now); wrong != nil {
			err = diag.Dependency(wrong)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("reading the Release file of %s at %s: %w", s.Name, host(s.URI), err)
	}
	if before != nil {
		return before, nil
	}
	index, err := c.readIndex(ctx, s, r, arch)
	if err != nil && known && ctx.Err() == nil {
		// The repository may have moved on since its Release file was read.
		c.forget(r)
		return c.index(ctx, s, arch, nil)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the package index of %s at %s: %w", s.Name, host(s.URI), err)
	}
	return index, nil
}

func (c *Client) readIndex(ctx context.Context, s Suite, r *release, arch string) (*Index, error) {
	index := &Index{Suite: s.Name, Date: r.date.Unix(), arch: arch}
	for _, component := range s.Components {
		if !slices.Contains(r.components, component) {
			return nil, &ComponentError{Component: component, Suite: s.Name, Host: host(s.URI), Known: r.components}
		}
	}
	arches := []string{arch}
	if r.allApart {
		arches = append(arches, "all")
	}
	for _, component := range s.Components {
		for _, a := range arches {
			if err := c.packages(ctx, s, r, component+"/binary-"+a, index); err != nil {
				return nil, err
			}
		}
	}
	index.names()
	return index, nil
}

// ComponentError says that a suite lacks a component.
type ComponentError struct {
	Component, Suite string
	Host             string   // of the repository
	Known            []string // what there is
}

func (e *ComponentError) Error() string {
	return fmt.Sprintf("suite %s at %s has no component %q", e.Suite, e.Host, e.Component)
}

const maxRelease = 16 << 20

// release reads a suite's Release file and verifies its signature, unless it
// is known from before.
func (c *Client) release(ctx context.Context, s Suite) (r *release, known bool, err error) {
	address, err := join(s.URI, "dists/"+s.Name+"/InRelease")
	if err != nil {
		return nil, false, err
	}
	c.mu.Lock()
	r, known = c.releases[address]
	c.mu.Unlock()
	if known {
		return r, true, nil
	}
	data, err := c.fetch.Get(ctx, address, maxRelease)
	if err != nil {
		return nil, false, err
	}
	text, err := verify(data, c.keys, c.now)
	if err != nil {
		return nil, false, diag.Dependency(err)
	}
	if r, err = parseRelease(string(text)); err != nil {
		return nil, false, diag.Dependency(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.releases[address] = r
	return r, false, nil
}

func (c *Client) forget(r *release) {
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.releases, func(_ string, known *release) bool { return known == r })
}

// compressions of indexes that can be read, best first.
var compressions = []string{".xz", ".gz", ""}

// packages reads one Packages file into index.
func (c *Client) packages(ctx context.Context, s Suite, r *release, dir string, index *Index) error {
	for _, suffix := range compressions {
		name := dir + "/Packages" + suffix
		f, ok := r.files[name]
		if !ok {
			continue
		}
		text, err := c.reduced(ctx, s, r, f, name, index.arch)
		if err != nil {
			return err
		}
		return index.add(text)
	}
	return diag.Dependencyf("the suite has no %s/Packages", dir)
}

const indexRecord = "debian-index"

// reduced returns the needed part of a Packages file, from the store if that
// file has been reduced before.
func (c *Client) reduced(ctx context.Context, s Suite, r *release, f file, name, arch string) (string, error) {
	if f.size == 0 {
		return "", nil
	}
	if f.size > maxIndex {
		return "", diag.Dependencyf("%s has %d bytes: more than the limit of %d", name, f.size, int64(maxIndex))
	}
	key := store.Key(indexFormat, f.sha256, arch)
	var digest tree.Digest
	if err := c.store.Load(indexRecord, key, &digest); err == nil {
		if blob, err := c.store.Blob(digest, -1); err == nil {
			data, err := tree.ReadAll(blob, maxIndex)
			if err == nil && tree.Bytes(data).Digest() == digest {
				return string(data), nil
			}
		}
	}
	// Should the store's copy be damaged, it is dropped, and fetched again.
	var packed tree.Digest
	if _, err := hex.Decode(packed[:], []byte(f.sha256)); err != nil { // addFile checked its length
		return "", diag.Dependency(err)
	}
	if err := c.store.Verify(packed); err != nil && !errors.Is(err, store.ErrMissing) {
		return "", err
	}
	packages, err := c.indexFile(ctx, s, r, f, name)
	if err != nil {
		return "", err
	}
	text, err := reduce(ctx, packages, path.Ext(name), arch)
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	blob, err := c.store.Put(strings.NewReader(text))
	if err != nil {
		return "", err
	}
	return text, c.store.Save(indexRecord, key, blob.Digest())
}

// indexFile fetches a file that a Release file names: by its digest, which
// stays right while the mirror is being updated, and by its name where a
// mirror was copied without the digests.
func (c *Client) indexFile(ctx context.Context, s Suite, r *release, f file, name string) (tree.Content, error) {
	fetchFrom := func(where string) (tree.Content, error) {
		address, err := join(s.URI, "dists/"+s.Name+"/"+where)
		if err != nil {
			return nil, err
		}
		contents, err := c.fetch.Fetch(ctx, []fetch.Item{{URL: address, Size: f.size, SHA256: f.sha256}}, nil)
		if err != nil {
			return nil, err
		}
		return contents[0], nil
	}
	if !r.byHash {
		return fetchFrom(name)
	}
	content, err := fetchFrom(path.Dir(name) + "/by-hash/SHA256/" + f.sha256)
	var failed *fetch.Error
	if errors.As(err, &failed) && failed.NotFound() {
		content, err = fetchFrom(name)
		if err != nil && ctx.Err() == nil {
			err = fmt.Errorf("%w; the mirror is between two states: try later, or name another", err)
		}
	}
	return content, err
}

// host returns what to call a mirror in a message: no credentials.
func host(uri string) string {
	u, err := url.Parse(uri)
	if err != nil {
		return "the mirror"
	}
	if u.Host == "" {
		return u.Path
	}
	return u.Hostname()
}
