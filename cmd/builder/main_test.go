package main

import (
	"context"
	"io"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/diag"
)

func TestCommandsThatDoNotExist(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"buid", `unknown command "buid" for "builder" (did you mean "build"?); see 'builder --help'`},
		{"profile", `unknown command "profile" for "builder" (did you mean "profiles"?); see 'builder --help'`},
		{"version", `unknown command "version" for "builder" (did you mean "--version"?); see 'builder --help'`},
		{"frobnicate", `unknown command "frobnicate" for "builder"; see 'builder --help'`},
		{"help buid", `unknown command "buid" for "builder" (did you mean "build"?); see 'builder help --help'`},
		{"help role chekc", `unknown command "chekc" for "builder role" (did you mean "check"?); see 'builder help --help'`},
		{"completion bahs", `unknown command "bahs" for "builder completion" (did you mean "bash"?); see 'builder completion --help'`},
	} {
		out, err := again(t, strings.Fields(c.args)...)
		if err == nil || err.Error() != c.want || out != "" || diag.ExitCode(err) != diag.ExitInput {
			t.Errorf("%s:\ngot  %s%v (status %d)\nwant %s", c.args, out, err, diag.ExitCode(err), c.want)
		}
	}
}

func TestHelp(t *testing.T) {
	for args, want := range map[string]string{
		"":           "builder bakes immutable",
		"help":       "builder bakes immutable",
		"role":       "A role is a YAML file",
		"help build": "build resolves what",
		"--version":  "builder devel",
	} {
		if out, err := again(t, strings.Fields(args)...); err != nil || !strings.HasPrefix(out, want) {
			t.Errorf("%q: got %.40q, %v, want %q", args, out, err, want)
		}
	}
}

func TestVersionSaysWhatIsKnown(t *testing.T) {
	revision := debug.BuildSetting{Key: "vcs.revision", Value: "0123abcd"}
	for _, c := range []struct {
		name, want string
		info       debug.BuildInfo
	}{
		{"without a stamp", "builder devel, built with go1.26.8", debug.BuildInfo{Main: debug.Module{Version: "(devel)"}}},
		{"of no module", "builder devel, built with go1.26.8", debug.BuildInfo{}},
		{"with a revision", "builder devel, revision 0123abcd, built with go1.26.8", debug.BuildInfo{Settings: []debug.BuildSetting{revision, {Key: "vcs.modified", Value: "false"}}}},
		{"of a changed tree", "builder devel, revision 0123abcd, modified, built with go1.26.8", debug.BuildInfo{Settings: []debug.BuildSetting{revision, {Key: "vcs.modified", Value: "true"}}}},
		{"of a release", "builder v1.2.3, built with go1.26.8", debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}}},
	} {
		c.info.GoVersion = "go1.26.8"
		if got := versionText(&c.info); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

// Whoever interrupts a command is told what that left.
func TestInterruptions(t *testing.T) {
	s := newSite(t)
	if _, err := builder(t, map[string]string{"c.yaml": goodCluster}, "cluster", "new", "--name", "demo", "--out", "s.yaml"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, want string
		args       []string
	}{
		{"build", "interrupted; nothing is half-written, and the same command goes on from there",
			[]string{"build", "--project", s.dir, "--store", s.file("store"), "--out", s.file("out"), "--profile", "p"}},
		{"several builds", "interrupted; nothing is half-written, and the same command goes on from there",
			[]string{"build", "--project", s.dir, "--store", s.file("store"), "--out", s.file("out"), "--all"}},
		{"another command", "interrupted; nothing is half-written, and the same command may be given again",
			[]string{"cluster", "render", "c.yaml", "--secrets", "s.yaml", "--out", "out"}},
	} {
		ctx, interrupt := context.WithCancel(t.Context())
		interrupt()
		root := newRootCommand()
		root.SetOut(io.Discard)
		root.SetErr(io.Discard)
		root.SetArgs(c.args)
		if err := execute(ctx, root); err == nil || err.Error() != c.want || diag.ExitCode(err) != diag.ExitInterrupt {
			t.Errorf("%s: got %v (status %d), want %s", c.name, err, diag.ExitCode(err), c.want)
		}
	}
	s.clean(t)
}
