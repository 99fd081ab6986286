package fat

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// shortName is a directory entry's own name; long says that the file's name
// is kept beside it.
type shortName struct {
	name [11]byte
	long bool
}

// shortNames gives every file of a directory an 8.3 name (section 6.1, and
// 7.3's numeric tails where the name is no 8.3 name).
func shortNames(names []string) ([]shortName, error) {
	taken := map[[11]byte]bool{}
	folded := map[string]bool{}
	next := map[string]int{}
	out := make([]shortName, len(names))
	for i, name := range names {
		if !valid(name) {
			return nil, fmt.Errorf("%q is no name that FAT allows", name)
		}
		if folded[strings.ToUpper(name)] {
			return nil, fmt.Errorf("%q differs from another name in case only, which FAT does not tell apart", name)
		}
		folded[strings.ToUpper(name)] = true
		if short, ok := pack(name); ok {
			out[i].name = short
			taken[short] = true
		}
	}
	for i, name := range names {
		if out[i].name != [11]byte{} {
			continue
		}
		out[i].long = true
		base, ext := name, ""
		if dot := strings.LastIndexByte(name, '.'); dot > 0 {
			base, ext = name[:dot], name[dot+1:]
		}
		base, ext = basis(base, 6), basis(ext, 3)
		// Counting goes on where it ended for the last name that begins alike.
		for n := next[base+"."+ext] + 1; ; n++ {
			tail := fmt.Sprintf("~%d", n)
			candidate := strings.TrimSuffix(base[:min(len(base), 8-len(tail))]+tail+"."+ext, ".")
			short, ok := pack(candidate)
			if !ok || n > 999999 {
				return nil, fmt.Errorf("%q: no short name is left", name)
			}
			// Nor may it be the long name of another file.
			if !taken[short] && !folded[candidate] {
				taken[short] = true
				out[i].name = short
				next[base+"."+ext] = n
				break
			}
		}
	}
	return out, nil
}

// valid reports whether a long name is one that every system reads back:
// Windows drops dots and spaces at the end.
func valid(name string) bool {
	return name != "" && utf8.ValidString(name) && len(utf16.Encode([]rune(name))) <= 255 &&
		!strings.ContainsAny(name, "\"*/:<>?\\|") && !strings.ContainsFunc(name, unicode.IsControl) &&
		strings.TrimRight(name, ". ") == name && !strings.HasPrefix(name, " ")
}

// basis keeps of a name what a short name may have.
func basis(s string, limit int) string {
	var b strings.Builder
	for _, r := range strings.ToUpper(s) {
		if b.Len() == limit {
			break
		}
		switch {
		case r == '.' || r == ' ':
		case allowed(r):
			b.WriteRune(r)
		default:
			b.WriteByte('_')
		}
	}
	return b.String()
}

func allowed(r rune) bool {
	return r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("!#$%&'()-@^_`{}~", r)
}

// pack returns a name as a directory entry has it, if it is an 8.3 name.
func pack(name string) ([11]byte, bool) {
	base, ext, dot := strings.Cut(name, ".")
	if base == "" || len(base) > 8 || len(ext) > 3 || dot && ext == "" {
		return [11]byte{}, false
	}
	for _, r := range base + ext {
		if !allowed(r) {
			return [11]byte{}, false
		}
	}
	return [11]byte([]byte(fmt.Sprintf("%-8s%-3s", base, ext))), true
}

func longEntries(name string) int {
	return (len(utf16.Encode([]rune(name))) + 12) / 13
}

// appendLong appends the entries that hold a long name, last part first
// (section 7).
func appendLong(to []byte, name string, short [11]byte) []byte {
	var sum byte
	for _, c := range short {
		sum = sum<<7 + sum>>1 + c
	}
	units := utf16.Encode([]rune(name))
	n := longEntries(name)
	for i := n; i >= 1; i-- {
		var e [32]byte
		e[0] = byte(i)
		if i == n {
			e[0] |= 0x40
		}
		e[11] = 0x0f
		e[13] = sum
		for j := range 13 {
			unit := uint16(0xffff)
			if k := (i-1)*13 + j; k < len(units) {
				unit = units[k]
			} else if k == len(units) {
				unit = 0
			}
			at := 1 + 2*j
			if j >= 5 {
				at = 14 + 2*(j-5)
			}
			if j >= 11 {
				at = 28 + 2*(j-11)
			}
			binary.LittleEndian.PutUint16(e[at:], unit)
		}
		to = append(to, e[:]...)
	}
	return to
}
