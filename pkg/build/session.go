package build

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/slipway-os/slipway/pkg/component"
	"github.com/slipway-os/slipway/pkg/debian"
	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/fetch"
	"github.com/slipway-os/slipway/pkg/profile"
	"github.com/slipway-os/slipway/pkg/store"
	"github.com/slipway-os/slipway/pkg/tree"
)

// Options say from what the builds of a session build, and how.
type Options struct {
	Project profile.Dir
	Store   *store.Store
	Mirror  string // "" to find one
	Offline bool
	NoCache bool // make everything but compiled components anew
}

// Session makes images, one at a time. What several of them have in common it
// looks up once; what it made for one, the others take from the store.
type Session struct {
	Options
	client       *fetch.Client
	compiler     *component.Builder
	components   component.Source
	repositories map[string]*debian.Client // by keyring
	program      string                    // digest of this program; "" until it is needed
}

// NewSession starts a session.
func NewSession(o Options) *Session {
	if o.NoCache {
		// What was compiled stays, and what says whether an index is older than one seen before.
		o.Store = o.Store.Recalling(func(kind string) bool {
			return strings.HasPrefix(kind, "component-") || strings.HasPrefix(kind, "kubeadm-") || strings.HasPrefix(kind, "debian-")
		})
	}
	s := &Session{Options: o, client: fetch.New(o.Store, fetch.Options{Offline: o.Offline}), repositories: map[string]*debian.Client{}}
	s.compiler = component.NewBuilder(o.Store)
	s.compiler.Offline = o.Offline
	s.forget()
	return s
}

// forget forgets what may have been lost from the store.
func (s *Session) forget() {
	s.components = &once{Source: component.Catalog{Dir: s.componentsDir(), Builder: s.compiler}, made: map[[2]string]component.Result{}}
}

func (s *Session) componentsDir() string {
	return filepath.Join(s.Project.Root, "profiles", "components")
}

// repository returns the client for repositories that are signed by a keyring;
// nil means Debian's.
func (s *Session) repository(keyring []byte) (*debian.Client, error) {
	if c := s.repositories[string(keyring)]; c != nil {
		return c, nil
	}
	c, err := debian.New(s.Store, s.client, debian.Options{Keyring: keyring, Now: time.Now()})
	if err != nil {
		return nil, err
	}
	s.repositories[string(keyring)] = c
	return c, nil
}

// self returns the digest of the program that is running.
func (s *Session) self() (string, error) {
	if s.program != "" {
		return s.program, nil
	}
	file, err := os.Executable()
	if err != nil {
		return "", err
	}
	program, err := tree.HashFile(file)
	if err != nil {
		return "", diag.IO(err)
	}
	s.program = program.Digest().String()
	return s.program, nil
}

// once is a source of components that gets each once.
type once struct {
	component.Source
	mu   sync.Mutex
	made map[[2]string]component.Result // by name and architecture
}

func (o *once) Component(ctx context.Context, name, arch string) (component.Result, error) {
	o.mu.Lock()
	r, ok := o.made[[2]string{name, arch}]
	o.mu.Unlock()
	if ok {
		return r, nil
	}
	r, err := o.Source.Component(ctx, name, arch)
	if err != nil {
		return r, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	kept := r
	kept.Cached = true
	o.made[[2]string{name, arch}] = kept
	return r, nil
}
