package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/slipway-os/slipway/pkg/configurator"
	"github.com/slipway-os/slipway/pkg/console"
	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/status"
)

func newConfigureCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "configure",
		Short: "Bring this node into its role",
		Long: `configure works through a journal of steps until the node is Ready. It may be
stopped at any point, by a power cut too, and goes on from there.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return configure(c.Context()) },
	}
}

func configure(ctx context.Context) error {
	out := console.Open("slipway")
	report := status.NewReporter(status.File, out.Say, console.Uptime)
	c, err := configurator.New(report)
	if err == nil {
		return c.Run(ctx)
	}
	report.Refused(err)
	if errors.Is(ctx.Err(), context.Canceled) || diag.ExitCode(err) != diag.ExitInput {
		return err
	}
	// A wrong role stays wrong: starting over would only scroll the reason
	// away. The console hears of it again now and then.
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Minute):
			report.Refused(err)
		}
	}
}
