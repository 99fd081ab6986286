package diag_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/slipway-os/slipway/pkg/diag"
)

func TestErrorsPrintAsOneLine(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{diag.At(diag.Position{File: "p.yaml", Line: 12, Column: 3}, "did you mean \"packages\"?", "unknown field %q", "packges"), `p.yaml:12:3: unknown field "packges" (did you mean "packages"?)`},
		{diag.At(diag.Position{File: "p.yaml", Line: 12}, "", "bad"), `p.yaml:12: bad`},
		{diag.At(diag.Position{File: "p.yaml"}, "", "bad"), `p.yaml: bad`},
		{diag.At(diag.Position{}, "name one", "bad"), `bad (name one)`},
		{diag.Inputf("reading %q: %w", "x", fs.ErrNotExist), `reading "x": file does not exist`},
	} {
		if got := c.err.Error(); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}

func TestExitCode(t *testing.T) {
	_, unmarked := os.Open("/nonexistent/file")
	wrap := func(err error) error { return fmt.Errorf("doing something: %w", err) }
	for _, c := range []struct {
		name string
		err  error
		want int
	}{
		{"no error", nil, 0},
		{"a bug", errors.New("x"), diag.ExitBug},
		{"a place in a file", diag.At(diag.Position{File: "x"}, "", "bad"), diag.ExitInput},
		{"input", wrap(diag.Inputf("x")), diag.ExitInput},
		{"several problems of input", errors.Join(diag.Inputf("x"), diag.At(diag.Position{}, "", "y")), diag.ExitInput},
		{"a dependency, whatever the system said", wrap(diag.Dependency(syscall.ECONNREFUSED)), diag.ExitDependency},
		{"disk", wrap(diag.IO(errors.New("x"))), diag.ExitIO},
		{"an error of the system that nobody marked", wrap(unmarked), diag.ExitIO},
		{"a system call that nobody marked", wrap(syscall.ENOSPC), diag.ExitIO},
		{"input is to blame before the disk", diag.IO(diag.Inputf("x")), diag.ExitInput},
		{"interrupted", wrap(context.Canceled), diag.ExitInterrupt},
		{"interrupted, in other words", wrap(diag.Interruptedf("x")), diag.ExitInterrupt},
	} {
		if got := diag.ExitCode(c.err); got != c.want {
			t.Errorf("%s: got %d, want %d", c.name, got, c.want)
		}
	}
	if diag.Input(nil) != nil || diag.Dependency(nil) != nil || diag.IO(nil) != nil {
		t.Error("marking no error makes one")
	}
}

func TestSuggest(t *testing.T) {
	known := []string{"architecture", "components", "packages", "prune", "straße", "home", "opt", "cp-amd64"}
	for _, c := range []struct{ name, want string }{
		{"packges", "packages"},
		{"pacakges", "packages"}, // swapped letters count once
		{"component", "components"},
		{"arch", ""},
		{"strasse", "straße"},
		{"CP-AMD64", "cp-amd64"},
		{"Cp-Amd6", "cp-amd64"},
		{"OPT", "opt"},
		{"otp", "opt"},
		{"hoem", "home"},
		{"prnue", "prune"},
		{"nope", ""}, // short words are another word soon
		{"apt", ""},
		{"op", ""},
		{"zzzzzzzz", ""},
		{"", ""},
		{strings.Repeat("x", 1<<20), ""},
	} {
		want := ""
		if c.want != "" {
			want = fmt.Sprintf("did you mean %q?", c.want)
		}
		if got := diag.Suggest(c.name, known); got != want {
			t.Errorf("%.20q: got %q, want %q", c.name, got, want)
		}
	}
}
