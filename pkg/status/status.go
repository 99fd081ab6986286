// Package status tells how far a node is: lines on every console, and one
// JSON file for machines.
package status

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/slipway-os/slipway/pkg/diag"
)

// File is where the status lies on the node.
const File = "/run/slipway/status.json"

// Status is what the file says.
type Status struct {
	State   string    `json:"state"` // working, waiting, failed, refused or ready
	Step    string    `json:"step,omitempty"`
	Number  int       `json:"number,omitempty"`
	Of      int       `json:"of,omitempty"`
	Doing   string    `json:"doing,omitempty"`
	Since   time.Time `json:"since"`
	Cause   string    `json:"cause,omitempty"`
	Next    string    `json:"next,omitempty"`
	Summary *Summary  `json:"summary,omitempty"`
}

// Summary describes a node that is Ready.
type Summary struct {
	Node    string   `json:"node"`
	Address string   `json:"address"`
	Role    string   `json:"role"`
	Cluster string   `json:"cluster"`
	Version string   `json:"version"`
	CAHash  string   `json:"caHash"` // what kubeadm join wants as discovery-token-ca-cert-hash
	Uptime  float64  `json:"uptime"` // seconds from the kernel's start to Ready
	Timings []Timing `json:"timings"`
}

// Timing is how long a step took.
type Timing struct {
	Step    string  `json:"step"`
	Seconds float64 `json:"seconds"`
}

// Reporter tells of steps.
type Reporter struct {
	mu     sync.Mutex
	say    func(format string, args ...any)
	uptime func() time.Duration
	file   string
	now    Status
}

// NewReporter returns a reporter that says lines by say and writes the status
// to file.
func NewReporter(file string, say func(string, ...any), uptime func() time.Duration) *Reporter {
	return &Reporter{say: say, uptime: uptime, file: file}
}

// Step says that a step begins.
func (r *Reporter) Step(name, doing string, number, of int) {
	r.set(Status{State: "working", Step: name, Doing: doing, Number: number, Of: of, Since: time.Now().UTC()})
	r.say("%2d/%d %s", number, of, doing)
}

// Note says something worth knowing of a step that is done.
func (r *Reporter) Note(text string) { r.say("      %s", text) }

// Waiting says what a step waits for.
func (r *Reporter) Waiting(cause string) {
	r.mu.Lock()
	s := r.now
	r.mu.Unlock()
	s.State, s.Cause = "waiting", cause
	r.set(s)
	r.say("      waiting: %s", cause)
}

// Failed says that a step failed, and when it is tried again; 0 for never.
func (r *Reporter) Failed(err error, next string, again time.Duration) {
	r.mu.Lock()
	s := r.now
	r.mu.Unlock()
	s.State, s.Cause, s.Next = "failed", err.Error(), next
	if again == 0 {
		s.State = "refused"
	}
	r.set(s)
	r.say("FAILED: %v", err)
	if next != "" {
		r.say("        %s", next)
	}
	if again > 0 {
		r.say("        trying again in %s", again)
	}
}

// Refused says that the role itself is wrong.
func (r *Reporter) Refused(err error) {
	next := "mend the role, and give the node a new config"
	if diag.ExitCode(err) != diag.ExitInput {
		next = ""
	}
	r.Failed(err, next, 0)
}

// Ready says that the node is Ready.
func (r *Reporter) Ready(s Summary, again bool) {
	s.Uptime = r.uptime().Round(10 * time.Millisecond).Seconds()
	r.set(Status{State: "ready", Since: time.Now().UTC(), Summary: &s})
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
}

func (r *Reporter) set(s Status) {
	r.mu.Lock()
	r.now = s
	r.mu.Unlock()
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return
	}
	// A status that cannot be written must not stop what it tells of.
	dir := filepath.Dir(r.file)
	os.MkdirAll(dir, 0o755)
	tmp := filepath.Join(dir, ".status")
	if os.WriteFile(tmp, append(data, '\n'), 0o644) == nil {
		os.Rename(tmp, r.file)
	}
}

// Read reads the status of a node.
func Read(file string) (Status, error) {
	var s Status
	data, err := os.ReadFile(file)
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(data, &s)
}
