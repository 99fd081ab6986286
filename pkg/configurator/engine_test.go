package configurator

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-os/slipway/pkg/journal"
	"github.com/slipway-os/slipway/pkg/role"
	"github.com/slipway-os/slipway/pkg/status"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newReport returns a reporter and what it says.
func newReport(t *testing.T) (*status.Reporter, *[]string) {
	t.Helper()
	said := &[]string{}
	return status.NewReporter(filepath.Join(t.TempDir(), "slipway/status.json"), func(format string, args ...any) {
		*said = append(*said, fmt.Sprintf(format, args...))
	}, func() time.Duration { return 0 }), said
}

// newEngine returns an engine on the journal in a directory, as a start of the
// program finds it.
func newEngine(t *testing.T, dir string) *engine {
	t.Helper()
	j, err := journal.Open(filepath.Join(dir, "journal.json"))
	must(t, err)
	report, _ := newReport(t)
	return &engine{journal: j, status: report, pause: time.Millisecond, disks: []string{dir}}
}

// errCut stands for the end of the power: nothing happens after it.
var errCut = errors.New("the power was cut")

// world is what steps change, and what they did to it.
type world struct {
	did []string
	// cut is where the power goes: at the start of a step, in it, at its end,
	// while it is cleaned up after; "" for nowhere.
	cut string
}

func (w *world) do(what string) {
	w.did = append(w.did, what)
	if w.cut == what {
		panic(errCut)
	}
}

// steps are three, of which the middle one is done at every boot.
func (w *world) steps() []step {
	one := func(name string, always bool) step {
		return step{
			name: name, doing: name, always: always,
			run: func(context.Context) error {
				w.do(name + " begins")
				w.do(name + " ends")
				return nil
			},
			clean: func() error { w.do(name + " is cleaned"); return nil },
		}
	}
	return []step{one("a", false), one("b", true), one("c", false)}
}

// boot runs the steps until they are done, or the power is cut.
func (w *world) boot(t *testing.T, dir string) (done bool) {
	t.Helper()
	defer func() {
		if r := recover(); r != nil && r != errCut {
			panic(r)
		}
	}()
	w.did = nil
	must(t, newEngine(t, dir).run(t.Context(), w.steps()))
	return true
}

func TestOrder(t *testing.T) {
	dir, w := t.TempDir(), &world{}
	if !w.boot(t, dir) || strings.Join(w.did, ", ") != "a begins, a ends, b begins, b ends, c begins, c ends" {
		t.Errorf("the first boot did %q", w.did)
	}
	if !w.boot(t, dir) || strings.Join(w.did, ", ") != "b begins, b ends" {
		t.Errorf("the second boot did %q", w.did)
	}
}

// Wherever the power is cut, the next boot goes on there: what was done is
// not done again, what was begun is cleaned up after and done again.
func TestEveryInterruption(t *testing.T) {
	const after = ", b begins, b ends, c begins, c ends"
	for cut, want := range map[string]string{
		"a begins": "a is cleaned, a begins, a ends" + after,
		"a ends":   "a is cleaned, a begins, a ends" + after,
		"b begins": "b is cleaned" + after,
		"b ends":   "b is cleaned" + after,
		"c begins": "b begins, b ends, c is cleaned, c begins, c ends",
		"c ends":   "b begins, b ends, c is cleaned, c begins, c ends",
	} {
		t.Run(cut, func(t *testing.T) {
			dir, w := t.TempDir(), &world{cut: cut}
			if w.boot(t, dir) {
				t.Fatal("it was not cut")
			}
			want := strings.TrimPrefix(want, ", ")
			// Cut again while it is cleaned up: that is begun anew too.
			name, _, _ := strings.Cut(cut, " ")
			w.cut = name + " is cleaned"
			if w.boot(t, dir) {
				t.Fatal("it was not cut the second time")
			}
			w.cut = ""
			if !w.boot(t, dir) || strings.Join(w.did, ", ") != want {
				t.Errorf("after the cuts it did\n%s\nwant\n%s", strings.Join(w.did, ", "), want)
			}
			if !w.boot(t, dir) || strings.Join(w.did, ", ") != "b begins, b ends" {
				t.Errorf("the boot after that did %q", w.did)
			}
		})
	}
}

