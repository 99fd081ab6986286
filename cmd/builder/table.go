package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// table is text in columns. What is in it may come from anywhere: nothing
// steers a terminal.
type table struct {
	title  string
	header []string
	right  string // numbers of the columns that are aligned to the right
	rows   [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// page prints tables one under another.
type page struct {
	w      io.Writer
	width  int // of the terminal; 0 for anything else
	colour bool
	err    error // the first
}

func newPage(w io.Writer) *page {
	width := terminalWidth(w)
	return &page{w: w, width: width, colour: width > 0 && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
}

func (p *page) line(text string) {
	if p.err == nil {
		_, p.err = fmt.Fprintln(p.w, strings.TrimRight(text, " "))
	}
}

func (p *page) heading(text string) {
	text = printable(text)
	if p.colour {
		text = "\x1b[1m" + text + "\x1b[0m"
	}
	p.line(text)
}

// table prints a table with its title, but not one without rows.
func (p *page) table(t table) {
	if len(t.rows) == 0 {
		return
	}
	if t.title != "" {
		p.line("")
		p.heading(fmt.Sprintf("%s (%d)", t.title, len(t.rows)))
	}
	if t.header != nil {
		t.rows = slices.Insert(t.rows, 0, t.header)
	}
	p.indented(t, "  ")
}

// plain prints rows alone.
func (p *page) plain(t table) { p.indented(t, "") }

func (p *page) indented(t table, indent string) {
	var widths []int
	for _, row := range t.rows {
		for i, cell := range row {
			row[i] = printable(cell)
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	right := strings.Fields(t.right)
	for _, row := range t.rows {
		line := indent
		for i, cell := range row {
			if i > 0 {
				line += "  "
			}
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if slices.Contains(right, strconv.Itoa(i)) {
				line += pad + cell
			} else {
				line += cell + pad
			}
		}
		line = strings.TrimRight(line, " ")
		// Of rows under a header, what a terminal would wrap is cut.
		if letters := []rune(line); t.header != nil && p.width > 1 && len(letters) > p.width {
			line = string(letters[:p.width-1]) + "…"
		}
		p.line(line)
	}
}

// printable quotes a text that a terminal would not show as it is.
func printable(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) >= 0 || !utf8.ValidString(s) {
		return strconv.Quote(s)
	}
	return s
}
