package pki_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/slipway-os/slipway/pkg/pki"
)

func leafKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func authority(t *testing.T, a pki.Algorithm) (pki.Pair, *pki.Authority) {
	t.Helper()
	p, err := pki.NewAuthority("etcd-ca", a, time.Now(), 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := pki.ReadAuthority(p)
	if err != nil {
		t.Fatal(err)
	}
	return p, ca
}

func TestLeaf(t *testing.T) {
	leaf := pki.Leaf{
		CommonName: "etcd1", Organizations: []string{"o"}, Names: []string{"etcd1", "localhost"},
		Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("::1")}, Server: true, Client: true,
	}
	for _, a := range []pki.Algorithm{"ECDSA-P256", "ECDSA-P384", "RSA-2048"} {
		t.Run(string(a), func(t *testing.T) {
			root, ca := authority(t, a)
			made := ca.Certificate.NotBefore.Add(6 * time.Minute)
			p, err := ca.Sign(leaf, leafKey(t), big.NewInt(7), made)
			if err != nil {
				t.Fatal(err)
			}
			if again, err := ca.Sign(leaf, leafKey(t), big.NewInt(7), made); err != nil || !bytes.Equal(p.Public, again.Public) || !bytes.Equal(p.Key, again.Key) {
				t.Errorf("signing again gives other bytes: %v", err)
			}
			cert, err := pki.ReadCertificate(p.Public)
			if err != nil {
				t.Fatal(err)
			}
			if cert.IsCA || cert.Subject.CommonName != "etcd1" || !slices.Equal(cert.DNSNames, leaf.Names) || len(cert.IPAddresses) != 2 {
				t.Errorf("got %+v", cert)
			}
			if !cert.NotAfter.Equal(ca.Certificate.NotAfter) || !cert.NotBefore.Equal(made.Add(-5*time.Minute)) {
				t.Errorf("valid from %s to %s", cert.NotBefore, cert.NotAfter)
			}
			if !slices.Equal(cert.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}) {
				t.Errorf("usages %v", cert.ExtKeyUsage)
			}
			judge(t, root.Public, p.Public)
		})
	}
}

func TestAccept(t *testing.T) {
	_, ca := authority(t, pki.DefaultAlgorithm)
	asked := pki.Leaf{CommonName: "a", Organizations: []string{"o"}, Names: []string{"a"}, Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, Server: true, Client: true}
	from := ca.Certificate.NotBefore.Add(6 * time.Minute)
	for _, c := range []struct {
		name string
		sign func(*pki.Leaf)
		want string
	}{
		{"right", func(*pki.Leaf) {}, ""},
		{"more than was asked", func(l *pki.Leaf) { l.Names = append(l.Names, "b") }, ""},
		{"somebody else", func(l *pki.Leaf) { l.CommonName = "b" }, `has the subject "CN=b,O=o", not "CN=a,O=o": that is who its bearer would be`},
		{"in more groups", func(l *pki.Leaf) { l.Organizations = []string{"o", "system:masters"} }, `has the subject "CN=a,O=o+O=system:masters", not "CN=a,O=o": that is who its bearer would be`},
		{"no name", func(l *pki.Leaf) { l.Names = nil }, "lacks the name a"},
		{"no address", func(l *pki.Leaf) { l.Addresses = nil }, "lacks the address 192.0.2.1"},
		{"no server", func(l *pki.Leaf) { l.Server = false }, "cannot prove a server (extended key usage serverAuth)"},
		{"no client", func(l *pki.Leaf) { l.Client = false }, "cannot prove a client (extended key usage clientAuth)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			leaf := asked
			c.sign(&leaf)
			p, err := ca.Sign(leaf, leafKey(t), big.NewInt(1), from)
			if err != nil {
				t.Fatal(err)
			}
			_, end, err := ca.Accept(asked, leafKey(t), p.Public, time.Now())
			if got := message(err); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if err == nil && !end.Equal(ca.Certificate.NotAfter) {
				t.Errorf("it ends %s", end)
			}
		})
	}
}

func TestRequest(t *testing.T) {
	leaf := pki.Leaf{CommonName: "a", Names: []string{"a"}, Server: true}
	data, err := leaf.Request(leafKey(t))
	if err != nil {
		t.Fatal(err)
	}
	if again, err := leaf.Request(leafKey(t)); err != nil || !bytes.Equal(again, data) {
		t.Errorf("other bytes the second time: %v", err)
	}
	r, err := x509.ParseCertificateRequest(block(t, data, "CERTIFICATE REQUEST"))
	if err != nil || r.CheckSignature() != nil || r.Subject.CommonName != "a" || !slices.Equal(r.DNSNames, leaf.Names) {
		t.Errorf("got %+v, %v", r, err)
	}
}

