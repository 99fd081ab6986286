package apt_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/apt"
	"github.com/slipway-os/slipway/pkg/diag"
)

// config writes files of apt's configuration; "DIR" in them becomes the
// directory's name.
func config(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(strings.ReplaceAll(text, "DIR", dir)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestFindMirrors(t *testing.T) {
	const main, security = "http://mirror.example/debian", "http://mirror.example/debian-security"
	oneLine := "deb http://mirror.example/debian bookworm main\n"
	for _, c := range []struct {
		name           string
		files          map[string]string
		options        apt.Options
		env            map[string]string
		main, security string // default: those above
		from           string // a part of the sentence
	}{
		{name: "one line", files: map[string]string{"sources.list": oneLine}, from: "from this machine's own apt sources (DIR/sources.list, which names bookworm)"},
		{name: "one line with its security updates elsewhere",
			files:    map[string]string{"sources.list": "deb http://mirror.example/debian/ trixie main contrib\ndeb http://updates.example/sec/ trixie-security main\n"},
			security: "http://updates.example/sec", from: "security updates from http://updates.example/sec, from DIR/sources.list"},
		{name: "options in brackets", files: map[string]string{
			"sources.list": "deb [ arch=amd64,arm64 signed-by=/usr/share/keyrings/a b#c.gpg trusted=yes ] http://mirror.example/debian trixie main # a comment\n"}},
		{name: "options without blanks", files: map[string]string{"sources.list": "deb\t[signed-by=/k.gpg]\thttp://mirror.example/debian\ttrixie\tmain\r\n"}},
		{name: "sources, disks and comments are passed over", files: map[string]string{"sources.list": `# deb http://no.example/debian trixie main
deb cdrom:[Debian GNU/Linux 12.0.0 _Bookworm_ - Official amd64 DVD]/ bookworm main
deb "cdrom:[Debian GNU/Linux 13]/" trixie main
deb-src http://no.example/debian trixie main
deb [signed-by=/open http://no.example/debian trixie main
deb http://no.example/debian
deb

` + oneLine}},
		{name: "the old name of security updates", files: map[string]string{"sources.list": oneLine + "deb http://s.example/ stretch/updates main\ndeb http://s.example buster/updates main\n"}, security: "http://s.example"},
		{name: "stanzas", files: map[string]string{"sources.list.d/debian.sources": `# made by an installer
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: trixie trixie-updates
Components: main
 non-free-firmware
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

types: deb
uris: http://updates.example/debian-security
suites: trixie-security
components: main
signed-by:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 # a comment inside
 mDMEYCQjIxYJKwYBBAHaRw8BAQdAD
 -----END PGP PUBLIC KEY BLOCK-----
`}, security: "http://updates.example/debian-security", from: "which names trixie)"},
		{name: "a stanza that is off", files: map[string]string{"sources.list.d/a.sources": "Enabled: no\nTypes: deb\nURIs: http://no.example/debian\nSuites: trixie\nComponents: main\n   \nTypes: deb\nURIs: http://mirror.example/debian\nSuites: trixie\nComponents: main\n"}},
		{name: "other files are passed over", files: map[string]string{
			"sources.list":               oneLine,
			"sources.list.d/a.list.save": "deb http://no.example/debian trixie main\n",
			"sources.list.d/a.list/x":    "",
		}},
		{name: "Debian is told from others who name their suites alike", files: map[string]string{"sources.list.d/a.list": "deb http://vendor.example/apt trixie main\n", "sources.list.d/b.list": "deb http://mirror.example/debian trixie main\ndeb http://mirror.example/debian trixie-updates main\n"}},
		{name: "another suite will do", files: map[string]string{"sources.list": "deb http://mirror.example/debian sid main\n"}, from: "which names sid)"},
		{name: "a list of mirrors", files: map[string]string{"mirrors/debian.list": "# first\nftp://no.example/debian\nhttp://mirror.example/debian/ priority:1\n",
			"sources.list": "deb mirror+file:DIR/mirrors/debian.list trixie main\n"}},
		{name: "a directory", files: map[string]string{"sources.list": "deb file:/srv/mirror/debian trixie main\n"}, main: "file:/srv/mirror/debian", security: "file:/srv/mirror/debian-security"},

		{name: "given", options: apt.Options{Mirror: main + "//"}, files: map[string]string{"sources.list": "deb http://no.example/debian trixie main\ndeb http://no.example/s trixie-security main\n"},
			from: "Debian packages from http://mirror.example/debian, as given; security updates from http://mirror.example/debian-security, beside it"},
		{name: "both given", options: apt.Options{Mirror: main, Security: "https://s.example/x/"}, security: "https://s.example/x", from: "security updates from https://s.example/x, as given"},
		{name: "in the environment", env: map[string]string{"SLIPWAY_MIRROR": main, "SLIPWAY_SECURITY_MIRROR": "http://s.example"}, security: "http://s.example",
			from: "from SLIPWAY_MIRROR; security updates from http://s.example, from SLIPWAY_SECURITY_MIRROR"},
		{name: "given counts more than the environment", options: apt.Options{Mirror: main}, env: map[string]string{"SLIPWAY_MIRROR": "http://no.example"}},
		{name: "a password stays unsaid", options: apt.Options{Mirror: "http://me:secret@mirror.example/debian"},
			main: "http://me:secret@mirror.example/debian", security: "http://me:secret@mirror.example/debian-security", from: "Debian packages from http://mirror.example/debian, as given"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.options.Dir = config(t, c.files)
			c.options.Getenv = func(name string) string { return c.env[name] }
			m, err := apt.FindMirrors(c.options)
			if err != nil {
				t.Fatal(err)
			}
			if c.main == "" {
				c.main = main
			}
			if c.security == "" {
				c.security = security
			}
			if m.Main != c.main || m.Security != c.security {
				t.Errorf("got  %s and %s\nwant %s and %s", m.Main, m.Security, c.main, c.security)
			}
			if want := strings.ReplaceAll(c.from, "DIR", c.options.Dir); !strings.Contains(m.From, want) {
				t.Errorf("got  %s\nwant %s", m.From, want)
			}
			if strings.Contains(m.From, "secret") {
				t.Errorf("a secret shows: %s", m.From)
			}
		})
	}
}

func TestNoMirror(t *testing.T) {
	const hint = " (give one: mirror: in the profile, --mirror, or SLIPWAY_MIRROR)"
	for _, c := range []struct {
		name    string
		files   map[string]string
		options apt.Options
		want    string
	}{
		{name: "no sources", want: "no Debian mirror: this machine has no apt sources in DIR" + hint},
		{name: "another distribution", files: map[string]string{"sources.list.d/ubuntu.sources": "Types: deb\nURIs: http://mirror.example/ubuntu\nSuites: noble noble-updates\nComponents: main universe\n"},
			want: "no Debian mirror: this machine's apt sources in DIR name only Ubuntu noble" + hint},
		{name: "only others", files: map[string]string{"sources.list": "deb http://vendor.example/apt trixie stable\ndeb http://vendor.example/x ./\ndeb tor+http://x.example/debian trixie main\n"},
			want: `no Debian mirror: this machine's apt sources in DIR name only ./, trixie by "http://vendor.example/apt" without main, trixie by "tor+http://x.example/debian", which is neither http, https nor file` + hint},
		{name: "only security", files: map[string]string{"sources.list": "deb http://mirror.example/debian-security trixie-security main\n"},
			want: "no Debian mirror: this machine's apt sources in DIR name a security mirror only" + hint},
		{name: "no address", options: apt.Options{Mirror: "mirror.example/debian"}, want: `mirror "mirror.example/debian": not an http, https or file address`},
		{name: "no host", options: apt.Options{Mirror: "http:///debian"}, want: `mirror "http:///debian": not an http, https or file address`},
		{name: "a bad security mirror", options: apt.Options{Mirror: "http://mirror.example", Security: "ftp://mirror.example"}, want: `security mirror "ftp://mirror.example": not an http, https or file address`},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.options.Dir = config(t, c.files)
			c.options.Getenv = func(string) string { return "" }
			_, err := apt.FindMirrors(c.options)
			if err == nil {
				t.Fatal("accepted")
			}
			if want := strings.ReplaceAll(c.want, "DIR", c.options.Dir); err.Error() != want {
				t.Errorf("got  %s\nwant %s", err, want)
			}
			if code := diag.ExitCode(err); code != diag.ExitInput {
				t.Errorf("exit status %d, want %d", code, diag.ExitInput)
			}
		})
	}
}

