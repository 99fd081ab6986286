package secrets

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/slipway-os/slipway/pkg/pki"
)

// Key derives a key of a node from the seed (HKDF with SHA-256, RFC 5869). The
// purpose says what the key is for, and neither it nor the node's name has a
// line break. What has no node, such as an administrator's key, has the node "".
func (s *Secrets) Key(node, purpose string) (*ecdsa.PrivateKey, error) {
	// A value that is no key of the curve is drawn anew, instead of being
	// bent into one, so that all keys are equally likely. It happens once in
	// 2^32 draws.
	for draw := range 100 {
		raw, err := s.derive(32, "key", node, purpose, fmt.Sprint(draw))
		if err != nil {
			return nil, err
		}
		if key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), raw); err == nil {
			return key, nil
		}
	}
	return nil, fmt.Errorf("deriving the key %q of node %q: no value is one", purpose, node)
}

// Issue returns the certificate and key of a node for a purpose, signed by an
// authority ("etcd/ca"). The same arguments give the same bytes.
func (s *Secrets) Issue(authority, node, purpose string, leaf pki.Leaf) (pki.Pair, error) {
	key, err := s.Key(node, purpose)
	if err != nil {
		return pki.Pair{}, err
	}
	// An authority must never give one serial number to two certificates, so
	// it depends on all that a certificate says.
	text, err := json.Marshal(leaf)
	if err != nil {
		return pki.Pair{}, err
	}
	serial, err := s.derive(20, "serial", node, purpose, authority, string(text))
	if err != nil {
		return pki.Pair{}, err
	}
	serial[0] = serial[0]&0x3f | 0x40 // RFC 5280, 4.1.2.2: at most 20 octets, positive
	return s.signers[authority].Sign(leaf, key, new(big.Int).SetBytes(serial), s.Made)
}

// derive returns bytes that depend on the seed, the cluster's name and words,
// none of which has a line break.
func (s *Secrets) derive(size int, words ...string) ([]byte, error) {
	info := "slipway 1\n" + s.Cluster + "\n" + strings.Join(words, "\n")
	return hkdf.Key(sha256.New, s.seed, nil, info, size)
}

// Request returns a request for what Issue would issue, for an authority whose
// key is elsewhere.
func (s *Secrets) Request(node, purpose string, leaf pki.Leaf) ([]byte, error) {
	key, err := s.Key(node, purpose)
	if err != nil {
		return nil, err
	}
	return leaf.Request(key)
}

// Accept takes a certificate that was signed elsewhere upon a Request, and
// returns the pair and when the certificate ends. Errors continue the name of
// the certificate's file.
func (s *Secrets) Accept(authority, node, purpose string, leaf pki.Leaf, cert []byte, now time.Time) (pki.Pair, time.Time, error) {
	key, err := s.Key(node, purpose)
	if err != nil {
		return pki.Pair{}, time.Time{}, err
	}
	return s.signers[authority].Accept(leaf, key, cert, now)
}
