package rootfs_test

import (
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/deb"
	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/rootfs"
	"github.com/slipway-os/slipway/pkg/tree"
)

// Accounts of the masters come first, as they are there.
const (
	masterUsers  = "root:x:0:0:root:/root:/bin/bash\n_apt:x:42:65534::/nonexistent:/usr/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
	masterGroups = "root:x:0:\nadm:x:4:syslog\nshadow:x:42:\nnogroup:x:65534:\n"
)

func TestAccounts(t *testing.T) {
	for _, c := range []struct {
		name          string
		conf          files // below usr/lib/sysusers.d but for those with a slash
		users, groups string
	}{
		{"the masters alone", files{}, "", ""},
		{"fixed ids", files{"a.conf": "u net 998 \"Network management\"\ng journal 993\n"},
			"net:x:998:998:Network management:/:/usr/sbin/nologin\n", "journal:x:993:\nnet:x:998:\n"},
		{"ids from the top down, in the order of the files' names", files{"b.conf": "u b -\n", "a.conf": "u a -\n"},
			"a:x:979:979::/:/usr/sbin/nologin\nb:x:978:978::/:/usr/sbin/nologin\n", "a:x:979:\nb:x:978:\n"},
		{"home and shell", files{"a.conf": "u a 500 - /var/a /bin/sh\n"},
			"a:x:500:500::/var/a:/bin/sh\n", "a:x:500:\n"},
		{"primary group by name, and by number", files{"a.conf": "u a 500:nogroup\nu b -:later\nu c 501:4\ng later 600\n"},
			"a:x:500:65534::/:/usr/sbin/nologin\nb:x:979:600::/:/usr/sbin/nologin\nc:x:501:4::/:/usr/sbin/nologin\n", "later:x:600:\n"},
		{"a group of the user's name may be there already", files{"a.conf": "g a 300\nu a 200\n"},
			"a:x:200:300::/:/usr/sbin/nologin\n", "a:x:300:\n"},
		{"locked users are users", files{"a.conf": "u! a 500\n"}, "a:x:500:500::/:/usr/sbin/nologin\n", "a:x:500:\n"},
		{"members, also of the masters' groups and of new ones", files{"a.conf": "u a 500\nu b 501\nm b adm\nm a adm\nm a fresh\nm a fresh\n"},
			"a:x:500:500::/:/usr/sbin/nologin\nb:x:501:501::/:/usr/sbin/nologin\n", "adm:x:4:syslog,b,a\na:x:500:\nb:x:501:\nfresh:x:979:a\n"},
		{"what exists stays as it is", files{"a.conf": "u root 7 other /other /bin/false\ng shadow 7\n"}, "", ""},
		{"an id that somebody asks for later is not given away", files{"a.conf": "u a -\n", "b.conf": "u b 979\ng c 978\n"},
			"a:x:977:977::/:/usr/sbin/nologin\nb:x:979:979::/:/usr/sbin/nologin\n", "c:x:978:\na:x:977:\nb:x:979:\n"},
		{"no two users share an id", files{"a.conf": "u a 500\nu b 500\ng c 500\n"},
			"a:x:500:979::/:/usr/sbin/nologin\nb:x:978:978::/:/usr/sbin/nologin\n", "c:x:500:\na:x:979:\nb:x:978:\n"},
		{"the file in /etc wins over that of the same name", files{"a.conf": "u a 500\n", "etc/sysusers.d/a.conf": "u x 501\n"},
			"x:x:501:501::/:/usr/sbin/nologin\n", "x:x:501:\n"},
		{"a file linked to nothing is masked", files{"a.conf": "u a 500\n", "etc/sysusers.d/a.conf": "-> /dev/null"}, "", ""},
		{"ranges, comments and blank lines", files{"a.conf": "# u a 500\n\n  r - 300-400\n\t\nu a 500\n", "README": "u b 501\n"},
			"a:x:500:500::/:/usr/sbin/nologin\n", "a:x:500:\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			conf := files{}
			for p, text := range c.conf {
				if !strings.Contains(p, "/") {
					p = "usr/lib/sysusers.d/" + p
				}
				conf[p] = text
			}
			root := mustCompose(t, rootfs.Sources{Packages: []*deb.Package{conf.pkg(t, "p")}})
			if got, want := content(t, root, "etc/passwd"), masterUsers+c.users; got != want {
				t.Errorf("passwd:\n%s\nwant\n%s", got, want)
			}
			want := masterGroups + c.groups
			if adm, rest, ok := strings.Cut(c.groups, "\n"); ok && strings.HasPrefix(adm, "adm:") {
				want = strings.Replace(masterGroups, "adm:x:4:syslog", adm, 1) + rest
			}
			if got := content(t, root, "etc/group"); got != want {
				t.Errorf("group:\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// Nobody can log in with a password, and only root and group shadow can read
// that.
func TestPasswordsAreLocked(t *testing.T) {
	root := mustCompose(t, rootfs.Sources{Packages: []*deb.Package{files{"usr/lib/sysusers.d/a.conf": "u a 500\nm a adm\n"}.pkg(t, "p")}})
	want := "root:*:20000:0:99999:7:::\n_apt:!*:20000:0:99999:7:::\nnobody:!*:20000:0:99999:7:::\na:!*:20000:0:99999:7:::\n"
	if got := content(t, root, "etc/shadow"); got != want {
		t.Errorf("shadow:\n%s\nwant\n%s", got, want)
	}
	if got, want := content(t, root, "etc/gshadow"), "root:*::\nadm:*::syslog,a\nshadow:*::\nnogroup:*::\na:*::\n"; got != want {
		t.Errorf("gshadow:\n%s\nwant\n%s", got, want)
	}
	for p, mode := range map[string]uint32{"etc/passwd": 0o644, "etc/group": 0o644, "etc/shadow": 0o640, "etc/gshadow": 0o640} {
		n := root.Lookup(p)
		group := uint32(0)
		if mode == 0o640 {
			group = 42
		}
		if n.Mode != mode || n.UID != 0 || n.GID != group {
			t.Errorf("%s has mode %o and belongs to %d:%d", p, n.Mode, n.UID, n.GID)
		}
	}
}

func TestBadAccounts(t *testing.T) {
	for _, c := range []struct{ name, conf, want string }{
		{"type", "x a 1\n", `making accounts: etc/sysusers.d/a.conf:1: unknown type "x" (known: g, u, u!, m, r)`},
		{"type that starts like a known one", "\nusr a 1\n", `making accounts: etc/sysusers.d/a.conf:2: unknown type "usr" (known: g, u, u!, m, r)`},
		{"name missing", "u\n", `making accounts: etc/sysusers.d/a.conf:1: cannot read "u" (see sysusers.d(5))`},
		{"quote without an end", "u a 1 \"b\n", `making accounts: etc/sysusers.d/a.conf:1: cannot read "u a 1 \"b" (see sysusers.d(5))`},
		{"id", "u a /etc/x\n", `making accounts: etc/sysusers.d/a.conf:1: "/etc/x" is no id`},
		{"id too large", "g a 4294967296\n", `making accounts: etc/sysusers.d/a.conf:1: "4294967296" is no id`},
		{"name", "u a:b 1\n", `making accounts: etc/sysusers.d/a.conf:1: "a:b" is no name for an account (letters, digits, dashes, underscores and dots, a letter or underscore first)`},
		{"name of a member's group", "m nobody ''\n", `making accounts: etc/sysusers.d/a.conf:1: "" is no name for an account (letters, digits, dashes, underscores and dots, a letter or underscore first)`},
		{"colon in a field", "u a 1 'a:b'\n", `making accounts: etc/sysusers.d/a.conf:1: user "a": "a:b" has a colon`},
		{"group", "u a 1:nobodys\n", `making accounts: etc/sysusers.d/a.conf:1: user "a": no group "nobodys"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := compose(t, rootfs.Sources{Overlays: []*tree.Tree{files{"etc/sysusers.d/a.conf": c.conf}.tree(t)}})
			if err == nil || err.Error() != c.want || diag.ExitCode(err) != diag.ExitInput {
				t.Errorf("got  %v (status %d)\nwant %s", err, diag.ExitCode(err), c.want)
			}
		})
	}
	_, err := rootfs.Compose(rootfs.Sources{})
	if err == nil || !strings.Contains(err.Error(), "need base-passwd") || diag.ExitCode(err) != diag.ExitInput {
		t.Errorf("without base-passwd: %v", err)
	}
}

func FuzzAccounts(f *testing.F) {
	f.Add("u a 500:nogroup \"A b\" /home /bin/sh\ng b -\nm a b\nr - 1-2\n")
	f.Add("u! a -:4294967295\nu b '-'\nm x \"\"\n")
	f.Fuzz(func(t *testing.T, conf string) {
		root, err := compose(t, rootfs.Sources{Overlays: []*tree.Tree{files{"etc/sysusers.d/a.conf": "# any\n" + conf}.tree(t)}})
		if err != nil {
			if diag.ExitCode(err) != diag.ExitInput {
				t.Errorf("status %d: %v", diag.ExitCode(err), err)
			}
			return
		}
		// What it makes is what others can read.
		for p, colons := range map[string]int{"etc/passwd": 6, "etc/shadow": 8, "etc/group": 3, "etc/gshadow": 3} {
			seen := map[string]bool{}
			for line := range strings.Lines(content(t, root, p)) {
				if got := strings.Count(line, ":"); got != colons {
					t.Fatalf("%s: %q", p, line)
				}
				name, _, _ := strings.Cut(line, ":")
				if name == "" || seen[name] {
					t.Fatalf("%s: name %q", p, name)
				}
				seen[name] = true
			}
		}
	})
}
