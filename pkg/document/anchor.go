package document

import (
	"bytes"
	"regexp"
	"sort"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/slipway-os/slipway/pkg/diag"
)

// noAnchor are the library's words for an alias of an anchor that is nowhere.
// It does not know the place.
var noAnchor = regexp.MustCompile(`^unknown anchor '([^']+)' referenced$`)

// alias returns the place of the alias that makes the library say msg. What
// looks like it may be part of a comment or of a text in quotes: the library is
// asked how much of data it takes until it says so.
func alias(file string, data []byte, name, msg string) diag.Position {
	star := []byte("*" + name)
	var written []int // where it may be
	for from := 0; ; {
		at := bytes.Index(data[from:], star)
		if at < 0 {
			break
		}
		written = append(written, from+at)
		from += at + len(star)
	}
	i := sort.Search(len(written), func(i int) bool {
		end := written[i] + len(star)
		for end < len(data) && isAnchor(data[end]) { // a longer name
			end++
		}
		var n yaml.Node
		err := yaml.Unmarshal(data[:end], &n)
		return err != nil && err.Error() == msg
	})
	if i == len(written) {
		return diag.Position{File: file, Line: 1, Column: 1}
	}
	before := data[:written[i]]
	line := before[bytes.LastIndexByte(before, '\n')+1:]
	return diag.Position{File: file, Line: bytes.Count(before, []byte("\n")) + 1, Column: utf8.RuneCount(line) + 1}
}

// isAnchor reports whether names of anchors may have a character.
func isAnchor(c byte) bool {
	return c == '_' || c == '-' || '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
}