// judge asks openssl whether an authority signed a certificate.
func judge(t *testing.T, ca, cert []byte) {
	t.Helper()
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is missing, which judges certificates: `make judges` installs it, and `make test` does so first")
	}
	dir := t.TempDir()
	for name, data := range map[string][]byte{"ca.crt": ca, "leaf.crt": cert} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, purpose := range []string{"sslserver", "sslclient"} {
		if out, err := exec.Command(openssl, "verify", "-x509_strict", "-purpose", purpose, "-CAfile", filepath.Join(dir, "ca.crt"), filepath.Join(dir, "leaf.crt")).CombinedOutput(); err != nil {
			t.Errorf("openssl verify: %v: %s", err, out)
		}
	}
}

func TestAuthoritiesThatCannotSign(t *testing.T) {
	good, ca := authority(t, pki.DefaultAlgorithm)
	other, _ := authority(t, pki.DefaultAlgorithm)
	leaf, err := ca.Sign(pki.Leaf{CommonName: "x"}, leafKey(t), big.NewInt(1), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	pkcs8 := func(key any) []byte {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	}
	parameters := pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{6, 1, 1}})
	for _, c := range []struct {
		name string
		pair pki.Pair
		want string
	}{
		{"right", good, ""},
		{"chain", pki.Pair{Public: append(slices.Clone(good.Public), other.Public...), Key: good.Key}, ""},
		{"parameters before the key", pki.Pair{Public: good.Public, Key: append(parameters, good.Key...)}, ""},
		{"key of another", pki.Pair{Public: good.Public, Key: other.Key}, "the key is not the one of the certificate"},
		{"leaf", leaf, "the certificate is no authority's (CA:TRUE)"},
		{"swapped", pki.Pair{Public: good.Key, Key: good.Public}, "the certificate's file holds a private key where only certificates belong"},
		{"key beside the certificate", pki.Pair{Public: append(slices.Clone(good.Public), good.Key...), Key: good.Key}, "the certificate's file holds a private key where only certificates belong"},
		{"certificate as key", pki.Pair{Public: good.Public, Key: good.Public}, "the key's file holds something else than a private key"},
		{"text", pki.Pair{Public: []byte("hunter2"), Key: good.Key}, "the certificate's file holds no certificate in PEM"},
		{"text as key", pki.Pair{Public: good.Public, Key: []byte("hunter2")}, "the key's file holds no private key in PEM"},
		{"damaged certificate", pki.Pair{Public: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("hunter2")})}, "the certificate's file holds a damaged certificate"},
		{"damaged key", pki.Pair{Public: good.Public, Key: pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: []byte("hunter2")})}, "the key's file holds a damaged private key"},
		{"passphrase", pki.Pair{Public: good.Public, Key: pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")})}, "the key's file holds a key under a passphrase, which nobody could enter on a node"},
		{"Ed25519", pki.Pair{Public: good.Public, Key: pkcs8(ed25519.NewKeyFromSeed(make([]byte, 32)))}, "the key's file holds a private key that is neither ECDSA nor RSA, which kubeadm does not take"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := pki.ReadAuthority(c.pair)
			if got := message(err); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
	external, err := pki.ReadAuthority(pki.Pair{Public: good.Public})
	if err != nil || external.Signs() {
		t.Errorf("an authority that is kept elsewhere: %v", err)
	}
	if _, err := external.Sign(pki.Leaf{CommonName: "x"}, leafKey(t), big.NewInt(1), time.Now()); err == nil {
		t.Error("signed without a key")
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func FuzzRead(f *testing.F) {
	p, err := pki.NewAuthority("kubernetes", pki.DefaultAlgorithm, now, time.Hour)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(p.Public, p.Key)
	f.Add(p.Key, []byte{})
	f.Fuzz(func(t *testing.T, public, key []byte) {
		ca, err := pki.ReadAuthority(pki.Pair{Public: public, Key: key})
		if err == nil && (!ca.Certificate.IsCA || bytes.Contains(public, []byte("PRIVATE KEY"))) {
			t.Error("accepted what is no authority")
		}
	})
}
