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
	soft    map[string][]string // name to names wanted before it
	loaded  map[string]bool
	seen    map[string]bool
}

type alias struct{ pattern, name string }

// New reads the indexes of the running kernel below a root.
func New(root string) (*Loader, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return nil, err
	}
	l := &Loader{
		dir:     filepath.Join(root, "usr/lib/modules", unix.ByteSliceToString(u.Release[:])),
		depends: map[string][]string{}, files: map[string]string{}, soft: map[string][]string{},
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
			l.aliases = append(l.aliases, alias{w[1], normalise(w[2])})
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
		before := false
		for _, word := range w[2:] {
			switch word {
			case "pre:":
				before = true
			case "post:":
				before = false
			default:
				if before {
					l.soft[normalise(w[1])] = append(l.soft[normalise(w[1])], word)
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
	for _, name := range l.soft[moduleName(file)] {
		l.Load(name) // wanted, not needed
	}
	needs := l.depends[file]
	for i := len(needs) - 1; i >= 0; i-- {
		if err := l.load(needs[i]); err != nil {
			return err
		}
	}
	f, err := os.Open(filepath.Join(l.dir, file))
	if err != nil {
		return fmt.Errorf("loading module %s: %w", moduleName(file), err)
	}
	defer f.Close()
	err = unix.FinitModule(int(f.Fd()), "", 0)
	// ENODEV: the driver finds no hardware of its own after all.
	if err != nil && !errors.Is(err, unix.EEXIST) && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("loading module %s: %w", moduleName(file), err)
	}
	return nil
}

// Coldplug loads modules for the devices that the kernel has found by now,
// and returns how many kinds of devices it had not seen before.
func (l *Loader) Coldplug() int {
	found := 0
	filepath.WalkDir("/sys/devices", func(p string, d fs.DirEntry, err error) error {
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
