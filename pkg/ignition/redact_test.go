package ignition

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// What the config of the tests holds. None of it may be told.
const (
	content  = "#!/bin/sh\necho \"s3cr3t <of> the file\" & exit\n"
	password = "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd.RhAtQ7"
	sshKey   = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICiBilQJgIpQJjZoqYM0AssojavVqv9msluZAZCZWyma admin@nowhere.invalid"
	query    = "X-Amz-Signature=fe5f80f77d5fa3beca038a248ff027d0"
	bearer   = "Bearer eyJhbGciOiJIUzI1NiJ9"
	nested   = "n3st3d-secret-of-a-merged-config"
	packed   = "content that is packed with gzip"
	short    = "k9#x" // too short for a part of it to be known
)

func testConfig(t testing.TB) []byte {
	t.Helper()
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	w.Write([]byte(packed))
	w.Close()
	inner, err := json.Marshal(map[string]any{"ignition": map[string]any{"version": "3.4.0"}, "passwd": map[string]any{"users": []any{map[string]any{"name": "nina", "passwordHash": nested}}}})
	if err != nil {
		t.Fatal(err)
	}
	config, err := json.Marshal(map[string]any{
		"ignition": map[string]any{"version": "3.4.0", "config": map[string]any{"merge": []any{
			map[string]any{"source": "https://user:pa55w0rd@config.example.net/node1.ign?" + query, "httpHeaders": []any{map[string]any{"name": "Authorization", "value": bearer}}},
			map[string]any{"source": "data:;base64," + base64.StdEncoding.EncodeToString(inner)},
		}}},
		"passwd": map[string]any{"users": []any{map[string]any{"name": "core", "passwordHash": password, "sshAuthorizedKeys": []any{sshKey}}}},
		"storage": map[string]any{"files": []any{
			map[string]any{"path": "/etc/app/key.conf", "contents": map[string]any{"source": "data:," + url.PathEscape(content)}},
			map[string]any{"path": "/etc/app/packed", "contents": map[string]any{"compression": "gzip", "source": "data:;base64," + base64.StdEncoding.EncodeToString(z.Bytes())}},
			map[string]any{"path": "/etc/pin", "contents": map[string]any{"source": "data:," + short}},
		}},
		"systemd": map[string]any{"units": []any{map[string]any{"name": "app.service", "enabled": true, "contents": "[Service]\nEnvironment=TOKEN=t0k3n-in-a-unit\n"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// secretsOf are the values that the tests look for.
func secretsOf() []string {
	return []string{"s3cr3t <of> the file", password, sshKey, query, "pa55w0rd", "eyJhbGciOiJIUzI1NiJ9", nested, packed, "t0k3n-in-a-unit", "data:," + short}
}

// leaks returns a part of a secret that a text gives away.
func leaks(text string, secrets ...string) string {
	for _, s := range secrets {
		if len(s) < shortest {
			if strings.Contains(text, s) {
				return s
			}
			continue
		}
		for i := 0; i+shortest <= len(s); i++ {
			if strings.Contains(text, s[i:i+shortest]) {
				return s[i : i+shortest]
			}
		}
	}
	return ""
}

// Lines as programs print them when something goes wrong: each must still say
// what went wrong, and nothing that is secret.
func TestRedactedLines(t *testing.T) {
	r := newRedactor(testConfig(t))
	quote := func(s string) string { b, _ := json.Marshal(s); return string(b) }
	for _, c := range []struct {
		name, in string
		tells    []string // what must still be told
	}{
		{"an operation that failed", `CRITICAL : files: createFilesystemsFiles: createFiles: op(3): [failed]   writing file "/sysroot/etc/app/key.conf": no space left on device`, []string{`"/sysroot/etc/app/key.conf"`, "no space left on device"}},
		{"a unit that failed", `CRITICAL : files: op(5): [failed]   processing unit "app.service": error`, []string{"app.service"}},
		{"a user that could not be made", `CRITICAL : op(1): [failed] creating or modifying user "core": exit status 12: Cmd: "useradd" "--password" ` + quote(password) + ` "core" Stdout: "" Stderr: "cannot"`, []string{`"useradd"`, `user "core"`, `Stderr: "cannot"`}},
		{"the content as it is", "error in: " + content, []string{"error in"}},
		{"the content in JSON", "error in " + quote(content), []string{"error in"}},
		{"the content in JSON in JSON", "error in " + quote(quote(content)), []string{"error in"}},
		{"the content as Go quotes it", fmt.Sprintf("error in %q", content), []string{"error in"}},
		{"the content in a URL", "error in data:," + url.PathEscape(content), []string{"error in data:"}},
		{"the content in a URL's query", "error in http://h/?c=" + url.QueryEscape(content), []string{"error in http://h/"}},
		{"the content in base64", "error in " + base64.StdEncoding.EncodeToString([]byte(content)), []string{"error in"}},
		{"the beginning of the content", "error near " + content[:20], []string{"error near"}},
		{"the end of the content", "error near " + content[len(content)-20:], []string{"error near"}},
		{"the middle of the content", "error near " + content[12:26] + "...", []string{"error near"}},
		{"a hash that is cut off", "error: invalid hash " + password[:30], []string{"invalid hash"}},
		{"a key", "error: bad key " + sshKey, []string{"bad key"}},
		{"a key that is cut off", "error: bad key " + sshKey[20:50], []string{"bad key"}},
		{"somebody else's key", "error: bad key ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC7", []string{"bad key"}},
		{"somebody else's hash", "error: bad hash $6$rounds=5000$saltsalt$aaaaaaaaaaaaaaaaaaaa", []string{"bad hash"}},
		{"a URL with credentials", `CRITICAL : failed to fetch: Get "https://user:pa55w0rd@config.example.net/node1.ign?` + query + `": dial tcp: no such host`, []string{"config.example.net/node1.ign", "no such host"}},
		{"a URL that is not in the config", `error: Get "https://joe:hunter2@other.example.net/x?token=abc#frag": refused`, []string{"other.example.net/x", "refused"}},
		{"a header", "error: header Authorization: " + bearer, []string{"header Authorization"}},
		{"somebody else's header", "error: Authorization: Bearer abcdef.ghijkl", []string{"Authorization"}},
		{"what a merged config holds", "error: invalid hash " + nested, []string{"invalid hash"}},
		{"what is packed", "error: cannot parse " + quote(packed), []string{"cannot parse"}},
		{"a content that is short", "error: not a pin: data:," + short + " at the end", []string{"not a pin", "at the end"}},
		{"a data URL in the middle", `error: source "data:text/plain,hello%20there" is bad`, []string{`"data:`, `" is bad`}},
		{"metadata: is no data URL", "error: cannot read metadata: timeout", []string{"metadata: timeout"}},
		{"an address stays", `error: "https://config.example.net/node1.ign": timeout`, []string{`"https://config.example.net/node1.ign": timeout`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := strings.Join(r.lines(c.in, false), "\n")
			if part := leaks(got, append(secretsOf(), "hunter2", "token=abc", "AAAAB3NzaC1yc2E", "rounds=5000", "abcdef.ghijkl", "hello%20there")...); part != "" {
				t.Errorf("%q is told: %s", part, got)
			}
			for _, want := range c.tells {
				if !strings.Contains(got, want) {
					t.Errorf("no %q in: %s", want, got)
				}
			}
		})
	}
}

// A stage that fails prints the config: none of it is told.
func TestTheWholeConfig(t *testing.T) {
	config := testConfig(t)
	var v any
	if err := json.Unmarshal(config, &v); err != nil {
		t.Fatal(err)
	}
	indented, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	printed := "INFO     : Stage: files\nfiles failed\nFull config:\n" + string(indented) + "\nCRITICAL : Ignition failed: no space left on device\n"
	r := newRedactor(config)
	got := r.lines(printed, false)
	if want := []string{"files failed", "CRITICAL : Ignition failed: no space left on device"}; strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("told\n%s", strings.Join(got, "\n"))
	}
	if part := leaks(r.text(printed), secretsOf()...); part != "" {
		t.Errorf("%q is left in the text", part)
	}
	// Cut off anywhere: what is left of the first line is not told.
	for i := 1; i < len(printed); i += 7 {
		if part := leaks(strings.Join(r.lines(printed[i:], true), "\n"), secretsOf()...); part != "" {
			t.Errorf("cut off at %d, %q is told", i, part)
		}
	}
	// On one line, and in another program's words.
	for _, line := range []string{"error: " + string(config), "error: " + strconv.Quote(string(config))} {
		if got := r.lines(line, false); len(got) > 0 {
			t.Errorf("told %q", got)
		}
	}
}

// Of a config that cannot be read, nobody knows what is secret.
func TestABrokenConfig(t *testing.T) {
	config := testConfig(t)
	for _, broken := range [][]byte{config[:len(config)-1], config[1:], config[:len(config)/2], append([]byte("x"), config...)} {
		r := newRedactor(broken)
		for _, c := range []string{"CRITICAL : error at line 1: " + string(broken), "error near " + string(broken[100:160])} {
			if part := leaks(strings.Join(r.lines(c, false), "\n"), secretsOf()...); part != "" {
				t.Errorf("%q is told", part)
			}
		}
		if got := r.lines("CRITICAL : failed to acquire config: config is not valid", false); len(got) != 1 || !strings.Contains(got[0], "config is not valid") {
			t.Errorf("told %q", got)
		}
	}
}

// Without a config, only what gives itself away is taken out.
func TestWithoutAConfig(t *testing.T) {
	r := newRedactor(nil, nil)
	line := "CRITICAL : failed to fetch config: resource not found"
	if got := r.lines(line+"\nINFO     : all is well\n", false); len(got) != 1 || got[0] != line {
		t.Errorf("told %q", got)
	}
}

func TestDataURL(t *testing.T) {
	for in, want := range map[string]string{
		"data:,a%20b":                     "a b",
		"data:text/plain;base64,aGVsbG8=": "hello",
		"data:;base64,aGVsbG8":            "hello",
		"data:;base64,-_-_":               "\xfb\xff\xbf",
		"data:;base64,!":                  "",
		"data:nothing":                    "",
		"data:,100%":                      "100%",
		"data:;base64,H4sIAAAAAAAAA8tIzcnJBwCGphA2BQAAAA==": "hello",
	} {
		if got := dataURL(in); got != want {
			t.Errorf("%s: got %q, want %q", in, got, want)
		}
	}
}

// A large config must not hold up a machine that is about to say why it fails.
func TestALargeConfig(t *testing.T) {
	large, err := json.Marshal(map[string]any{"storage": map[string]any{"files": []any{map[string]any{"path": "/etc/x", "contents": map[string]any{"source": "data:," + strings.Repeat("0123456789abcdefghij", 200_000)}}}}})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan []string, 1)
	go func() { done <- newRedactor(large).lines(strings.Repeat("error 789abcdefghij01\n", 5000), false) }()
	select {
	case got := <-done:
		if len(got) == 0 || strings.Contains(got[0], "abcdefgh") {
			t.Errorf("told %.100q", got)
		}
	case <-time.After(time.Minute):
		t.Fatal("it takes for ever")
	}
}

// Whatever a secret looks like and wherever it is printed, in whatever form:
// no eight bytes of it in a row are told, unless a name or path of the config
// has them too.
func FuzzRedactor(f *testing.F) {
	f.Add("hunter2hunter2", "error: ", " at the end", "/etc/x", uint8(0))
	f.Add("a\"b\\c<d>&e\n\u00e4\u2028f", "{\"k\":\"", "\"}", "core", uint8(1))
	f.Add("$y$j9T$F5Jx5fExrKuPp53x", "[failed] ", "", "/sysroot", uint8(2))
	f.Add(strings.Repeat("ab", 40), "warning ab", "ba", "abab", uint8(3))
	f.Add("\xff\xfe invalid", "http://u:", "@h/", "name", uint8(4))
	f.Add("user:pass@host?q", "data:", ",x", "e", uint8(5))
	f.Fuzz(func(t *testing.T, secret, before, after, public string, form uint8) {
		if !utf8.ValidString(secret) || len(secret) < tooShort || len(before)+len(after)+len(secret) > 4096 {
			return // JSON holds no other strings
		}
		config, err := json.Marshal(map[string]any{"passwd": map[string]any{"users": []any{map[string]any{"name": public, "passwordHash": secret}}}})
		if err != nil {
			t.Fatal(err)
		}
		json1, _ := json.Marshal(secret)
		forms := []string{secret, string(json1), strconv.Quote(secret), url.QueryEscape(secret), url.PathEscape(secret), base64.StdEncoding.EncodeToString([]byte(secret)), secret[:len(secret)/2], secret[len(secret)/2:]}
		printed := forms[int(form)%len(forms)]
		r := newRedactor(config)
		out := r.text(before + printed + after)
		if strings.Count(out, "\n") != strings.Count(before+printed+after, "\n") {
			t.Errorf("%q has other lines than it had", out)
		}
		whole := newRedactor(config).secrets
		for i := 0; i+shortest <= len(secret); i++ {
			part := secret[i : i+shortest]
			if strings.Contains(out, part) && strings.Trim(part, "\n") != "" && !strings.Contains(mark, part) && !inPublic(part, r.public) {
				t.Fatalf("%q of %q is told in %q", part, whole, out)
			}
		}
		if len(secret) < shortest && strings.Trim(secret, "\n") != "" && strings.Contains(out, secret) && !inPublic(secret, r.public) && !strings.Contains(mark, secret) {
			t.Errorf("%q is told in %q", secret, out)
		}
	})
}

// inPublic says whether a part may have come from names and paths, perhaps
// several of them side by side.
func inPublic(part string, public []string) bool {
	for _, p := range public {
		if len(p) >= tooShort-1 && (strings.Contains(p, part) || strings.Contains(part, p) || overlaps(part, p)) {
			return true
		}
	}
	return false
}

// overlaps says whether one's end is the other's beginning.
func overlaps(a, b string) bool {
	for n := 1; n <= min(len(a), len(b)); n++ {
		if a[len(a)-n:] == b[:n] || b[len(b)-n:] == a[:n] {
			return true
		}
	}
	return false
}
