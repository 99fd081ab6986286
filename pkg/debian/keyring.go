package debian

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/slipway-os/slipway/pkg/diag"
)

// archiveKeyring holds the public keys that Debian signs its archive with, as
// its package debian-archive-keyring ships them:
//
//	4D64 FEC1 19C2 0290 67D6  E791 F8D2 585B 8783 D481  bookworm, stable release
//	B8B8 0B5B 623E AB6A D877  5C45 B7C5 D7D6 3509 47F8  bookworm, archive
//	05AB 9034 0C0C 5E79 7F44  A8C8 254C F3B5 AEC0 A8F0  bookworm, security
//	4158 7F7D B8C7 74BC CF13  1416 762F 67A0 B2C3 9DE4  trixie, stable release
//	04B5 4C3C DCA7 9751 B16B  C6B5 2256 29DF 75B1 88BD  trixie, archive
//	5E04 A1E3 223A 19A2 0706  E20F 9904 613D 4CCE 68C6  trixie, security
//
//go:embed archive-keyring.gpg
var archiveKeyring []byte

// readKeyring reads OpenPGP public keys, binary or armoured.
func readKeyring(data []byte) (openpgp.EntityList, error) {
	read := openpgp.ReadKeyRing
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte("-----BEGIN")) {
		read = openpgp.ReadArmoredKeyRing
	}
	keys, err := read(bytes.NewReader(data))
	if err == nil && len(keys) == 0 {
		err = errors.New("there is no key in it")
	}
	if err != nil {
		return nil, diag.Input(fmt.Errorf("reading the archive keyring: %w", err))
	}
	return keys, nil
}

var (
	errUnsigned   = errors.New("it is not a clear-signed file: a proxy's error page, or tampered with")
	errUnknownKey = errors.New("it is signed by none of the keys in the archive keyring")
)

// verify returns the text that is clear-signed in data, if one of the keys
// signed it. Nothing outside of the signed part is returned.
func verify(data []byte, keys openpgp.EntityList, now time.Time) ([]byte, error) {
	config := &packet.Config{Time: func() time.Time { return now }}
	refused := errUnknownKey
	// Each key by itself: one that has expired must not hide another's signature.
	for _, key := range keys {
		block, _ := clearsign.Decode(data)
		if block == nil {
			return nil, errUnsigned
		}
		_, err := block.VerifySignature(openpgp.EntityList{key}, config)
		if err == nil {
			return block.Plaintext, nil
		}
		switch {
		case errors.Is(err, pgperrors.ErrUnknownIssuer):
		case errors.Is(err, pgperrors.ErrSignatureExpired): // or of the future
			refused = fmt.Errorf("its signature by key %X is not valid at this time (now is %s): is this machine's clock right?", key.PrimaryKey.KeyId, day(now.UTC()))
		default:
			refused = fmt.Errorf("its signature by key %X is bad: %w", key.PrimaryKey.KeyId, err)
		}
	}
	return nil, refused
}
