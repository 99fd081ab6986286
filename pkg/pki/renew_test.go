package pki_test

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"reflect"
	"testing"
	"time"

	"github.com/slipway-os/slipway/pkg/pki"
)

// A certificate that is signed anew says what it said, for the same key.
func TestRenew(t *testing.T) {
	for _, a := range []pki.Algorithm{"ECDSA-P256", "RSA-2048"} {
		t.Run(string(a), func(t *testing.T) {
			root, ca := authority(t, a)
			signing, err := pki.ReadKey(root.Key)
			if err != nil {
				t.Fatal(err)
			}
			past := time.Now().Add(-time.Hour)
			der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
				SerialNumber: big.NewInt(7), NotBefore: past, NotAfter: past.Add(time.Minute), SubjectKeyId: []byte{1, 2},
				Subject:  pkix.Name{CommonName: "kube-apiserver", Organization: []string{"b", "a"}, OrganizationalUnit: []string{"u"}},
				DNSNames: []string{"b", "a"}, IPAddresses: []net.IP{net.IPv4(192, 0, 2, 1).To4(), net.ParseIP("2001:db8::1")},
				EmailAddresses: []string{"a@b"}, URIs: []*url.URL{{Scheme: "spiffe", Host: "x"}},
				KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
				BasicConstraintsValid: true,
			}, ca.Certificate, leafKey(t).Public(), signing)
			if err != nil {
				t.Fatal(err)
			}
			old, err := x509.ParseCertificate(der)
			if err != nil {
				t.Fatal(err)
			}
			until := time.Now().Add(time.Hour).Truncate(time.Second)
			der, err = ca.Renew(old, until)
			if err != nil {
				t.Fatal(err)
			}
			fresh, err := x509.ParseCertificate(der)
			if err != nil {
				t.Fatal(err)
			}
			if !fresh.NotAfter.Equal(until) || !fresh.NotBefore.Equal(ca.Certificate.NotBefore) || fresh.SerialNumber.Cmp(old.SerialNumber) == 0 {
				t.Errorf("number %v, from %v to %v", fresh.SerialNumber, fresh.NotBefore, fresh.NotAfter)
			}
			// All but numbers, dates and signatures.
			for _, c := range []*x509.Certificate{old, fresh} {
				c.Raw, c.RawTBSCertificate, c.Signature, c.SerialNumber, c.NotBefore, c.NotAfter = nil, nil, nil, nil, time.Time{}, time.Time{}
			}
			if !reflect.DeepEqual(old, fresh) {
				t.Errorf("%+v\nbecame\n%+v", old, fresh)
			}
			judge(t, root.Public, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
		})
	}
}

func TestRenewIsRefused(t *testing.T) {
	root, ca := authority(t, pki.DefaultAlgorithm)
	_, other := authority(t, pki.DefaultAlgorithm)
	keyless, err := pki.ReadAuthority(pki.Pair{Public: root.Public})
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := ca.Sign(pki.Leaf{CommonName: "a", Client: true}, leafKey(t), big.NewInt(1), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	old, err := pki.ReadCertificate(leaf.Public)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		by   *pki.Authority
		old  *x509.Certificate
	}{
		{"without the authority's key", keyless, old},
		{"what another authority signed", other, old},
		{"an authority", ca, ca.Certificate},
	} {
		t.Run(c.name, func(t *testing.T) {
			if der, err := c.by.Renew(c.old, time.Now().Add(time.Hour)); err == nil || der != nil {
				t.Errorf("got %d bytes, %v", len(der), err)
			}
		})
	}
	der, err := ca.Renew(old, time.Now().Add(1000*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if fresh, err := x509.ParseCertificate(der); err != nil || !fresh.NotAfter.Equal(ca.Certificate.NotAfter) {
		t.Errorf("it outlives its authority: %v, %v", fresh.NotAfter, err)
	}
}
