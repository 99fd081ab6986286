package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"
)

// ReadCertificate reads the first certificate of PEM data, which is the one
// that signs; those of its own authorities may follow. Anything else in the
// data is an error, a key above all: certificates are handed to everybody.
// No error quotes the data.
func ReadCertificate(data []byte) (*x509.Certificate, error) {
	if bytes.Contains(data, []byte("PRIVATE KEY")) {
		return nil, errors.New("holds a private key where only certificates belong")
	}
	var first *x509.Certificate
	for {
		var b *pem.Block
		if b, data = pem.Decode(data); b == nil {
			break
		}
		if b.Type != "CERTIFICATE" {
			return nil, errors.New("holds something else than certificates")
		}
		cert, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return nil, errors.New("holds a damaged certificate")
		}
		if first == nil {
			first = cert
		}
	}
	if first == nil {
		return nil, errors.New("holds no certificate in PEM")
	}
	return first, nil
}

// ReadKey reads a private key from PEM data, in any of the forms that kubeadm
// takes: ECDSA or RSA; SEC 1, PKCS #1 or PKCS #8. No error quotes the data.
func ReadKey(data []byte) (crypto.Signer, error) {
	for {
		b, rest := pem.Decode(data)
		if b == nil {
			return nil, errors.New("holds no private key in PEM")
		}
		data = rest
		switch {
		case b.Type == "EC PARAMETERS":
			continue
		case b.Type == "ENCRYPTED PRIVATE KEY", b.Headers["DEK-Info"] != "":
			return nil, errors.New("holds a key under a passphrase, which nobody could enter on a node")
		case !strings.HasSuffix(b.Type, "PRIVATE KEY"):
			return nil, errors.New("holds something else than a private key")
		}
		return parseKey(b.Bytes)
	}
}

// ReadPublic reads a public key from PEM data. No error quotes the data.
func ReadPublic(data []byte) (crypto.PublicKey, error) {
	b, _ := pem.Decode(data)
	if b == nil {
		return nil, errors.New("holds no public key in PEM")
	}
	key, err := x509.ParsePKIXPublicKey(b.Bytes)
	if err != nil {
		return nil, errors.New("holds a damaged public key")
	}
	return key, nil
}

func parseKey(der []byte) (crypto.Signer, error) {
	if k, err := x509.ParseECPrivateKey(der); err == nil {
		return k, nil
	}
	if k, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return k, nil
	}
	k, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, errors.New("holds a damaged private key")
	}
	switch k := k.(type) {
	case *ecdsa.PrivateKey:
		return k, nil
	case *rsa.PrivateKey:
		return k, nil
	}
	return nil, errors.New("holds a private key that is neither ECDSA nor RSA, which kubeadm does not take")
}
