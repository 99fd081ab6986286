package ignition

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// redactor takes out of text whatever a config holds that may be secret: a
// failed stage prints the config, or what of it a program choked on. Rather
// one word too few than one too many.
type redactor struct {
	secrets []string
	public  []string // names and paths: what failed must be told
}

// shortest is how many bytes of a secret in a row give it away. A secret of
// fewer bytes is taken out where it stands as a whole.
const shortest = 8

// tooShort is the length below which a string is a word of everybody's.
const tooShort = 4

const mark = "[…]"

// newRedactor collects the strings of configs, which need not be right.
func newRedactor(configs ...[]byte) redactor {
	var r redactor
	for _, c := range configs {
		r.config(c, 4)
	}
	return r
}

// config collects from a config, and from those that it carries.
func (r *redactor) config(data []byte, depth int) {
	if len(data) == 0 {
		return
	}
	var v any
	if json.Unmarshal(data, &v) != nil {
		// Nobody knows what of it is secret.
		r.secret(string(data))
		return
	}
	r.collect(v, "", depth)
}

func (r *redactor) collect(v any, key string, depth int) {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			r.collect(e, k, depth)
		}
	case []any:
		for _, e := range v {
			r.collect(e, key, depth)
		}
	case string:
		switch key {
		case "path", "name", "device", "version", "format", "hash", "target", "label", "homeDir", "shell", "typeGuid", "guid", "uuid", "wipeTable", "compression", "level", "type":
			r.public = append(r.public, v)
		case "source", "httpProxy", "httpsProxy":
			r.source(v, depth)
		default:
			r.secret(v)
		}
	}
}

// source collects from a URL: a data URL is a content, any other may carry
// credentials.
func (r *redactor) source(text string, depth int) {
	if strings.HasPrefix(strings.ToLower(text), "data:") {
		_, body, _ := strings.Cut(text, ",")
		r.secret(body)
		content := dataURL(text)
		if depth > 0 && json.Valid([]byte(content)) {
			r.config([]byte(content), depth-1)
		} else {
			r.secret(content)
		}
		return
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		r.secret(text)
		return
	}
	r.public = append(r.public, u.Scheme+"://"+u.Host+u.EscapedPath(), u.Scheme+"://"+u.Host, u.Host, u.Path)
	if u.User != nil {
		if password, ok := u.User.Password(); ok {
			r.secret(password)
		} else {
			r.secret(u.User.Username()) // a token
		}
		r.secret(u.User.String())
	}
	r.secret(u.RawQuery)
	r.secret(u.RawFragment + u.Fragment)
	for _, values := range u.Query() {
		for _, value := range values {
			r.secret(value)
		}
	}
}

// dataURL returns the content of a data URL (RFC 2397), unpacked if it was
// compressed.
func dataURL(text string) string {
	head, body, ok := strings.Cut(text, ",")
	if !ok {
		return ""
	}
	if plain, err := url.PathUnescape(body); err == nil {
		body = plain
	}
	data := []byte(body)
	if strings.HasSuffix(head, ";base64") {
		clean := strings.NewReplacer("-", "+", "_", "/", "=", "", "\n", "", "\r", "").Replace(body)
		decoded, err := base64.RawStdEncoding.DecodeString(clean)
		if err != nil {
			return ""
		}
		data = decoded
	}
	if z, err := gzip.NewReader(bytes.NewReader(data)); err == nil {
		const most = 32 << 20
		if unpacked, _ := io.ReadAll(io.LimitReader(z, most)); len(unpacked) > 0 {
			data = unpacked
		}
	}
	return string(data)
}

// secret notes a secret, in the forms in which programs print it.
func (r *redactor) secret(s string) {
	if len(s) < tooShort {
		return
	}
	r.secrets = append(r.secrets, s)
	forms := []string{quoted(s, true)}
	const large = 1 << 20 // nobody prints so much but with the whole config
	if len(s) <= large {
		forms = append(forms, quoted(s, false), unquote(strconv.Quote(s)), unquote(strconv.QuoteToASCII(s)),
			url.QueryEscape(s), url.PathEscape(s), base64.StdEncoding.EncodeToString([]byte(s)), base64.URLEncoding.EncodeToString([]byte(s)))
	}
	for _, f := range forms {
		if f != s {
			r.secrets = append(r.secrets, f)
		}
	}
}

// quoted is a string as it looks in JSON.
func quoted(s string, html bool) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(html)
	if enc.Encode(s) != nil {
		return s
	}
	return unquote(strings.TrimSuffix(b.String(), "\n"))
}

