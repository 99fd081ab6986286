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
		{"a clock that may be right", timed, false, false, ""},
		{"nobody to ask", minimal, true, false, ""},
		{"set meanwhile", timed, true, true, ""},
		{"no answer", timed, true, false, "no time server answers"},
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
				patience := time.Minute
				if c.said != "" {
					patience = time.Millisecond
				}
				must(t, n.waitTime(t.Context(), patience))
			}
			if got := strings.Join(*said, "\n"); !strings.Contains(got, c.said) || c.said == "" && got != "" {
				t.Errorf("said %q", got)
			}
		})
	}
}
