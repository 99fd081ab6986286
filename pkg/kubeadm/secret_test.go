package kubeadm

import (
	"regexp"
	"strings"
	"testing"
)

const (
	token = "abcdef.0123456789abcdef"
	key   = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
)

// What kubeadm prints must tell what went wrong, and no secret.
func TestOutputFilter(t *testing.T) {
	config := "---\nkind: ClusterConfiguration\nclusterName: kubernetes\n---\nkind: InitConfiguration\nbootstrapTokens: [{token: 'Not\"A Token'}, {token: " + token + "}]\ncertificateKey: zzz-not-hex\n"
	for _, c := range []struct{ name, in, want string }{
		{"nothing secret", "error execution phase certs/ca: failure loading ca certificate", "error execution phase certs/ca: failure loading ca certificate"},
		{"the token that kubeadm announces", "[bootstrap-token] Using token: " + token, "[bootstrap-token] Using token: […]"},
		{"a token of kubeadm's own", "Using token: zyxwvu.zyxwvutsrqponmlk", "Using token: […]"},
		{"a token in a join command", "kubeadm join cp:6443 --token " + token + " --discovery-token-ca-cert-hash sha256:" + key, "kubeadm join cp:6443 --token […] --discovery-token-ca-cert-hash sha256:" + key},
		{"a certificate key on a line of its own", "[upload-certs] Using certificate key:\n" + key + "\nnext", "[upload-certs] Using certificate key:\n[…]\nnext"},
		{"a key after something that looks like a digest", "sha256:" + key + "00 " + strings.ToUpper(key), "[…] […]"},
		{"a token quoted by the validator", `bootstrapTokens[0].token: Invalid value: "Not\"A Token": the bootstrap token is invalid`, `bootstrapTokens[0].token: Invalid value: "[…]": the bootstrap token is invalid`},
		{"a token as it is", `cannot use Not"A Token`, "cannot use […]"},
		{"a key that is none", `certificateKey: Invalid value: "zzz-not-hex"`, `certificateKey: Invalid value: "[…]"`},
		{"a private key", "read -----BEGIN EC PRIVATE KEY-----\nMHcCAQ\n-----END EC PRIVATE KEY-----\nand", "read […]\nand"},
		{"a private key that is cut off", "read -----BEGIN PRIVATE KEY-----\nMHcCAQ", "read […]"},
		{"versions, addresses and names stay", "v1.37.2 192.0.2.10:6443 registry.example.net/kube-apiserver@sha256:" + key, "v1.37.2 192.0.2.10:6443 registry.example.net/kube-apiserver@sha256:" + key},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := secretsOf([]byte(config)).remove(c.in); got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

func TestLast(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     []string
	}{
		{"nothing", "", nil},
		{"blank lines and advice", "a\n\n  b \nTo see the stack trace of this error execute with --v=5 or higher\n", []string{"a", "b"}},
		{"many", "1\n2\n3\n4", []string{"3", "4"}},
		{"long", strings.Repeat("ä", 1000), []string{strings.Repeat("ä", 250) + "…"}},
	} {
		if got := last(c.in, 2); strings.Join(got, "|") != strings.Join(c.want, "|") {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestTailIsBounded(t *testing.T) {
	var out tail
	for range 1000 {
		if n, err := out.Write(make([]byte, 1000)); n != 1000 || err != nil {
			t.Fatal(n, err)
		}
	}
	out.Write([]byte("the end"))
	if len(out) > 200<<10 || !strings.HasSuffix(string(out), "the end") {
		t.Errorf("%d bytes, ends %q", len(out), out[len(out)-7:])
	}
}

func FuzzOutputFilter(f *testing.F) {
	f.Add("[bootstrap-token] Using token: ", token, "\n")
	f.Add("certificateKey: Invalid value: \"", "a\"b\\c", "\": no")
	f.Add("", "sha256:"+key, "")
	tokens := regexp.MustCompile(`[a-z0-9]{6}\.[a-z0-9]{16}`)
	f.Fuzz(func(t *testing.T, before, secret, after string) {
		s := collect(map[string]any{"token": secret}, false)
		out := s.remove(before + secret + after)
		// The mark itself may hold the secret "[…]"; nothing longer may be left.
		if len(secret) > len(removed) && strings.Contains(out, secret) {
			t.Errorf("%q is in %q", secret, out)
		}
		if tokens.MatchString(out) {
			t.Errorf("a token is in %q", out)
		}
	})
}
