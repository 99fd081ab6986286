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
stopped at any point, by a power cut too, and goes on from there. A node that
has no role yet says so and waits for one.`,
		RunE: func(c *cobra.Command, _ []string) error { return configure(c.Context()) },
	}
}

// configure configures the node. What somebody has to mend, it looks at again
// now and then: starting over at once would only scroll the reason away.
func configure(ctx context.Context) error {
	out := console.Open("slipway")
	report := status.NewReporter(status.File, out.Say, console.Uptime)
	if err := configurator.AwaitRole(ctx, configurator.RoleFile, func() { report.NoRole(configurator.RoleFile) }); err != nil {
		return err
	}
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
