package qemutests

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/slipway-os/slipway/qemu-tests/lossydisk"
)

// TestPowerCuts cuts the power again and again during one first boot, at
// random places of its steps, on a disk that loses what was not flushed. In
// the end the node must be Ready, with the authorities that it had reported
// before a cut. SLIPWAY_CUTS sets the number of cuts, SLIPWAY_SEED the
// moments and the losses.
func TestPowerCuts(t *testing.T) {
	cuts := 10
	if testing.Short() {
		cuts = 3
	}
	if err := survive(newScene(t).config(singleNode), number(t, "SLIPWAY_CUTS", cuts)); err != nil {
		t.Fatal(err)
	}
}

// TestPowerCutsAreNoticed does the same to a firstboot that never waits for
// the disk. If that survived, the test above would prove nothing.
func TestPowerCutsAreNoticed(t *testing.T) {
	if testing.Short() {
		t.Skip("bakes a damaged firstboot and boots it up to 25 times, for which `make test` has no time: `make qemu-test RUN=TestPowerCutsAreNoticed` runs it")
	}
	s := newScene(t)
	s.image = variant(t, func(project string) error {
		return os.WriteFile(filepath.Join(project, "pkg/durable/sync.go"), []byte(`package durable

import "os"

func syncFile(*os.File) error { return nil }

func syncFS(*os.File) error { return nil }
`), 0o644)
	})
	s.config(singleNode)
	// Damage needs a cut at the right moment: it has to come in one of many.
	err := survive(s, number(t, "SLIPWAY_CUTS", 25))
	var damage *damageError
	switch {
	case err == nil:
		t.Fatal("a firstboot that never syncs survived every cut")
	case !errors.As(err, &damage):
		t.Fatalf("the test itself failed, which proves nothing: %v", err)
	}
	t.Logf("as it should: %v", err)
}

// damageError is what a power cut did to a node; every other error is of the
// test's own tools.
type damageError struct{ what string }

func (e *damageError) Error() string { return e.what }

func damaged(format string, args ...any) error { return &damageError{fmt.Sprintf(format, args...)} }

// survive cuts the machine's power that often. What the node did not survive
// is a *damageError.
func survive(s *scene, cuts int) error {
	seed := uint64(number(s.t, "SLIPWAY_SEED", int(time.Now().UnixNano()&0xffffff)))
	s.t.Logf("SLIPWAY_SEED=%d SLIPWAY_CUTS=%d", seed, cuts)
	random := rand.New(rand.NewPCG(seed, 0))
	disk, err := lossydisk.New(s.image, s.dir, s.opts.DiskSize)
	if err != nil {
		return err
	}
	defer disk.Close()
	socket := filepath.Join(s.dir, "disk.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	defer l.Close()
	go disk.Serve(l)
	s.opts.DriveURL = "nbd+unix:///?socket=" + socket

	authority := ""
	failures := 0 // starts in a row at which a step failed
	for cut := range cuts {
		m := s.start()
		// The moments are places in the work, not times: machines differ in speed.
		last := ""
		for range random.IntN(4) {
			event, err := m.nextEvent()
			if err != nil {
				return err
			}
			if last = event; !stepLine.MatchString(event) {
				break
			}
		}
		if strings.HasPrefix(last, "FAILED") || strings.HasPrefix(last, "CANNOT START") {
			if failures++; failures == 3 {
				return damaged("start after start, from cut %d on: %s; the console ends with:\n%s", cut-2, last, m.console.end())
			}
		} else if last != "" {
			failures = 0
		}
		pause := time.Duration(random.Int64N(int64(8 * time.Second)))
		select {
		case <-m.ctx.Done():
			return m.ctx.Err()
		case <-time.After(pause):
		}
		m.cut()
		if reported, settled := authorityIn(m.console.text()); settled {
			if authority != "" && authority != reported {
				return damaged("the authority was %s, and is %s after a cut", authority, reported)
			}
			authority = reported
		}
		held, lost, err := disk.Cut(random)
		if err != nil {
			return err
		}
		s.t.Logf("cut %d, %s after %q: lost %d of %d sectors that were not flushed", cut+1, pause.Round(time.Millisecond), last, lost, held)
	}
	m := s.start()
	for failures := 0; ; {
		event, err := m.nextEvent()
		if err != nil {
			return fmt.Errorf("waiting for Ready after %d cuts: %w; the console ends with:\n%s", cuts, err, m.console.end())
		}
		if strings.HasPrefix(event, "NODE READY") {
			break
		}
		if strings.HasPrefix(event, "FAILED") || strings.HasPrefix(event, "CANNOT START") {
			if failures++; failures == 3 {
				return damaged("after %d cuts: %s", cuts, event)
			}
		}
	}
	if _, err := m.guest.WaitReady(m.ctx, m.log); err != nil {
		return fmt.Errorf("asking from outside after %d cuts: %w", cuts, err)
	}
	now, err := m.guest.Status(m.ctx)
	if err != nil {
		return err
	}
	if authority != "" && now.Summary.CAHash != authority {
		return damaged("the authority was %s, and is %s in the end", authority, now.Summary.CAHash)
	}
	return nil
}

var (
	stepLine  = regexp.MustCompile(`slipway: [ 0-9]+/[0-9]+ [^\r\n]+`)
	eventLine = regexp.MustCompile(stepLine.String() + `|(NODE READY|FAILED|CANNOT START)[^\r\n]+`)
)

// nextEvent waits for the node to begin a step, to fail, or to be Ready.
func (m *machine) nextEvent() (string, error) {
	return m.console.match(m.ctx, m.vm, eventLine)
}

// authorityIn returns the cluster's authority that a console reported, and
// whether the step that made it was over.
func authorityIn(console string) (hash string, settled bool) {
	const mark = "cluster CA "
	i := strings.LastIndex(console, mark)
	if i < 0 {
		return "", false
	}
	hash, rest, _ := strings.Cut(console[i+len(mark):], "\r")
	return hash, stepLine.MatchString(rest)
}

func number(t *testing.T, variable string, otherwise int) int {
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n
}
