package copyright_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/copyright"
)

const format = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n"

func TestLicences(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"one for all", format + "\nFiles: *\nCopyright: someone\nLicense: Expat\n Permission is hereby granted\n .\n Files: no field\n", []string{"Expat"}},
		{"of the package as a whole", format + "License: GPL-2+\n\nFiles: debian/*\nLicense: ISC\n", []string{"GPL-2+", "ISC"}},
		{"each once, whatever its case", format + "\nFiles: a\nLicense: BSD-3-clause\n\nFiles: b\nLicense: BSD-3-Clause\n", []string{"BSD-3-Clause"}},
		{"files on the lines below", format + "\nFiles:\n a\n b\nLicense:   zlib\n", []string{"zlib"}},
		{"a text that nothing is under is left out", format + "\nFiles: *\nLicense: GPL-2\n\nLicense: GPL-2\n text\n\nLicense: Artistic\n text\n", []string{"GPL-2"}},
		{"several that all apply", format + "\nFiles: *\nLicense: ISC and  LGPL-2.1+ and SunPro\n", []string{"ISC", "LGPL-2.1+", "SunPro"}},
		{"a choice stays a choice", format + "\nFiles: *\nLicense: Artistic or GPL-1+\n", []string{"Artistic or GPL-1+"}},
		{"and binds closer than or", format + "\nFiles: *\nLicense: ISC and zlib or Expat\n", []string{"ISC and zlib or Expat"}},
		{"but for a comma", format + "\nFiles: *\nLicense: GPL-2 or Expat, and BSD-2-clause and ISC\n", []string{"BSD-2-clause", "GPL-2 or Expat", "ISC"}},
		{"exceptions belong to the name", format + "\nFiles: *\nLicense: GPL-2 with Linux-syscall-note exception\n", []string{"GPL-2 with Linux-syscall-note exception"}},
		{"comments, and fields in any case", "# comment: no field\nformat: http://www.debian.org/doc/packaging-manuals/copyright-format/1.0\n\nFILES: *\nLICENSE: ISC\r\n", []string{"ISC"}},
		{"the draft of the format", "Format: http://dep.debian.net/deps/dep5/\n\nFiles: *\nLicense: ISC\n", []string{"ISC"}},
		{"none named", format + "\nFiles: *\nCopyright: someone\n", []string{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, ok := copyright.Licences(c.text)
			if !ok || !slices.Equal(got, c.want) {
				t.Errorf("got %q, %v, want %q", got, ok, c.want)
			}
		})
	}
	for name, text := range map[string]string{
		"prose":          "This package was debianized by someone.\nLicense: it is free\n",
		"nothing":        "",
		"another format": "Format: poem\n\nFiles: *\nLicense: ISC\n",
	} {
		if got, ok := copyright.Licences(text); ok {
			t.Errorf("%s: read as %q", name, got)
		}
	}
}

func FuzzLicences(f *testing.F) {
	f.Add(format + "\nFiles: *\nLicense: GPL-2 or Expat, and ISC\n text\n")
	f.Add(format + "\nLicense: or and , and\n")
	f.Fuzz(func(t *testing.T, text string) {
		names, _ := copyright.Licences(text)
		for i, name := range names {
			if name == "" || strings.Contains(name, "\n") || i > 0 && names[i-1] >= name {
				t.Errorf("got %q", names)
			}
		}
	})
}
