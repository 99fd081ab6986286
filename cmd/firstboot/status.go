package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/status"
)

func newStatusCommand() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:     "status",
		Short:   "Say how far this node is",
		Example: "  firstboot status\n  firstboot status --output json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := status.Read(status.File)
			if errors.Is(err, fs.ErrNotExist) {
				return diag.Inputf("this node has no status yet: was a role delivered? journalctl -u slipway-configure tells more")
			}
			if err != nil {
				return err
			}
			switch output {
			case "json":
				enc := json.NewEncoder(c.OutOrStdout())
				enc.SetIndent("", "  ")
				return enc.Encode(s)
			case "text":
				return printStatus(c.OutOrStdout(), s)
			}
			return diag.Inputf("--output %q: text or json", output)
		},
	}
	c.Flags().StringVar(&output, "output", "text", "text or json")
	return c
}

func printStatus(w io.Writer, s status.Status) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(tw, "%s\t%s\n", name, value)
		}
	}
	row("state", s.State)
	if s.Of > 0 {
		row("step", fmt.Sprintf("%d of %d: %s", s.Number, s.Of, s.Doing))
	}
	row("since", fmt.Sprintf("%s (%s ago)", s.Since.Format(time.RFC3339), time.Since(s.Since).Round(time.Second)))
	row("cause", s.Cause)
	row("next", s.Next)
	if m := s.Summary; m != nil {
		row("node", fmt.Sprintf("%s (%s), %s of cluster %q, Kubernetes %s", m.Node, m.Address, m.Role, m.Cluster, m.Version))
		row("cluster CA", m.CAHash)
		row("ready after", fmt.Sprintf("%.1f s", m.Uptime))
		for _, t := range m.Timings {
			row("  "+t.Step, fmt.Sprintf("%.1f s", t.Seconds))
		}
	}
	return tw.Flush()
}
