package grub_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/grub"
)

func TestConfig(t *testing.T) {
	got, err := grub.Entry{
		Title: "Slipway cp-ppc64le", Kernel: "/vmlinux", Initrd: "/initrd", CommandLine: "gpt quiet  console=hvc0 a;b $x",
	}.Config()
	if err != nil {
		t.Fatal(err)
	}
	const want = `set default=0
set timeout=0
menuentry 'Slipway cp-ppc64le' {
	linux /vmlinux gpt quiet console=hvc0 'a;b' '$x'
	initrd /initrd
}
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestConfigReadsBack(t *testing.T) {
	for _, want := range []grub.Entry{
		{Title: "one", Kernel: "/vmlinux", Initrd: "/initrd"},
		{Title: "several words", Kernel: "/a b", Initrd: "/c d", CommandLine: "gpt console=hvc0 a;b {x} #y"},
	} {
		text, err := want.Config()
		if err != nil {
			t.Fatal(err)
		}
		got, err := grub.ReadConfig(text)
		if err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
	}
}

// GRUB escapes some characters for the kernel, which takes the escapes literally.
func TestWordsThatGRUBWouldChange(t *testing.T) {
	for _, line := range []string{`a="b c"`, `it's`, `back\slash`} {
		_, err := grub.Entry{Title: "x", Kernel: "/vmlinux", Initrd: "/initrd", CommandLine: line}.Config()
		if !errors.Is(err, grub.ErrQuote) {
			t.Errorf("%s: %v", line, err)
		}
	}
	if _, err := (grub.Entry{Title: "it's", Kernel: "/vmlinux", Initrd: "/initrd"}).Config(); !errors.Is(err, grub.ErrQuote) {
		t.Errorf("a title with a quote: %v", err)
	}
}

func TestReadConfigRefusals(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "reading grub.cfg: it has no complete entry"},
		{"entry that does not end", "menuentry 'x' {\nlinux /vmlinux\n", "reading grub.cfg: it has no complete entry"},
		{"entry without a kernel", "menuentry 'x' {\n}\n", `reading grub.cfg: entry "x" starts no kernel`},
		{"open quote", "menuentry 'x {\n", `reading grub.cfg: "'x {": a quote is not closed`},
		{"huge", strings.Repeat("#", 1<<20+1), "reading grub.cfg: larger than 1048576 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := grub.ReadConfig(c.text); err == nil || err.Error() != c.want {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

func FuzzReadConfig(f *testing.F) {
	text, err := grub.Entry{Title: "Slipway x", Kernel: "/vmlinux", Initrd: "/initrd", CommandLine: "a 'b' #c"}.Config()
	if err == nil {
		f.Fatal("a quote was taken")
	}
	f.Add(text)
	f.Add("menuentry 'x' {\nlinux /vmlinux a=b\ninitrd /initrd\n}\n")
	f.Fuzz(func(t *testing.T, text string) {
		e, err := grub.ReadConfig(text)
		if err != nil || e.Initrd == "" {
			return
		}
		again, err := e.Config()
		if err != nil {
			return
		}
		if got, err := grub.ReadConfig(again); err != nil || got != e {
			// Two words may have been one that was quoted.
			if got.CommandLine != strings.Join(strings.Fields(e.CommandLine), " ") || got.Kernel != e.Kernel {
				t.Errorf("%q, written and read again: %+v, %v", e, got, err)
			}
		}
	})
}
