package status_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/status"
)

// desk is a reporter and where it reports to.
type desk struct {
	*status.Reporter
	t    *testing.T
	run  string // what /run is on a node
	mu   sync.Mutex
	said []string
}

func newDesk(t *testing.T) *desk {
	d := &desk{t: t, run: t.TempDir()}
	d.Reporter = status.NewReporter(d.file(), func(format string, args ...any) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.said = append(d.said, fmt.Sprintf(format, args...))
	}, func() time.Duration { return 98760 * time.Millisecond })
	return d
}

func (d *desk) file() string { return filepath.Join(d.run, "slipway/status.json") }

// status reads what the file says, without times.
func (d *desk) status() status.Status {
	d.t.Helper()
	s, err := status.Read(d.file())
	if err != nil {
		d.t.Fatal(err)
	}
	if s.Since.IsZero() || time.Since(s.Since).Abs() > time.Hour {
		d.t.Errorf("since %v", s.Since)
	}
	s.Since = time.Time{}
	return s
}

func summary() status.Summary {
	return status.Summary{
		Node: "cp1", Address: "192.0.2.10", Role: "control-plane", Cluster: "demo", Version: "v1.37.2", CAHash: "sha256:00",
		Timings: []status.Timing{{Step: "node", Seconds: 0.01}, {Step: "certificates", Seconds: 1.25}},
	}
}

// A node's way to Ready, as the console and the file tell it.
func TestReports(t *testing.T) {
	wrong := errors.New("wrong")
	for _, c := range []struct {
		name string
		do   func(*desk)
		said []string
		want status.Status
	}{
		{
			"a step begins", func(d *desk) { d.Step("node", "finding out name", "is a cable in?", 1, 18) },
			[]string{" 1/18 finding out name"},
			status.Status{State: "working", Step: "node", Number: 1, Of: 18, Doing: "finding out name"},
		},
		{
			"it waits", func(d *desk) { d.Step("node", "finding out name", "is a cable in?", 1, 18); d.Waiting("no address") },
			[]string{" 1/18 finding out name", "      waiting: no address"},
			status.Status{State: "waiting", Step: "node", Number: 1, Of: 18, Doing: "finding out name", Cause: "no address", Next: "is a cable in?"},
		},
		{
			"it goes on when that is there", func(d *desk) {
				d.Step("node", "finding out name", "is a cable in?", 1, 18)
				d.Waiting("no address")
				d.Resumed()
			},
			[]string{" 1/18 finding out name", "      waiting: no address"},
			status.Status{State: "working", Step: "node", Number: 1, Of: 18, Doing: "finding out name"},
		},
		{
			"there is no role", func(d *desk) { d.NoRole("/etc/role.yaml") },
			[]string{"WAITING FOR A ROLE: lay it down as /etc/role.yaml, or start a fresh disk with a config that has one"},
			status.Status{State: "waiting", Cause: "this node has no role yet", Next: "lay it down as /etc/role.yaml, or start a fresh disk with a config that has one"},
		},
		{
			"it fails, and is tried again", func(d *desk) {
				d.Step("node", "finding out name", "is a cable in?", 1, 18)
				d.Failed(wrong, "do this", time.Second)
			},
			[]string{" 1/18 finding out name", "FAILED: wrong", "        do this", "        trying again every 1s"},
			status.Status{State: "failed", Step: "node", Number: 1, Of: 18, Doing: "finding out name", Cause: "wrong", Next: "do this"},
		},
		{
			"the same failure over and over is said once", func(d *desk) {
				for range 5 {
					d.Failed(wrong, "do this", time.Second)
				}
				d.Failed(errors.New("another"), "", time.Second)
			},
			[]string{"FAILED: wrong", "        do this", "        trying again every 1s", "FAILED: another", "        trying again every 1s"},
			status.Status{State: "failed", Cause: "another"},
		},
		{
			"it cannot be mended", func(d *desk) { d.Failed(wrong, "", 0); d.Failed(wrong, "", 0) },
			[]string{"FAILED: wrong", "FAILED: wrong"}, // said when somebody asks again
			status.Status{State: "refused", Cause: "wrong"},
		},
		{
			"the role is wrong", func(d *desk) { d.Refused(diag.Inputf("role.yaml:1:1: wrong")) },
			[]string{"FAILED: role.yaml:1:1: wrong", "        mend the role where it lies (it is read again at once), or start a fresh disk with a config that is right"},
			status.Status{State: "refused", Cause: "role.yaml:1:1: wrong", Next: "mend the role where it lies (it is read again at once), or start a fresh disk with a config that is right"},
		},
		{
			"it goes on after a failure", func(d *desk) { d.Failed(wrong, "do this", time.Second); d.Step("images", "checking", "", 2, 18) },
			[]string{"FAILED: wrong", "        do this", "        trying again every 1s", " 2/18 checking"},
			status.Status{State: "working", Step: "images", Number: 2, Of: 18, Doing: "checking"},
		},
		{
			"a warning stays", func(d *desk) { d.Warn("mind this"); d.Warn("mind this"); d.Step("images", "checking", "", 2, 18) },
			[]string{"WARNING: mind this", "WARNING: mind this", " 2/18 checking"},
			status.Status{State: "working", Step: "images", Number: 2, Of: 18, Doing: "checking", Warnings: []string{"mind this"}},
		},
		{
			"Ready", func(d *desk) { d.Step("ready", "waiting", "", 18, 18); d.Note("a note"); d.Ready(summary(), false) },
			[]string{"18/18 waiting", "      a note", "timings: certificates 1.2s", `NODE READY: cp1 (192.0.2.10), control-plane of cluster "demo", Kubernetes v1.37.2, 99 s after the start`},
			func() status.Status {
				s := summary()
				s.Uptime = 98.76
				return status.Status{State: "ready", Summary: &s}
			}(),
		},
		{
			"Ready again", func(d *desk) { d.Ready(summary(), true) },
			[]string{`NODE READY: cp1 (192.0.2.10), control-plane of cluster "demo", Kubernetes v1.37.2, 99 s after the start`},
			func() status.Status {
				s := summary()
				s.Uptime = 98.76
				return status.Status{State: "ready", Summary: &s}
			}(),
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDesk(t)
			c.do(d)
			if !reflect.DeepEqual(d.said, c.said) {
				t.Errorf("said\n%q\nwant\n%q", d.said, c.said)
			}
			got := d.status()
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
		})
	}
}

