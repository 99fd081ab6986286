package debian

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/tree"
)

const zeros = "0000000000000000000000000000000000000000000000000000000000000000"

func stanzaOf(name string, fields ...string) string {
	return "Package: " + name + "\nVersion: 1\nArchitecture: all\nFilename: pool/" + name + ".deb\nSize: 1\nSHA256: " + zeros + "\n" + strings.Join(fields, "")
}

func indexOf(t testing.TB, text string) (*Index, error) {
	t.Helper()
	reduced, err := reduceText(t.Context(), strings.NewReader(text), "amd64")
	if err != nil {
		return nil, err
	}
	x := &Index{Suite: "trixie", arch: "amd64"}
	if err := x.add(reduced); err != nil {
		return nil, err
	}
	x.names()
	return x, nil
}

func TestPackagesFilesAreRead(t *testing.T) {
	x, err := indexOf(t, stanzaOf("a", "Description: none\n of our business\nDepends: b,\n c (>= 1),\n\td\nTag: x\n")+
		"\n\n   \nArchitecture: all\nDepends: stray\n\n"+ // a stanza of no package
		strings.ReplaceAll(stanzaOf("b"), "\n", "\r\n")+"\n"+
		strings.Replace(stanzaOf("c"), "all", "arm64", 1)+"\n"+
		strings.Replace(stanzaOf("d", "Provides: v (= 1), w:any"), "pool/", "./pool/", 1)) // no end of line at the end
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range x.stanzas {
		got = append(got, fmt.Sprintf("%s %s [%s]", s.name, s.filename, s.depends))
	}
	if want := "a pool/a.deb [b, c (>= 1), d]; b pool/b.deb []; d pool/d.deb []"; strings.Join(got, "; ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, "; "), want)
	}
	if x.byName["c"] != nil || len(x.provided["v"]) != 1 || len(x.provided["w"]) != 1 {
		t.Errorf("names %v, provided %v", x.byName, x.provided)
	}
}

func TestPackagesFilesAreRefused(t *testing.T) {
	replace := func(old, new string) string { return strings.Replace(stanzaOf("a"), old, new, 1) }
	for _, c := range []struct{ name, text, want string }{
		{"a name with a control character", replace("Package: a", "Package: a\x1b[2J"), `Package "a\x1b[2J" makes no sense`},
		{"no version", replace("Version: 1\n", ""), `package "a": Version "" makes no sense`},
		{"a file outside", replace("pool/a.deb", "../../etc/passwd"), `Filename "../../etc/passwd" makes no sense`},
		{"an absolute file", replace("pool/a.deb", "/etc/passwd"), `Filename "/etc/passwd" makes no sense`},
		{"no file", replace("Filename: pool/a.deb\n", ""), `Filename "." makes no sense`},
		{"a negative size", replace("Size: 1", "Size: -1"), `Size "-1" makes no sense`},
		{"a huge size", replace("Size: 1", "Size: 9999999999999"), `makes no sense`},
		{"a digest that is none", replace(zeros, strings.Repeat("g", 64)), `SHA256 "gggg`},
		{"a line without end", stanzaOf("a", strings.Repeat("x", maxLine+1)), "line 7 is longer than 1048576 bytes"},
	} {
		if _, err := indexOf(t, c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", c.name, err, c.want)
		}
	}
}

// endless is what a small file may unpack to: lines of 64 KiB or so.
type endless struct{}

var longLine = append(bytes.Repeat([]byte("x"), 1<<16), '\n')

func (endless) Read(p []byte) (int, error) { return copy(p, longLine), nil }

