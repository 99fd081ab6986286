package pki_test

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"os"

	"github.com/slipway-os/slipway/pkg/pki"
)

var now = time.Date(2026, 11, 25, 12, 0, 0, 500, time.UTC)

func block(t *testing.T, data []byte, kind string) []byte {
	t.Helper()
	b, rest := pem.Decode(data)
	if b == nil || b.Type != kind || len(bytes.TrimSpace(rest)) > 0 {
		t.Fatalf("want one PEM block %q: %.40s", kind, data)
	}
	return b.Bytes
}

func TestAuthority(t *testing.T) {
	for _, c := range []struct {
		algorithm pki.Algorithm
		keyBlock  string
		uses      x509.PublicKeyAlgorithm
	}{
		{"ECDSA-P256", "EC PRIVATE KEY", x509.ECDSA},
		{"ECDSA-P384", "EC PRIVATE KEY", x509.ECDSA},
		{"RSA-2048", "RSA PRIVATE KEY", x509.RSA},
	} {
		t.Run(string(c.algorithm), func(t *testing.T) {
			p, err := pki.NewAuthority("kubernetes", c.algorithm, now, 24*time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			cert, err := x509.ParseCertificate(block(t, p.Public, "CERTIFICATE"))
			if err != nil {
				t.Fatal(err)
			}
			block(t, p.Key, c.keyBlock)
			if err := cert.CheckSignatureFrom(cert); err != nil {
				t.Errorf("it is not signed by itself: %v", err)
			}
			if !cert.IsCA || cert.PublicKeyAlgorithm != c.uses || cert.Subject.CommonName != "kubernetes" || len(cert.DNSNames) != 1 {
				t.Errorf("not kubeadm's form: %+v", cert)
			}
			if cert.NotBefore.After(now) || !cert.NotAfter.Equal(now.Truncate(time.Second).Add(24*time.Hour)) {
				t.Errorf("valid from %s to %s", cert.NotBefore, cert.NotAfter)
			}
			if cert.SerialNumber.Sign() <= 0 || len(cert.SerialNumber.Bytes()) > 20 {
				t.Errorf("serial number %s", cert.SerialNumber)
			}
		})
	}
	if _, err := pki.NewAuthority("kubernetes", "DSA", now, time.Hour); err == nil || !strings.Contains(err.Error(), `"DSA"`) {
		t.Errorf("an unknown algorithm: %v", err)
	}
}

func TestServiceAccountKey(t *testing.T) {
	p, err := pki.NewServiceAccountKey(pki.DefaultAlgorithm)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.ParseECPrivateKey(block(t, p.Key, "EC PRIVATE KEY"))
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.ParsePKIXPublicKey(block(t, p.Public, "PUBLIC KEY"))
	if err != nil || !key.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(public) {
		t.Errorf("the public half is another's: %v", err)
	}
}

func TestOpenSSLAgrees(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is missing, which judges certificates: `make judges` installs it, and `make test` does so first")
	}
	p, err := pki.NewAuthority("etcd-ca", pki.DefaultAlgorithm, time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(file, p.Public, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(openssl, "verify", "-x509_strict", "-CAfile", file, file).CombinedOutput(); err != nil {
		t.Errorf("openssl verify: %v: %s", err, out)
	}
}
