package main

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"

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
		RunE:    func(c *cobra.Command, _ []string) error { return printStatus(c.OutOrStdout(), status.File, output) },
	}
	c.Flags().StringVar(&output, "output", "text", "text or json")
	return c
}

func printStatus(w io.Writer, file, output string) error {
	if output != "text" && output != "json" {
		return diag.Inputf("--output %q: text or json", output)
	}
	s, err := status.Read(file)
	if errors.Is(err, fs.ErrNotExist) {
		return diag.Inputf("this node has no status yet: was a role delivered? journalctl -u slipway-configure tells more")
	}
	if err != nil {
		return err
	}
	if output == "json" {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(s)
	}
	_, err = io.WriteString(w, s.Screen(true))
	return err
}
