package configurator

import (
	"strings"
	"testing"
	"time"

	"github.com/slipway-os/slipway/pkg/status"
)

func TestWaitingForTheRightTime(t *testing.T) {
	timed := minimal + "time: {servers: [192.0.2.1]}\n"
	for _, c := range []struct {
		name          string
		role          string
		wrong, synced bool
		said          string
	}{
		{"nobody to ask", minimal, true, false, ""},
		{"nobody to ask, and a clock that may be right", minimal, false, false, ""},
		{"set meanwhile", timed, true, true, ""},
		{"a clock that may be right, set meanwhile", timed, false, true, ""},
		{"no answer", timed, true, false, "by a clock that was wrong"},
		{"a clock that may be right, and no answer", timed, false, false, "by the machine's own clock"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, said := configure(t, c.role)
			if c.wrong {
				write(t, n.root, status.WrongClockFile, "")
			}
			if c.synced {
				write(t, n.root, synchronized, "")
			}
			if steps := n.clockStep(); len(steps) > 0 {
				// Who would wait as the other does fails.
				wrong, right := time.Hour, time.Millisecond
				if c.wrong {
					wrong, right = right, wrong
				}
				must(t, n.waitTime(t.Context(), wrong, right))
			}
			if got := strings.Join(*said, "\n"); !strings.Contains(got, c.said) || c.said == "" && got != "" {
				t.Errorf("said %q", got)
			}
		})
	}
}
