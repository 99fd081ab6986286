package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/progress"
)

// profiles runs builder profiles with the site's directory.
func (s *site) profiles(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	c := newRootCommand()
	c.SetOut(&out)
	c.SetErr(&out)
	c.SetArgs(append([]string{"profiles", "--project", s.dir}, args...))
	err := c.ExecuteContext(t.Context())
	return s.plain(out.String()), err
}

func TestProfilesAreListed(t *testing.T) {
	s := newSite(t)
	s.edit(t, "profiles/p.yaml", "images:", "description: For tests\nroles: [control-plane, worker]\nimages:")
	s.write(t, "profiles/part.yaml", "description: Only extended\n")
	out, err := s.profiles(t)
	const want = `NAME  ARCHITECTURE  ROLES                 KUBERNETES  DESCRIPTION
p     amd64         control-plane,worker  v1.37.2     For tests
`
	if err != nil || out != want {
		t.Errorf("got\n%swant\n%s%v", out, want, err)
	}
	out, err = s.profiles(t, "--output", "json")
	var list []struct{ Name, Architecture string }
	if err != nil || json.Unmarshal([]byte(out), &list) != nil || len(list) != 1 || list[0].Name != "p" || list[0].Architecture != "amd64" {
		t.Errorf("got %s, %v", out, err)
	}
}

// What is shown is a profile: the same can be built from it.
func TestAShownProfileIsAProfile(t *testing.T) {
	s := newSite(t)
	s.write(t, "profiles/child.yaml", "extends: [p]\nos: {packages: [bash], suite: '13'}\ndisk: {state: 1GiB}\n")
	out, err := s.profiles(t, "show", "child")
	const want = `# child, with all that it extends
architecture: amd64
os:
  suite: "13"
  mirror: MIRROR
  securityMirror: SECURITY
  keyring: DIR/profiles/keys/site.gpg
  packages:
    - app
    - bash
kernel:
  package: linux
kubernetes:
  version: v1.37.2
  imageRepository: slipway.local
images: none
overlays:
  - base
disk:
  boot: 64MiB
  root: 64MiB
  verity: 1MiB
  state: 1GiB
`
	if err != nil || out != want {
		t.Fatalf("got\n%swant\n%s%v", out, want, err)
	}
	s.write(t, "shown.yaml", strings.ReplaceAll(out, "DIR", s.dir))
	again, err := s.profiles(t, "show", s.file("shown.yaml"))
	if err != nil || again != strings.Replace(want, "# child", "# shown", 1) {
		t.Errorf("then\n%s%v", again, err)
	}
}

// What a profile that is only extended leaves open is not shown.
func TestAShownProfileSaysNothingEmpty(t *testing.T) {
	s := newSite(t)
	s.write(t, "profiles/part.yaml", "os: {packages: [bash]}\n")
	out, err := s.profiles(t, "show", "part")
	if want := "# part, with all that it extends\nos:\n  packages:\n    - bash\n"; err != nil || out != want {
		t.Errorf("got\n%swant\n%s%v", out, want, err)
	}
}

func TestSchemaOfProfiles(t *testing.T) {
	s := newSite(t)
	out, err := s.profiles(t, "schema")
	var schema struct {
		Properties map[string]struct {
			Description string
			Properties  map[string]struct{ Description string }
		}
	}
	if err != nil || json.Unmarshal([]byte(out), &schema) != nil {
		t.Fatalf("got %s, %v", out, err)
	}
	for name, p := range schema.Properties {
		if p.Description == "" {
			t.Errorf("nobody says what %s is", name)
		}
		for sub, q := range p.Properties {
			if q.Description == "" {
				t.Errorf("nobody says what %s.%s is", name, sub)
			}
		}
	}
	if schema.Properties["os"].Properties["keyring"].Description == "" {
		t.Error("it lacks os.keyring")
	}
}

func TestBadInputToProfiles(t *testing.T) {
	for _, c := range []struct {
		name, text string // of p.yaml
		args, want string
	}{
		{"output", profileText, "--output yaml", `--output "yaml": text or json`},
		{"unknown profile", profileText, "show q", `unknown profile "q" (` + "`builder profiles` lists them)"},
		{"no name", profileText, "show", `accepts 1 arg(s), received 0; see 'builder profiles show --help'`},
		{"unknown verb", profileText, "shwo p", `unknown command "shwo" for "builder profiles" (did you mean "show"?); see 'builder profiles --help'`},
		{"unknown field", "nmae: p\n", "", `DIR/profiles/p.yaml:1:1: unknown field "nmae" (known: architecture, components, description, disk, extends, images, kernel, kubernetes, os, overlays, roles)`},
		{"cycle", "extends:\n- p\n", "show p", `DIR/profiles/p.yaml:2:3: profiles extend one another in a circle: p -> p (remove one of these from extends)`},
		{"not YAML", "os: [\n", "show p", `DIR/profiles/p.yaml:1:6: not valid YAML: did not find expected node content`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t)
			s.write(t, "profiles/p.yaml", c.text)
			out, err := s.profiles(t, strings.Fields(c.args)...)
			if err == nil {
				t.Fatalf("accepted: %s", out)
			}
			if got := s.plain(err.Error()); got != c.want || out != "" {
				t.Errorf("got  %s %s\nwant %s", got, out, c.want)
			}
			if code := diag.ExitCode(err); code != diag.ExitInput {
				t.Errorf("exit status %d, want %d", code, diag.ExitInput)
			}
		})
	}
}

// openTerminal returns both ends of a terminal.
func openTerminal(t *testing.T) (user, program *os.File) {
	t.Helper()
	user, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("this machine has no terminals: %v", err)
	}
	t.Cleanup(func() { user.Close() })
	if err := unix.IoctlSetPointerInt(int(user.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(user.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(filepath.Join("/dev/pts", strconv.Itoa(n)), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("this machine has no terminals: %v", err)
	}
	t.Cleanup(func() { program.Close() })
	if err := unix.IoctlSetWinsize(int(program.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 40}); err != nil {
		t.Fatal(err)
	}
	return user, program
}

// A board is live on terminals that can show it, and has colours where the
// user does not refuse them (no-color.org).
func TestBoardsOnTerminals(t *testing.T) {
	for _, c := range []struct {
		name         string
		env          map[string]string
		live, colour bool
	}{
		{"a terminal", map[string]string{"TERM": "xterm", "NO_COLOR": ""}, true, true},
		{"without colours", map[string]string{"TERM": "xterm", "NO_COLOR": "1"}, true, false},
		{"a dumb one", map[string]string{"TERM": "dumb", "NO_COLOR": ""}, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			for name, value := range c.env {
				t.Setenv(name, value)
			}
			user, program := openTerminal(t)
			b := newBoard(program, "")
			b.Start("resolve", 0, progress.Items).Done(progress.Result{Note: strings.Repeat("long ", 20)})
			b.Close()
			buf := make([]byte, 4096)
			n, err := user.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			got := string(buf[:n])
			if live := strings.Contains(got, "\x1b[2K"); live != c.live {
				t.Errorf("live: %v, want %v: %q", live, c.live, got)
			}
			if colour := strings.Contains(got, "\x1b[32m"); colour != c.colour {
				t.Errorf("colours: %v, want %v: %q", colour, c.colour, got)
			}
			if width := len(strings.NewReplacer("\x1b[2K", "", "\x1b[32m", "", "\x1b[0m", "", "\r\n", "").Replace(got)); c.live && width != 39 {
				t.Errorf("%d columns, want 39: %q", width, got)
			}
		})
	}
}
