package debian

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/diag"
)

// parseIndex makes an index of lines: "name version; Field: value; …".
func parseIndex(t *testing.T, suite, lines string) *Index {
	t.Helper()
	x := &Index{Suite: suite, arch: "amd64"}
	for line := range strings.Lines(lines) {
		parts := strings.Split(strings.TrimSpace(line), "; ")
		name, version, ok := strings.Cut(parts[0], " ")
		if !ok {
			continue
		}
		s := stanza{suite: suite, name: name, version: version, architecture: "amd64", filename: "pool/" + name + ".deb", size: "1", sha256: zeros}
		for _, p := range parts[1:] {
			field, value, _ := strings.Cut(p, ": ")
			to := s.field(field)
			if to == nil {
				t.Fatalf("no field %q", field)
			}
			*to = value
		}
		x.stanzas = append(x.stanzas, s)
	}
	x.names()
	return x
}

func TestResolve(t *testing.T) {
	for _, c := range []struct {
		name          string
		main, updates string
		want, exclude string
		got           string
	}{
		{name: "what is depended on comes along", main: `
			app 1; Depends: lib, data
			lib 1; Pre-Depends: base
			data 1
			base 1
			other 1`, want: "app", got: "app=1 base=1 data=1 lib=1"},
		{name: "a circle is fine", main: "a 1; Depends: b\nb 1; Depends: a", want: "a", got: "a=1 b=1"},
		{name: "the highest version of all suites", main: "app 1; Depends: lib\nlib 1:1.0-1", updates: "lib 1:1.0-1+deb13u1\napp 0.9", want: "app", got: "app=1 lib=1:1.0-1+deb13u1"},
		{name: "twice wanted", main: "app 1", want: "app app", got: "app=1"},

		{name: "every relation of versions", main: `
			app 2; Depends: a (>= 2), b (<= 2), c (>> 1.9), d (<< 2.0.1), e (= 2)
			a 2
			b 2
			c 2
			d 2
			e 2`, want: "app", got: "a=2 app=2 b=2 c=2 d=2 e=2"},
		{name: "any architecture", main: "app 1; Depends: python:any (>= 3)\npython 3", want: "app", got: "app=1 python=3"},

		{name: "the first of alternatives", main: "app 1; Depends: a | b\na 1\nb 1", want: "app", got: "a=1 app=1"},
		{name: "one that is there", main: "app 1; Depends: a | b\nb 1", want: "app", got: "app=1 b=1"},
		{name: "one whose version will do", main: "app 1; Depends: a (>= 2) | b\na 1\nb 1", want: "app", got: "app=1 b=1"},
		{name: "one that is taken anyway", main: "app 1; Depends: a | b\na 1\nb 1\nz 1; Depends: y\ny 1; Depends: b", want: "app z", got: "app=1 b=1 y=1 z=1"},

		{name: "a name that is provided", main: "app 1; Depends: awk\nmawk 1; Provides: awk", want: "app", got: "app=1 mawk=1"},
		{name: "by one that is taken anyway", main: "app 1; Depends: awk\nmawk 1; Provides: awk\ngawk 1; Provides: awk", want: "app mawk", got: "app=1 mawk=1"},
		{name: "by the most important", main: "app 1; Depends: awk\ngawk 1; Provides: awk; Priority: optional\nmawk 1; Provides: awk; Priority: required", want: "app", got: "app=1 mawk=1"},
		{name: "by the first of equals", main: "app 1; Depends: awk\nmawk 1; Provides: awk\ngawk 1; Provides: awk", want: "app", got: "app=1 gawk=1"},
		{name: "the package itself rather than one that provides it", main: "app 1; Depends: awk\nawk 1\nmawk 1; Provides: awk; Priority: required", want: "app", got: "app=1 awk=1"},
		{name: "in a version", main: "app 1; Depends: abi (>= 2)\na 1; Provides: abi (= 1)\nb 1; Provides: abi (= 2), more", want: "app", got: "app=1 b=1"},
		{name: "rather than a package that is too old", main: "app 1; Depends: a (>= 2)\na 1\nb 1; Provides: a (= 2)", want: "app", got: "app=1 b=1"},
		{name: "by the newest version only", main: "app 1; Depends: awk\nmawk 1; Provides: awk\ngawk 1; Provides: awk", updates: "gawk 2", want: "app", got: "app=1 mawk=1"},

		{name: "what is excluded counts as met", main: "app 1; Depends: perl, lib\nperl 1; Depends: perl-base\nperl-base 1\nlib 1", want: "app", exclude: "perl*", got: "app=1 lib=1"},
		{name: "and so do alternatives of it", main: "app 1; Depends: debconf | cdebconf\ndebconf 1\ncdebconf 1", want: "app", exclude: "debconf", got: "app=1"},
		{name: "even where there is no such package", main: "app 1; Depends: gone", want: "app", exclude: "go?e", got: "app=1"},
		{name: "a package that is wanted is never excluded", main: "perl 1; Depends: perl-base\nperl-base 1", want: "perl", exclude: "perl*", got: "perl=1"},
		{name: "who is excluded provides nothing", main: "app 1; Depends: awk\ngawk 1; Provides: awk\nmawk 1; Provides: awk", want: "app", exclude: "gawk", got: "app=1 mawk=1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			indexes := []*Index{parseIndex(t, "trixie", c.main), parseIndex(t, "trixie-updates", c.updates)}
			want := strings.Fields(c.want)
			for range 2 {
				packages, err := Resolve(indexes, want, strings.Fields(c.exclude), "amd64")
				if err != nil {
					t.Fatal(err)
				}
				var got []string
				for _, p := range packages {
					got = append(got, p.Name+"="+p.Version)
				}
				if strings.Join(got, " ") != c.got {
					t.Errorf("got  %s\nwant %s", strings.Join(got, " "), c.got)
				}
				slices.Reverse(want)
				slices.Reverse(indexes)
			}
		})
	}
}

