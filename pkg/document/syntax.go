package document

import (
	"bytes"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/slipway-os/slipway/pkg/diag"
)

var (
	yamlLine = regexp.MustCompile(`^line (\d+): (.*)`)
	// Lines are counted from zero where the library's parser, not its scanner,
	// finds what is wrong. These are the parser's words.
	yamlParser = regexp.MustCompile(`^did not find expected (<|node|'-'|key|','|',' or)|^found (undefined tag handle|duplicate %|incompatible)`)
	// Of these the library tells where the list or mapping begins.
	yamlBlock = regexp.MustCompile(`^did not find expected ('-' indicator|key)$`)
	// noAnchor are the library's words for an alias of an anchor that is nowhere.
	// It does not know the place.
	noAnchor = regexp.MustCompile(`^unknown anchor '([^']+)' referenced$`)
)

// noName are the library's words for a star or an ampersand without a name.
const noName = "did not find expected alphabetic or numeric character"

// syntaxError says where data is no YAML. The library knows the line at best.
func syntaxError(file string, data []byte, err error) error {
	line := 1
	msg := strings.TrimPrefix(err.Error(), "yaml: ")
	if m := yamlLine.FindStringSubmatch(msg); m != nil {
		line, _ = strconv.Atoi(m[1])
		if msg = m[2]; yamlParser.MatchString(msg) {
			line++
		}
	}
	hint := ""
	pos := place(file, data, line)
	switch m := noAnchor.FindStringSubmatch(msg); {
	case m != nil:
		pos, hint = stumble(pos, data, "*"+m[1], err)
	case msg == noName:
		pos, hint = stumble(pos, data, "", err)
	case yamlBlock.MatchString(msg):
		pos = place(file, data, broken(data, line, err))
	case strings.Contains(msg, "cannot start any token"):
		hint = "indent with spaces, not tabs"
	}
	return diag.At(pos, hint, "not valid YAML: %s", msg)
}

// place returns where a line's text begins; where there is none any more, the
// end of all text.
func place(file string, data []byte, line int) diag.Position {
	lines := bytes.Split(bytes.TrimRight(data, " \t\r\n"), []byte("\n"))
	if line > len(lines) {
		return diag.Position{File: file, Line: len(lines), Column: utf8.RuneCount(lines[len(lines)-1]) + 1}
	}
	text := lines[line-1]
	return diag.Position{File: file, Line: line, Column: len(text) - len(bytes.TrimLeft(text, " ")) + 1}
}

// maxSearch bounds the size of files that are read again and again.
const maxSearch = 1 << 20

// broken returns the first line, from another on, with which data fails as it
// does as a whole.
func broken(data []byte, line int, err error) int {
	if len(data) > maxSearch {
		return line
	}
	ends := []int{0} // of lines
	for at, c := range data {
		if c == '\n' || at == len(data)-1 {
			ends = append(ends, at+1)
		}
	}
	if line >= len(ends) {
		return line
	}
	return line + sort.Search(len(ends)-1-line, func(i int) bool { return fails(data[:ends[line+i]], err) })
}

// fails reports whether data cannot be read for the same reason.
func fails(data []byte, err error) bool {
	_, _, got := read(data)
	return got != nil && got.Error() == err.Error()
}

// stumble returns the place of the alias or anchor that the library stumbles
// over: what it looks like, if that is known. Where it cannot be found, at is as
// much as there is to say.
func stumble(at diag.Position, data []byte, like string, err error) (diag.Position, string) {
	var starts, ends []int // of all there are; some may be part of a comment or of a text in quotes
	for i := 0; i < len(data) && len(data) <= maxSearch; i++ {
		if data[i] != '*' && data[i] != '&' || !bytes.HasPrefix(data[i:], []byte(like)) {
			continue
		}
		end := i + 1
		for end < len(data) && isAnchor(data[end]) {
			end++
		}
		_, next := utf8.DecodeRune(data[end:])
		starts, ends = append(starts, i), append(ends, end+next)
	}
	i := sort.Search(len(starts), func(i int) bool { return fails(data[:ends[i]], err) })
	if i == len(starts) {
		return at, ""
	}
	before := data[:starts[i]]
	at.Line = bytes.Count(before, []byte("\n")) + 1
	at.Column = utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]) + 1
	if data[starts[i]] == '&' {
		return at, "in quotes, if the ampersand belongs to the value"
	}
	return at, "in quotes, if the star belongs to the value"
}

// isAnchor reports whether names of anchors may have a character.
func isAnchor(c byte) bool {
	return c == '_' || c == '-' || '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
}
