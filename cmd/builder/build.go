package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/slipway-os/slipway/pkg/build"
	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/progress"
	"github.com/slipway-os/slipway/pkg/store"
)

type buildFlags struct {
	profile, project, store, out, lock, mirror, output string
	offline, noCache                                   bool
}

func newBuildCommand() *cobra.Command {
	var f buildFlags
	c := &cobra.Command{
		Use:   "build",
		Short: "Bake an image",
		Long: `build resolves what a profile asks for, fetches and compiles it into the store,
composes the root file system and writes a bootable raw disk to out/PROFILE/.

It needs no root, no daemon and no program but go. If PROFILE.lock lies beside
the profile (or --lock names a file), nothing is resolved: the same lock gives
the same bytes. Otherwise the lock is written to the output folder.`,
		Example: `  builder build --profile cp-amd64
  builder build --profile cp-amd64 --lock out/cp-amd64/lock.json   # the same again
  builder build --profile cp-amd64 --offline                       # from the store alone
  builder build --profile ./site.yaml --mirror http://mirror.example/debian`,
		RunE: func(c *cobra.Command, _ []string) error { return runBuild(c, f) },
	}
	flags := c.Flags()
	flags.StringVarP(&f.profile, "profile", "p", "", "name of a profile, or the path of a file (required)")
	flags.StringVar(&f.project, "project", "", "directory with profiles/, images/ and overlays/")
	flags.StringVar(&f.store, "store", "", "directory of the store (default SLIPWAY_STORE, else the user's cache directory)")
	flags.StringVarP(&f.out, "out", "o", "", "output folder (default out/PROFILE in the project)")
	flags.StringVar(&f.lock, "lock", "", "lock file to build from")
	flags.StringVar(&f.mirror, "mirror", "", "base URL of a Debian mirror (default: the profile's, SLIPWAY_MIRROR, this machine's apt sources)")
	flags.BoolVar(&f.offline, "offline", false, "touch no network: everything must be in the store (needs a lock)")
	flags.BoolVar(&f.noCache, "no-cache", false, "make everything but compiled components anew")
	flags.StringVar(&f.output, "output", "text", "text or json: how to print the result")
	c.RegisterFlagCompletionFunc("profile", completeProfiles)
	return c
}

func runBuild(c *cobra.Command, f buildFlags) error {
	if f.output != "text" && f.output != "json" {
		return diag.Inputf("--output %q: text or json", f.output)
	}
	if f.profile == "" {
		return diag.Inputf("--profile is missing; `builder profiles` lists what there is")
	}
	dir, err := findProject(f.project)
	if err != nil {
		return err
	}
	p, err := dir.Load(f.profile)
	if err != nil {
		return err
	}
	if f.store == "" {
		f.store = defaultStore()
	}
	st, err := store.Open(f.store)
	if err != nil {
		return err
	}
	if f.out == "" {
		f.out = filepath.Join(dir.Root, "out", p.Name)
	}
	lockFile := f.lock
	if lockFile == "" {
		if beside := dir.LockFile(f.profile); exists(beside) {
			lockFile = beside
		}
	} else if !exists(lockFile) {
		return diag.Inputf("reading lock %q: no such file", lockFile)
	}
	board := newBoard(c.ErrOrStderr())
	result, err := build.Run(c.Context(), build.Options{
		Project: dir, Profile: p, Store: st, Out: f.out, LockFile: lockFile,
		Mirror: f.mirror, Offline: f.offline, NoCache: f.noCache, Board: board,
	})
	board.Close()
	if err != nil {
		return err
	}
	if f.output == "json" {
		return writeJSON(c.OutOrStdout(), result)
	}
	board.Table()
	return printResult(c.OutOrStdout(), result)
}

func printResult(w io.Writer, r *build.Result) error {
	_, err := fmt.Fprintf(w, `
%s
  root hash %s
  %s of %s allocated; root file system %s
  lock   %s

Next:
  bin/builder run %s --role docs/examples/single-node.yaml --until ready
`, shorten(r.Disk), r.RootHash, progress.Size(r.Allocated), progress.Size(r.Size), progress.Size(r.RootSize), shorten(r.Lock), shorten(r.Disk))
	return err
}

// newBoard shows progress live where out is a terminal.
func newBoard(out io.Writer) *progress.Board {
	opts := progress.Options{}
	if file, ok := out.(*os.File); ok && term.IsTerminal(int(file.Fd())) && os.Getenv("TERM") != "dumb" {
		opts.Live = true
		opts.Colour = os.Getenv("NO_COLOR") == ""
		opts.Width = func() int {
			width, _, err := term.GetSize(int(file.Fd()))
			if err != nil {
				return 80
			}
			return width
		}
	}
	return progress.New(out, opts)
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// shorten makes a path relative to the working directory where that is shorter.
func shorten(path string) string {
	if wd, err := os.Getwd(); err == nil {
		if rel, err := filepath.Rel(wd, path); err == nil && len(rel) < len(path) {
			return rel
		}
	}
	return path
}