func TestPackagesThatCannotBeHad(t *testing.T) {
	for _, c := range []struct {
		name                string
		main, updates, want string
		of, msg, hint       string
	}{
		{name: "no such package", main: "openssh-server 1\nopenssh-client 1", want: "openssh-sever",
			of: "openssh-sever", msg: `package "openssh-sever" does not exist in trixie, trixie-updates`, hint: `did you mean "openssh-server"?`},
		{name: "nothing like it", main: "openssh-server 1", want: "x",
			of: "x", msg: `package "x" does not exist in trixie, trixie-updates`},
		{name: "a name that others provide", main: "mawk 1; Provides: awk\ngawk 1; Provides: awk", want: "awk",
			of: "awk", msg: `package "awk" does not exist in trixie, trixie-updates`, hint: "it is provided by gawk, mawk: name one of them"},
		{name: "a dependency that is not there", main: "app 1; Depends: lib\nlib 1; Depends: base\nbase 1; Depends: gone | lost (>= 2)", want: "app",
			of: "app", msg: `package "app" -> lib -> base -> gone | lost (>= 2): no such package`, hint: "leave it out, or exclude what it should not need"},
		{name: "in other versions only", main: "app 1; Depends: lib (>= 3)\nlib 1", updates: "lib 2", want: "app",
			of: "app", msg: `package "app" -> lib (>= 3): no such version; lib 1 is in trixie, lib 2 is in trixie-updates`, hint: "leave it out, or exclude what it should not need"},
		{name: "a version is asked of what is provided without one", main: "app 1; Depends: awk (>= 1)\nmawk 1; Provides: awk, mua", want: "app",
			of: "app", msg: `package "app" -> awk (>= 1): no such version; mawk 1 in trixie provides awk, mua`, hint: "leave it out, or exclude what it should not need"},
		{name: "dependencies that nobody understands", main: "app 1; Depends: lib\nlib 1; Depends: base (", want: "app",
			of: "app", msg: `package "app" -> lib -> its dependencies "base (" make no sense: `, hint: "leave it out, or exclude what it should not need"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Resolve([]*Index{parseIndex(t, "trixie", c.main), parseIndex(t, "trixie-updates", c.updates)}, strings.Fields(c.want), nil, "amd64")
			var wrong *PackageError
			if !errors.As(err, &wrong) {
				t.Fatalf("got %v", err)
			}
			if wrong.Package != c.of || wrong.Msg != c.msg && !(strings.HasSuffix(c.msg, ": ") && strings.HasPrefix(wrong.Msg, c.msg)) || wrong.Hint != c.hint {
				t.Errorf("got  %s: %s (%s)\nwant %s: %s (%s)", wrong.Package, wrong.Msg, wrong.Hint, c.of, c.msg, c.hint)
			}
			if code := diag.ExitCode(err); code != diag.ExitInput || strings.Contains(err.Error(), "\n") {
				t.Errorf("exit status %d: %v", code, err)
			}
		})
	}
}

func TestResolveRefusesItsSettings(t *testing.T) {
	for _, c := range []struct{ exclude, arch, want string }{
		{"[", "amd64", `exclude "[": not a glob`},
		{"x", "x86_64", `architecture "x86_64": Slipway builds for amd64, arm64, ppc64le and s390x`},
	} {
		_, err := Resolve(nil, nil, []string{c.exclude}, c.arch)
		if err == nil || err.Error() != c.want || diag.ExitCode(err) != diag.ExitInput {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}

// The names that dpkg gives to the architectures that Go knows.
func TestArchitectures(t *testing.T) {
	for goarch, want := range map[string]string{"amd64": "amd64", "arm64": "arm64", "ppc64le": "ppc64el", "s390x": "s390x"} {
		if got, err := Architecture(goarch); got != want || err != nil {
			t.Errorf("%s: got %s, %v", goarch, got, err)
		}
		x := parseIndex(t, "trixie", "app 1; Depends: lib:"+want+", other:any\nlib 1\nother 1")
		if packages, err := Resolve([]*Index{x}, []string{"app"}, nil, goarch); len(packages) != 3 {
			t.Error(fmt.Sprint(packages, err))
		}
	}
}
