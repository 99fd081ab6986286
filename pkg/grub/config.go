package grub

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Entry is what a configuration has in its menu: files of the partition that
// the configuration lies on.
type Entry struct {
	Title          string
	Kernel, Initrd string // absolute paths
	CommandLine    string
}

// Config returns a grub.cfg that starts the entry at once. It keeps to what
// Petitboot reads too (discover/grub2 in its source), which shows the entry in
// its menu and starts it by itself.
func (e Entry) Config() (string, error) {
	title, err := quote(e.Title)
	if err != nil {
		return "", fmt.Errorf("writing the title: %w", err)
	}
	words := []string{"linux", e.Kernel}
	words = append(words, strings.Fields(e.CommandLine)...)
	for i, w := range words {
		if words[i], err = quote(w); err != nil {
			return "", fmt.Errorf("writing the command line: %w", err)
		}
	}
	initrd, err := quote(e.Initrd)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf(`set default=0
set timeout=0
menuentry %s {
	%s
	initrd %s
}
`, title, strings.Join(words, " "), initrd), nil
}

// ErrQuote says that a word cannot pass through GRUB as it is.
var ErrQuote = errors.New("GRUB would change it")

// quote makes a word of GRUB's language of a text.
func quote(s string) (string, error) {
	switch {
	case plain.MatchString(s):
		return s, nil
	case strings.ContainsAny(s, "'\"\\\n\x00"):
		// GRUB itself escapes these for the kernel, which does not unescape them.
		return "", fmt.Errorf("%q has a quote, a backslash or a line break: %w", s, ErrQuote)
	}
	return "'" + s + "'", nil
}

var plain = regexp.MustCompile(`^[A-Za-z0-9_./:=,@%+-]+$`)

// maxConfig bounds what ReadConfig reads, in bytes.
const maxConfig = 1 << 20

// ReadConfig returns the first entry of a configuration in the form that
// Config writes it.
func ReadConfig(text string) (Entry, error) {
	if len(text) > maxConfig {
		return Entry{}, fmt.Errorf("reading grub.cfg: larger than %d bytes", maxConfig)
	}
	var e Entry
	inside := false
	for line := range strings.Lines(text) {
		words, err := split(line)
		if err != nil {
			return Entry{}, fmt.Errorf("reading grub.cfg: %w", err)
		}
		switch {
		case len(words) == 0:
		case words[0] == "menuentry" && len(words) > 2 && !inside:
			inside, e.Title = true, words[1]
		case words[0] == "linux" && len(words) > 1 && inside:
			e.Kernel, e.CommandLine = words[1], strings.Join(words[2:], " ")
		case words[0] == "initrd" && len(words) > 1 && inside:
			e.Initrd = words[1]
		case words[0] == "}" && inside:
			if e.Kernel == "" {
				return Entry{}, fmt.Errorf("reading grub.cfg: entry %q starts no kernel", e.Title)
			}
			return e, nil
		}
	}
	return Entry{}, errors.New("reading grub.cfg: it has no complete entry")
}

// split splits a line into words; single quotes keep one together.
func split(line string) ([]string, error) {
	var words []string
	for {
		line = strings.TrimLeft(line, " \t\n")
		if line == "" || line[0] == '#' {
			return words, nil
		}
		if line[0] != '\'' {
			end := strings.IndexAny(line, " \t\n")
			if end < 0 {
				end = len(line)
			}
			words, line = append(words, line[:end]), line[end:]
			continue
		}
		word, rest, ok := strings.Cut(line[1:], "'")
		if !ok {
			return nil, fmt.Errorf("%q: a quote is not closed", strings.TrimSpace(line))
		}
		words, line = append(words, word), rest
	}
}
