package accounts

import (
	"errors"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
)

func root(t *testing.T, passwd, group string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"passwd": passwd, "group": group} {
		if err := os.WriteFile(filepath.Join(dir, "etc", name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestUser(t *testing.T) {
	dir := root(t, "root:x:0:0:root:/root:/bin/bash\n# core:x:1:1::/:/\ncut:x:7\ncore:x:500:501:Core User:/home/core:/bin/sh\ncore:x:9:9::/:/\nbad:x:many:0::/:/\n", "")
	u, err := User(dir, "core")
	if err != nil || u.Uid != "500" || u.Gid != "501" || u.HomeDir != "/home/core" || u.Username != "core" {
		t.Errorf("got %+v, %v", u, err)
	}
	var unknown user.UnknownUserError
	for _, name := range []string{"cor", "cut", "core ", ""} {
		if _, err := User(dir, name); !errors.As(err, &unknown) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if _, err := User(dir, "bad"); err == nil || errors.As(err, &unknown) {
		t.Errorf("bad id: %v", err)
	}
}

func TestGroup(t *testing.T) {
	members := strings.Repeat("member,", 50_000)
	dir := root(t, "", "root:x:0:\nlarge:x:7:"+members+"m\nwheel:x:10:core\nbad:x:-1:\n")
	for name, want := range map[string]string{"root": "0", "large": "7", "wheel": "10"} {
		if g, err := Group(dir, name); err != nil || g.Gid != want || g.Name != name {
			t.Errorf("%s: %+v, %v", name, g, err)
		}
	}
	var unknown user.UnknownGroupError
	if _, err := Group(dir, "core"); !errors.As(err, &unknown) {
		t.Errorf("a member: %v", err)
	}
	if _, err := Group(dir, "bad"); err == nil || errors.As(err, &unknown) {
		t.Errorf("bad id: %v", err)
	}
}

func TestNoAccounts(t *testing.T) {
	var unknown user.UnknownUserError
	if _, err := User(t.TempDir(), "root"); !errors.As(err, &unknown) {
		t.Errorf("no passwd: %v", err)
	}
	if _, err := User(filepath.Join(t.TempDir(), "none"), "root"); err == nil || errors.As(err, &unknown) {
		t.Errorf("no root: %v", err)
	}
}

// The accounts are those of the root, whatever its files lead to.
func TestLinksDoNotLeaveTheRoot(t *testing.T) {
	dir := root(t, "", "")
	outside := filepath.Join(t.TempDir(), "passwd")
	if err := os.WriteFile(outside, []byte("evil:x:0:0::/:/\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	passwd := filepath.Join(dir, "etc", "passwd")
	if err := errors.Join(os.Remove(passwd), os.Symlink(outside, passwd)); err != nil {
		t.Fatal(err)
	}
	if u, err := User(dir, "evil"); err == nil {
		t.Errorf("got %+v", u)
	}
}
