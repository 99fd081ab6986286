package rootfs

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/slipway-os/slipway/pkg/tree"
)

// user and group are lines of passwd(5) and group(5).
type user struct {
	name, gecos, home, shell string
	uid, gid                 uint32
}

type group struct {
	name    string
	gid     uint32
	members []string
}

type database struct {
	users  []user
	groups []group
}

// Ids of accounts whose sysusers.d line gives none, from the top down.
const lastSystemID = 979

// accounts makes the account files from base-passwd's masters and sysusers.d,
// as base-passwd's script and systemd-sysusers would.
func accounts(b *tree.Builder, epoch int64) error {
	var db database
	if err := db.masters(b); err != nil {
		return err
	}
	lines, err := sysusers(b)
	if err != nil {
		return err
	}
	// Groups first: users may name them whatever the order of the files.
	for _, kinds := range []string{"g", "u", "m"} {
		for _, l := range lines {
			if !strings.HasPrefix(l.fields[0], kinds) {
				continue
			}
			if err := db.apply(l.fields); err != nil {
				return fmt.Errorf("%s:%d: %w", l.file, l.number, err)
			}
		}
	}
	var passwd, shadow, groups, gshadow strings.Builder
	for _, u := range db.users {
		fmt.Fprintf(&passwd, "%s:x:%d:%d:%s:%s:%s\n", u.name, u.uid, u.gid, u.gecos, u.home, u.shell)
		// No password opens any account. The day is fixed: shadow's own
		// default would be the day of the build.
		password := "!*"
		if u.name == "root" {
			password = "*"
		}
		fmt.Fprintf(&shadow, "%s:%s:20000:0:99999:7:::\n", u.name, password)
	}
	for _, g := range db.groups {
		fmt.Fprintf(&groups, "%s:x:%d:%s\n", g.name, g.gid, strings.Join(g.members, ","))
		fmt.Fprintf(&gshadow, "%s:*::%s\n", g.name, strings.Join(g.members, ","))
	}
	const shadowGroup = 42
	for _, f := range []struct {
		path, content string
		mode, gid     uint32
	}{
		{"etc/passwd", passwd.String(), 0o644, 0},
		{"etc/group", groups.String(), 0o644, 0},
		{"etc/shadow", shadow.String(), 0o640, shadowGroup},
		{"etc/gshadow", gshadow.String(), 0o640, shadowGroup},
	} {
		err := b.Put(f.path, &tree.Node{Type: tree.File, Mode: f.mode, GID: f.gid, ModTime: epoch, Content: tree.String(f.content)})
		if err != nil {
			return err
		}
	}
	return nil
}

// masters reads base-passwd's tables.
func (db *database) masters(b *tree.Builder) error {
	read := func(p string, fields int, take func([]string) error) error {
		n := b.Lookup(p)
		if n == nil {
			return fmt.Errorf("reading %q: it is missing; the profile needs package base-passwd", p)
		}
		data, err := tree.ReadAll(n.Content, 1<<20)
		if err != nil {
			return err
		}
		for i, line := range strings.Split(strings.TrimSpace(string(data)), "\n") {
			f := strings.Split(line, ":")
			if len(f) != fields {
				return fmt.Errorf("reading %q: line %d has %d fields, not %d", p, i+1, len(f), fields)
			}
			if err := take(f); err != nil {
				return fmt.Errorf("reading %q: line %d: %w", p, i+1, err)
			}
		}
		return nil
	}
	err := read("usr/share/base-passwd/passwd.master", 7, func(f []string) error {
		uid, err := id(f[2])
		if err != nil {
			return err
		}
		gid, err := id(f[3])
		db.users = append(db.users, user{name: f[0], uid: uid, gid: gid, gecos: f[4], home: f[5], shell: f[6]})
		return err
	})
	if err != nil {
		return err
	}
	return read("usr/share/base-passwd/group.master", 4, func(f []string) error {
		gid, err := id(f[2])
		db.groups = append(db.groups, group{name: f[0], gid: gid})
		return err
	})
}

func id(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%q is no id", s)
	}
	return uint32(n), nil
}

type sysusersLine struct {
	file   string
	number int
	fields []string
}

