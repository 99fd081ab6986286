package build

import (
	"encoding/json"
	"testing"

	"github.com/slipway-os/slipway/pkg/deb"
	"github.com/slipway-os/slipway/pkg/lock"
	"github.com/slipway-os/slipway/pkg/tree"
)

const dep5 = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\nLicense: "

// debPackage returns a package of files, and of symlinks where a path ends
// with "@".
func debPackage(t *testing.T, files map[string]string) *deb.Package {
	t.Helper()
	b := tree.NewBuilder(0)
	for p, content := range files {
		n := &tree.Node{Type: tree.File, Content: tree.String(content)}
		if last := len(p) - 1; p[last] == '@' {
			p, n = p[:last], &tree.Node{Type: tree.Symlink, Target: content}
		}
		if err := b.Put(p, n); err != nil {
			t.Fatal(err)
		}
	}
	return &deb.Package{Tree: b.Tree()}
}

func TestPackagesAreDescribed(t *testing.T) {
	packages := map[string]*deb.Package{
		"bash":       debPackage(t, map[string]string{"usr/share/doc/bash/copyright": dep5 + "GPL-3+ and Expat\n"}),
		"gcc-base":   debPackage(t, map[string]string{"usr/share/doc/gcc-base/copyright": dep5 + "GPL-3+ with GCC exception\n"}),
		"libgcc":     debPackage(t, map[string]string{"usr/share/doc/libgcc@": "gcc-base"}),
		"libm":       debPackage(t, map[string]string{"usr/share/doc/libm/copyright@": "../gcc-base/copyright"}),
		"libcrypt":   debPackage(t, map[string]string{"usr/share/doc/libcrypt/copyright": "This is the Debian package of libcrypt.\n"}),
		"linux-meta": debPackage(t, map[string]string{"usr/share/doc/linux-meta@": "elsewhere"}),
		"plain":      debPackage(t, map[string]string{"usr/bin/plain": "program"}),
	}
	l := &lock.Lock{
		Packages: []lock.Package{
			{Name: "bash", Version: "5.2-2+b1", Architecture: "amd64", Source: "bash (5.2-2)"},
			{Name: "gcc-base", Version: "14", Architecture: "amd64", Source: "gcc"},
			{Name: "libcrypt", Version: "1", Architecture: "amd64"},
			{Name: "libgcc", Version: "14", Architecture: "amd64"},
			{Name: "libm", Version: "14", Architecture: "amd64"},
			{Name: "linux-meta", Version: "6", Architecture: "amd64"},
			{Name: "plain", Version: "2", Architecture: "all"},
		},
		Sets: []lock.Set{
			{Name: "root", Packages: []string{"bash", "gcc-base", "libcrypt", "libgcc", "libm", "linux-meta"}},
			{Name: "layer/proxy", Packages: []string{"libcrypt", "plain"}},
		},
	}
	list, err := describePackages(l, packages)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{
		`{"name":"bash","version":"5.2-2+b1","architecture":"amd64","source":"bash","sourceVersion":"5.2-2","licences":["Expat","GPL-3+"],"in":["root"]}`,
		`{"name":"gcc-base","version":"14","architecture":"amd64","source":"gcc","sourceVersion":"14","licences":["GPL-3+ with GCC exception"],"in":["root"]}`,
		`{"name":"libcrypt","version":"1","architecture":"amd64","source":"libcrypt","sourceVersion":"1","licences":null,"in":["root","layer/proxy"]}`,
		`{"name":"libgcc","version":"14","architecture":"amd64","source":"libgcc","sourceVersion":"14","licences":["GPL-3+ with GCC exception"],"in":["root"]}`,
		`{"name":"libm","version":"14","architecture":"amd64","source":"libm","sourceVersion":"14","licences":["GPL-3+ with GCC exception"],"in":["root"]}`,
		`{"name":"linux-meta","version":"6","architecture":"amd64","source":"linux-meta","sourceVersion":"6","licences":null,"in":["root"]}`,
		`{"name":"plain","version":"2","architecture":"all","source":"plain","sourceVersion":"2","licences":null,"in":["layer/proxy"]}`,
	} {
		if got, err := json.Marshal(list[i]); err != nil || string(got) != want {
			t.Errorf("got %s\nwant %s", got, want)
		}
	}
}
