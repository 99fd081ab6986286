// Package status tells how far a node is: lines on every console, one screen
// at every login prompt, and one JSON file for machines.
package status

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/slipway-os/slipway/pkg/diag"
)

// File is where the status lies on the node.
const File = "/run/slipway/status.json"

// WrongClockFile is there if the machine's clock was found to be wrong at this
// boot.
const WrongClockFile = "/run/slipway/clock-was-wrong"

// States of a node.
const (
	Working = "working"
	Waiting = "waiting"
	Failed  = "failed"  // and will be tried again
	Refused = "refused" // until somebody mends what is wrong
	Ready   = "ready"
)

// Status is what the file says.
type Status struct {
	State    string    `json:"state"` // one of the states above
	Step     string    `json:"step,omitempty"`
	Number   int       `json:"number,omitempty"`
	Of       int       `json:"of,omitempty"`
	Doing    string    `json:"doing,omitempty"`
	Since    time.Time `json:"since"` // when the step began, or the node became Ready
	Cause    string    `json:"cause,omitempty"`
	Next     string    `json:"next,omitempty"`
	Warnings []string  `json:"warnings,omitempty"`
	Summary  *Summary  `json:"summary,omitempty"`
}

// Summary describes a node that is Ready.
type Summary struct {
	Node    string `json:"node"`
	Address string `json:"address"`
	Role    string `json:"role"`
	Cluster string `json:"cluster"`
	Version string `json:"version"`
	// NoNetwork says that pods wait for a network that the node does not bring:
	// Kubernetes calls it Ready only then.
	NoNetwork bool     `json:"noNetwork,omitempty"`
	CAHash    string   `json:"caHash"` // what kubeadm join wants as discovery-token-ca-cert-hash
	Uptime    float64  `json:"uptime"` // seconds from the kernel's start to Ready
	Timings   []Timing `json:"timings"`
}

// Timing is how long a step took.
type Timing struct {
	Step    string  `json:"step"`
	Seconds float64 `json:"seconds"`
}

// Reporter tells of steps.
type Reporter struct {
	say    func(format string, args ...any)
	uptime func() time.Duration
	file   string

	mu    sync.Mutex
	now   Status
	shown string    // what the login prompts were last told to show anew
	last  string    // failure that was last said
	lapse time.Time // until when it need not be said again
	next  string    // what a person can do if the step does not get on
	told  bool      // the consoles said so in this step
	hint  *time.Timer
}

// NewReporter returns a reporter that says lines by say, also while it is asked
// for nothing, and writes the status to file, and the screen beside it.
func NewReporter(file string, say func(string, ...any), uptime func() time.Duration) *Reporter {
	return &Reporter{say: say, uptime: uptime, file: file}
}

// Step says that a step begins, and next what a person can do if it does not
// get on.
func (r *Reporter) Step(name, doing, next string, number, of int) {
	r.change(func(s *Status) {
		r.expect(next)
		*s = Status{State: Working, Step: name, Doing: doing, Number: number, Of: of, Since: time.Now().UTC(), Warnings: s.Warnings}
		r.last = ""
	})
	r.say("%2d/%d %s", number, of, doing)
}

// Note says something worth knowing of a step that is done.
func (r *Reporter) Note(text string) { r.say("      %s", text) }

// Warn says what is wrong without keeping the node from its work. It stays in
// the status.
func (r *Reporter) Warn(text string) {
	r.change(func(s *Status) {
		if !slices.Contains(s.Warnings, text) {
			s.Warnings = append(slices.Clip(s.Warnings), text)
		}
	})
	r.say("WARNING: %s", text)
}

// Waiting says what a step waits for. What a person can do about it is in the
// status at once, but most waits end by themselves: the consoles only say it
// if this one lasts.
func (r *Reporter) Waiting(cause string) {
	r.change(func(s *Status) {
		s.State, s.Cause, s.Next = Waiting, cause, r.next
		if r.hint == nil && r.next != "" && !r.told {
			r.hint = time.AfterFunc(again, r.remind)
		}
	})
	r.say("      waiting: %s", cause)
}

// remind says on the consoles what can be done about a wait, once in a step.
func (r *Reporter) remind() {
	r.mu.Lock()
	next, due := r.next, r.hint != nil && !r.told
	r.told = r.told || due
	r.mu.Unlock()
	if due {
		r.say("        %s", next)
	}
}

// quiet ends a wait before the consoles said what can be done about it.
func (r *Reporter) quiet() {
	if r.hint != nil {
		r.hint.Stop()
		r.hint = nil
	}
}

