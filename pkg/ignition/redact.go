package ignition

import (
	"bytes"
	"encoding/json"
	"sort"
	"strings"
)

// redactor takes out of text whatever a config holds that may be secret: a
// failed stage prints the config.
type redactor struct{ secrets []string }

// newRedactor collects the strings of a config, except those that say where
// something is.
func newRedactor(config []byte) redactor {
	var v any
	if json.Unmarshal(config, &v) != nil {
		return redactor{}
	}
	found := map[string]bool{}
	collect(v, "", found)
	r := redactor{}
	for s := range found {
		r.secrets = append(r.secrets, s)
		// As it looks inside JSON, and inside a quoted string.
		quoted, err := json.Marshal(s)
		if err == nil {
			r.secrets = append(r.secrets, string(quoted[1:len(quoted)-1]))
		}
	}
	// Longest first: one secret may be part of another.
	sort.Slice(r.secrets, func(i, j int) bool { return len(r.secrets[i]) > len(r.secrets[j]) })
	return r
}

const shortest = 6 // shorter strings are words such as "ext4"

func collect(v any, key string, found map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			collect(e, k, found)
		}
	case []any:
		for _, e := range v {
			collect(e, key, found)
		}
	case string:
		switch key {
		case "path", "name", "device", "version", "format", "mode", "hash", "target", "label", "homeDir", "shell", "typeGuid", "guid", "uuid", "compression":
			return
		}
		if len(v) >= shortest {
			found[v] = true
		}
	}
}

// line returns a line without secrets; false if it is the config itself.
func (r redactor) line(text []byte) (string, bool) {
	if bytes.Contains(text, []byte(`"ignition":`)) || bytes.Contains(text, []byte(`\"ignition\":`)) {
		return "", false
	}
	s := string(text)
	for _, secret := range r.secrets {
		s = strings.ReplaceAll(s, secret, "[…]")
	}
	// Data URLs carry contents; a URL's query may carry a token.
	for _, scheme := range []string{"data:", "http://", "https://", "s3://", "gs://", "tftp://"} {
		s = cutAfter(s, scheme)
	}
	return s, true
}

// cutAfter shortens what follows each scheme to what names the place.
func cutAfter(s, scheme string) string {
	var out strings.Builder
	for {
		at := strings.Index(s, scheme)
		if at < 0 {
			out.WriteString(s)
			return out.String()
		}
		out.WriteString(s[:at+len(scheme)])
		s = s[at+len(scheme):]
		end := strings.IndexAny(s, " \t\"'\\")
		if end < 0 {
			end = len(s)
		}
		word := s[:end]
		if scheme == "data:" {
			word = "[…]"
		} else {
			if q := strings.IndexAny(word, "?#"); q >= 0 {
				word = word[:q] + "[…]"
			}
			if user := strings.LastIndexByte(word, '@'); user >= 0 {
				word = "[…]" + word[user:]
			}
		}
		out.WriteString(word)
		s = s[end:]
	}
}
