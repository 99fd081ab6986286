package kubeadm

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// What kubeadm prints of its own accord: "[bootstrap-token] Using token: …",
// "[upload-certs] Using certificate key:" and the key on the next line. A
// digest that says that it is one is no secret.
var (
	tokenPattern = regexp.MustCompile(`[a-z0-9]{6}\.[a-z0-9]{16}`)
	keyPattern   = regexp.MustCompile(`(sha256:)?[0-9a-fA-F]{64,}`)
	pemPattern   = regexp.MustCompile(`(?s)-----BEGIN [A-Z ]*KEY-----.*?(-----END [A-Z ]*KEY-----|$)`)
)

const removed = "[…]"

// secrets are the values of a configuration that must not be printed.
type secrets []string

// secretKeys are the fields of kubeadm's configuration that hold secrets.
func secretKeys() []string { return []string{"token", "certificateKey", "tlsBootstrapToken"} }

// secretsOf collects the secrets of a kubeadm configuration.
func secretsOf(config []byte) secrets {
	var found secrets
	d := yaml.NewDecoder(bytes.NewReader(config))
	for {
		var v any
		if d.Decode(&v) != nil {
			return found
		}
		found = append(found, collect(v, false)...)
	}
}

func collect(v any, secret bool) secrets {
	var found secrets
	switch v := v.(type) {
	case map[string]any:
		for key, e := range v {
			inside := secret
			for _, k := range secretKeys() {
				inside = inside || strings.EqualFold(k, key)
			}
			found = append(found, collect(e, inside)...)
		}
	case []any:
		for _, e := range v {
			found = append(found, collect(e, secret)...)
		}
	case string:
		if secret && len(v) > 3 {
			quoted := strconv.Quote(v)
			found = append(found, v, quoted[1:len(quoted)-1])
		}
	}
	return found
}

// remove returns a text without secrets: neither those of the configuration
// nor anything that looks like one.
func (s secrets) remove(text string) string {
	for _, secret := range s {
		text = strings.ReplaceAll(text, secret, removed)
	}
	text = pemPattern.ReplaceAllString(text, removed)
	text = keyPattern.ReplaceAllStringFunc(text, func(m string) string {
		if strings.HasPrefix(m, "sha256:") && len(m) == len("sha256:")+64 {
			return m
		}
		return removed
	})
	return tokenPattern.ReplaceAllString(text, removed)
}
