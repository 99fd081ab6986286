package secrets_test

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/pki"
	"github.com/slipway-os/slipway/pkg/secrets"
)

var now = time.Date(2026, 11, 25, 12, 0, 0, 500, time.UTC)

func made(t testing.TB, o secrets.Options) *secrets.Secrets {
	t.Helper()
	o.Cluster, o.Algorithm, o.Now = "demo", pki.DefaultAlgorithm, now
	s, err := secrets.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func file(t testing.TB, s *secrets.Secrets) []byte {
	t.Helper()
	data, err := s.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestSecretsAreReadAsTheyWereWritten(t *testing.T) {
	s := made(t, secrets.Options{})
	data := file(t, s)
	again, err := secrets.Parse("s.yaml", data)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(file(t, again), data) {
		t.Error("written again, the file is another")
	}
	if again.Cluster != "demo" || !again.Made.Equal(now.Truncate(time.Second)) || len(again.EncryptionKey) != 32 {
		t.Errorf("got cluster %q, made %s", again.Cluster, again.Made)
	}
	for _, name := range []string{"ca", "etcd/ca", "front-proxy-ca"} {
		if !again.Signs(name) {
			t.Errorf("%s cannot sign", name)
		}
	}
	if err := again.CheckTime(now); err != nil {
		t.Error(err)
	}
	if err := again.CheckTime(now.AddDate(11, 0, 0)); err == nil || diag.ExitCode(err) != diag.ExitInput || !strings.Contains(err.Error(), `authority "ca" expired on`) {
		t.Errorf("after eleven years: %v", err)
	}
}

func TestDerivedKeys(t *testing.T) {
	s := made(t, secrets.Options{})
	again, err := secrets.Parse("s.yaml", file(t, s))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	for _, c := range []struct{ node, purpose string }{{"a", "etcd/peer"}, {"a", "etcd/server"}, {"b", "etcd/peer"}, {"", "admin"}} {
		key, err := s.Key(c.node, c.purpose)
		if err != nil {
			t.Fatal(err)
		}
		same, err := again.Key(c.node, c.purpose)
		if err != nil || !same.Equal(key) {
			t.Errorf("%v: another key the second time: %v", c, err)
		}
		raw, err := key.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		if other, taken := seen[string(raw)]; taken {
			t.Errorf("%v has the key of %s", c, other)
		}
		seen[string(raw)] = c.node + " " + c.purpose
	}
	other := made(t, secrets.Options{})
	a, err := s.Key("a", "etcd/peer")
	if err != nil {
		t.Fatal(err)
	}
	if b, err := other.Key("a", "etcd/peer"); err != nil || b.Equal(a) {
		t.Errorf("two clusters derive the same key: %v", err)
	}
}

// What is derived must stay: nodes that run have it.
func TestDerivationIsPinned(t *testing.T) {
	s := made(t, secrets.Options{})
	text := string(file(t, s))
	at := strings.LastIndex(text, "seed: ")
	text = text[:at] + "seed: " + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{1}, 32)) + "\n"
	s, err := secrets.Parse("s.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	key, err := s.Key("cp1", "join")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	// What OpenSSL's HKDF makes of this seed and the info
	// "slipway 1\ndemo\nkey\ncp1\njoin\n0".
	if got, want := base64.StdEncoding.EncodeToString(raw), "exBUlt+lT5CsN0ymT5vPGl3zD/ZM+O2OkcNZOtsRNek="; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestIssuedCertificates(t *testing.T) {
	s := made(t, secrets.Options{})
	leaf := pki.Leaf{CommonName: "system:node:a", Organizations: []string{"system:nodes"}, Client: true}
	a, err := s.Issue("ca", "a", "join", leaf)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := s.Issue("ca", "a", "join", leaf); err != nil || !bytes.Equal(a.Public, again.Public) {
		t.Errorf("another certificate the second time: %v", err)
	}
	leaf.Server = true
	b, err := s.Issue("ca", "a", "join", leaf)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a.Key, b.Key) || bytes.Equal(a.Public, b.Public) || slices.Equal(serial(t, a), serial(t, b)) {
		t.Error("a certificate that says something else must have the same key and another serial number")
	}
}

func serial(t *testing.T, p pki.Pair) []byte {
	t.Helper()
	b, _ := pem.Decode(p.Public)
	cert, err := x509.ParseCertificate(b.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(cert.SerialNumber.Bytes()); cert.SerialNumber.Sign() <= 0 || n != 20 {
		t.Errorf("a serial number of %d bytes", n)
	}
	return cert.SerialNumber.Bytes()
}

func TestAuthoritiesOfTheUsers(t *testing.T) {
	own := func(validity time.Duration) pki.Pair {
		p, err := pki.NewAuthority("mine", "RSA-2048", now, validity)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	good := own(time.Hour)
	s := made(t, secrets.Options{Authorities: map[string]pki.Pair{"ca": good}, AccountKey: good.Key})
	if got := s.Authorities["ca"]; !bytes.Equal(got.Public, good.Public) || !bytes.Equal(got.Key, good.Key) {
		t.Error("an authority of the user's was changed")
	}
	if !bytes.Equal(s.ServiceAccount.Key, good.Key) {
		t.Error("the key of service accounts is not the user's")
	}
	if _, err := secrets.Parse("s.yaml", file(t, s)); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		name string
		o    secrets.Options
		want string
	}{
		{"expired", secrets.Options{Cluster: "demo", Authorities: map[string]pki.Pair{"ca": own(-time.Second)}}, `authority "ca" expired on 2026-11-25 11:59:59`},
		{"of another key", secrets.Options{Cluster: "demo", Authorities: map[string]pki.Pair{"ca": {Public: good.Public, Key: own(time.Hour).Key}}}, `reading authority "ca": the key is not the one of the certificate`},
		{"no key of accounts", secrets.Options{Cluster: "demo", AccountKey: []byte("hunter2")}, `reading the key of service accounts: its file holds no private key in PEM`},
		{"no name", secrets.Options{Cluster: "My Cluster"}, `the name of the cluster must be a DNS label (lower-case letters, digits and hyphens), not "My Cluster"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.o.Algorithm, c.o.Now = pki.DefaultAlgorithm, now
			_, err := secrets.New(c.o)
			if err == nil || err.Error() != c.want || diag.ExitCode(err) != diag.ExitInput {
				t.Errorf("got  %v (status %d)\nwant %s", err, diag.ExitCode(err), c.want)
			}
		})
	}
}

func TestDamagedSecretsAreNotQuoted(t *testing.T) {
	text := string(file(t, made(t, secrets.Options{})))
	cut := func(from, to string) string {
		before, rest, _ := strings.Cut(text, from)
		_, after, found := strings.Cut(rest, to)
		if !found {
			t.Fatalf("no %q after %q", to, from)
		}
		return before + to + after
	}
	const hint = " (take your copy: it cannot be made again)"
	for _, c := range []struct{ name, in, want string }{
		{"empty", "", "s.yaml:1:1: not a file of secrets of version 1, which this program knows"},
		{"of the future", strings.Replace(text, "version: 1", "version: 2", 1), "s.yaml:3:10: not a file of secrets of version 1, which this program knows"},
		{"no YAML", "a: &hunter2 [\n", "s.yaml:1:14: not a file of secrets, or damaged"},
		{"field that is none", text + "hunter2: 1\n", ""},
		{"value where none belongs", strings.Replace(text, "ca:\n", "ca: hunter2\nx:\n", 1), ""},
		{"no seed", cut("seed: ", "\n"), "s.yaml:3:1: seed is missing or damaged"},
		{"seed too short", cut("seed: ", "\n") + "seed: aHVudGVyMg==\n", ""},
		{"no time", cut("made: ", "\n"), "s.yaml:3:1: made is missing or damaged"},
		{"cut off", text[:len(text)/2], ""},
		{"certificate that is none", strings.Replace(text, "-----BEGIN CERTIFICATE-----", "hunter2", 1), ""},
		{"key that is none", strings.Replace(text, "-----BEGIN EC PRIVATE KEY-----", "hunter2", 1), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := secrets.Parse("s.yaml", []byte(c.in))
			if err == nil {
				t.Fatal("accepted")
			}
			if c.want != "" && err.Error() != c.want+hint {
				t.Errorf("got  %v\nwant %s", err, c.want+hint)
			}
			if strings.Contains(err.Error(), "hunter2") || !strings.HasPrefix(err.Error(), "s.yaml:") || diag.ExitCode(err) != diag.ExitInput {
				t.Errorf("got %v (status %d)", err, diag.ExitCode(err))
			}
		})
	}
}

func TestEncryption(t *testing.T) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	other, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	plain := file(t, made(t, secrets.Options{}))
	data, err := secrets.Encrypt(plain, []string{id.Recipient().String()})
	if err != nil {
		t.Fatal(err)
	}
	if !secrets.Encrypted(data) || secrets.Encrypted(plain) || bytes.Contains(data, []byte("demo")) {
		t.Error("it is not encrypted")
	}
	ids, err := secrets.Identities("key.txt", []byte("# created\n"+id.String()+"\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := secrets.Decrypt("s.age", data, ids); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("decrypted to something else: %v", err)
	}
	for _, c := range []struct {
		name, want string
		run        func() error
	}{
		{"another's identity", "s.age: encrypted to others than this identity (give the identity of one of its recipients)", func() error {
			_, err := secrets.Decrypt("s.age", data, []age.Identity{other})
			return err
		}},
		{"damaged", "s.age: the encrypted file is damaged (take your copy: it cannot be made again)", func() error {
			_, err := secrets.Decrypt("s.age", data[:len(data)-100], ids)
			return err
		}},
		{"no identity", "key.txt: no age identity (give the file that age-keygen wrote)", func() error {
			_, err := secrets.Identities("key.txt", nil)
			return err
		}},
		{"identity that is none", "key.txt:2: no age identity (give the file that age-keygen wrote)", func() error {
			_, err := secrets.Identities("key.txt", []byte("#\nAGE-SECRET-KEY-1HUNTER2\n"))
			return err
		}},
		{"recipient that is none", "an age recipient begins with age1; what was given is none (give the line that age-keygen prints as the public key)", func() error {
			_, err := secrets.Encrypt(plain, []string{id.String()})
			return err
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := c.run(); err == nil || err.Error() != c.want || diag.ExitCode(err) != diag.ExitInput {
				t.Errorf("got  %v (status %d)\nwant %s", err, diag.ExitCode(err), c.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	text := file(f, made(f, secrets.Options{}))
	f.Add(text)
	f.Add([]byte("version: 1\n"))
	f.Add([]byte("version: 1\ncluster: hunter2hunter2\nseed: hunter2hunter2\nca: hunter2hunter2\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := secrets.Parse("s.yaml", data)
		if err == nil {
			if _, err := s.Key("a", "b"); err != nil {
				t.Error(err)
			}
			return
		}
		var d *diag.Error
		if !errors.As(err, &d) || diag.ExitCode(err) != diag.ExitInput {
			t.Errorf("status %d: %v", diag.ExitCode(err), err)
		}
		if bytes.Contains(data, []byte("hunter2hunter2")) && strings.Contains(err.Error(), "hunter2hunter2") {
			t.Errorf("quotes the file: %v", err)
		}
	})
}
