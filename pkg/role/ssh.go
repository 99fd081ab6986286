package role

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
)

var (
	errPrivate = errors.New("is a private key")
	errOption  = errors.New("has an option before the key that sshd does not know, and would be ignored")
)

// keyTypes are the keys that OpenSSH accepts.
func keyTypes() []string {
	return []string{
		"ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521",
		"sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com",
	}
}

// keyOptions are those that may stand before a key (sshd(8), AUTHORIZED_KEYS FILE
// FORMAT); = means that a value in quotes follows.
func keyOptions() []string {
	return []string{
		"agent-forwarding", "cert-authority", "command=", "environment=", "expiry-time=", "from=",
		"no-agent-forwarding", "no-port-forwarding", "no-pty", "no-touch-required", "no-user-rc", "no-X11-forwarding",
		"no-verify-required", "permitlisten=", "permitopen=", "port-forwarding", "principals=", "pty", "restrict",
		"touch-required", "tunnel=", "user-rc", "verify-required", "X11-forwarding",
	}
}

// areOptions reports whether sshd takes a text for options: letters of both cases
// are the same to it.
func areOptions(text string) bool {
	for {
		known := slices.IndexFunc(keyOptions(), func(o string) bool {
			return len(text) >= len(o) && strings.EqualFold(text[:len(o)], o)
		})
		if known < 0 {
			return false
		}
		o := keyOptions()[known]
		text = text[len(o):]
		if strings.HasSuffix(o, "=") {
			var quoted bool
			if text, quoted = unquoted(text); !quoted {
				return false
			}
		}
		if text == "" {
			return true
		}
		if text[0] != ',' {
			return false
		}
		text = text[1:]
	}
}

// unquoted returns what follows a value in quotes.
func unquoted(text string) (rest string, quoted bool) {
	if !strings.HasPrefix(text, `"`) {
		return text, false
	}
	for i := 1; i < len(text); i++ {
		switch {
		case strings.HasPrefix(text[i:], `\"`):
			i++
		case text[i] == '"':
			return text[i+1:], true
		}
	}
	return text, false
}

// publicKey checks the shape of a line of authorized_keys, [options] type
// base64 [comment], and returns its base64. Errors never quote the line, which
// may be anything that was pasted in the wrong place.
func publicKey(line string) (string, error) {
	line = strings.TrimSpace(line)
	if strings.Contains(line, "PRIVATE KEY") || strings.HasPrefix(line, "PuTTY-User-Key-File") {
		return "", errPrivate
	}
	switch {
	case line == "":
		return "", errors.New("is empty")
	case strings.ContainsAny(line, "\r\n\x00"):
		return "", errors.New("is more than one line")
	}
	words, options := strings.Fields(line), ""
	if !slices.Contains(keyTypes(), words[0]) {
		options = line[:optionsEnd(line)]
		words = strings.Fields(line[len(options):])
	}
	if len(words) == 0 || !slices.Contains(keyTypes(), words[0]) {
		return "", errors.New("is not a public key that OpenSSH accepts")
	}
	if options != "" && !areOptions(options) {
		return "", errOption
	}
	if len(words) < 2 {
		return "", errors.New("has no key after its type")
	}
	blob, err := base64.StdEncoding.DecodeString(words[1])
	if err != nil {
		return "", errors.New("has a damaged key after its type: it is not base64")
	}
	// A key begins with its own type, and has more than that.
	n := len(words[0])
	if len(blob) < 4+n+4 || int(binary.BigEndian.Uint32(blob)) != n || string(blob[4:4+n]) != words[0] {
		return "", errors.New("has a damaged key after its type: it is cut off or of another type")
	}
	for rest := blob; len(rest) > 0; {
		if len(rest) < 4 || uint64(binary.BigEndian.Uint32(rest)) > uint64(len(rest)-4) {
			return "", errors.New("has a damaged key after its type: it is cut off or of another type")
		}
		rest = rest[4+binary.BigEndian.Uint32(rest):]
	}
	return words[1], nil
}

// optionsEnd returns where the options before a key end: at the first space
// that is not in quotes.
func optionsEnd(line string) int {
	quoted := false
	for i := 0; i < len(line); i++ {
		switch {
		case strings.HasPrefix(line[i:], `\"`):
			i++
		case line[i] == '"':
			quoted = !quoted
		case (line[i] == ' ' || line[i] == '\t') && !quoted:
			return i
		}
	}
	return len(line)
}
