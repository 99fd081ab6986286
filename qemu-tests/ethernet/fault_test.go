package ethernet_test

import (
	"bytes"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/slipway-os/slipway/qemu-tests/ethernet"
)

func TestFaults(t *testing.T) {
	set := func(s *ethernet.Switch, f ethernet.Fault, names ...string) {
		t.Helper()
		var err error
		if len(names) == 1 {
			err = s.Fault(names[0], f)
		} else {
			err = s.FaultBetween(names[0], names[1], f)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Run("a cut port", func(t *testing.T) {
		seen := make(marks, 1)
		s, m := lab(t, seen)
		set(s, ethernet.Fault{Cut: true}, "1")
		m[0].send(1, "lost")
		m[1].send(0, "lost")
		m[1].send(broadcast, "lost")
		m[0].send(2, "the others go on")
		if got := m[2].receive("the others go on"); got != nil {
			t.Errorf("2 got %q", got)
		}
		pass(m[1], seen) // the switch has thrown away what 1 sent
		set(s, ethernet.Fault{}, "1")
		m[0].send(1, "mended")
		m[1].send(0, "mended")
		for _, i := range []int{0, 1} {
			if got := m[i].receive("mended"); got != nil {
				t.Errorf("%d got %q", i, got)
			}
		}
	})
	t.Run("a cut between two", func(t *testing.T) {
		s, m := lab(t, io.Discard)
		set(s, ethernet.Fault{Cut: true}, "1", "0")
		m[0].send(1, "lost")
		m[1].send(0, "lost")
		for _, from := range m[:2] {
			from.send(2, "the third is reached")
			m[2].receive("the third is reached")
		}
		set(s, ethernet.Fault{}, "0", "1")
		m[0].send(1, "mended")
		if got := m[1].receive("mended"); got != nil {
			t.Errorf("1 got %q", got)
		}
	})
	t.Run("lost frames", func(t *testing.T) {
		seen := make(marks, 1)
		s, m := lab(t, seen)
		set(s, ethernet.Fault{Drop: 0.5}, "1")
		for range 400 {
			m[0].send(1, "x")
		}
		pass(m[0], seen)
		set(s, ethernet.Fault{}, "1")
		m[0].send(1, "end")
		// The seed decides, so that the number is always the same; this is what
		// a fair coin gives in all but one of a million seeds.
		if got := len(m[1].receive("end")); got < 150 || got > 250 {
			t.Errorf("%d of 400 arrived", got)
		}
	})
	t.Run("all frames lost", func(t *testing.T) {
		seen := make(marks, 1)
		s, m := lab(t, seen)
		set(s, ethernet.Fault{Drop: 1}, "0", "1")
		m[0].send(1, "x")
		pass(m[0], seen)
		set(s, ethernet.Fault{}, "0", "1")
		m[0].send(1, "end")
		if got := m[1].receive("end"); got != nil {
			t.Errorf("got %q", got)
		}
	})
	t.Run("a delay", func(t *testing.T) {
		seen := make(marks, 1)
		s, m := lab(t, seen)
		set(s, ethernet.Fault{Delay: time.Hour}, "0", "1")
		m[0].send(1, "in an hour")
		pass(m[0], seen)
		m[2].send(1, "at once")
		if got := m[1].receive("at once"); got != nil {
			t.Errorf("got %q", got)
		}
		const delay = 50 * time.Millisecond
		set(s, ethernet.Fault{Delay: delay}, "0", "1")
		began := time.Now()
		m[0].send(1, "first")
		m[0].send(1, "second")
		if got := m[1].receive("second"); !slices.Equal(got, []string{"first"}) {
			t.Errorf("got %q", got)
		}
		if passed := time.Since(began); passed < delay {
			t.Errorf("arrived after %s", passed)
		}
	})
	t.Run("unknown ports", func(t *testing.T) {
		s, _ := lab(t, io.Discard)
		for _, err := range []error{s.Fault("x", ethernet.Fault{}), s.FaultBetween("0", "x", ethernet.Fault{}), func() error { _, err := s.Port("0"); return err }()} {
			if err == nil {
				t.Error("no error")
			}
		}
	})
}

// marks is a capture that tells when a frame says "mark".
type marks chan struct{}

func (m marks) Write(p []byte) (int, error) {
	if bytes.HasSuffix(p, []byte("mark")) {
		m <- struct{}{}
	}
	return len(p), nil
}

// pass waits until the switch has dealt with all that a machine sent.
func pass(m *machine, seen marks) {
	m.t.Helper()
	m.send(m.mac, "mark") // goes to nobody
	select {
	case <-seen:
	case <-time.After(patience):
		m.t.Fatal("the switch does not read")
	}
}