func TestABombIsNotUnpacked(t *testing.T) {
	if _, err := reduceText(t.Context(), endless{}, "amd64"); err == nil || err.Error() != "more than 536870912 bytes unpacked" {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := reduceText(ctx, endless{}, "amd64"); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}

func TestCompressedIndexes(t *testing.T) {
	text := stanzaOf("a")
	for suffix, program := range map[string]string{"": "cat", ".gz": "gzip", ".xz": "xz"} {
		path, err := exec.LookPath(program)
		if err != nil {
			t.Skipf("%s is missing: make judges", program)
		}
		cmd := exec.Command(path)
		cmd.Stdin = strings.NewReader(text)
		packed, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := reduce(t.Context(), tree.Bytes(packed), suffix, "amd64"); err != nil || got != text+"\n" {
			t.Errorf("%q: got %q, %v", suffix, got, err)
		}
		if suffix == "" {
			continue
		}
		for _, bad := range [][]byte{nil, packed[:len(packed)-3], []byte("<html>a page</html>")} {
			if got, err := reduce(t.Context(), tree.Bytes(bad), suffix, "amd64"); diag.ExitCode(err) != diag.ExitDependency {
				t.Errorf("%q: %q gives %q, %v", suffix, bad, got, err)
			}
		}
	}
}

func TestDates(t *testing.T) {
	want := time.Date(2026, 5, 9, 10, 0, 0, 0, time.UTC)
	for _, text := range []string{"Sat, 09 May 2026 10:00:00 UTC", "Sat, 9 May 2026 10:00:00 UTC", "Sat, 09 May 2026 10:00:00 GMT", "Sat, 09 May 2026 10:00:00 +0000", "Sat, 09 May 2026 10:00:00 Z"} {
		if got, err := parseDate(text); err != nil || !got.Equal(want) {
			t.Errorf("%s: got %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "UTC", "2026-05-09 UTC", "Sat, 09 May 2026 10:00:00 CET", "Sat, 09 May 2026 10:00:00 +0100", "Sat, 41 May 2026 10:00:00 UTC"} {
		if got, err := parseDate(text); err == nil {
			t.Errorf("%s: got %v", text, got)
		}
	}
}

// What a name in a repository means is what apt takes it for: a file name, not
// an address.
func TestAddressesOfFiles(t *testing.T) {
	for _, c := range []struct{ base, name, want string }{
		{"http://mirror.example/debian", "pool/a+b_1~2.deb", "http://mirror.example/debian/pool/a+b_1~2.deb"},
		{"http://mirror.example", "pool/a_1%3a2.deb", "http://mirror.example/pool/a_1%253a2.deb"},
		{"http://me:x@mirror.example/a%20b", "c d/e?f#g", "http://me:x@mirror.example/a%20b/c%20d/e%3Ff%23g"},
		{"file:/srv/debian", "dists/x", "file:/srv/debian/dists/x"},
		{"http://mirror.example", "../x", ""},
		{"http://mirror.example", "a/../../x", ""},
		{"http://mirror.example", "/x", ""},
		{"http://mirror.example", "a//x", ""},
		{"http://mirror.example", "", ""},
	} {
		got, err := join(c.base, c.name)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s, %s: got %s, %v; want %s", c.base, c.name, got, err, c.want)
		}
	}
	if _, err := (Package{Name: "a", Suite: "sid"}).URL(nil); diag.ExitCode(err) != diag.ExitInput {
		t.Errorf("a suite that is not in use: %v", err)
	}
}

// Versions are compared as dpkg compares them.
func TestVersionsAreComparedAsDpkgDoes(t *testing.T) {
	dpkg, err := exec.LookPath("dpkg")
	if err != nil {
		t.Skip("dpkg is missing")
	}
	pairs := [][2]string{
		{"1", "1"}, {"1.0", "1.00"}, {"1~rc1", "1"}, {"1~~", "1~"}, {"1:0", "2"}, {"0:1", "1"}, {"1-1", "1"}, {"1-0", "1"}, {"1.2-3", "1.2-10"},
		{"1a", "1+"}, {"1+b", "1.b"}, {"2.0-1+deb13u1", "2.0-1+b2"}, {"1-1-1", "1-1"}, {"1.0~git20250101.abc", "1.0"}, {"09", "9"}, {"1.", "1"},
	}
	r := rand.New(rand.NewPCG(1, 2))
	random := func() string {
		b := []byte{"0123456789"[r.IntN(10)]}
		for range r.IntN(6) {
			b = append(b, "01239abZ~~..++-"[r.IntN(15)])
		}
		return strings.TrimRight(string(b), "-")
	}
	for range 150 {
		a := random()
		b := random()
		if r.IntN(2) == 0 {
			b = a + random()[1:]
		}
		pairs = append(pairs, [2]string{a, b})
	}
	for _, p := range pairs {
		operator := map[int]string{-1: "lt", 0: "eq", 1: "gt"}[max(-1, min(1, compare(p[0], p[1])))]
		if out, err := exec.Command(dpkg, "--compare-versions", p[0], operator, p[1]).CombinedOutput(); err != nil {
			t.Errorf("dpkg does not say that %s is %s %s: %v %s", p[0], operator, p[1], err, out)
		}
	}
}

func FuzzVersions(f *testing.F) {
	f.Add("1.0~rc1-1", "1:1.0+b", "2")
	f.Add("", "-", ":")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		if compare(a, b) != -compare(b, a) && (compare(a, b) < 0) == (compare(b, a) < 0) {
			t.Errorf("%q and %q: %d and %d", a, b, compare(a, b), compare(b, a))
		}
		if compare(a, b) <= 0 && compare(b, c) <= 0 && compare(a, c) > 0 {
			t.Errorf("%q <= %q <= %q, but not the first to the last", a, b, c)
		}
	})
}

