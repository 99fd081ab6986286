// Package secrets keeps what a cluster is founded on: its authorities, the key
// of service accounts, and the seed that the keys of its nodes are derived
// from. It is made once, in one file, and everything that is made of it later
// is the same each time. No error of this package quotes what the file holds.
package secrets

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/document"
	"github.com/slipway-os/slipway/pkg/kubeadm"
	"github.com/slipway-os/slipway/pkg/pki"
)

// version is the one format there is.
const version = 1

// seedSize is the size of the seed and of the encryption key, in bytes.
const seedSize = 32

// Secrets are the secrets of one cluster.
type Secrets struct {
	Cluster        string
	Made           time.Time           // in UTC, to the second
	Authorities    map[string]pki.Pair // by kubeadm's names of them; one that is kept elsewhere has no key
	ServiceAccount pki.Pair
	EncryptionKey  []byte // for secrets at rest

	seed    []byte
	signers map[string]*pki.Authority
}

// Options is what a user may bring to a new cluster.
type Options struct {
	Cluster     string
	Algorithm   pki.Algorithm       // of the keys that are made
	Authorities map[string]pki.Pair // a user's own, by kubeadm's names; one without a key is kept elsewhere
	AccountKey  []byte              // a user's own key of service accounts, in PEM
	Now         time.Time
}

var namePattern = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

// New makes the secrets of a cluster.
func New(o Options) (*Secrets, error) {
	if !namePattern.MatchString(o.Cluster) {
		return nil, diag.Inputf("the name of the cluster must be a DNS label (lower-case letters, digits and hyphens), not %q", o.Cluster)
	}
	s := &Secrets{Cluster: o.Cluster, Made: o.Now.UTC().Truncate(time.Second), Authorities: map[string]pki.Pair{}}
	for name, common := range kubeadm.AuthorityNames() {
		pair, given := o.Authorities[name]
		var err error
		if given {
			err = checkGiven(name, pair, o.Now)
		} else {
			pair, err = pki.NewAuthority(common, o.Algorithm, o.Now, kubeadm.AuthorityValidity)
		}
		if err != nil {
			return nil, err
		}
		s.Authorities[name] = pair
	}
	var err error
	if len(o.AccountKey) > 0 {
		key, err := pki.ReadKey(o.AccountKey)
		if err != nil {
			return nil, diag.Inputf("reading the key of service accounts: its file %w", err)
		}
		if s.ServiceAccount, err = pki.ServiceAccount(key); err != nil {
			return nil, err
		}
	} else if s.ServiceAccount, err = pki.NewServiceAccountKey(o.Algorithm); err != nil {
		return nil, err
	}
	s.seed, s.EncryptionKey = make([]byte, seedSize), make([]byte, seedSize)
	for _, b := range [][]byte{s.seed, s.EncryptionKey} {
		if _, err := io.ReadFull(rand.Reader, b); err != nil {
			return nil, err
		}
	}
	return s, s.readAuthorities()
}

// authorities are kubeadm's names of the authorities, in order.
func authorities() []string { return slices.Sorted(maps.Keys(kubeadm.AuthorityNames())) }

// checkGiven checks an authority of the user's.
func checkGiven(name string, p pki.Pair, now time.Time) error {
	ca, err := pki.ReadAuthority(p)
	if err != nil {
		return diag.Inputf("reading authority %q: %w", name, err)
	}
	return expired(name, ca, now)
}

func expired(name string, ca *pki.Authority, now time.Time) error {
	switch c := ca.Certificate; {
	case now.After(c.NotAfter):
		return diag.Inputf("authority %q expired on %s", name, c.NotAfter.UTC().Format(time.DateTime))
	case now.Before(c.NotBefore):
		return diag.Inputf("authority %q is not valid before %s", name, c.NotBefore.UTC().Format(time.DateTime))
	}
	return nil
}

// CheckTime returns an error for each authority that is out of date.
func (s *Secrets) CheckTime(now time.Time) error {
	var problems []error
	for _, name := range authorities() {
		problems = append(problems, expired(name, s.signers[name], now))
	}
	return errors.Join(problems...)
}

func (s *Secrets) readAuthorities() error {
	s.signers = map[string]*pki.Authority{}
	for _, name := range authorities() {
		ca, err := pki.ReadAuthority(s.Authorities[name])
		if err != nil {
			return fmt.Errorf("reading authority %q: %w", name, err)
		}
		s.signers[name] = ca
	}
	return nil
}

// Signs reports whether the key of an authority is among the secrets.
func (s *Secrets) Signs(authority string) bool { return s.signers[authority].Signs() }

// CAHash is the digest of the key of the cluster's authority, as kubeadm's
// caCertHashes have it. It is no secret.
func (s *Secrets) CAHash() string { return digest(s.signers["ca"].Certificate.RawSubjectPublicKeyInfo) }

// AccountHash is the digest of the public key of service accounts, as it is
// written. It is no secret.
func (s *Secrets) AccountHash() string { return digest(s.ServiceAccount.Public) }

