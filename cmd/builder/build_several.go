package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/slipway-os/slipway/pkg/build"
	"github.com/slipway-os/slipway/pkg/progress"
)

// built is what became of a target.
type built struct {
	target build.Target
	took   time.Duration
	result *build.Result
	err    error
}

// buildSeveral builds targets one after another: each keeps every core busy.
// One that fails does not keep the others from being built.
func buildSeveral(c *cobra.Command, session *build.Session, targets []build.Target, output string) error {
	var unfit mistakes
	for _, t := range targets {
		unfit.add(session.Check(t))
	}
	if err := unfit.err(); err != nil {
		return err
	}
	var wrong failures
	ctx, out := c.Context(), c.ErrOrStderr()
	var list []built
	for i, t := range targets {
		start := time.Now()
		board := newBoard(out, fmt.Sprintf("[%d/%d] %s", i+1, len(targets), t.Profile.Name))
		result, err := session.Build(ctx, t, board)
		board.Close()
		if err != nil && ctx.Err() == nil {
			failed := failure{t.Profile.Name, err}
			wrong = append(wrong, failed)
			if i < len(targets)-1 {
				fmt.Fprintf(out, "%s\ngoing on with the rest\n", failed)
			}
		}
		list = append(list, built{t, time.Since(start), result, err})
		if ctx.Err() != nil {
			break
		}
	}
	err := printBuilt(c.OutOrStdout(), list, output)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case len(wrong) > 0:
		return wrong
	}
	return err
}

// printBuilt prints a row for each target, or a JSON array of what was built.
func printBuilt(w io.Writer, list []built, output string) error {
	results := []*build.Result{}
	t := table{header: []string{"PROFILE", "TIME", "ALLOCATED", "ROOT", "DISK"}, right: "1 2 3"}
	for _, b := range list {
		row := []string{b.target.Profile.Name, progress.Duration(b.took), "", "", "failed"}
		if r := b.result; r != nil {
			results = append(results, r)
			row = append(row[:2], progress.Size(r.Allocated), progress.Size(r.RootSize), shorten(r.Disk))
		}
		t.add(row...)
	}
	if output == "json" {
		return writeJSON(w, results)
	}
	p := newPage(w)
	p.line("")
	p.table(t)
	return p.err
}

// failure is why a profile was not built. Each line of it names the profile.
type failure struct {
	profile string
	err     error
}

func (f failure) Error() string {
	return f.profile + ": " + strings.ReplaceAll(f.err.Error(), "\n", "\n"+f.profile+": ")
}

func (f failure) Unwrap() error { return f.err }

// failures is one error of several profiles. It counts as the first of them.
type failures []failure

func (f failures) Error() string {
	var lines []string
	for _, one := range f {
		lines = append(lines, one.Error())
	}
	return strings.Join(lines, "\n")
}

func (f failures) Unwrap() error { return f[0] }
