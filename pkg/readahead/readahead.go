// Package readahead brings files into memory before they are asked for. What
// lies compressed in the root costs time to unpack; while a machine starts, one
// of its processors is often idle and can do that for what comes next.
package readahead

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Files reads the files that match patterns (path/filepath.Match), in their
// order, at the lowest priority. Those that are not there are passed over.
func Files(patterns ...string) error {
	if err := unix.Setpriority(unix.PRIO_PROCESS, 0, 19); err != nil {
		return fmt.Errorf("lowering the priority: %w", err)
	}
	for _, p := range patterns {
		files, err := filepath.Glob(p)
		if err != nil {
			return fmt.Errorf("reading ahead %q: %w", p, err)
		}
		for _, name := range files {
			if err := file(name); err != nil {
				return fmt.Errorf("reading ahead: %w", err)
			}
		}
	}
	return nil
}

func file(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return err
	}
	// In steps, since the kernel takes in a large file only in part.
	const step = 1 << 20
	for off := int64(0); off < info.Size(); off += step {
		if err := unix.Fadvise(int(f.Fd()), off, step, unix.FADV_WILLNEED); err != nil {
			return &os.PathError{Op: "reading ahead", Path: name, Err: err}
		}
	}
	return nil
}
