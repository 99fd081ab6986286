package kubeadm

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/slipway-os/slipway/pkg/pki"
	"github.com/slipway-os/slipway/pkg/role"
)

// PKIDir is where kubeadm keeps certificates.
const PKIDir = "/etc/kubernetes/pki"

// PKI is the certificates and keys of a node below a directory. Names are
// kubeadm's, relative to it, without suffix.
type PKI struct {
	Dir string
	// Authorities are the certificate authorities whose keys the node has.
	// Whatever they signed is worthless without them, so they are never made a
	// second time silently.
	Authorities []string
	// Accounts says that the node has the key pair of service accounts.
	Accounts bool
	// Leaves are the certificates that these authorities sign, and by which;
	// kubeadm makes a missing one again.
	Leaves map[string]string
	// Delivered are certificates that were signed elsewhere, and by which
	// authority: the node has its certificate, not its key.
	Delivered map[string]string
}

// NewPKI returns what a node of a role has below a directory.
func NewPKI(dir string, r *role.Role) PKI {
	switch {
	case r.Role == role.Worker:
		return PKI{Dir: dir}
	case r.Role == role.Etcd:
		return PKI{Dir: dir, Delivered: map[string]string{"etcd/server": "etcd/ca", "etcd/peer": "etcd/ca", "etcd/healthcheck-client": "etcd/ca"}}
	}
	p := PKI{
		Dir: dir, Authorities: []string{"ca", "front-proxy-ca"}, Accounts: true,
		Leaves: map[string]string{"apiserver": "ca", "apiserver-kubelet-client": "ca", "front-proxy-client": "front-proxy-ca"},
	}
	if r.Etcd != nil {
		p.Delivered = map[string]string{"apiserver-etcd-client": "etcd/ca"}
		return p
	}
	p.Authorities = append(p.Authorities, "etcd/ca")
	for _, leaf := range []string{"apiserver-etcd-client", "etcd/server", "etcd/peer", "etcd/healthcheck-client"} {
		p.Leaves[leaf] = "etcd/ca"
	}
	return p
}

// ForeignKeys returns the keys of authorities that a node of a role must not
// have, each with the reason; by their paths, which are absolute.
func ForeignKeys(r *role.Role) map[string]string {
	every := PKI{Dir: PKIDir, Authorities: slices.Collect(maps.Keys(AuthorityNames())), Accounts: true}
	mine := NewPKI(PKIDir, r).AuthorityFiles()
	foreign := map[string]string{}
	for _, f := range every.AuthorityFiles() {
		switch {
		case filepath.Ext(f) != ".key" || slices.Contains(mine, f):
		case r.Role == role.ControlPlane:
			foreign[f] = "does not go with etcd.members: a control plane needs the certificate only"
		default:
			foreign[f] = fmt.Sprintf("does not go with role %q: whoever has it owns the cluster", r.Role)
		}
	}
	return foreign
}

// Keyless returns the authorities whose certificates are there, but not their
// keys: they are kept elsewhere, and sign there.
func (p PKI) Keyless() []string {
	var names []string
	for _, a := range p.Authorities {
		files := pairFiles(p.Dir, a)
		if anyExists(files[:1]) && !anyExists(files[1:]) {
			names = append(names, a)
		}
	}
	return names
}

// Without returns what a node has that was not given the keys of some
// authorities: what they sign is delivered to it.
func (p PKI) Without(authorities []string) PKI {
	if len(authorities) == 0 {
		return p
	}
	without := p
	without.Leaves, without.Delivered = map[string]string{}, maps.Clone(p.Delivered)
	if without.Delivered == nil {
		without.Delivered = map[string]string{}
	}
	for leaf, authority := range p.Leaves {
		if slices.Contains(authorities, authority) {
			without.Delivered[leaf] = authority
		} else {
			without.Leaves[leaf] = authority
		}
	}
	without.Authorities = slices.DeleteFunc(slices.Clone(p.Authorities), func(a string) bool { return slices.Contains(authorities, a) })
	return without
}