// What a person can do about a wait is in the status at once, and on the
// consoles once in a step, a minute after it began to wait.
func TestALongWait(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(*desk)
		want int // how often it was said
	}{
		{"not yet a minute", func(d *desk) { d.Waiting("a"); time.Sleep(59 * time.Second) }, 0},
		{"a minute", func(d *desk) { d.Waiting("a"); time.Sleep(time.Minute) }, 1},
		{"a minute, for this and that", func(d *desk) {
			for range 7 {
				d.Waiting("a")
				time.Sleep(5 * time.Second)
				d.Waiting("b")
				time.Sleep(5 * time.Second)
			}
		}, 1},
		{"for hours", func(d *desk) { d.Waiting("a"); time.Sleep(time.Hour); d.Waiting("b"); time.Sleep(time.Hour) }, 1},
		{"and again in the same step", func(d *desk) {
			for range 2 {
				d.Waiting("a")
				time.Sleep(time.Hour)
				d.Resumed()
			}
		}, 1},
		{"it came before", func(d *desk) { d.Waiting("a"); d.Resumed(); time.Sleep(time.Hour) }, 0},
		{"it failed before", func(d *desk) { d.Waiting("a"); d.Failed(errors.New("b"), "", time.Second); time.Sleep(time.Hour) }, 0},
		{"the step ended before", func(d *desk) {
			d.Waiting("a")
			d.Step("images", "checking", "something else", 2, 18)
			time.Sleep(time.Hour)
		}, 0},
		{"Ready before", func(d *desk) { d.Waiting("a"); d.Ready(summary(), true); time.Sleep(time.Hour) }, 0},
		{"in the next step too", func(d *desk) {
			for range 2 {
				d.Step("node", "finding out name", "is a cable in?", 1, 18)
				d.Waiting("a")
				time.Sleep(time.Hour)
			}
		}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDesk(t)
				d.Step("node", "finding out name", "is a cable in?", 1, 18)
				c.do(d)
				synctest.Wait()
				count := 0
				for _, line := range d.said {
					if line == "        is a cable in?" {
						count++
					}
				}
				if count != c.want {
					t.Errorf("said %d times, want %d: %q", count, c.want, d.said)
				}
			})
		})
	}
}

