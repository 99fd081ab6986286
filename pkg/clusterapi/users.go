package clusterapi

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/coreos/ignition/v2/config/v3_6/types"

	"github.com/slipway-os/slipway/pkg/ignition"
)

var userName = regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,31}$`)

func (r *reader) cloudUser(where string, u cloudUser) {
	if u.Name == "" {
		r.refuse(r.doc.Position(where), "", "%s has no name", where)
		return
	}
	if !userName.MatchString(u.Name) {
		r.refuse(r.doc.Position(where+".name"), "lower-case letters, digits, hyphens and underscores", "%s: %q is not a name for a user", where, u.Name)
	}
	if u.Inactive {
		r.refuse(r.doc.Position(where+".inactive"), "leave the user out", "%s: inactive users are not made", where)
	}
	user := types.PasswdUser{Name: u.Name, Gecos: some(u.Gecos), HomeDir: some(u.HomeDir), Shell: some(u.Shell), PrimaryGroup: some(u.PrimaryGroup)}
	if u.LockPasswd != nil && !*u.LockPasswd { // cloud-init locks it if nothing is said
		user.PasswordHash = some(u.Passwd)
	}
	for _, g := range r.words(where+".groups", u.Groups) {
		user.Groups = append(user.Groups, types.Group(g))
	}
	for _, k := range u.Keys {
		if key := types.SSHAuthorizedKey(strings.TrimSpace(k)); !slices.Contains(user.SSHAuthorizedKeys, key) {
			user.SSHAuthorizedKeys = append(user.SSHAuthorizedKeys, key)
		}
	}
	r.config.Passwd.Users = append(r.config.Passwd.Users, user)
	if u.Sudo == nil || u.Sudo == false {
		return
	}
	rules, ok := u.Sudo.([]any)
	if !ok {
		rules = []any{u.Sudo}
	}
	var text strings.Builder
	for _, rule := range rules {
		fmt.Fprintf(&text, "%s %v\n", u.Name, rule)
	}
	r.needSudo(r.doc.Position(where+".sudo"), where+".sudo")
	r.files = append(r.files, given{File: ignition.File("/etc/sudoers.d/90-"+u.Name, 0o440, []byte(text.String()))})
}

func some(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// words returns a list that may be written with commas.
func (r *reader) words(where string, v any) []string {
	switch v := v.(type) {
	case nil:
		return nil
	case string:
		return strings.FieldsFunc(v, func(c rune) bool { return c == ',' || c == ' ' })
	case []any:
		var all []string
		for _, e := range v {
			s, ok := e.(string)
			if !ok {
				r.refuse(r.doc.Position(where), "", "%s must be a list of names", where)
				return nil
			}
			all = append(all, s)
		}
		return all
	}
	r.refuse(r.doc.Position(where), "", "%s must be a list of names", where)
	return nil
}
