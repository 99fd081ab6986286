package kubeadm

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
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
		files = append(files, filepath.Join(dir, a+".crt"), filepath.Join(dir, a+".key"))
	}
	return append(files, filepath.Join(dir, "sa.key"), filepath.Join(dir, "sa.pub"))
}

// LeafFiles returns all files of the leaves below a directory.
func LeafFiles(dir string) []string {
	var files []string
	for l := range Leaves() {
		files = append(files, filepath.Join(dir, l+".crt"), filepath.Join(dir, l+".key"))
	}
	return files
}

// CheckAuthorities checks that every authority is whole: kubeadm itself takes
// an empty key for a good one, and a missing one for an external authority.
func CheckAuthorities(dir string) error {
	var problems []error
	for _, a := range Authorities() {
		if _, err := pair(dir, a); err != nil {
			problems = append(problems, err)
		}
	}
	key, err := readKey(filepath.Join(dir, "sa.key"))
	if err == nil {
		var public any
		if public, err = readPublic(filepath.Join(dir, "sa.pub")); err == nil && !samePublic(key.Public(), public) {
			err = fmt.Errorf("%s is not the public half of sa.key", filepath.Join(dir, "sa.pub"))
		}
	}
	if err != nil {
		problems = append(problems, err)
	}
	return errors.Join(problems...)
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

// DropDamagedLeaves removes leaves that are not whole or not signed by their
// authority, so that kubeadm makes them again; it takes them for good. It
// returns the names of what it removed.
func DropDamagedLeaves(dir string) ([]string, error) {
	var dropped []string
	for leaf, authority := range Leaves() {
		ca, err := pair(dir, authority)
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
		found := false
		for _, suffix := range []string{".crt", ".key"} {
			switch err := os.Remove(filepath.Join(dir, leaf+suffix)); {
			case err == nil:
				found = true
			case !errors.Is(err, fs.ErrNotExist):
				return dropped, err
			}
		}
		if found {
			dropped = append(dropped, leaf)
		}
	}
	return dropped, nil
}

// pair reads a certificate and its key and checks that they belong together.
func pair(dir, name string) (*x509.Certificate, error) {
	cert, err := readCertificate(filepath.Join(dir, name+".crt"))
	if err != nil {
		return nil, err
	}
	key, err := readKey(filepath.Join(dir, name+".key"))
	if err != nil {
		return nil, err
	}
	if !samePublic(key.Public(), cert.PublicKey) {
		return nil, fmt.Errorf("%s.key is not the key of %s.crt", filepath.Join(dir, name), name)
	}
	if time.Now().After(cert.NotAfter) {
		return nil, fmt.Errorf("%s.crt expired on %s", filepath.Join(dir, name), cert.NotAfter.Format(time.DateOnly))
	}
	return cert, nil
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
