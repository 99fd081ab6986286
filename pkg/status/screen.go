package status

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
)

// Screen is the status for people: what `firstboot status` prints and login
// prompts show. How long the steps took is part of it if timings are wanted.
func (s Status) Screen(timings bool) string {
	var out strings.Builder
	tw := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	row := func(name, value string) {
		if value != "" {
			// One row each, whatever it quotes.
			fmt.Fprintf(tw, "%s\t%s\n", name, strings.Join(strings.Fields(value), " "))
		}
	}
	row("state", s.State)
	if s.Of > 0 {
		row("step", fmt.Sprintf("%d of %d: %s", s.Number, s.Of, s.Doing))
	}
	if !s.Since.IsZero() {
		row("since", s.Since.Format(time.RFC3339))
	}
	row("cause", s.Cause)
	row("next", s.Next)
	for _, w := range s.Warnings {
		row("warning", w)
	}
	if m := s.Summary; m != nil {
		row("node", fmt.Sprintf("%s (%s), %s of cluster %q, Kubernetes %s", m.Node, m.Address, m.Role, m.Cluster, m.Version))
		row("CA hash", m.CAHash)
		row("ready after", fmt.Sprintf("%.1f s", m.Uptime))
		for _, t := range m.Timings {
			if timings {
				row("- "+t.Step, fmt.Sprintf("%.1f s", t.Seconds))
			}
		}
	}
	tw.Flush()
	return out.String()
}

// issue is the screen as a file that agetty(8) shows, to which a backslash
// means something.
func issue(s Status) string {
	text := strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' || r == 0x7f {
			return ' '
		}
		return r
	}, s.Screen(false))
	return "\n" + strings.ReplaceAll(text, `\`, `\\`) + "\n"
}
