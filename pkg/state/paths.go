// Package state is what outlives a boot: the state partition, and the paths
// of the otherwise read-only system that are bound to it.
package state

import (
	"path"
	"strings"
)

// Path is a place that can be written to.
type Path struct {
	Path string // absolute
	Mode uint32
	// Overlay means that what the image has shows through where nothing was
	// written. Otherwise the image's files are copied once.
	Overlay bool
}

// Paths is the table of all places that can be written to. Each is bound to
// the state partition before Ignition writes files.
func Paths() []Path {
	return []Path{
		{Path: "/etc", Mode: 0o755, Overlay: true},
		{Path: "/var", Mode: 0o755},
		{Path: "/home", Mode: 0o755},
		{Path: "/root", Mode: 0o700},
		{Path: "/srv", Mode: 0o755},
		{Path: "/opt", Mode: 0o755},
		{Path: "/usr/local", Mode: 0o755},
	}
}

// Writable says whether something at an absolute path can be written, and
// stays.
func Writable(p string) bool {
	p = path.Clean("/" + p)
	// Links of every Debian system, to what no boot keeps.
	if below(p, "/var/run") || below(p, "/var/lock") {
		return false
	}
	for _, w := range Paths() {
		if below(p, w.Path) {
			return true
		}
	}
	return false
}

func below(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }

// List names the table for messages.
func List() string {
	var names []string
	for _, w := range Paths() {
		names = append(names, w.Path)
	}
	return strings.Join(names, ", ")
}
