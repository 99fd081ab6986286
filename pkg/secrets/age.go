package secrets

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"

	"filippo.io/age" // the usual format for files of secrets; no cryptography of our own
	"filippo.io/age/armor"

	"github.com/slipway-os/slipway/pkg/diag"
)

// maxFile bounds what a file of secrets may decrypt to.
const maxFile = 1 << 20

// Encrypt encrypts a file to age recipients ("age1…"), as text. Their identities
// decrypt it again, and nothing else does.
func Encrypt(data []byte, recipients []string) ([]byte, error) {
	var to []age.Recipient
	for _, r := range recipients {
		parsed, err := age.ParseRecipients(bytes.NewReader([]byte(r + "\n")))
		if err != nil || len(parsed) != 1 {
			// It may be an identity, which is a secret.
			return nil, diag.At(diag.Position{}, "give the line that age-keygen prints as the public key", "an age recipient begins with age1; what was given is none")
		}
		to = append(to, parsed...)
	}
	var out bytes.Buffer
	text := armor.NewWriter(&out)
	w, err := age.Encrypt(text, to...)
	if err != nil {
		return nil, diag.Inputf("encrypting to the age recipients: %w", err)
	}
	if _, err := w.Write(data); err != nil {
		return nil, fmt.Errorf("encrypting: %w", err)
	}
	if err := errors.Join(w.Close(), text.Close()); err != nil {
		return nil, fmt.Errorf("encrypting: %w", err)
	}
	return out.Bytes(), nil
}

// Encrypted reports whether a file is encrypted with age.
func Encrypted(data []byte) bool {
	data = bytes.TrimSpace(data)
	return bytes.HasPrefix(data, []byte(armor.Header)) || bytes.HasPrefix(data, []byte("age-encryption.org/"))
}

var identityLine = regexp.MustCompile(`line (\d+)`)

// Identities reads a file of age identities, as age-keygen writes it.
func Identities(name string, data []byte) ([]age.Identity, error) {
	ids, err := age.ParseIdentities(bytes.NewReader(data))
	if err == nil && len(ids) > 0 {
		return ids, nil
	}
	pos := diag.Position{File: name}
	if err != nil { // its own words could quote the identity
		if m := identityLine.FindStringSubmatch(err.Error()); m != nil {
			fmt.Sscan(m[1], &pos.Line)
		}
	}
	return nil, diag.At(pos, "give the file that age-keygen wrote", "no age identity")
}

// Decrypt decrypts a file with one of the identities.
func Decrypt(name string, data []byte, ids []age.Identity) ([]byte, error) {
	var in io.Reader = bytes.NewReader(data)
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte(armor.Header)) {
		in = armor.NewReader(in)
	}
	pos := diag.Position{File: name}
	r, err := age.Decrypt(in, ids...)
	var no *age.NoIdentityMatchError
	if errors.As(err, &no) {
		return nil, diag.At(pos, "give the identity of one of its recipients", "encrypted to others than this identity")
	}
	if err == nil {
		var plain []byte
		if plain, err = io.ReadAll(io.LimitReader(r, maxFile)); err == nil {
			return plain, nil
		}
	}
	return nil, diag.At(pos, copyHint, "the encrypted file is damaged")
}
