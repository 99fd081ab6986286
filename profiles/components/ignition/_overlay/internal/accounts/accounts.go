// Package accounts reads the accounts of the root that Ignition writes to.
package accounts

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"strings"
)

// User finds a user in the /etc/passwd below root, passwd(5).
func User(root, name string) (*user.User, error) {
	const columns = 7
	f, err := lookup(root, "etc/passwd", name, columns)
	if err != nil {
		return nil, err
	}
	if f == nil {
		return nil, user.UnknownUserError(name)
	}
	for _, id := range f[2:4] {
		if _, err := strconv.ParseUint(id, 10, 32); err != nil {
			return nil, fmt.Errorf("reading user %q: bad id %q", name, id)
		}
	}
	return &user.User{Username: name, Name: name, Uid: f[2], Gid: f[3], HomeDir: f[5]}, nil
}

// Group finds a group in the /etc/group below root, group(5).
func Group(root, name string) (*user.Group, error) {
	const columns = 4
	f, err := lookup(root, "etc/group", name, columns)
	if err != nil {
		return nil, err
	}
	if f == nil {
		return nil, user.UnknownGroupError(name)
	}
	if _, err := strconv.ParseUint(f[2], 10, 32); err != nil {
		return nil, fmt.Errorf("reading group %q: bad id %q", name, f[2])
	}
	return &user.Group{Name: name, Gid: f[2]}, nil
}

// lookup returns the columns of the first line of that name, or nil.
func lookup(root, file, name string, columns int) ([]string, error) {
	dir, err := os.OpenRoot(root)
	if err != nil {
		return nil, fmt.Errorf("looking up %q: %w", name, err)
	}
	defer dir.Close()
	f, err := dir.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking up %q: %w", name, err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20) // a group's members are all on one line
	for lines.Scan() {
		line := strings.Split(strings.TrimSpace(lines.Text()), ":")
		if len(line) == columns && line[0] == name {
			return line, nil
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("looking up %q in %s: %w", name, file, err)
	}
	return nil, nil
}