// AuthorityFiles returns all files of the authorities and the service account
// key pair.
func (p PKI) AuthorityFiles() []string {
	var files []string
	for _, a := range p.Authorities {
		files = append(files, pairFiles(p.Dir, a)...)
	}
	if p.Accounts {
		files = append(files, accountFiles(p.Dir)...)
	}
	return files
}

// LeafFiles returns all files of the leaves.
func (p PKI) LeafFiles() []string {
	var files []string
	for _, l := range slices.Sorted(maps.Keys(p.Leaves)) {
		files = append(files, pairFiles(p.Dir, l)...)
	}
	return files
}

func pairFiles(dir, name string) []string {
	return []string{filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")}
}

// accountFiles are the key pair that signs the tokens of service accounts.
func accountFiles(dir string) []string {
	return []string{filepath.Join(dir, "sa.key"), filepath.Join(dir, "sa.pub")}
}

// Check checks that every authority is whole, and all that was delivered:
// kubeadm itself takes an empty key for a good one, and a missing one for an
// external authority. A *ClockError among the problems means that the clock may
// be what is wrong.
func (p PKI) Check() error {
	var problems []error
	for _, a := range p.Authorities {
		_, err := authority(p.Dir, a)
		problems = append(problems, err)
	}
	if p.Accounts {
		problems = append(problems, accounts(p.Dir))
	}
	return errors.Join(append(problems, p.delivered())...)
}

// CheckGiven checks the authorities that are there before any was made: a
// user's own. They must be whole, or kubeadm would make up what is missing.
func (p PKI) CheckGiven() error {
	var problems []error
	for _, a := range p.Authorities {
		if anyExists(pairFiles(p.Dir, a)) {
			_, err := authority(p.Dir, a)
			problems = append(problems, err)
		}
	}
	if p.Accounts && anyExists(accountFiles(p.Dir)) {
		problems = append(problems, accounts(p.Dir))
	}
	return errors.Join(append(problems, p.delivered())...)
}

// delivered checks what was signed elsewhere.
func (p PKI) delivered() error {
	var problems []error
	for _, leaf := range slices.Sorted(maps.Keys(p.Delivered)) {
		ca, err := readCertificate(filepath.Join(p.Dir, p.Delivered[leaf]+".crt"))
		if err != nil {
			problems = append(problems, err)
			continue
		}
		cert, err := pair(p.Dir, leaf)
		if err == nil {
			if err = cert.CheckSignatureFrom(ca); err != nil {
				err = fmt.Errorf("%s was not signed by %s.crt: %w", filepath.Join(p.Dir, leaf+".crt"), p.Delivered[leaf], err)
			}
		}
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}

// DropDamagedAuthorities removes authorities that are not whole. They must be
// ones that nothing was signed by: what an attempt to make them left that was
// cut off. Whole ones stay, for they may be the user's own.
func (p PKI) DropDamagedAuthorities() error {
	for _, a := range p.Authorities {
		_, err := authority(p.Dir, a)
		if outOfDate(err) {
			continue
		}
		if err := drop(err, pairFiles(p.Dir, a)); err != nil {
			return err
		}
	}
	if !p.Accounts {
		return nil
	}
	return drop(accounts(p.Dir), accountFiles(p.Dir))
}

// drop removes files with which something is wrong. If they could not even be
// read, that is what is wrong, and they stay.
func drop(problem error, files []string) error {
	var unreadable *fs.PathError
	if errors.As(problem, &unreadable) && !errors.Is(problem, fs.ErrNotExist) {
		return problem
	}
	if problem == nil {
		return nil
	}
	return remove(files...)
}

func anyExists(files []string) bool {
	return slices.ContainsFunc(files, func(f string) bool {
		_, err := os.Lstat(f)
		return !errors.Is(err, fs.ErrNotExist)
	})
}

func remove(files ...string) error {
	var errs []error
	for _, f := range files {
		if err := os.Remove(f); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// accounts checks the key pair of service accounts.
func accounts(dir string) error {
	files := accountFiles(dir)
	key, err := readKey(files[0])
	if err != nil {
		return err
	}
	public, err := readPublic(files[1])
	if err != nil {
		return err
	}
	if !samePublic(key.Public(), public) {
		return fmt.Errorf("%s is not the public half of sa.key", files[1])
	}
	return nil
}

// CAHash returns what kubeadm calls the discovery token's CA certificate hash:
// "sha256:" and the digest of the authority's public key. It is no secret.
// An etcd member knows etcd's own authority only.
func (p PKI) CAHash() (string, error) {
	name := "ca"
	if _, member := p.Delivered["etcd/server"]; member {
		name = "etcd/ca"
	}
	cert, err := readCertificate(filepath.Join(p.Dir, name+".crt"))
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("sha256:%x", sha256.Sum256(cert.RawSubjectPublicKeyInfo)), nil
}

// DropDamagedLeaves removes leaves that are not whole or not signed by their
// authority, so that kubeadm makes them again; it takes them for good. It
// returns the names of those that are to be made, the missing ones among them.
// Those that are out of date stay: either the clock is wrong, or they are
// signed anew (Renewal), for which they must be there.
func (p PKI) DropDamagedLeaves() ([]string, error) {
	var dropped []string
	for _, leaf := range slices.Sorted(maps.Keys(p.Leaves)) {
		ca, err := authority(p.Dir, p.Leaves[leaf])
		if err != nil {
			return dropped, err
		}
		cert, err := pair(p.Dir, leaf)
		if err == nil || outOfDate(err) {
			err = cert.CheckSignatureFrom(ca)
		}
		if err == nil {
			continue
		}
		if err := drop(err, pairFiles(p.Dir, leaf)); err != nil {
			return dropped, err
		}
		dropped = append(dropped, leaf)
	}
	return dropped, nil
}

// ClockError is a certificate that is out of date by this machine's clock,
// which may be what is wrong.
type ClockError struct {
	File     string
	From, To time.Time // when the certificate is valid
	Now      time.Time // by the clock
}

func (e *ClockError) Error() string {
	if e.Now.Before(e.From) {
		return fmt.Sprintf("%s is valid from %s on, but the clock says %s", e.File, e.From.Format(time.DateTime), e.Now.Format(time.DateTime))
	}
	return fmt.Sprintf("%s expired on %s, and the clock says %s", e.File, e.To.Format(time.DateTime), e.Now.Format(time.DateTime))
}

// authority reads an authority's certificate and checks that it is whole.
func authority(dir, name string) (*x509.Certificate, error) {
	cert, err := pair(dir, name)
	if err == nil && !cert.IsCA {
		err = fmt.Errorf("%s is no certificate authority's", filepath.Join(dir, name+".crt"))
	}
	return cert, err
}

// pair reads a certificate and its key and checks that they belong together
// and are of today. A certificate that is whole comes back with a *ClockError, too.
func pair(dir, name string) (*x509.Certificate, error) {
	files := pairFiles(dir, name)
	cert, err := readCertificate(files[0])
	if err != nil {
		return nil, err
	}
	key, err := readKey(files[1])
	if err != nil {
		return nil, err
	}
	if !samePublic(key.Public(), cert.PublicKey) {
		return nil, fmt.Errorf("%s is not the key of %s", files[1], filepath.Base(files[0]))
	}
	return cert, valid(files[0], cert)
}

func valid(file string, cert *x509.Certificate) error {
	if now := time.Now().UTC(); now.Before(cert.NotBefore) || now.After(cert.NotAfter) {
		return &ClockError{File: file, From: cert.NotBefore, To: cert.NotAfter, Now: now}
	}
	return nil
}

// outOfDate says whether nothing else is wrong with a certificate than that the
// clock says another time.
func outOfDate(err error) bool {
	var clock *ClockError
	return errors.As(err, &clock)
}

func samePublic(a, b any) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}

func readCertificate(name string) (*x509.Certificate, error) { return read(name, pki.ReadCertificate) }

func readPublic(name string) (any, error) { return read(name, pki.ReadPublic) }

func readKey(name string) (crypto.Signer, error) { return read(name, pki.ReadKey) }

// read reads a file of PEM.
func read[T any](name string, parse func([]byte) (T, error)) (T, error) {
	var none T
	data, err := os.ReadFile(name)
	if err != nil {
		return none, err
	}
	v, err := parse(data)
	if err != nil {
		return none, fmt.Errorf("%s is empty or damaged: it %w", name, err)
	}
	return v, nil
}
