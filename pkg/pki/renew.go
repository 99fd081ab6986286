package pki

import (
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// Renew signs a certificate of the authority's anew, until a time, though no
// longer than the authority lives itself: for the same key, and saying the same.
// It returns the certificate in DER. Like what kubeadm signs, it is valid from
// when its authority is: one that is signed by a clock that is ahead is of use
// once the clock is right.
func (a *Authority) Renew(old *x509.Certificate, until time.Time) ([]byte, error) {
	fail := func(err error) ([]byte, error) {
		return nil, fmt.Errorf("signing the certificate of %q anew: %w", old.Subject, err)
	}
	if !a.Signs() {
		return fail(errors.New("the authority's key is not here"))
	}
	if old.IsCA {
		return fail(errors.New("it is an authority's"))
	}
	if err := old.CheckSignatureFrom(a.Certificate); err != nil {
		return fail(err)
	}
	if until.After(a.Certificate.NotAfter) {
		until = a.Certificate.NotAfter
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		RawSubject:            old.RawSubject,
		SubjectKeyId:          old.SubjectKeyId,
		NotBefore:             a.Certificate.NotBefore,
		NotAfter:              until,
		KeyUsage:              old.KeyUsage,
		ExtKeyUsage:           old.ExtKeyUsage,
		UnknownExtKeyUsage:    old.UnknownExtKeyUsage,
		BasicConstraintsValid: old.BasicConstraintsValid,
		DNSNames:              old.DNSNames,
		IPAddresses:           old.IPAddresses,
		EmailAddresses:        old.EmailAddresses,
		URIs:                  old.URIs,
	}, a.Certificate, old.PublicKey, a.key)
	if err != nil {
		return fail(err)
	}
	return der, nil
}
