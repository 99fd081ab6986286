package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/slipway-os/slipway/pkg/build"
	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/profile"
	"github.com/slipway-os/slipway/pkg/progress"
	"github.com/slipway-os/slipway/pkg/role"
	"github.com/slipway-os/slipway/pkg/store"
)

type buildFlags struct {
	profiles, with                            []string
	project, store, out, lock, mirror, output string
	all, offline, noCache                     bool
}

// several says whether more than one image may come out: then each has a
// folder of its own below --out.
func (f *buildFlags) several() bool { return f.all || len(f.profiles) > 1 }

func newBuildCommand() *cobra.Command {
	var f buildFlags
	c := &cobra.Command{
		Use:   "build",
		Short: "Bake images",
		Long: `build resolves what a profile asks for, fetches and compiles it into the store,
composes the root file system and writes a bootable raw disk to out/PROFILE/.

It needs no root, no daemon and no program but go. If PROFILE.lock lies beside
the profile (or --lock names a file), nothing is resolved: the same lock gives
the same bytes. Otherwise the lock is written to the output folder.

Several profiles are checked first, all of them, and built one after another;
what they have in common is made once. If one fails, the others are built all
the same, what failed is reported at the end, and the exit status is that of
the first failure. An interruption stops everything, and the same command goes
on from there.`,
		Example: `  builder build --profile cp-amd64
  builder build --profile cp-amd64 --profile worker-amd64
  builder build --all --out /srv/images                            # /srv/images/PROFILE/disk.raw for each
  builder build --profile cp-amd64 --lock out/cp-amd64/lock.json   # the same again
  builder build --profile cp-amd64 --lock out/cp-amd64/lock.json --offline   # from the store alone
  builder build --profile ./site.yaml --mirror http://mirror.example/debian
  builder build --all --with site.yaml                             # a site's mirror and packages in each`,
		Args: noneBut("profile"),
		RunE: func(c *cobra.Command, _ []string) error { return runBuild(c, f) },
	}
	flags := c.Flags()
	flags.StringArrayVarP(&f.profiles, "profile", "p", nil, "name of a profile, or the path of a file; may be repeated")
	flags.StringArrayVar(&f.with, "with", nil, "name or path of a profile to merge over each of those that are built; may be repeated")
	flags.BoolVar(&f.all, "all", false, "build every profile that 'builder profiles' lists")
	flags.StringVar(&f.project, "project", "", "directory with profiles/, images/ and overlays/")
	flags.StringVar(&f.store, "store", "", "directory of the store (default SLIPWAY_STORE, else the user's cache directory)")
	flags.StringVarP(&f.out, "out", "o", "", "output folder (default out/PROFILE in the project); of several profiles, or --all, each gets OUT/PROFILE")
	flags.StringVar(&f.lock, "lock", "", "lock file to build from, for one profile")
	flags.StringVar(&f.mirror, "mirror", "", "base URL of a Debian mirror (default: the profile's, SLIPWAY_MIRROR, this machine's apt sources)")
	flags.BoolVar(&f.offline, "offline", false, "touch no network: everything must be in the store (needs a lock)")
	flags.BoolVar(&f.noCache, "no-cache", false, "make everything but compiled components anew")
	flags.StringVar(&f.output, "output", "text", "text or json: how to print the result; of several profiles, or --all, JSON is an array")
	c.RegisterFlagCompletionFunc("profile", completeProfiles)
	c.RegisterFlagCompletionFunc("with", completeProfiles)
	return c
}

