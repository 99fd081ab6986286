// Package modprobe loads kernel modules in an initrd: by name, and for the
// hardware that is there. It reads the text indexes that depmod writes
// (modules.dep(5), depmod.d(5)).
package modprobe

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Loader knows the modules of the running kernel.
type Loader struct {
	dir     string
	depends map[string][]string // file to the files it needs
	files   map[string]string   // name to file
	aliases []alias
	before  map[string][]string // name to names wanted before it
	after   map[string][]string // name to names wanted after it
	loaded  map[string]bool
	seen    map[string]bool
	devices string // where the kernel shows devices
	insert  func(file string) error
}

type alias struct{ pattern, name string }

// New reads the indexes of the running kernel below a root.
func New(root string) (*Loader, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return nil, err
	}
	return open(filepath.Join(root, "usr/lib/modules", unix.ByteSliceToString(u.Release[:])))
}

func open(dir string) (*Loader, error) {
	l := &Loader{
		dir: dir, devices: "/sys/devices", insert: insert,
		depends: map[string][]string{}, files: map[string]string{}, before: map[string][]string{}, after: map[string][]string{},
		loaded: map[string]bool{}, seen: map[string]bool{},
	}
	err := l.lines("modules.dep", func(line string) {
		file, needs, ok := strings.Cut(line, ":")
		if ok {
			l.depends[file] = strings.Fields(needs)
			l.files[moduleName(file)] = file
		}
	})
	if err != nil {
		return nil, fmt.Errorf("reading the module index: %w; initrd and kernel are not of one build", err)
	}
	err = l.lines("modules.alias", func(line string) {
		if w := strings.Fields(line); len(w) == 3 && w[0] == "alias" {
			l.aliases = append(l.aliases, alias{normaliseAlias(w[1]), normalise(w[2])})
		}
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	err = l.lines("modules.softdep", func(line string) {
		w := strings.Fields(line)
		if len(w) < 3 || w[0] != "softdep" {
			return
		}
		var to map[string][]string
		for _, word := range w[2:] {
			switch word {
			case "pre:":
				to = l.before
			case "post:":
				to = l.after
			default:
				if to != nil {
					to[normalise(w[1])] = append(to[normalise(w[1])], word)
				}
			}
		}
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return l, nil
}

func (l *Loader) lines(name string, take func(string)) error {
	f, err := os.Open(filepath.Join(l.dir, name))
	if err != nil {
		return err
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		take(s.Text())
	}
	return s.Err()
}

func normalise(name string) string { return strings.ReplaceAll(name, "-", "_") }

// normaliseAlias makes a pattern, or a name to match with it, comparable: as
// kmod does, hyphens and underscores are one outside of brackets; and a slash
// is a character like any other, which it is not to path.Match.
func normaliseAlias(s string) string {
	b := []byte(s)
	inside := false
	for i, c := range b {
		switch {
		case c == '[':
			inside = true
		case c == ']':
			inside = false
		case c == '-' && !inside:
			b[i] = '_'
		case c == '/':
			b[i] = 0
		}
	}
	return string(b)
}

func moduleName(file string) string {
	name, _, _ := strings.Cut(path.Base(file), ".ko")
	return normalise(name)
}

// Load loads the modules of a name or alias with all they need. A name that
// is not known is built in, or not needed: no error.
func (l *Loader) Load(name string) error {
	if file, ok := l.files[normalise(name)]; ok {
		return l.load(file)
	}
	var errs []error
	name = normaliseAlias(name)
	for _, a := range l.aliases {
		if ok, _ := path.Match(a.pattern, name); !ok {
			continue
		}
		if file, ok := l.files[a.name]; ok {
			errs = append(errs, l.load(file))
		}
	}
	return errors.Join(errs...)
}

func (l *Loader) load(file string) error {
	if l.loaded[file] {
		return nil
	}
	l.loaded[file] = true
	for _, name := range l.before[moduleName(file)] {
		l.Load(name) // wanted, not needed
	}
	needs := l.depends[file]
	for i := len(needs) - 1; i >= 0; i-- {
		if err := l.load(needs[i]); err != nil {
			return err
		}
	}
	if err := l.insert(filepath.Join(l.dir, file)); err != nil {
		return fmt.Errorf("loading module %s: %w", moduleName(file), err)
	}
	for _, name := range l.after[moduleName(file)] {
		l.Load(name)
	}
	return nil
}

// insert hands a module to the kernel.
func insert(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	err = unix.FinitModule(int(f.Fd()), "", 0)
	// ENODEV: the driver finds no hardware of its own after all.
	if errors.Is(err, unix.EEXIST) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}

// Coldplug loads modules for the devices that the kernel has found by now,
// and returns how many kinds of devices it had not seen before.
func (l *Loader) Coldplug() int {
	found := 0
	filepath.WalkDir(l.devices, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "modalias" {
			return nil
		}
		data, err := os.ReadFile(p)
		name := strings.TrimSpace(string(data))
		if err != nil || name == "" || l.seen[name] {
			return nil
		}
		l.seen[name] = true
		found++
		l.Load(name) // a device that stays dead is missed where it is needed
		return nil
	})
	return found
}
