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
		RunE: func(c *cobra.Command, _ []string) error { return configure(c.Context()) },
	}
}

// configure configures the node. What somebody has to mend, it looks at again
// now and then: starting over at once would only scroll the reason away.
func configure(ctx context.Context) error {
	out := console.Open("slipway")
	report := status.NewReporter(status.File, out.Say, console.Uptime)
	for {
		c, err := configurator.New(report)
		if err != nil {
			report.Refused(err)
		} else {
			err = c.Run(ctx)
		}
		var fatal *configurator.FatalError
		if err == nil || ctx.Err() != nil || !errors.As(err, &fatal) && diag.ExitCode(err) != diag.ExitInput {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Minute):
		}
	}
}
