package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"
)

// Request returns a request (PKCS #10, in PEM) for the certificate of a key,
// for an authority that signs elsewhere. The same arguments give the same bytes.
func (l Leaf) Request(key *ecdsa.PrivateKey) ([]byte, error) {
	template := &x509.CertificateRequest{Subject: l.subject(), DNSNames: l.Names}
	for _, ip := range l.Addresses {
		template.IPAddresses = append(template.IPAddresses, ip.AsSlice())
	}
	// RFC 5280, 4.2.1.3: digitalSignature is the first bit.
	usage, err := asn1.Marshal(asn1.BitString{Bytes: []byte{0x80}, BitLength: 1})
	if err != nil {
		return nil, err
	}
	// RFC 5280, 4.2.1.12.
	var purposes []asn1.ObjectIdentifier
	if l.Server {
		purposes = append(purposes, asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 1})
	}
	if l.Client {
		purposes = append(purposes, asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 2})
	}
	extended, err := asn1.Marshal(purposes)
	if err != nil {
		return nil, err
	}
	template.ExtraExtensions = []pkix.Extension{
		{Id: asn1.ObjectIdentifier{2, 5, 29, 15}, Critical: true, Value: usage},
		{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Value: extended},
	}
	der, err := x509.CreateCertificateRequest(nil, template, key)
	if err != nil {
		return nil, fmt.Errorf("requesting a certificate for %q: %w", l.CommonName, err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), nil
}

// Accept checks that a certificate, in PEM, is what was requested of the
// authority: for that key, signed by it, of this time, and saying no less. It
// returns the pair, and when it ends. Errors continue the name of a file.
func (a *Authority) Accept(l Leaf, key *ecdsa.PrivateKey, data []byte, now time.Time) (Pair, time.Time, error) {
	cert, err := ReadCertificate(data)
	if err != nil {
		return Pair{}, time.Time{}, err
	}
	public, ok := cert.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	switch {
	case !ok || !public.Equal(key.Public()):
		err = errors.New("is for another key than that of the request")
	case cert.CheckSignatureFrom(a.Certificate) != nil:
		err = errors.New("was not signed by the cluster's authority")
	case cert.IsCA:
		err = errors.New("is an authority's, which no node may have")
	case now.After(cert.NotAfter):
		err = fmt.Errorf("expired on %s", cert.NotAfter.UTC().Format(time.DateTime))
	case now.Before(cert.NotBefore):
		err = fmt.Errorf("is not valid before %s", cert.NotBefore.UTC().Format(time.DateTime))
	default:
		err = l.said(cert)
	}
	if err != nil {
		return Pair{}, time.Time{}, err
	}
	private, err := encodeKey(key)
	return Pair{Public: data, Key: private}, cert.NotAfter, err
}

// said checks that a certificate says what was asked for.
func (l Leaf) said(cert *x509.Certificate) error {
	organizations := func(list []string) []string { return slices.Sorted(slices.Values(list)) }
	if cert.Subject.CommonName != l.CommonName || !slices.Equal(organizations(cert.Subject.Organization), organizations(l.Organizations)) {
		return fmt.Errorf("has the subject %q, not %q: that is who its bearer would be", cert.Subject, l.subject())
	}
	for _, name := range l.Names {
		if !slices.Contains(cert.DNSNames, name) {
			return fmt.Errorf("lacks the name %s", name)
		}
	}
	for _, ip := range l.Addresses {
		if !slices.ContainsFunc(cert.IPAddresses, func(have net.IP) bool { return have.Equal(ip.AsSlice()) }) {
			return fmt.Errorf("lacks the address %s", ip)
		}
	}
	uses := func(u x509.ExtKeyUsage) bool {
		return slices.Contains(cert.ExtKeyUsage, u) || slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageAny)
	}
	if l.Server && !uses(x509.ExtKeyUsageServerAuth) {
		return errors.New("cannot prove a server (extended key usage serverAuth)")
	}
	if l.Client && !uses(x509.ExtKeyUsageClientAuth) {
		return errors.New("cannot prove a client (extended key usage clientAuth)")
	}
	return nil
}
