// Package progress shows a person how far the stages of a build are: live on
// a terminal, in plain lines elsewhere, and as a table at the end.
package progress

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// Board shows stages. Its methods may be called from any goroutine.
type Board struct {
	out    io.Writer
	title  string
	live   bool
	width  func() int
	colour bool

	mu     sync.Mutex
	stages []*Stage
	drawn  int // lines on the screen that the next drawing replaces
	stop   chan struct{}
	done   sync.WaitGroup
}

// Options say how a board shows itself.
type Options struct {
	Title  string     // what the stages belong to: above them, or before each where nothing is redrawn
	Live   bool       // redraw: out is a terminal
	Colour bool       // out shows ANSI colours, and NO_COLOR is not set
	Width  func() int // of the terminal, in columns
}

// New returns a board that writes to out. Close must be called.
func New(out io.Writer, opts Options) *Board {
	b := &Board{out: out, title: opts.Title, live: opts.Live, width: opts.Width, colour: opts.Colour, stop: make(chan struct{})}
	b.done.Add(1)
	go b.loop()
	return b
}

// Stage is one stage of the work.
type Stage struct {
	board   *Board
	name    string
	start   time.Time
	end     time.Time
	total   int64
	current int64
	unit    Unit
	note    string
	result  Result
}

// Unit is what a stage counts in.
type Unit int

// Units of progress.
const (
	Bytes Unit = iota
	Items
)

// Result is what a finished stage has to say.
type Result struct {
	Bytes        int64
	Hits, Misses int    // of the cache
	Note         string // for the table
}

// Start starts a stage. A total of zero means that the amount is not known.
func (b *Board) Start(name string, total int64, unit Unit) *Stage {
	s := &Stage{board: b, name: name, start: time.Now(), total: total, unit: unit}
	b.mu.Lock()
	b.stages = append(b.stages, s)
	b.mu.Unlock()
	return s
}

// SetTotal says how much there is to do.
func (s *Stage) SetTotal(n int64) { s.update(func() { s.total = n }) }

// Set says how much is done.
func (s *Stage) Set(n int64) { s.update(func() { s.current = max(s.current, n) }) }

// Add says that n more are done.
func (s *Stage) Add(n int64) { s.update(func() { s.current += n }) }

// Note says what the stage is at ("compiling kubernetes").
func (s *Stage) Note(note string) { s.update(func() { s.note = note }) }

func (s *Stage) update(fn func()) {
	s.board.mu.Lock()
	defer s.board.mu.Unlock()
	fn()
}

// Done ends the stage.
func (s *Stage) Done(r Result) {
	s.board.mu.Lock()
	defer s.board.mu.Unlock()
	if !s.end.IsZero() {
		return
	}
	s.end = time.Now()
	s.result = r
	if !s.board.live {
		s.board.say(s, "done in "+Duration(s.end.Sub(s.start))+suffix(r.summary()))
	}
}

func (r Result) summary() string {
	var parts []string
	if r.Bytes > 0 {
		parts = append(parts, Size(r.Bytes))
	}
	if r.Hits+r.Misses > 0 {
		parts = append(parts, fmt.Sprintf("%d of %d from the store", r.Hits, r.Hits+r.Misses))
	}
	if r.Note != "" {
		parts = append(parts, r.Note)
	}
	return strings.Join(parts, ", ")
}

func suffix(s string) string {
	if s == "" {
		return ""
	}
	return ": " + s
}

// loop redraws a terminal four times a second; elsewhere it says every ten
// seconds what is still going on.
func (b *Board) loop() {
	defer b.done.Done()
	every := 10 * time.Second
	if b.live {
		every = 250 * time.Millisecond
	}
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-b.stop:
			return
		case <-t.C:
			b.mu.Lock()
			if b.live {
				b.draw()
			} else {
				b.plain()
			}
			b.mu.Unlock()
		}
	}
}

func (b *Board) plain() {
	for _, s := range b.stages {
		if s.end.IsZero() {
			b.say(s, s.line())
		}
	}
}

// say writes a line about a stage.
func (b *Board) say(s *Stage, text string) {
	title := b.title
	if title != "" {
		title += ": "
	}
	fmt.Fprintf(b.out, "%s%-12s %s\n", title, s.name, text)
}

func (b *Board) draw() {
	var lines []string
	if b.title != "" {
		lines = append(lines, b.title)
	}
	for _, s := range b.stages {
		mark, text := "-", s.line()
		if !s.end.IsZero() {
			mark, text = "+", Duration(s.end.Sub(s.start))+suffix(s.result.summary())
		}
		lines = append(lines, fmt.Sprintf("%s %-12s %s", mark, s.name, text))
	}
	var out strings.Builder
	if b.drawn > 0 {
		fmt.Fprintf(&out, "\x1b[%dA", b.drawn)
	}
	for _, l := range lines {
		if w, letters := b.width(), []rune(l); w > 1 && len(letters) >= w {
			l = string(letters[:w-1])
		}
		if b.colour && strings.HasPrefix(l, "+") {
			l = "\x1b[32m+\x1b[0m" + l[1:]
		}
		fmt.Fprintf(&out, "\x1b[2K%s\n", l)
	}
	b.drawn = len(lines)
	io.WriteString(b.out, out.String())
}

// line says how far a running stage is.
func (s *Stage) line() string {
	elapsed := time.Since(s.start)
	text := Duration(elapsed)
	if s.total > 0 {
		show := func(n int64) string { return fmt.Sprint(n) }
		if s.unit == Bytes {
			show = Size
		}
		text += fmt.Sprintf("  %s of %s", show(s.current), show(s.total))
		if s.current > 0 && s.current < s.total {
			left := time.Duration(float64(elapsed) * float64(s.total-s.current) / float64(s.current))
			text += ", about " + Duration(left) + " left"
		}
	}
	if s.note != "" {
		text += "  " + s.note
	}
	return text
}

// Close stops showing. It leaves what is on the screen.
func (b *Board) Close() {
	close(b.stop)
	b.done.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.live {
		b.draw()
	}
}

// Table writes the closing table: stage, time, bytes, cache hits.
func (b *Board) Table() {
	b.mu.Lock()
	defer b.mu.Unlock()
	fmt.Fprintf(b.out, "\n%-14s %8s %10s  %s\n", "STAGE", "TIME", "BYTES", "FROM THE STORE")
	for _, s := range b.stages {
		if s.end.IsZero() {
			continue
		}
		size, hits := "", ""
		if s.result.Bytes > 0 {
			size = Size(s.result.Bytes)
		}
		if n := s.result.Hits + s.result.Misses; n > 0 {
			hits = fmt.Sprintf("%d of %d", s.result.Hits, n)
		}
		fmt.Fprintln(b.out, strings.TrimRight(fmt.Sprintf("%-14s %8s %10s  %-12s %s", s.name, Duration(s.end.Sub(s.start)), size, hits, s.result.Note), " "))
	}
}

// Size writes a number of bytes for people, in powers of ten.
func Size(n int64) string {
	for _, u := range []struct {
		unit string
		size float64
	}{{"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}} {
		if float64(n) >= u.size {
			return fmt.Sprintf("%.1f %s", float64(n)/u.size, u.unit)
		}
	}
	return fmt.Sprintf("%d B", n)
}

// Duration writes a time for people.
func Duration(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return d.Round(time.Second).String()
}
