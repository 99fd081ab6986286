// Package journal remembers on disk which steps of a long task were begun and
// which are done, so that the task goes on where a power cut stopped it.
package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
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
	if err := json.Unmarshal(data, &d); err != nil || d.Format != format {
		return nil, fmt.Errorf("reading the journal %q: it is damaged or of another version; remove it only to configure this node anew from nothing", file)
	}
	j.entries = d.Steps
	return j, nil
}

// Entries returns the steps in the order in which they were begun.
func (j *Journal) Entries() []Entry { return j.entries }

// Done says whether a step is done.
func (j *Journal) Done(step string) bool {
	e := j.entry(step)
	return e != nil && !e.Done.IsZero()
}

// Interrupted says whether a step was begun and is not done.
func (j *Journal) Interrupted(step string) bool {
	e := j.entry(step)
	return e != nil && e.Done.IsZero()
}

func (j *Journal) entry(step string) *Entry {
	for i := range j.entries {
		if j.entries[i].Step == step {
			return &j.entries[i]
		}
	}
	return nil
}

// Begin records that a step is begun, before anything of it is done.
func (j *Journal) Begin(step string) error {
	e := j.entry(step)
	if e == nil {
		j.entries = append(j.entries, Entry{Step: step})
		e = &j.entries[len(j.entries)-1]
	}
	e.Begun, e.Done = time.Now().UTC(), time.Time{}
	e.Attempts++
	return j.write()
}

// End records that a step is done. What it wrote must be on the disk by now.
func (j *Journal) End(step string, took time.Duration) error {
	e := j.entry(step)
	if e == nil {
		return fmt.Errorf("ending step %q: it was not begun", step)
	}
	e.Done, e.Seconds = time.Now().UTC(), took.Round(10*time.Millisecond).Seconds()
	return j.write()
}

// Forget makes a step one that was never begun.
func (j *Journal) Forget(step string) error {
	for i := range j.entries {
		if j.entries[i].Step == step {
			j.entries = append(j.entries[:i], j.entries[i+1:]...)
			return j.write()
		}
	}
	return nil
}

func (j *Journal) write() error {
	data, err := json.MarshalIndent(document{Format: format, Steps: j.entries}, "", "  ")
	if err != nil {
		return err
	}
	return durable.WriteFile(j.file, append(data, '\n'), 0o644)
}