// expect begins what a person can do something else about.
func (r *Reporter) expect(next string) {
	r.quiet()
	r.next, r.told = next, false
}

// Resumed says that what a step waited for is there.
func (r *Reporter) Resumed() {
	r.change(func(s *Status) {
		r.quiet()
		if s.State == Waiting {
			s.State, s.Cause, s.Next = Working, "", ""
		}
	})
}

// NoRole says that the node waits for a role, and where it looks for it.
func (r *Reporter) NoRole(file string) {
	r.change(func(s *Status) {
		r.expect("")
		*s = Status{State: Waiting, Since: time.Now().UTC(), Cause: "this node has no role yet", Next: "lay it down as " + file + ", or start a fresh disk with a config that has one"}
	})
	r.say("WAITING FOR A ROLE: lay it down as %s, or start a fresh disk with a config that has one", file)
}

// again is how often a failure that does not change is said.
const again = time.Minute

// Failed says that a step failed, and when it is tried again; 0 for never. The
// same failure is not said over and over.
func (r *Reporter) Failed(err error, next string, retry time.Duration) {
	known := false
	r.change(func(s *Status) {
		r.quiet()
		s.State, s.Cause, s.Next = Failed, err.Error(), next
		if retry == 0 {
			s.State = Refused
		}
		if s.Since.IsZero() {
			s.Since = time.Now().UTC()
		}
		now := time.Now()
		if known = r.last == s.Cause && now.Before(r.lapse) && retry > 0; !known {
			r.last, r.lapse = s.Cause, now.Add(again)
		}
	})
	if known {
		return
	}
	r.say("FAILED: %v", err)
	if next != "" {
		r.say("        %s", next)
	}
	if retry > 0 {
		r.say("        trying again every %s", retry)
	}
}

// Refused says that the role itself is wrong, or that the node cannot go on
// until somebody mends what is.
func (r *Reporter) Refused(err error) {
	next := ""
	if diag.ExitCode(err) == diag.ExitInput {
		next = "mend the role where it lies (it is read again at once), or start a fresh disk with a config that is right"
	}
	r.Failed(err, next, 0)
}

// Ready says that the node is Ready: first on the consoles, as who waits for
// the status may turn the machine off then.
func (r *Reporter) Ready(s Summary, again bool) {
	s.Uptime = r.uptime().Round(10 * time.Millisecond).Seconds()
	if !again {
		var parts []string
		for _, t := range s.Timings {
			if t.Seconds >= 0.1 {
				parts = append(parts, fmt.Sprintf("%s %.1fs", t.Step, t.Seconds))
			}
		}
		r.say("timings: %s", strings.Join(parts, ", "))
	}
	r.say("NODE READY: %s (%s), %s of cluster %q, Kubernetes %s, %.0f s after the start", s.Node, s.Address, s.Role, s.Cluster, s.Version, s.Uptime)
	r.change(func(now *Status) {
		r.expect("")
		*now = Status{State: Ready, Since: time.Now().UTC(), Summary: &s, Warnings: now.Warnings}
	})
}

// change changes the status, and writes it. A status that cannot be written
// must not stop what it tells of.
func (r *Reporter) change(how func(*Status)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	how(&r.now)
	data, err := json.MarshalIndent(r.now, "", "  ")
	if err != nil {
		return
	}
	dir := filepath.Dir(r.file)
	os.MkdirAll(dir, 0o755)
	replace(r.file, append(data, '\n'))
	replace(filepath.Join(dir, "issue"), []byte(issue(r.now)))
	// Not at every step: a prompt that is drawn anew is a nuisance.
	passing := r.now.State == Working || r.now.State == Waiting && r.now.Step != ""
	if shown := r.now.State + r.now.Cause; shown != r.shown && !passing {
		r.shown = shown
		redraw(filepath.Join(filepath.Dir(dir), "agetty.reload"))
	}
}

// replace replaces a file in memory, where no power cut leaves anything.
func replace(name string, data []byte) {
	tmp := filepath.Join(filepath.Dir(name), "."+filepath.Base(name))
	if os.WriteFile(tmp, data, 0o644) == nil {
		os.Rename(tmp, name)
	}
}

// redraw lets agetty(8) show its issue files anew, as `agetty --reload` does.
func redraw(file string) {
	if f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY, 0o600); err == nil {
		f.Close()
		os.Chtimes(file, time.Now(), time.Now())
	}
}

// Read reads the status of a node.
func Read(file string) (Status, error) {
	var s Status
	data, err := os.ReadFile(file)
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return Status{}, fmt.Errorf("reading %s: %w", file, err)
	}
	return s, nil
}
