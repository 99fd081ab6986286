package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"time"
)

// Authority is a certificate authority that signs. One without a key is kept
// elsewhere and signs there.
type Authority struct {
	Certificate *x509.Certificate
	key         crypto.Signer
}

// ReadAuthority reads an authority and checks that it is one: that the
// certificate may sign others and that the key, if the pair has one, is its
// own. No error quotes the data.
func ReadAuthority(p Pair) (*Authority, error) {
	cert, err := ReadCertificate(p.Public)
	if err != nil {
		return nil, fmt.Errorf("the certificate's file %w", err)
	}
	switch {
	case !cert.BasicConstraintsValid || !cert.IsCA:
		return nil, errors.New("the certificate is no authority's (CA:TRUE)")
	case cert.KeyUsage != 0 && cert.KeyUsage&x509.KeyUsageCertSign == 0:
		return nil, errors.New("the certificate's key usage does not let it sign others")
	case len(p.Key) == 0:
		return &Authority{Certificate: cert}, nil
	}
	key, err := ReadKey(p.Key)
	if err != nil {
		return nil, fmt.Errorf("the key's file %w", err)
	}
	if public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !public.Equal(cert.PublicKey) {
		return nil, errors.New("the key is not the one of the certificate")
	}
	return &Authority{Certificate: cert, key: key}, nil
}

// Signs reports whether the authority's key is here.
func (a *Authority) Signs() bool { return a.key != nil }

// Leaf is what a certificate says that an authority signs.
type Leaf struct {
	CommonName    string
	Organizations []string
	Names         []string // DNS names
	Addresses     []netip.Addr
	Server        bool // it may prove a server
	Client        bool // it may prove a client
}

// Sign returns a certificate for a key, valid from a time on for as long as
// the authority itself. The same arguments give the same bytes: signatures are
// by RFC 6979 or PKCS #1 v1.5, neither of which takes anything at random.
func (a *Authority) Sign(leaf Leaf, key *ecdsa.PrivateKey, serial *big.Int, from time.Time) (Pair, error) {
	if !a.Signs() {
		return Pair{}, fmt.Errorf("signing %q: the authority's key is not here", leaf.CommonName)
	}
	from = from.UTC().Truncate(time.Second).Add(-skew)
	if from.Before(a.Certificate.NotBefore) {
		from = a.Certificate.NotBefore
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               leaf.subject(),
		DNSNames:              leaf.Names,
		NotBefore:             from,
		NotAfter:              a.Certificate.NotAfter,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
	}
	for _, ip := range leaf.Addresses {
		template.IPAddresses = append(template.IPAddresses, ip.AsSlice())
	}
	if leaf.Server {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	if leaf.Client {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageClientAuth)
	}
	der, err := x509.CreateCertificate(nil, template, a.Certificate, key.Public(), a.key)
	if err != nil {
		return Pair{}, fmt.Errorf("signing %q: %w", leaf.CommonName, err)
	}
	private, err := encodeKey(key)
	return Pair{Public: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), Key: private}, err
}

func (l Leaf) subject() pkix.Name {
	return pkix.Name{CommonName: l.CommonName, Organization: l.Organizations}
}