// The file is whole whenever it is read, and what cannot be written stops
// nobody.
func TestTheFile(t *testing.T) {
	d := newDesk(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 100 {
			d.Step("step", strings.Repeat("x", i*50), "", i, 100)
		}
	}()
	for reads := 0; ; {
		_, err := status.Read(d.file())
		if err == nil {
			reads++
		} else if !errors.Is(err, os.ErrNotExist) || reads > 0 {
			t.Fatalf("after %d reads: %v", reads, err)
		}
		select {
		case <-done:
		default:
			continue
		}
		break
	}
	if err := os.WriteFile(d.file(), []byte(`{"state":"wor`), 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := status.Read(d.file()); err == nil || !strings.Contains(err.Error(), d.file()) || !reflect.DeepEqual(s, status.Status{}) {
		t.Errorf("torn: %+v, %v", s, err)
	}
	nowhere := status.NewReporter("/proc/nowhere/status.json", func(string, ...any) {}, func() time.Duration { return 0 })
	nowhere.Step("a", "b", "", 1, 1)
}

func TestScreen(t *testing.T) {
	since := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s := summary()
	for _, c := range []struct {
		name    string
		status  status.Status
		timings bool
		want    string
	}{
		{"at work", status.Status{State: "failed", Number: 3, Of: 18, Doing: "checking", Since: since, Cause: "it\nbroke", Next: "do this", Warnings: []string{"mind this"}}, false, `state    failed
step     3 of 18: checking
since    2026-01-02T03:04:05Z
cause    it broke
next     do this
warning  mind this
`},
		{"Ready", status.Status{State: "ready", Since: since, Summary: &s}, true, `state           ready
since           2026-01-02T03:04:05Z
node            cp1 (192.0.2.10), control-plane of cluster "demo", Kubernetes v1.37.2
CA hash         sha256:00
ready after     0.0 s
- node          0.0 s
- certificates  1.2 s
`},
		{"nothing yet", status.Status{State: "working"}, false, "state  working\n"},
	} {
		if got := c.status.Screen(c.timings); got != c.want {
			t.Errorf("%s: got\n%s", c.name, got)
		}
	}
}

// Login prompts show the screen, and are drawn anew when something happened
// that somebody in front of them should know.
func TestLoginPrompts(t *testing.T) {
	d := newDesk(t)
	reload := filepath.Join(d.run, "agetty.reload")
	drawn := func() bool {
		err := os.Remove(reload)
		return err == nil
	}
	issue := func() string {
		data, err := os.ReadFile(filepath.Join(d.run, "slipway/issue"))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	d.Step("node", "finding out name", "is a cable in?", 1, 18)
	if drawn() {
		t.Error("drawn anew for a step")
	}
	if !strings.Contains(issue(), "1 of 18: finding out name") {
		t.Errorf("issue %q", issue())
	}
	d.Failed(errors.New(`bad \n name`+"\x1b[2J"), "", time.Second)
	if !drawn() {
		t.Error("not drawn anew for a failure")
	}
	// To agetty, \n would be the host's name; to a terminal, ESC a command.
	if got := issue(); !strings.Contains(got, `bad \\n name [2J`) {
		t.Errorf("issue %q", got)
	}
	d.Failed(errors.New(`bad \n name`+"\x1b[2J"), "", time.Second)
	if drawn() {
		t.Error("drawn anew for the same failure")
	}
	d.Ready(summary(), false)
	if !drawn() {
		t.Error("not drawn anew when the node is Ready")
	}
}