// Whatever stands in a Packages file, what is taken of it is within bounds and
// makes sense; nor does resolving it fail but for bad input.
func FuzzPackages(f *testing.F) {
	f.Add(stanzaOf("a", "Depends: b | c:any (>= 1) [amd64], d <!x>\n") + "\n" + stanzaOf("b", "Provides: d (= 1)\n"))
	f.Add("Architecture: amd64\nSize: 1\n\n\n" + stanzaOf("a", "Pre-Depends: ${x}, a (\n"))
	f.Add(" folded\nPackage\n:\n")
	f.Fuzz(func(t *testing.T, text string) {
		x, err := indexOf(t, text)
		if err != nil {
			return
		}
		suites := []Suite{{URI: "http://mirror.example/debian", Name: "trixie"}}
		for i := range x.stanzas {
			p := x.stanzas[i].toPackage()
			address, err := p.URL(suites)
			if err != nil || !strings.HasPrefix(address, "http://mirror.example/debian/") || p.Name == "" || p.Version == "" || p.Size <= 0 || len(p.SHA256) != 64 {
				t.Errorf("%+v at %s: %v", p, address, err)
			}
			if _, err := Resolve([]*Index{x}, []string{p.Name}, nil, "amd64"); err != nil && diag.ExitCode(err) != diag.ExitInput {
				t.Errorf("resolving %q: %v", p.Name, err)
			}
		}
	})
}

func FuzzRelease(f *testing.F) {
	f.Add("Codename: trixie\nSuite: stable\nDate: Sat, 09 May 2026 10:00:00 UTC\nValid-Until: Sat, 16 May 2026 10:00:00 UTC\nArchitectures: all amd64\nSHA256:\n " + zeros + " 12 main/binary-amd64/Packages.xz\n")
	f.Add("Date: x\nSHA256:\n\t" + zeros + " -1 ../x\n")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := parseRelease(text)
		if err != nil {
			return
		}
		if r.date.IsZero() {
			t.Error("it has no date")
		}
		for name, file := range r.files {
			if file.size < 0 || !isDigest(file.sha256) {
				t.Errorf("%q: %+v", name, file)
			}
		}
		r.check(Suite{Name: "trixie"}, "amd64", time.Unix(0, 0))
	})
}

// Nothing but what was signed is ever returned.
func FuzzInRelease(f *testing.F) {
	f.Add([]byte("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\ntext\n-----BEGIN PGP SIGNATURE-----\n\nwsE=\n-----END PGP SIGNATURE-----\n"))
	keys, err := readKeyring(archiveKeyring)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if text, err := verify(data, keys, time.Unix(1_778_320_000, 0)); err == nil {
			t.Errorf("accepted: %q", text)
		}
	})
}

// Any dependency field is understood or refused.
func FuzzDependency(f *testing.F) {
	f.Add("a, b (>= 1:2~3-4) | c:any [amd64 !i386] <!nocheck>, ${d}")
	f.Add("a (= 1), , |")
	f.Add("a (")
	f.Add("a:")
	f.Fuzz(func(t *testing.T, field string) {
		s := &stanza{name: "x", version: "1", depends: field, provides: field}
		r := &resolver{native: "amd64", candidates: map[string]*stanza{}}
		needs, err := r.needs(&choice{stanza: s})
		if err != nil && !strings.Contains(err.Error(), "make no sense") {
			t.Errorf("got %v", err)
		}
		for _, n := range needs {
			for _, p := range n.Possibilities {
				r.satisfies(s, p)
				possibility(p)
			}
		}
	})
}
