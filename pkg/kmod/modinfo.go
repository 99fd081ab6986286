package kmod

import (
	"fmt"
	"path"
	"strings"
)

// maxLine is PATH_MAX, the size of all of depmod's line buffers.
const maxLine = 4096

// Module is one module of a kernel.
type Module struct {
	Name     string   // as the kernel has it: no suffix, underscores for dashes
	Path     string   // below usr/lib/modules/<release>: "kernel/fs/ext4/ext4.ko.xz"
	Size     int64    // decompressed
	Depends  []string // the names that modinfo gives as depends=
	Aliases  []string // as the module has them: not normalised, in its order
	SoftPre  []string // what modprobe loads before it, if that is there
	SoftPost []string // and after it
	Firmware []string // files below usr/lib/firmware that it may ask for

	softdeps []string // unparsed
	exports  []string // symbols
	needs    []string // symbols that some module of the kernel as shipped exports
	content  moduleContent
}

// read takes over what a module's .modinfo says: NUL-terminated "key=value", see
// MODULE_INFO in the kernel's include/linux/module.h.
func (m *Module) read(info []string) {
	for _, entry := range info {
		key, value, _ := strings.Cut(entry, "=")
		switch key {
		case "depends":
			for name := range strings.SplitSeq(value, ",") {
				if name != "" {
					m.Depends = append(m.Depends, underscores(name))
				}
			}
		case "alias":
			m.Aliases = append(m.Aliases, value)
		case "softdep":
			m.softdeps = append(m.softdeps, value)
		case "firmware":
			m.Firmware = append(m.Firmware, value)
		}
	}
	m.parseSoftdeps()
}

// parseSoftdeps reads "pre: a b post: c", as modprobe.d(5) has it.
func (m *Module) parseSoftdeps() {
	for _, value := range m.softdeps {
		var to *[]string
		for word := range strings.FieldsSeq(value) {
			switch {
			case word == "pre:":
				to = &m.SoftPre
			case word == "post:":
				to = &m.SoftPost
			case to != nil:
				*to = append(*to, underscores(word))
			}
		}
	}
}

// moduleName returns the name of the module in a file (modname_normalize in
// kmod's shared/util.c).
func moduleName(file string) string {
	name, _, _ := strings.Cut(path.Base(file), ".")
	return underscores(name)
}

// suffix returns the suffix of a module's file name; "" if it is none. What is
// compressed with gzip is none to the kmod of Debian.
func suffix(file string) string {
	for _, s := range []string{".ko", ".ko.xz", ".ko.zst"} {
		if len(path.Base(file)) > len(s) && strings.HasSuffix(file, s) {
			return s
		}
	}
	return ""
}

// plainPath returns the path that a module has decompressed.
func (m *Module) plainPath() string {
	return strings.TrimSuffix(m.Path, suffix(m.Path)) + ".ko"
}

func underscores(s string) string { return strings.ReplaceAll(s, "-", "_") }

// normalAlias returns an alias as it is looked up: underscores for dashes but
// inside brackets (alias_normalize in kmod's shared/util.c).
func normalAlias(alias string) (string, error) {
	out := []byte(alias[:min(len(alias), maxLine-1)])
	for i := 0; i < len(out); i++ {
		switch out[i] {
		case '-':
			out[i] = '_'
		case '[':
			n := strings.IndexByte(alias[i:], ']')
			if n < 0 || i+n >= len(out) {
				return "", fmt.Errorf("alias %q: bracket without an end", alias)
			}
			i += n
		case ']':
			return "", fmt.Errorf("alias %q: bracket without a begin", alias)
		}
	}
	return string(out), nil
}
