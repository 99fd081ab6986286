package journal_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/slipway-os/slipway/pkg/journal"
)

// open opens a journal as a program does that starts anew.
func open(t *testing.T, file string) *journal.Journal {
	t.Helper()
	j, err := journal.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Every state of a step as the next start sees it.
func TestWhatTheNextStartSees(t *testing.T) {
	for _, c := range []struct {
		name              string
		do                func(*testing.T, *journal.Journal)
		done, interrupted bool
		attempts          int
	}{
		{"nothing happened", func(*testing.T, *journal.Journal) {}, false, false, 0},
		{"begun", func(t *testing.T, j *journal.Journal) { must(t, j.Begin("a")) }, false, true, 1},
		{"begun twice", func(t *testing.T, j *journal.Journal) { must(t, j.Begin("a")); must(t, j.Begin("a")) }, false, true, 2},
		{"done", func(t *testing.T, j *journal.Journal) { must(t, j.Begin("a")); must(t, j.End("a", time.Second)) }, true, false, 1},
		{"done, then begun again", func(t *testing.T, j *journal.Journal) {
			must(t, j.Begin("a"))
			must(t, j.End("a", time.Second))
			must(t, j.Begin("a"))
		}, false, true, 2},
		{"done, then reopened", func(t *testing.T, j *journal.Journal) {
			must(t, j.Begin("a"))
			must(t, j.End("a", time.Second))
			must(t, j.Reopen("a"))
		}, false, true, 1},
		{"reopened before it was begun", func(t *testing.T, j *journal.Journal) { must(t, j.Reopen("a")) }, false, false, 0},
		{"another step", func(t *testing.T, j *journal.Journal) { must(t, j.Begin("b")); must(t, j.End("b", 0)) }, false, false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "dir", "journal.json")
			j := open(t, file)
			c.do(t, j)
			for when, j := range map[string]*journal.Journal{"now": j, "at the next start": open(t, file)} {
				if done, interrupted := j.Done("a"), j.Interrupted("a"); done != c.done || interrupted != c.interrupted {
					t.Errorf("%s: done %v, interrupted %v; want %v, %v", when, done, interrupted, c.done, c.interrupted)
				}
				attempts := 0
				for _, e := range j.Entries() {
					if e.Step == "a" {
						attempts = e.Attempts
					}
				}
				if attempts != c.attempts {
					t.Errorf("%s: %d attempts, want %d", when, attempts, c.attempts)
				}
			}
		})
	}
}

func TestStepsKeepTheirOrder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "journal.json")
	j := open(t, file)
	for _, s := range []string{"c", "a", "b"} {
		must(t, j.Begin(s))
		must(t, j.End(s, 1230*time.Millisecond))
	}
	must(t, j.Reopen("c"))
	must(t, j.Begin("c"))
	var got []string
	for _, e := range open(t, file).Entries() {
		got = append(got, e.Step)
	}
	if s := strings.Join(got, ""); s != "cab" {
		t.Errorf("order %s, want cab: the one in which they were first begun", s)
	}
	if s := j.Entries()[1].Seconds; s != 1.23 {
		t.Errorf("took %v s, want 1.23", s)
	}
}

func TestEndOfAStepThatWasNotBegun(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "journal.json"))
	if err := j.End("a", 0); err == nil || !strings.Contains(err.Error(), `"a"`) {
		t.Errorf("got %v", err)
	}
}

// A step that could not be recorded has not happened: memory must not say
// more than the disk does.
func TestWhatCannotBeWrittenHasNotHappened(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "dir")
	file := filepath.Join(dir, "journal.json")
	j := open(t, file)
	must(t, j.Begin("a"))
	// Where the directory was is a file now: no user can write below it.
	must(t, os.RemoveAll(dir))
	must(t, os.WriteFile(dir, nil, 0o600))
	for name, err := range map[string]error{"ending": j.End("a", 0), "beginning": j.Begin("b"), "reopening": j.Reopen("a")} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if j.Done("a") || !j.Interrupted("a") || j.Interrupted("b") {
		t.Errorf("the journal claims what it could not write: %+v", j.Entries())
	}
	if j.Entries()[0].Attempts != 1 {
		t.Errorf("attempts %d", j.Entries()[0].Attempts)
	}
}

// A write that was cut off leaves a temporary file, and the journal as it was.
func TestTornWrite(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "journal.json")
	must(t, open(t, file).Begin("a"))
	must(t, os.WriteFile(filepath.Join(dir, ".journal.json-123"), []byte(`{"format":1,"steps":[{"st`), 0o600))
	if j := open(t, file); !j.Interrupted("a") {
		t.Errorf("got %+v", j.Entries())
	}
}

// Damage is named, and never taken for a fresh start: that would bring up a
// new cluster where there is one.
func TestDamage(t *testing.T) {
	for _, c := range []struct{ name, content, says string }{
		{"empty", "", "damaged"},
		{"zeros, as a file system may leave", strings.Repeat("\x00", 300), "damaged"},
		{"torn", `{"format":1,"steps":[{"step":"a"`, "damaged"},
		{"of a newer system", `{"format":2,"steps":[]}`, "format 2"},
		{"something else", `{}`, "format 0"},
		{"a list", `[]`, "damaged"},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "journal.json")
			must(t, os.WriteFile(file, []byte(c.content), 0o600))
			if _, err := journal.Open(file); err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), file) {
				t.Errorf("got %v, want %q and the file's name", err, c.says)
			}
			if now, _ := os.ReadFile(file); string(now) != c.content {
				t.Error("the evidence was changed")
			}
		})
	}
}

func FuzzOpen(f *testing.F) {
	f.Add([]byte(`{"format":1,"steps":[{"step":"a","begun":"2026-01-02T03:04:05Z","attempts":1}]}`))
	f.Add([]byte(`{"format":1,"steps":null}`))
	f.Add([]byte(`{"format":1,"steps":[{"step":"a","begun":"2026-01-02T03:04:05Z","done":"2026-01-02T03:04:06Z","seconds":1e300,"attempts":-1},{"step":"a"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		file := filepath.Join(t.TempDir(), "journal.json")
		must(t, os.WriteFile(file, data, 0o600))
		j, err := journal.Open(file)
		if err != nil {
			return
		}
		// Whatever is accepted can be gone on with.
		must(t, j.Begin("a"))
		must(t, j.End("a", time.Second))
		if !open(t, file).Done("a") {
			t.Error("what was done is not done")
		}
	})
}
