// Package lock holds what a build resolved to: every input by version and
// digest. The same lock gives the same bytes.
package lock

import (
	"encoding/json"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/durable"
)

// Format is the version of the file's format.
const Format = 1

// Lock is a lock file.
type Lock struct {
	Format       int         `json:"format" yaml:"format"`
	Profile      string      `json:"profile" yaml:"profile"`
	Architecture string      `json:"architecture" yaml:"architecture"`
	Epoch        int64       `json:"epoch" yaml:"epoch"` // seconds; no time in the image is later
	Suites       []Suite     `json:"suites" yaml:"suites"`
	Packages     []Package   `json:"packages" yaml:"packages"`
	Sets         []Set       `json:"sets" yaml:"sets"`
	Toolchain    string      `json:"toolchain" yaml:"toolchain"` // "go1.26.8"
	Components   []Component `json:"components" yaml:"components"`
}

// Suite is a package index that was read, by the date of its Release file.
type Suite struct {
	Name string `json:"name" yaml:"name"`
	Date int64  `json:"date" yaml:"date"` // seconds
}

// Set is a closure of packages that goes to one place.
type Set struct {
	Name     string   `json:"name" yaml:"name"`         // RootSet, or LayerSet and the name of a layer
	Packages []string `json:"packages" yaml:"packages"` // names, sorted
}

// Names of sets.
const (
	RootSet  = "root"
	LayerSet = "layer/"
)

// Package is a Debian package.
type Package struct {
	Name         string `json:"name" yaml:"name"`
	Version      string `json:"version" yaml:"version"`
	Architecture string `json:"architecture" yaml:"architecture"`
	Source       string `json:"source,omitempty" yaml:"source"`
	Suite        string `json:"suite" yaml:"suite"`
	Filename     string `json:"filename" yaml:"filename"` // below the mirror's base
	Size         int64  `json:"size" yaml:"size"`
	SHA256       string `json:"sha256" yaml:"sha256"`
}

// Component is a component with the modules it was compiled from.
type Component struct {
	Name    string   `json:"name" yaml:"name"`
	Version string   `json:"version" yaml:"version"`
	Modules []Module `json:"modules,omitempty" yaml:"modules"`
}

// Module is a Go module and its go.sum hash.
type Module struct {
	Path    string `json:"path" yaml:"path"`
	Version string `json:"version" yaml:"version"`
	Sum     string `json:"sum" yaml:"sum"`
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
	return diag.IO(durable.WriteFile(file, data, 0o644))
}
