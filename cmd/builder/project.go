package main

import (
	"os"
	"path/filepath"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/profile"
)

// findProject returns the project directory, which holds profiles/, images/
// and overlays/: the one named, else the one around the working directory,
// else the one this program was built in (bin/builder).
func findProject(named string) (profile.Dir, error) {
	holds := func(dir string) bool {
		for _, d := range []string{"profiles", "images", "overlays"} {
			if info, err := os.Stat(filepath.Join(dir, d)); err != nil || !info.IsDir() {
				return false
			}
		}
		return true
	}
	if named != "" {
		abs, err := filepath.Abs(named)
		if err != nil {
			return profile.Dir{}, diag.IO(err)
		}
		if !holds(abs) {
			return profile.Dir{}, diag.Inputf("reading project %q: it has no profiles/, images/ and overlays/", named)
		}
		return profile.Dir{Root: abs}, nil
	}
	if wd, err := os.Getwd(); err == nil {
		for dir := wd; ; dir = filepath.Dir(dir) {
			if holds(dir) {
				return profile.Dir{Root: dir}, nil
			}
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	if exe, err := os.Executable(); err == nil {
		if exe, err = filepath.EvalSymlinks(exe); err == nil && holds(filepath.Dir(filepath.Dir(exe))) {
			return profile.Dir{Root: filepath.Dir(filepath.Dir(exe))}, nil
		}
	}
	return profile.Dir{}, diag.Inputf("finding profiles/, images/ and overlays/: not here, not above, not beside the program; name their directory with --project")
}

// defaultStore is where the store lies unless --store says otherwise.
func defaultStore() string {
	if dir := os.Getenv("SLIPWAY_STORE"); dir != "" {
		return dir
	}
	if dir, err := os.UserCacheDir(); err == nil {
		return filepath.Join(dir, "slipway")
	}
	return filepath.Join(os.TempDir(), "slipway-store")
}
