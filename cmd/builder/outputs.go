package main

import (
	"os"
	"path/filepath"

	"github.com/slipway-os/slipway/pkg/diag"
)

// checkOutput refuses to write a file, which a flag names, over what is no
// file, or over one that is read. Inputs that are "" or missing are passed over.
func checkOutput(flag, name string, inputs ...string) error {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return nil // nothing is lost
	case info.IsDir():
		return diag.Inputf("%s %s: is a directory; name another", flag, name)
	case !info.Mode().IsRegular():
		return diag.Inputf("%s %s: is no ordinary file; name another", flag, name)
	}
	for _, input := range inputs {
		if read, err := os.Stat(input); err == nil && os.SameFile(info, read) {
			return diag.Inputf("%s %s: would be written over %s, which is read; name another", flag, name, input)
		}
	}
	return nil
}

// checkDirectory refuses to write into what is no directory.
func checkDirectory(flag, name string) error {
	if info, err := os.Stat(name); err == nil && !info.IsDir() {
		return diag.Inputf("%s %s: is a file; name another", flag, name)
	}
	return nil
}

// within reports whether a file lies in a directory, or below it. Neither need
// be there yet.
func within(dir, file string) bool {
	parent := resolved(filepath.Dir(file))
	rel, err := filepath.Rel(resolved(dir), filepath.Join(parent, filepath.Base(file)))
	return err == nil && filepath.IsLocal(rel)
}

// resolved returns a path without the symbolic links that there are in it.
func resolved(path string) string {
	abs, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	missing := ""
	for dir := abs; ; dir = filepath.Dir(dir) {
		if found, err := filepath.EvalSymlinks(dir); err == nil {
			return filepath.Join(found, missing)
		}
		if dir == filepath.Dir(dir) {
			return abs
		}
		missing = filepath.Join(filepath.Base(dir), missing)
	}
}
