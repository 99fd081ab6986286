package kubeadm

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// PKIDir is where kubeadm keeps certificates.
const PKIDir = "/etc/kubernetes/pki"

// Authorities are the certificate authorities, and the key pair of service
// accounts, by their names below PKIDir without suffix. Whatever they signed
// is worthless without them, so they are never made a second time silently.
func Authorities() []string { return []string{"ca", "etcd/ca", "front-proxy-ca"} }

// Leaves are the certificates that the authorities sign; kubeadm makes a
// missing one again.
func Leaves() map[string]string {
	return map[string]string{
		"apiserver": "ca", "apiserver-kubelet-client": "ca", "front-proxy-client": "front-proxy-ca",
		"apiserver-etcd-client": "etcd/ca", "etcd/server": "etcd/ca", "etcd/peer": "etcd/ca", "etcd/healthcheck-client": "etcd/ca",
	}
}

// AuthorityFiles returns all files of the authorities and the service account
// key pair below a directory.
func AuthorityFiles(dir string) []string {
	var files []string
	for _, a := range Authorities() {
		files = append(files, pairFiles(dir, a)...)
	}
	return append(files, accountFiles(dir)...)
}

// LeafFiles returns all files of the leaves below a directory.
func LeafFiles(dir string) []string {
	var files []string
	for _, l := range slices.Sorted(maps.Keys(Leaves())) {
		files = append(files, pairFiles(dir, l)...)
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

// CheckAuthorities checks that every authority is whole: kubeadm itself takes
// an empty key for a good one, and a missing one for an external authority. A
// *ClockError among the problems means that the clock may be what is wrong.
func CheckAuthorities(dir string) error {
	var problems []error
	for _, a := range Authorities() {
		_, err := authority(dir, a)
		problems = append(problems, err)
	}
	return errors.Join(append(problems, accounts(dir))...)
}

// CheckGiven checks the authorities that are there before any was made: a
// user's own. They must be whole, or kubeadm would make up what is missing.
func CheckGiven(dir string) error {
	var problems []error
	for _, a := range Authorities() {
		if anyExists(pairFiles(dir, a)) {
			_, err := authority(dir, a)
			problems = append(problems, err)
		}
	}
	if anyExists(accountFiles(dir)) {
		problems = append(problems, accounts(dir))
	}
	return errors.Join(problems...)
}

// DropDamagedAuthorities removes authorities that are not whole. They must be
// ones that nothing was signed by: what an attempt to make them left that was
// cut off. Whole ones stay, for they may be the user's own.
func DropDamagedAuthorities(dir string) error {
	for _, a := range Authorities() {
		_, err := authority(dir, a)
		if clock := (*ClockError)(nil); errors.As(err, &clock) {
			continue
		}
		if err := drop(err, pairFiles(dir, a)); err != nil {
			return err
		}
	}
	return drop(accounts(dir), accountFiles(dir))
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
func CAHash(dir string) (string, error) {
	cert, err := readCertificate(filepath.Join(dir, "ca.crt"))
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("sha256:%x", sha256.Sum256(cert.RawSubjectPublicKeyInfo)), nil
}

// DropDamagedLeaves removes leaves that are not whole, not signed by their
// authority or out of date, so that kubeadm makes them again; it takes them
// for good. It returns the names of those that are to be made, the missing
// ones among them.
func DropDamagedLeaves(dir string) ([]string, error) {
	var dropped []string
	leaves := Leaves()
	for _, leaf := range slices.Sorted(maps.Keys(leaves)) {
		ca, err := authority(dir, leaves[leaf])
		if err != nil {
			return dropped, err
		}
		cert, err := pair(dir, leaf)
		if err == nil {
			err = cert.CheckSignatureFrom(ca)
		}
		if err == nil {
			continue
		}
		if err := drop(err, pairFiles(dir, leaf)); err != nil {
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
// and are of today.
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

func samePublic(a, b any) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}

// block reads the PEM block of a file; its content is never part of an error.
func block(name string) ([]byte, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	for {
		b, rest := pem.Decode(data)
		if b == nil {
			return nil, fmt.Errorf("%s is empty or damaged", name)
		}
		if b.Type != "EC PARAMETERS" {
			return b.Bytes, nil
		}
		data = rest
	}
}

func readCertificate(name string) (*x509.Certificate, error) {
	der, err := block(name)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("%s is damaged: %w", name, err)
	}
	return cert, nil
}

func readPublic(name string) (any, error) {
	der, err := block(name)
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, fmt.Errorf("%s is damaged", name)
	}
	return key, nil
}

func readKey(name string) (crypto.Signer, error) {
	der, err := block(name)
	if err != nil {
		return nil, err
	}
	if k, err := x509.ParseECPrivateKey(der); err == nil {
		return k, nil
	}
	if k, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return k, nil
	}
	if k, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		if signer, ok := k.(crypto.Signer); ok {
			return signer, nil
		}
	}
	return nil, fmt.Errorf("%s is damaged", name)
}
