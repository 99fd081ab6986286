// Package kubeadmtest makes for tests what kubeadm makes on a node: a whole
// set of certificates, keys and kubeconfigs.
package kubeadmtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/slipway-os/slipway/pkg/kubeadm"
	"github.com/slipway-os/slipway/pkg/role"
)

// Pair is a certificate and its key. What an authority signs is good for a
// client, and for a server at 127.0.0.1 and at 127.1.3.1 to 127.1.3.3.
type Pair struct {
	Cert *x509.Certificate
	Key  *ecdsa.PrivateKey
}

// Validity is from when to when a certificate is valid. The zero value is a
// day to either side of now.
type Validity struct{ From, To time.Time }

func (v Validity) orToday() Validity {
	if v.From.IsZero() {
		v.From = time.Now().Add(-24 * time.Hour)
	}
	if v.To.IsZero() {
		v.To = time.Now().Add(24 * time.Hour)
	}
	return v
}

// Authority makes a certificate authority.
func Authority(t testing.TB, name string, v Validity) Pair { return sign(t, name, nil, v) }

// Sign makes a certificate of the authority's.
func (p Pair) Sign(t testing.TB, name string, v Validity) Pair { return sign(t, name, &p, v) }

func sign(t testing.TB, name string, by *Pair, v Validity) Pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	check(t, err)
	v = v.orToday()
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name, Organization: []string{"system:masters"}},
		NotBefore: v.From, NotAfter: v.To, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv4(127, 1, 3, 1), net.IPv4(127, 1, 3, 2), net.IPv4(127, 1, 3, 3)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	parent, signer := template, key
	if by != nil {
		parent, signer = by.Cert, by.Key
	} else {
		template.IsCA, template.KeyUsage = true, template.KeyUsage|x509.KeyUsageCertSign
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	check(t, err)
	cert, err := x509.ParseCertificate(der)
	check(t, err)
	return Pair{cert, key}
}

// CertPEM is the certificate as in a .crt file.
func (p Pair) CertPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Cert.Raw})
}

// KeyPEM is the key as in a .key file.
func (p Pair) KeyPEM(t testing.TB) []byte {
	t.Helper()
	der, err := x509.MarshalECPrivateKey(p.Key)
	check(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
}

// Write writes both files of a pair.
func (p Pair) Write(t testing.TB, dir, name string) {
	t.Helper()
	write(t, filepath.Join(dir, name+".crt"), p.CertPEM())
	write(t, filepath.Join(dir, name+".key"), p.KeyPEM(t))
}

// PKI writes authorities, leaves and the key pair of service accounts below a
// directory, and returns the authorities by their names.
func PKI(t testing.TB, dir string) map[string]Pair {
	t.Helper()
	all, authorities := kubeadm.NewPKI(dir, &role.Role{}), Authorities(t, dir)
	for leaf, authority := range all.Leaves {
		authorities[authority].Sign(t, leaf, Validity{}).Write(t, dir, leaf)
	}
	return authorities
}

// Authorities writes authorities and the key pair of service accounts.
func Authorities(t testing.TB, dir string) map[string]Pair {
	t.Helper()
	all, authorities := kubeadm.NewPKI(dir, &role.Role{}), map[string]Pair{}
	for _, name := range all.Authorities {
		authorities[name] = Authority(t, name, Validity{})
		authorities[name].Write(t, dir, name)
	}
	account := Authority(t, "sa", Validity{})
	write(t, filepath.Join(dir, "sa.key"), account.KeyPEM(t))
	der, err := x509.MarshalPKIXPublicKey(&account.Key.PublicKey)
	check(t, err)
	write(t, filepath.Join(dir, "sa.pub"), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	return authorities
}

// Kubeconfigs writes all kubeconfigs.
func Kubeconfigs(t testing.TB, dir string, ca Pair) {
	t.Helper()
	for _, name := range kubeadm.Kubeconfigs(false) {
		write(t, filepath.Join(dir, name), Kubeconfig(t, "https://127.0.0.1:6443", ca, ca.Sign(t, name, Validity{})))
	}
}

// Kubeconfig returns a kubeconfig with the credentials inline.
func Kubeconfig(t testing.TB, server string, ca, client Pair) []byte {
	t.Helper()
	return fmt.Appendf(nil, `apiVersion: v1
kind: Config
clusters:
- name: kubernetes
  cluster:
    certificate-authority-data: %s
    server: %s
users:
- name: client
  user:
    client-certificate-data: %s
    client-key-data: %s
contexts:
- name: client@kubernetes
  context: {cluster: kubernetes, user: client}
current-context: client@kubernetes
`, encode(ca.CertPEM()), server, encode(client.CertPEM()), encode(client.KeyPEM(t)))
}

func encode(data []byte) string { return base64.StdEncoding.EncodeToString(data) }

func write(t testing.TB, file string, data []byte) {
	t.Helper()
	check(t, os.MkdirAll(filepath.Dir(file), 0o755))
	check(t, os.WriteFile(file, data, 0o600))
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
