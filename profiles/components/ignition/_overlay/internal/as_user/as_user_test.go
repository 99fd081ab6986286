package as_user

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
)

// somebody is a user that is not root, where root runs the test.
func somebody(t *testing.T) *user.User {
	t.Helper()
	if os.Getuid() != 0 {
		return &user.User{Username: "self", Uid: strconv.Itoa(os.Getuid()), Gid: strconv.Itoa(os.Getgid())}
	}
	return &user.User{Username: "somebody", Uid: "4321", Gid: "4322"}
}

// home makes a directory of a user's that everybody can reach.
func home(t *testing.T, u *user.User) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "home-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	return dir
}

func owner(t *testing.T, name string) (who string, mode fs.FileMode) {
	t.Helper()
	info, err := os.Lstat(name)
	if err != nil {
		t.Fatal(err)
	}
	st := info.Sys().(*syscall.Stat_t)
	return fmt.Sprintf("%d:%d", st.Uid, st.Gid), info.Mode().Perm()
}

func TestFilesBelongToTheUserAndNobodyElseReadsThem(t *testing.T) {
	u := somebody(t)
	dir := home(t, u)
	if err := MkdirAll(u, filepath.Join(dir, "a", "b"), 0o755); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "a", "b", "keys")
	f, err := OpenFile(u, name, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("key\n"); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if err := Rename(u, name, name+"2"); err != nil {
		t.Fatal(err)
	}
	for p, want := range map[string]fs.FileMode{"a": 0o700, "a/b": 0o700, "a/b/keys2": 0o600} {
		if who, mode := owner(t, filepath.Join(dir, p)); who != u.Uid+":"+u.Gid || mode != want {
			t.Errorf("%s belongs to %s with mode %o, not to %s:%s with %o", p, who, mode, u.Uid, u.Gid, want)
		}
	}
}

// What the user may not do it does not do for the user, though root asks.
func TestTheUsersRightsCount(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	u := somebody(t)
	dir := home(t, &user.User{Uid: "0", Gid: "0"})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, read := OpenFile(u, secret, os.O_RDONLY, 0)
	_, made := OpenFile(u, filepath.Join(dir, "x"), os.O_CREATE|os.O_WRONLY, 0o600)
	for what, err := range map[string]error{
		"reading": read, "making": made,
		"making a directory": MkdirAll(u, filepath.Join(dir, "d"), 0o700),
		"renaming":           Rename(u, secret, filepath.Join(dir, "mine")),
	} {
		if !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// Only the thread that does it becomes the user.
func TestNobodyElseBecomesTheUser(t *testing.T) {
	u := somebody(t)
	theirs, ours := home(t, u), t.TempDir()
	var group sync.WaitGroup
	for i := range 50 {
		group.Add(2)
		go func() {
			defer group.Done()
			f, err := OpenFile(u, filepath.Join(theirs, fmt.Sprint(i)), os.O_CREATE|os.O_WRONLY, 0o600)
			if err != nil {
				t.Error(err)
				return
			}
			f.Close()
		}()
		go func() {
			defer group.Done()
			if err := os.WriteFile(filepath.Join(ours, fmt.Sprint(i)), nil, 0o600); err != nil {
				t.Error(err)
			}
		}()
	}
	group.Wait()
	for i := range 50 {
		if who, _ := owner(t, filepath.Join(theirs, fmt.Sprint(i))); who != u.Uid+":"+u.Gid {
			t.Errorf("theirs belongs to %s", who)
		}
		if who, _ := owner(t, filepath.Join(ours, fmt.Sprint(i))); who != fmt.Sprintf("%d:%d", os.Getuid(), os.Getgid()) {
			t.Errorf("ours belongs to %s", who)
		}
	}
}

func TestUsersThatCannotBe(t *testing.T) {
	users := []user.User{{Uid: "x", Gid: "0"}, {Uid: "0", Gid: ""}, {Uid: "-1", Gid: "0"}, {Uid: "4294967295", Gid: "0"}}
	if os.Getuid() != 0 {
		users = append(users, user.User{Uid: "0", Gid: "0"})
	}
	for _, u := range users {
		if err := MkdirAll(&u, t.TempDir(), 0o700); err == nil {
			t.Errorf("became %s:%s", u.Uid, u.Gid)
		}
	}
}