// A step that fails is tried again, with what it left cleared away.
func TestRetries(t *testing.T) {
	dir := t.TempDir()
	e := newEngine(t, dir)
	report, said := newReport(t)
	e.status = report
	var did []string
	tries := 0
	err := e.run(t.Context(), []step{{
		name: "a", doing: "doing a", next: "look there",
		run: func(context.Context) error {
			did = append(did, "run")
			if tries++; tries < 3 {
				return fmt.Errorf("reason %d", tries)
			}
			return nil
		},
		clean: func() error { did = append(did, "clean"); return nil },
	}})
	must(t, err)
	if want := []string{"run", "clean", "run", "clean", "run"}; !slices.Equal(did, want) {
		t.Errorf("did %q, want %q", did, want)
	}
	want := []string{" 1/1 doing a", "FAILED: reason 1", "        look there", "        trying again every 1ms", "FAILED: reason 2", "        look there", "        trying again every 1ms"}
	if !reflect.DeepEqual(*said, want) {
		t.Errorf("said\n%q\nwant\n%q", *said, want)
	}
	if n := e.journal.Entries()[0].Attempts; n != 3 {
		t.Errorf("%d attempts in the journal", n)
	}
}

// What a person can do is shown while a step waits, too, not only when it fails.
func TestAWaitShowsWhatToDo(t *testing.T) {
	n, _, _ := newCluster(t, map[string]string{})
	file := filepath.Join(t.TempDir(), "slipway/status.json")
	n.status = status.NewReporter(file, func(string, ...any) {}, func() time.Duration { return 0 })
	e := newEngine(t, t.TempDir())
	e.status = n.status
	var seen status.Status
	must(t, e.run(t.Context(), []step{{name: "a", doing: "doing a", next: "look there", run: func(ctx context.Context) error {
		asked := 0
		return n.waitFor(ctx, n.local(), func(context.Context) (string, error) {
			if asked++; asked == 1 {
				return "b", nil
			}
			var err error
			seen, err = status.Read(file)
			return "", err
		})
	}}}))
	if seen.State != status.Waiting || seen.Cause != "b" || seen.Next != "look there" {
		t.Errorf("while it waited the status was %+v", seen)
	}
}

// What cannot be mended by trying again is not tried again.
func TestFatal(t *testing.T) {
	e := newEngine(t, t.TempDir())
	tries := 0
	err := e.run(t.Context(), []step{{name: "a", run: func(context.Context) error {
		tries++
		return fmt.Errorf("wrapped: %w", &FatalError{errors.New("broken for good")})
	}}})
	var fatal *FatalError
	if !errors.As(err, &fatal) || tries != 1 || e.journal.Done("a") {
		t.Errorf("%v after %d tries", err, tries)
	}
}

func TestCancel(t *testing.T) {
	for _, when := range []string{"in a step", "between tries"} {
		e := newEngine(t, t.TempDir())
		e.pause = time.Hour
		ctx, cancel := context.WithCancel(t.Context())
		err := e.run(ctx, []step{{name: "a", run: func(ctx context.Context) error {
			if when == "in a step" {
				cancel()
				<-ctx.Done()
				return errors.New("what a killed program says")
			}
			time.AfterFunc(10*time.Millisecond, cancel)
			return errors.New("not now")
		}}})
		if !errors.Is(err, context.Canceled) || !e.journal.Interrupted("a") {
			t.Errorf("%s: %v", when, err)
		}
		cancel()
	}
}

// A step whose end could not be recorded is not taken for done.
func TestAnUnrecordedEnd(t *testing.T) {
	dir := t.TempDir()
	e := newEngine(t, dir)
	missing := filepath.Join(dir, "missing")
	e.disks = append(e.disks, missing) // cannot be synced
	ran := 0
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := e.run(ctx, []step{{name: "a", run: func(context.Context) error {
		if ran++; ran == 3 {
			cancel()
		}
		return nil
	}}})
	if !errors.Is(err, context.Canceled) || ran != 3 || newEngine(t, dir).journal.Done("a") {
		t.Errorf("%v, ran %d times", err, ran)
	}
}

// The names of the steps are in journals on disks: they must not change, nor
// two be the same.
func TestStepNames(t *testing.T) {
	want := "node images network authorities vacant certificates kubeconfigs etcd control-plane kubelet api managers subnet proxy pod-network token admin config mark joined dns coredns manifests ready"
	var names, always []string
	for _, s := range (&Configurator{root: "/", role: &role.Role{}}).steps() {
		names = append(names, s.name)
		if s.always {
			always = append(always, s.name)
		}
		if s.doing == "" || s.run == nil || s.next == "" {
			t.Errorf("step %s lacks something", s.name)
		}
	}
	if got := strings.Join(names, " "); got != want {
		t.Errorf("steps\n%s\nwant\n%s", got, want)
	}
	if got := strings.Join(always, " "); got != "images network dns ready" {
		t.Errorf("at every boot: %s", got)
	}
	shared := &role.Role{Kubeadm: []map[string]any{{"kind": "InitConfiguration", "certificateKey": "0123"}}}
	steps := (&Configurator{root: "/", role: shared}).steps()
	if s := steps[len(steps)-2]; s.name != "upload-certs" {
		t.Errorf("a role with a certificate key: the step before the last is %s", s.name)
	}
}
