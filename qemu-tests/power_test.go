package qemutests

import (
	"encoding/json"
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

	"github.com/slipway-os/slipway/pkg/status"
	"github.com/slipway-os/slipway/qemu-tests/lossydisk"
)

// TestPowerCuts cuts the power again and again during one first boot, at
// random places of its steps, on a disk that loses what was not flushed. In
// the end the node must be Ready, with the authorities that it had reported
// before a cut. SLIPWAY_CUTS sets the number of cuts, SLIPWAY_SEED the
// moments and the losses.
func TestPowerCuts(t *testing.T) {
	s := newScene(t).config(singleNode)
	if err := survive(s, number(t, "SLIPWAY_CUTS", 10)); err != nil {
		t.Fatal(err)
	}
}

// survive cuts the machine's power that often and returns what it did not survive.
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
	for cut := range cuts {
		m := s.start()
		// The moments are places in the work, not times: machines differ in speed.
		last := ""
		for range random.IntN(4) {
			line, err := m.nextStep()
			if err != nil {
				return err
			}
			if last = line; line == "" {
				break
			}
		}
		pause := time.Duration(random.Int64N(int64(5 * time.Second)))
		select {
		case <-m.ctx.Done():
			return m.ctx.Err()
		case <-time.After(pause):
		}
		m.cut()
		if reported, settled := authorityIn(m.console.text()); settled {
			if authority != "" && authority != reported {
				return fmt.Errorf("the authority was %s, and is %s after a cut", authority, reported)
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
	if _, err := m.guest.WaitReady(m.ctx, m.log); err != nil {
		return fmt.Errorf("waiting for Ready after %d cuts: %w; the console ends with:\n%s", cuts, err, m.console.end())
	}
	for {
		var now status.Status
		out, err := m.guest.Run(m.ctx, "firstboot status --output json")
		if err == nil {
			err = json.Unmarshal(out, &now)
		}
		if err != nil {
			return err
		}
		if now.State != "ready" {
			wait(s.t, m.ctx)
			continue
		}
		if authority != "" && now.Summary.CAHash != authority {
			return fmt.Errorf("the authority was %s, and is %s in the end", authority, now.Summary.CAHash)
		}
		return nil
	}
}

var stepLine = regexp.MustCompile(`slipway: [ 0-9]+/[0-9]+ [^\r\n]+`)

// nextStep waits for the node to begin a step, or to be Ready ("").
func (m *machine) nextStep() (string, error) {
	return m.console.match(m.ctx, m.vm.Done(), stepLine, "NODE READY")
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