func unquote(s string) string { return s[1 : len(s)-1] }

// Things that are secret whoever prints them: hashes of passwords, keys, what
// a header authorises by.
var telltale = regexp.MustCompile(`\$(?:1|2[abxy]?|5|6|7|y|gy|sha1|argon2[id]*)\$[^\s"'\\]+` +
	`|(?:ssh-|ecdsa-sha2-|sk-)[A-Za-z0-9@.-]+ +AAAA[A-Za-z0-9+/=]+` +
	`|(?s:-----BEGIN .*?(?:-----END [^-]*-----|$))` +
	`|(?i:\b(?:bearer|basic) +[A-Za-z0-9+/=._~-]{6,})`)

// text returns a text without secrets, with as many lines as it had.
func (r redactor) text(text string) string {
	hide := make([]bool, len(text))
	r.find(text, hide)
	for _, p := range r.public {
		for at := 0; len(p) >= tooShort-1; at += len(p) {
			next := strings.Index(text[at:], p)
			if next < 0 {
				break
			}
			at += next
			clear(hide[at : at+len(p)])
		}
	}
	for _, m := range telltale.FindAllStringIndex(text, -1) {
		fill(hide[m[0]:m[1]])
	}
	var out strings.Builder
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '\n':
			out.WriteByte('\n')
		case !hide[i]:
			out.WriteByte(text[i])
		case i == 0 || !hide[i-1] || text[i-1] == '\n':
			out.WriteString(mark)
		}
	}
	s := out.String()
	// What a config holds that is not known here.
	for _, scheme := range []string{"data:", "http://", "https://", "s3://", "gs://", "tftp://"} {
		s = cutAfter(s, scheme)
	}
	return strings.ToValidUTF8(s, "\uFFFD") // in their place: what they kept apart stays so
}

func fill(hide []bool) {
	for i := range hide {
		hide[i] = true
	}
}

// find marks where a text holds so much of a secret as gives it away. The
// text is short, the secrets may be long: it is the text that is indexed.
func (r redactor) find(text string, hide []bool) {
	grams := map[string]bool{} // of the text; true if it is a secret's too
	for i := 0; i+shortest <= len(text); i++ {
		grams[text[i:i+shortest]] = false
	}
	for _, s := range r.secrets {
		if len(s) < shortest {
			for at := 0; ; at += len(s) {
				next := strings.Index(text[at:], s)
				if next < 0 {
					break
				}
				at += next
				fill(hide[at : at+len(s)])
			}
			continue
		}
		for i := 0; i+shortest <= len(s); i++ {
			if _, there := grams[s[i:i+shortest]]; there {
				grams[s[i:i+shortest]] = true
			}
		}
	}
	for i := 0; i+shortest <= len(text); i++ {
		if grams[text[i:i+shortest]] {
			fill(hide[i : i+shortest])
		}
	}
}

// lines returns what of a program's output helps: its failures, without
// secrets. If the output's beginning was cut off, its first line may begin
// within a secret, and is left out.
func (r redactor) lines(output string, cut bool) []string {
	if cut {
		_, output, _ = strings.Cut(output, "\n")
	}
	var told []string
	plain := strings.Split(output, "\n")
	for i, line := range strings.Split(r.text(output), "\n") {
		line = strings.TrimSpace(line)
		if !telling(plain[i]) || strings.Contains(plain[i], `"ignition":`) || strings.Contains(plain[i], `\"ignition\":`) {
			continue // it is the config itself, or all is well
		}
		// A line of nothing but secrets tells nothing.
		if strings.ContainsFunc(strings.ReplaceAll(line, mark, ""), isLetter) {
			told = append(told, line)
		}
	}
	return told
}

func isLetter(r rune) bool { return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' }

// telling says whether a line of Ignition's log helps: its failures, not what
// went well.
func telling(line string) bool {
	line = strings.ToLower(line)
	for _, word := range []string{"fail", "error", "crit", "warn", "invalid", "cannot", "could not", "no such", "unable"} {
		if strings.Contains(line, word) {
			return true
		}
	}
	return false
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
		end := strings.IndexAny(s, " \t\n\"'\\")
		if end < 0 {
			end = len(s)
		}
		word := s[:end]
		switch {
		case word == "":
		case scheme == "data:":
			word = mark
		default:
			if q := strings.IndexAny(word, "?#"); q >= 0 {
				word = word[:q] + mark
			}
			if user := strings.LastIndexByte(word, '@'); user >= 0 {
				word = mark + word[user:]
			}
		}
		out.WriteString(word)
		s = s[end:]
	}
}
