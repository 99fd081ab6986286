package rootfs

import (
	"cmp"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/slipway-os/slipway/pkg/diag"
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
	users    []user
	groups   []group
	reserved map[uint32]bool // ids that a line asks for
}

// Ids of accounts whose sysusers.d line gives none, from the top down.
const lastSystemID = 979

// accounts makes the account files from base-passwd's masters and sysusers.d,
// as base-passwd's script and systemd-sysusers would.
func accounts(b *tree.Builder, epoch int64) error {
	db := database{reserved: map[uint32]bool{}}
	if err := db.masters(b); err != nil {
		return err
	}
	lines, err := sysusers(b)
	if err != nil {
		return err
	}
	if err := db.add(lines); err != nil {
		return err
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
			return diag.Inputf("reading %q: it is missing (the profile's os.packages need base-passwd)", p)
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
		g := group{name: f[0], gid: gid}
		if f[3] != "" {
			g.members = strings.Split(f[3], ",")
		}
		db.groups = append(db.groups, g)
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
	pos    diag.Position
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
			pos := diag.Position{File: p, Line: i + 1}
			fields, err := split(line)
			if err != nil || len(fields) < 2 {
				return nil, diag.At(pos, "see sysusers.d(5)", "cannot read %q", line)
			}
			for len(fields) < 6 {
				fields = append(fields, "-")
			}
			lines = append(lines, sysusersLine{pos: pos, fields: fields})
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

// accountName is what systemd takes for a name (USER_NAMES(7)).
var accountName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_.-]{0,30}$`)

// add makes what the lines ask for. Groups come first, for users may name them
// whatever the order of the files.
func (db *database) add(lines []sysusersLine) error {
	for _, l := range lines {
		if !strings.Contains(" g u u! m r ", " "+l.fields[0]+" ") {
			return diag.At(l.pos, "known: g, u, u!, m, r", "unknown type %q", l.fields[0])
		}
		names := l.fields[1:2]
		switch l.fields[0] {
		case "m":
			names = l.fields[1:3]
		case "r":
			continue
		}
		for _, name := range names {
			if !accountName.MatchString(name) {
				return diag.At(l.pos, "letters, digits, dashes, underscores and dots, a letter or underscore first", "%q is no name for an account", name)
			}
		}
		if l.fields[0] == "g" || l.fields[0][0] == 'u' {
			// None of these ids goes to an account that does not care.
			for id := range strings.SplitSeq(l.fields[2], ":") {
				if n, err := strconv.ParseUint(id, 10, 32); err == nil {
					db.reserved[uint32(n)] = true
				}
			}
		}
	}
	for _, step := range []struct {
		kind byte
		do   func(name string, fields []string) error
	}{{'g', db.addGroup}, {'u', db.addUser}, {'m', db.addMember}} {
		for _, l := range lines {
			if l.fields[0][0] != step.kind {
				continue
			}
			if err := step.do(l.fields[1], l.fields); err != nil {
				return diag.At(l.pos, "", "%v", err)
			}
		}
	}
	return nil
}

// or returns a field's value, or what stands for a dash.
func or(value, otherwise string) string {
	if value == "-" {
		return otherwise
	}
	return value
}

func (db *database) addGroup(name string, f []string) error {
	_, err := db.group(name, or(f[2], ""))
	return err
}

// addUser makes a user. One that exists stays as it is.
func (db *database) addUser(name string, f []string) error {
	if slices.ContainsFunc(db.users, func(u user) bool { return u.name == name }) {
		return nil
	}
	u := user{name: name, gecos: or(f[3], ""), home: or(f[4], "/"), shell: or(f[5], "/usr/sbin/nologin")}
	for _, s := range []string{u.gecos, u.home, u.shell} {
		if strings.Contains(s, ":") {
			return fmt.Errorf("user %q: %q has a colon", name, s)
		}
	}
	uidText, groupText, _ := strings.Cut(or(f[2], ""), ":")
	if or(uidText, "") != "" {
		uid, err := id(uidText)
		if err != nil {
			return err
		}
		u.uid = uid
	}
	if or(uidText, "") == "" || slices.ContainsFunc(db.users, func(other user) bool { return other.uid == u.uid }) {
		u.uid = db.free()
	}
	switch i := slices.IndexFunc(db.groups, func(g group) bool { return g.name == groupText }); {
	case groupText == "":
		gid, err := db.group(name, strconv.FormatUint(uint64(u.uid), 10))
		if err != nil {
			return err
		}
		u.gid = gid
	case i >= 0:
		u.gid = db.groups[i].gid
	default:
		gid, err := id(groupText)
		if err != nil {
			return fmt.Errorf("user %q: no group %q", name, groupText)
		}
		u.gid = gid
	}
	db.users = append(db.users, u)
	return nil
}

func (db *database) addMember(name string, f []string) error {
	if _, err := db.group(f[2], ""); err != nil {
		return err
	}
	for i := range db.groups {
		if g := &db.groups[i]; g.name == f[2] && !slices.Contains(g.members, name) {
			g.members = append(g.members, name)
		}
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
	var gid uint32
	if wanted != "" {
		var err error
		if gid, err = id(wanted); err != nil {
			return 0, err
		}
	}
	if wanted == "" || slices.ContainsFunc(db.groups, func(g group) bool { return g.gid == gid }) {
		gid = db.free()
	}
	db.groups = append(db.groups, group{name: name, gid: gid})
	return gid, nil
}

// free returns an id that is neither a user's nor a group's.
func (db *database) free() uint32 {
	for n := uint32(lastSystemID); ; n-- {
		if !db.reserved[n] && !slices.ContainsFunc(db.users, func(u user) bool { return u.uid == n || u.gid == n }) &&
			!slices.ContainsFunc(db.groups, func(g group) bool { return g.gid == n }) {
			return n
		}
	}
}
