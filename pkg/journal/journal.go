// Package journal remembers on disk which steps of a long task were begun and
// which are done, so that the task goes on where a power cut stopped it.
package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/slipway-os/slipway/pkg/durable"
)

// Entry is a step. It never holds a secret.
type Entry struct {
	Step     string    `json:"step"`
	Begun    time.Time `json:"begun"`
	Done     time.Time `json:"done,omitzero"`
	Seconds  float64   `json:"seconds,omitempty"`
	Attempts int       `json:"attempts"`
}

// Journal is a journal on disk.
type Journal struct {
	file    string
	entries []Entry
}

// format is the version of the file's format.
const format = 1

type document struct {
	Format int     `json:"format"`
	Steps  []Entry `json:"steps"`
}

// Open reads the journal in a file, which need not exist.
func Open(file string) (*Journal, error) {
	j := &Journal{file: file}
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return j, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the journal: %w", err)
	}
	var d document
	if err := json.Unmarshal(data, &d); err != nil {
		return nil, fmt.Errorf("reading the journal %q: it is damaged; restore it from a backup, or give the machine a fresh disk to configure it anew", file)
	}
	if d.Format != format {
		return nil, fmt.Errorf("reading the journal %q: it is of format %d, this system knows format %d; start the system that wrote it", file, d.Format, format)
	}
	j.entries = d.Steps
	return j, nil
}

// Entries returns the steps in the order in which they were begun.
func (j *Journal) Entries() []Entry { return j.entries }

// Done says whether a step is done.
func (j *Journal) Done(step string) bool {
	i := index(j.entries, step)
	return i >= 0 && !j.entries[i].Done.IsZero()
}

// Interrupted says whether a step was begun and is not done.
func (j *Journal) Interrupted(step string) bool {
	i := index(j.entries, step)
	return i >= 0 && j.entries[i].Done.IsZero()
}

func index(entries []Entry, step string) int {
	return slices.IndexFunc(entries, func(e Entry) bool { return e.Step == step })
}

// Begin records that a step is begun, before anything of it is done.
func (j *Journal) Begin(step string) error {
	entries := slices.Clone(j.entries)
	i := index(entries, step)
	if i < 0 {
		i = len(entries)
		entries = append(entries, Entry{Step: step})
	}
	entries[i].Begun, entries[i].Done = time.Now().UTC(), time.Time{}
	entries[i].Attempts++
	return j.write(entries)
}

// End records that a step is done. What it wrote must be on the disk by now.
func (j *Journal) End(step string, took time.Duration) error {
	entries := slices.Clone(j.entries)
	i := index(entries, step)
	if i < 0 {
		return fmt.Errorf("ending step %q: it was not begun", step)
	}
	entries[i].Done, entries[i].Seconds = time.Now().UTC(), took.Round(10*time.Millisecond).Seconds()
	return j.write(entries)
}

// Reopen makes a step that is done one that was interrupted: it is to be done
// again, and is, however often the power goes before that.
func (j *Journal) Reopen(step string) error {
	entries := slices.Clone(j.entries)
	i := index(entries, step)
	if i < 0 {
		return nil
	}
	entries[i].Done = time.Time{}
	return j.write(entries)
}

// write takes over entries once they are on the disk: what could not be
// written has not happened.
func (j *Journal) write(entries []Entry) error {
	data, err := json.MarshalIndent(document{Format: format, Steps: entries}, "", "  ")
	if err == nil {
		err = durable.WriteFile(j.file, append(data, '\n'), 0o644)
	}
	if err != nil {
		return fmt.Errorf("writing the journal: %w", err)
	}
	j.entries = entries
	return nil
}
