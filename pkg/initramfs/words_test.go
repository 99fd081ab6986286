package initramfs

import (
	"maps"
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/manifest"
)

func TestWords(t *testing.T) {
	for _, c := range []struct {
		name, line string
		want       map[string]string
	}{
		{"nothing", "", map[string]string{}},
		{"only a newline", "\n", map[string]string{}},
		{"flags and values", "quiet console=ttyS0 ro\n", map[string]string{"quiet": "", "console": "ttyS0", "ro": ""}},
		{"the last one wins", "console=tty0 console=ttyS0", map[string]string{"console": "ttyS0"}},
		{"an equals sign in a value", "ignition.config.url=http://192.0.2.1/c?a=b&c=d", map[string]string{"ignition.config.url": "http://192.0.2.1/c?a=b&c=d"}},
		{"an empty value", "a= b", map[string]string{"a": "", "b": ""}},
		{"quotes around a value", `a="x y" b=z`, map[string]string{"a": "x y", "b": "z"}},
		{"quotes around a word", `"a=x y" b`, map[string]string{"a": "x y", "b": ""}},
		{"quotes inside a value", `a=x" "y`, map[string]string{"a": "x y"}},
		{"an equals sign in quotes", `a="b=c d"`, map[string]string{"a": "b=c d"}},
		{"a quote that is not closed", `a="x y`, map[string]string{"a": "x y"}},
		{"empty quotes", `a="" "" b`, map[string]string{"a": "", "b": ""}},
		{"tabs and many spaces", "  a\t\t b  ", map[string]string{"a": "", "b": ""}},
		{"no name", "=x a", map[string]string{"a": ""}},
		{"for init", "a -- b=c", map[string]string{"a": ""}},
		{"two dashes in quotes and in a word", `"-- a" --b -c`, map[string]string{"-- a": "", "--b": "", "-c": ""}},
		{"not ASCII", "a=\u00e4\u0085\u00a0 b", map[string]string{"a": "\u00e4\u0085\u00a0", "b": ""}},
	} {
		if got := words(c.line); !maps.Equal(got, c.want) {
			t.Errorf("%s: %q: got %q, want %q", c.name, c.line, got, c.want)
		}
	}
}

func FuzzWords(f *testing.F) {
	f.Add(`a="x y" b=c -- d`)
	f.Add("\xff\x00=\"")
	f.Fuzz(func(t *testing.T, line string) {
		got := words(line)
		for key, value := range got {
			if key == "" || strings.ContainsAny(key+value, `"`) || strings.Contains(key, "=") {
				t.Errorf("%q has %q=%q", line, key, value)
			}
			// Written again, in quotes, a word is what it was.
			if again := words(`"` + key + "=" + value + `"`); len(again) != 1 || again[key] != value {
				t.Errorf("%q=%q became %q", key, value, again)
			}
		}
	})
}

func TestDescribe(t *testing.T) {
	hash := strings.Repeat("0f", 32)
	for _, c := range []struct {
		name, in string
		ok       bool
	}{
		{"whole", `{"rootHash":"` + hash + `","dataBlocks":5,"salt":"00ff"}`, true},
		{"without a salt", `{"rootHash":"` + hash + `","dataBlocks":5}`, true},
		{"empty", ``, false},
		{"no object", `[]`, false},
		{"cut off", `{"rootHash":"` + hash + `","dataBlocks":5`, false},
		{"no hash", `{"dataBlocks":5}`, false},
		{"a short hash", `{"rootHash":"` + hash[2:] + `","dataBlocks":5}`, false},
		{"a long hash", `{"rootHash":"` + hash + `00","dataBlocks":5}`, false},
		{"a hash that is not hex", `{"rootHash":"x` + hash[1:] + `","dataBlocks":5}`, false},
		{"no blocks", `{"rootHash":"` + hash + `"}`, false},
		{"fewer than no blocks", `{"rootHash":"` + hash + `","dataBlocks":-5}`, false},
		{"a salt that is not hex", `{"rootHash":"` + hash + `","dataBlocks":5,"salt":"1 restart"}`, false},
	} {
		var m manifest.Initrd
		got, err := describe([]byte(c.in), &m)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
		if c.ok && (got[0] != 0x0f || m.DataBlocks != 5) {
			t.Errorf("%s: %x %+v", c.name, got, m)
		}
		if err != nil && !strings.Contains(err.Error(), "boot the image as it was built") {
			t.Errorf("%s: it does not say what to do: %v", c.name, err)
		}
	}
}

func TestMachineID(t *testing.T) {
	seen := map[string]bool{}
	for range 50 {
		id, err := newMachineID()
		if err != nil || !isMachineID(id) || seen[id] {
			t.Errorf("%q, %v", id, err)
		}
		if id[12] != '4' || !strings.ContainsAny(id[16:17], "89ab") {
			t.Errorf("%q is no version 4 UUID", id)
		}
		seen[id] = true
	}
	for text, want := range map[string]bool{
		"0123456789abcdef0123456789abcdef\n": true,
		"0123456789abcdef0123456789abcdef":   true,
		"0123456789ABCDEF0123456789ABCDEF\n": false,
		"0123456789abcdef\n":                 false,
		"uninitialized\n":                    false,
		"":                                   false,
		strings.Repeat("\x00", 32):           false,
		strings.Repeat("x", 32):              false,
	} {
		if got := isMachineID(text); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}