func digest(data []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(data)) }

// file is the form of the secrets' file.
type file struct {
	Version        int     `yaml:"version"`
	Cluster        string  `yaml:"cluster"`
	Made           string  `yaml:"made"` // RFC 3339
	CA             keyPair `yaml:"ca"`
	EtcdCA         keyPair `yaml:"etcdCA"`
	FrontProxyCA   keyPair `yaml:"frontProxyCA"`
	ServiceAccount account `yaml:"serviceAccount"`
	EncryptionKey  string  `yaml:"encryptionKey"` // base64
	Seed           string  `yaml:"seed"`          // base64
}

type keyPair struct {
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key,omitempty"`
}

type account struct {
	Public string `yaml:"public"`
	Key    string `yaml:"key"`
}

const head = `# The secrets of cluster %q. Whoever reads this file owns the cluster, and
# nobody can make it again: keep it safe, and keep a copy.
`

// Marshal returns the file.
func (s *Secrets) Marshal() ([]byte, error) {
	pair := func(name string) keyPair {
		p := s.Authorities[name]
		return keyPair{string(p.Public), string(p.Key)}
	}
	data, err := yaml.Marshal(file{
		Version: version, Cluster: s.Cluster, Made: s.Made.Format(time.RFC3339),
		CA: pair("ca"), EtcdCA: pair("etcd/ca"), FrontProxyCA: pair("front-proxy-ca"),
		ServiceAccount: account{string(s.ServiceAccount.Public), string(s.ServiceAccount.Key)},
		EncryptionKey:  base64.StdEncoding.EncodeToString(s.EncryptionKey),
		Seed:           base64.StdEncoding.EncodeToString(s.seed),
	})
	if err != nil {
		return nil, errors.New("writing the secrets: they are not text")
	}
	return append(fmt.Appendf(nil, head, s.Cluster), data...), nil
}

const copyHint = "take your copy: it cannot be made again"

// Parse reads the file of the given name.
func Parse(name string, data []byte) (*Secrets, error) {
	bad := func(pos diag.Position, format string, args ...any) error {
		pos.File = name
		return diag.At(pos, copyHint, format, args...)
	}
	place := func(err error) diag.Position {
		var d *diag.Error
		errors.As(err, &d)
		if d == nil {
			return diag.Position{}
		}
		return d.Pos
	}
	// What is wrong in it the decoder would quote.
	doc, err := document.Parse(name, data)
	if err != nil {
		return nil, bad(place(err), "not a file of secrets, or damaged")
	}
	var f file
	err = doc.Decode(&f)
	if f.Version != version {
		return nil, bad(doc.Position("version"), "not a file of secrets of version %d, which this program knows", version)
	}
	if err != nil {
		return nil, bad(place(err), "the file of secrets is damaged")
	}
	s := &Secrets{
		Cluster: f.Cluster,
		Authorities: map[string]pki.Pair{
			"ca": f.CA.pair(), "etcd/ca": f.EtcdCA.pair(), "front-proxy-ca": f.FrontProxyCA.pair(),
		},
		ServiceAccount: pki.Pair{Public: []byte(f.ServiceAccount.Public), Key: []byte(f.ServiceAccount.Key)},
	}
	var madeErr, keyErr, seedErr error
	s.Made, madeErr = time.Parse(time.RFC3339, f.Made)
	s.Made = s.Made.UTC()
	s.EncryptionKey, keyErr = base64.StdEncoding.DecodeString(f.EncryptionKey)
	s.seed, seedErr = base64.StdEncoding.DecodeString(f.Seed)
	for _, c := range []struct {
		field string
		wrong bool
	}{
		{"cluster", !namePattern.MatchString(s.Cluster)},
		{"made", madeErr != nil},
		{"serviceAccount", !whole(s.ServiceAccount)},
		{"encryptionKey", keyErr != nil || len(s.EncryptionKey) != seedSize},
		{"seed", seedErr != nil || len(s.seed) != seedSize},
	} {
		if c.wrong {
			return nil, bad(doc.Position(c.field), "%s is missing or damaged", c.field)
		}
	}
	for field, name := range map[string]string{"ca": "ca", "etcdCA": "etcd/ca", "frontProxyCA": "front-proxy-ca"} {
		if _, err := pki.ReadAuthority(s.Authorities[name]); err != nil {
			return nil, bad(doc.Position(field), "%s: %v", field, err)
		}
	}
	return s, s.readAuthorities()
}

func (p keyPair) pair() pki.Pair { return pki.Pair{Public: []byte(p.Certificate), Key: []byte(p.Key)} }

// whole checks the key pair of service accounts.
func whole(p pki.Pair) bool {
	key, err := pki.ReadKey(p.Key)
	if err != nil {
		return false
	}
	again, err := pki.ServiceAccount(key)
	return err == nil && strings.TrimSpace(string(again.Public)) == strings.TrimSpace(string(p.Public))
}
