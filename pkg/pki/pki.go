// Package pki makes the key material that a Kubernetes cluster is founded on,
// in the form in which kubeadm makes it: certificate authorities, what they
// sign, and the key pair of service accounts. kubeadm finds it and goes on from
// there.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"
)

// Algorithm is a kind of key, by kubeadm's name of it (v1beta4,
// ClusterConfiguration.encryptionAlgorithm).
type Algorithm string

// DefaultAlgorithm is made in milliseconds, where RSA takes a second a key.
const DefaultAlgorithm Algorithm = "ECDSA-P256"

// Pair is a PEM-encoded key with what proves it: a certificate or the public half.
type Pair struct {
	Public []byte // CERTIFICATE, or PUBLIC KEY
	Key    []byte // EC PRIVATE KEY or RSA PRIVATE KEY
}

// Known reports whether there is such an algorithm.
func (a Algorithm) Known() bool {
	switch a {
	case "ECDSA-P256", "ECDSA-P384", "RSA-2048", "RSA-3072", "RSA-4096":
		return true
	}
	return false
}

// newKey makes a key.
func (a Algorithm) newKey() (crypto.Signer, error) {
	switch a {
	case "ECDSA-P256":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ECDSA-P384":
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "RSA-2048":
		return rsa.GenerateKey(rand.Reader, 2048)
	case "RSA-3072":
		return rsa.GenerateKey(rand.Reader, 3072)
	case "RSA-4096":
		return rsa.GenerateKey(rand.Reader, 4096)
	}
	return nil, fmt.Errorf("making a key: unknown algorithm %q; there are ECDSA-P256, ECDSA-P384, RSA-2048, RSA-3072 and RSA-4096", a)
}

// skew is how much earlier than now a certificate becomes valid: the clocks
// of nodes differ.
const skew = 5 * time.Minute

// NewAuthority makes a self-signed authority, as kubeadm's: its common name
// is a DNS name too.
func NewAuthority(commonName string, a Algorithm, now time.Time, validity time.Duration) (Pair, error) {
	key, err := a.newKey()
	if err != nil {
		return Pair{}, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 159)) // RFC 5280, 4.1.2.2: at most 20 octets, positive
	if err != nil {
		return Pair{}, err
	}
	now = now.UTC().Truncate(time.Second)
	template := &x509.Certificate{
		SerialNumber:          serial.Add(serial, big.NewInt(1)),
		Subject:               pkix.Name{CommonName: commonName},
		DNSNames:              []string{commonName},
		NotBefore:             now.Add(-skew),
		NotAfter:              now.Add(validity),
		KeyUsage:              x509.KeyUsageKeyEncipherment | x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return Pair{}, fmt.Errorf("signing authority %q: %w", commonName, err)
	}
	private, err := encodeKey(key)
	return Pair{Public: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), Key: private}, err
}

// NewServiceAccountKey makes the key pair that service account tokens are
// signed with.
func NewServiceAccountKey(a Algorithm) (Pair, error) {
	key, err := a.newKey()
	if err != nil {
		return Pair{}, err
	}
	return ServiceAccount(key)
}

// ServiceAccount returns the pair of a key that there is.
func ServiceAccount(key crypto.Signer) (Pair, error) {
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return Pair{}, err
	}
	private, err := encodeKey(key)
	return Pair{Public: pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), Key: private}, err
}

func encodeKey(key crypto.Signer) ([]byte, error) {
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		der, err := x509.MarshalECPrivateKey(k)
		return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), err
	case *rsa.PrivateKey:
		return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(k)}), nil
	}
	return nil, fmt.Errorf("encoding a key of type %T: unknown", key)
}
