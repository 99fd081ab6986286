// Package lock holds what a build resolved to: every input by version and
// digest. The same lock gives the same bytes.
package lock

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/slipway-os/slipway/pkg/diag"
)

// Format is the version of the file's format.
const Format = 1

// Lock is a lock file.
type Lock struct {
	Format       int         `json:"format"`
	Profile      string      `json:"profile"`
	Architecture string      `json:"architecture"`
	Epoch        int64       `json:"epoch"` // seconds; no time in the image is later
	Suites       []Suite     `json:"suites"`
	Packages     []Package   `json:"packages"`
	Sets         []Set       `json:"sets"`
	Toolchain    string      `json:"toolchain"` // "go1.26.8"
	Components   []Component `json:"components"`
}

// Suite is a package index that was read, by the date of its Release file.
type Suite struct {
	Name string `json:"name"`
	Date int64  `json:"date"` // seconds
}

// Set is a closure of packages that goes to one place.
type Set struct {
	Name     string   `json:"name"`     // RootSet, or LayerSet and the name of a layer
	Packages []string `json:"packages"` // names, sorted
}

// Names of sets.
const (
	RootSet  = "root"
	LayerSet = "layer/"
)

// Package is a Debian package.
type Package struct {
	Name         string `json:"name"`
	Version      string `json:"version"`
	Architecture string `json:"architecture"`
	Source       string `json:"source,omitempty"`
	Suite        string `json:"suite"`
	Filename     string `json:"filename"` // below the mirror's base
	Size         int64  `json:"size"`
	SHA256       string `json:"sha256"`
}

// Component is a component with the modules it was compiled from.
type Component struct {
	Name    string   `json:"name"`
	Version string   `json:"version"`
	Modules []Module `json:"modules,omitempty"`
}

// Module is a Go module and its go.sum hash.
type Module struct {
	Path    string `json:"path"`
	Version string `json:"version"`
	Sum     string `json:"sum"`
}

// Read reads a lock file. One that does not exist gives nil and no error.
func Read(file string) (*Lock, error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, diag.Input(fmt.Errorf("reading lock %q: %w", file, err))
	}
	var l Lock
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&l); err != nil {
		return nil, diag.At(place(file, data, dec.InputOffset()), "remove the lock to resolve anew", "not a lock: %v", err)
	}
	if l.Format != Format {
		return nil, diag.At(diag.Position{File: file}, "remove the lock to resolve anew", "lock of format %d; this builder reads format %d", l.Format, Format)
	}
	return &l, nil
}

func place(file string, data []byte, offset int64) diag.Position {
	before := data[:min(int(offset), len(data))]
	line := bytes.Count(before, []byte("\n"))
	return diag.Position{File: file, Line: line + 1, Column: len(before) - bytes.LastIndexByte(before, '\n')}
}

// Encode returns the bytes of the lock file.
func (l *Lock) Encode() ([]byte, error) {
	data, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(data, '\n'), nil
}

// Write writes the lock file.
func (l *Lock) Write(file string) error {
	data, err := l.Encode()
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+"-*")
	if err != nil {
		return diag.IO(err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(data)
	for _, step := range []func() error{func() error { return tmp.Chmod(0o644) }, tmp.Sync} {
		if err == nil {
			err = step()
		}
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp.Name(), file)
	}
	if err != nil {
		return diag.IO(fmt.Errorf("writing lock %q: %w", file, err))
	}
	return nil
}