// sysusers reads sysusers.d(5): of files with one name the one in /etc wins,
// and they are read in the order of their names.
func sysusers(b *tree.Builder) ([]sysusersLine, error) {
	files := map[string]string{}
	for _, dir := range []string{"usr/lib/sysusers.d", "etc/sysusers.d"} {
		for _, p := range b.Paths() {
			if path.Dir(p) == dir && strings.HasSuffix(p, ".conf") {
				files[path.Base(p)] = p
			}
		}
	}
	var lines []sysusersLine
	for _, p := range slices.SortedFunc(mapValues(files), func(a, b string) int { return cmp.Compare(path.Base(a), path.Base(b)) }) {
		n := b.Lookup(p)
		if n.Type != tree.File {
			continue
		}
		data, err := tree.ReadAll(n.Content, 1<<20)
		if err != nil {
			return nil, err
		}
		for i, line := range strings.Split(string(data), "\n") {
			line = strings.TrimSpace(line)
			if line == "" || line[0] == '#' {
				continue
			}
			fields, err := split(line)
			if err != nil || len(fields) < 2 {
				return nil, fmt.Errorf("%s:%d: cannot read %q", p, i+1, line)
			}
			for len(fields) < 6 {
				fields = append(fields, "-")
			}
			lines = append(lines, sysusersLine{file: p, number: i + 1, fields: fields})
		}
	}
	return lines, nil
}

func mapValues(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for _, v := range m {
			if !yield(v) {
				return
			}
		}
	}
}

// split splits at spaces, minding quotes.
func split(line string) ([]string, error) {
	var fields []string
	for line = strings.TrimLeft(line, " \t"); line != ""; line = strings.TrimLeft(line, " \t") {
		if q := line[0]; q == '"' || q == '\'' {
			end := strings.IndexByte(line[1:], q)
			if end < 0 {
				return nil, fmt.Errorf("no closing %c", q)
			}
			fields, line = append(fields, line[1:1+end]), line[end+2:]
			continue
		}
		end := strings.IndexAny(line, " \t")
		if end < 0 {
			end = len(line)
		}
		fields, line = append(fields, line[:end]), line[end:]
	}
	return fields, nil
}

// apply does one line of sysusers.d. An account that exists stays as it is.
func (db *database) apply(f []string) error {
	or := func(value, otherwise string) string {
		if value == "-" || value == "" {
			return otherwise
		}
		return value
	}
	switch name := f[1]; f[0] {
	case "g":
		_, err := db.group(name, or(f[2], ""))
		return err
	case "u", "u!":
		if slices.ContainsFunc(db.users, func(u user) bool { return u.name == name }) {
			return nil
		}
		uidText, groupText, _ := strings.Cut(or(f[2], ""), ":")
		u := user{name: name, gecos: or(f[3], ""), home: or(f[4], "/"), shell: or(f[5], "/usr/sbin/nologin")}
		if uidText != "" {
			uid, err := id(uidText)
			if err != nil {
				return err
			}
			u.uid = uid
		} else {
			u.uid = db.free()
		}
		if groupText == "" {
			gid, err := db.group(name, strconv.Itoa(int(u.uid)))
			if err != nil {
				return err
			}
			u.gid = gid
		} else if i := slices.IndexFunc(db.groups, func(g group) bool { return g.name == groupText }); i >= 0 {
			u.gid = db.groups[i].gid
		} else {
			gid, err := id(groupText)
			if err != nil {
				return fmt.Errorf("user %q: no group %q", name, groupText)
			}
			u.gid = gid
		}
		db.users = append(db.users, u)
	case "m":
		if _, err := db.group(f[2], ""); err != nil {
			return err
		}
		for i := range db.groups {
			if g := &db.groups[i]; g.name == f[2] && !slices.Contains(g.members, name) {
				g.members = append(g.members, name)
			}
		}
	case "r":
	default:
		return fmt.Errorf("unknown type %q", f[0])
	}
	return nil
}

// group returns the id of a group, which it makes if there is none.
func (db *database) group(name, wanted string) (uint32, error) {
	for _, g := range db.groups {
		if g.name == name {
			return g.gid, nil
		}
	}
	gid := db.free()
	if wanted != "" {
		var err error
		if gid, err = id(wanted); err != nil {
			return 0, err
		}
		if slices.ContainsFunc(db.groups, func(g group) bool { return g.gid == gid }) {
			gid = db.free()
		}
	}
	db.groups = append(db.groups, group{name: name, gid: gid})
	return gid, nil
}

// free returns an id that is neither a user's nor a group's.
func (db *database) free() uint32 {
	for n := uint32(lastSystemID); ; n-- {
		if !slices.ContainsFunc(db.users, func(u user) bool { return u.uid == n || u.gid == n }) &&
			!slices.ContainsFunc(db.groups, func(g group) bool { return g.gid == n }) {
			return n
		}
	}
}