// Whatever apt's sources hold, a mirror that is found can be used.
func FuzzSources(f *testing.F) {
	f.Add("deb [signed-by=/k.gpg] http://mirror.example/debian trixie main # x\n", "Types: deb\nURIs: http://mirror.example/debian\nSuites: trixie trixie-security\nComponents: main\n")
	f.Add("deb cdrom:[Debian GNU/Linux]/ trixie main\n", " x\nTypes: deb\n :\n")
	f.Add("deb \"a b\" [", "Enabled: No\n\n\n")
	f.Add("deb mirror+file:/etc/hosts trixie main", "Types: deb\nURIs: file: http://%zz\nSuites: sid\nComponents: main")
	dir := f.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "sources.list.d"), 0o755); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, list, stanzas string) {
		for name, text := range map[string]string{"sources.list": list, "sources.list.d/a.sources": stanzas} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		m, err := apt.FindMirrors(apt.Options{Dir: dir, Getenv: func(string) string { return "" }})
		if err != nil {
			if diag.ExitCode(err) != diag.ExitInput || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %q", err)
			}
			return
		}
		again, err := apt.FindMirrors(apt.Options{Mirror: m.Main, Security: m.Security, Dir: dir, Getenv: func(string) string { return "" }})
		if err != nil || again.Main != m.Main || again.Security != m.Security {
			t.Errorf("found %+v, which is refused: %v", m, err)
		}
	})
}