func runBuild(c *cobra.Command, f buildFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	dir, err := findProject(f.project)
	if err != nil {
		return err
	}
	targets, err := f.targets(dir)
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
	session := build.NewSession(build.Options{Project: dir, Store: st, Mirror: f.mirror, Offline: f.offline, NoCache: f.noCache})
	if f.several() {
		return buildSeveral(c, session, targets, f.output)
	}
	board := newBoard(c.ErrOrStderr(), "")
	result, err := session.Build(c.Context(), targets[0], board)
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

func (f *buildFlags) check() error {
	switch {
	case f.output != "text" && f.output != "json":
		return diag.Inputf("--output %q: text or json", f.output)
	case f.all && len(f.profiles) > 0:
		return diag.Inputf("--all builds every profile: leave out --profile, or --all")
	case !f.all && (len(f.profiles) == 0 || slices.Contains(f.profiles, "")):
		return diag.Inputf("--profile is missing; `builder profiles` lists what there is")
	case f.several() && f.lock != "":
		return diag.Inputf("--lock %q: a lock is of one profile, and several are to be built; leave it out, or lay each lock beside its profile as PROFILE.lock", f.lock)
	}
	return nil
}

// targets loads and checks the profiles. Its error has all that is wrong with
// any of them.
func (f *buildFlags) targets(dir profile.Dir) ([]build.Target, error) {
	var wrong mistakes
	names := f.profiles
	if f.all {
		list, err := buildable(dir)
		wrong.add(err)
		// Those of an architecture share the most.
		slices.SortStableFunc(list, func(a, b *profile.Profile) int { return strings.Compare(a.Architecture, b.Architecture) })
		for _, p := range list {
			names = append(names, p.Name)
		}
		if len(list) == 0 && err == nil {
			wrong.add(diag.Inputf("--all: no profile in %s names an architecture and images", filepath.Join(dir.Root, "profiles")))
		}
	}
	var targets []build.Target
	by := map[string]string{} // flag by the name of its profile
	for _, name := range names {
		p, err := dir.Load(name, f.with...)
		wrong.add(err)
		if p == nil {
			continue
		}
		if other, ok := by[p.Name]; ok {
			wrong.add(diag.Inputf("--profile %s: profile %q is named already (--profile %s), and both would go to the same folder", name, p.Name, other))
			continue
		}
		by[p.Name] = name
		t := build.Target{Profile: p, Out: f.out, LockFile: f.lock}
		if f.out == "" {
			t.Out = filepath.Join(dir.Root, "out", p.Name)
		} else if f.several() {
			t.Out = filepath.Join(f.out, p.Name)
		}
		beside := dir.LockFile(name)
		switch {
		case f.lock != "":
			if !exists(f.lock) {
				wrong.add(diag.Inputf("reading lock %q: no such file", f.lock))
			}
		case exists(beside):
			t.LockFile = beside
		case f.offline && f.several():
			wrong.add(diag.Inputf("--offline needs a lock of each profile: for %q there is no %s", p.Name, shorten(beside)))
		}
		targets = append(targets, t)
	}
	return targets, wrong.err()
}

// mistakes are errors of which each is told once: profiles share what they
// extend.
type mistakes []error

func (m *mistakes) add(err error) {
	if several, ok := err.(interface{ Unwrap() []error }); ok {
		for _, err := range several.Unwrap() {
			m.add(err)
		}
		return
	}
	if err != nil && !slices.ContainsFunc(*m, func(known error) bool { return known.Error() == err.Error() }) {
		*m = append(*m, err)
	}
}

func (m mistakes) err() error { return errors.Join(m...) }

func printResult(w io.Writer, r *build.Result) error {
	next := "inspect " + shorten(r.Disk)
	if slices.Contains(r.Image.Roles, role.ControlPlane) {
		next = "run " + shorten(r.Disk) + " --role docs/examples/single-node.yaml --until ready"
	}
	_, err := fmt.Fprintf(w, `
%s
  root hash %s
  %s of %s allocated; root file system %s
  lock   %s

Next:
  bin/builder %s
`, shorten(r.Disk), r.RootHash, progress.Size(r.Allocated), progress.Size(r.Size), progress.Size(r.RootSize), shorten(r.Lock), next)
	return err
}

// newBoard shows progress live where out is a terminal.
func newBoard(out io.Writer, title string) *progress.Board {
	opts := progress.Options{Title: title}
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
