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

// lookAgain is how long what somebody has to mend is left alone, if the role
// stays as it is: starting over at once would only scroll the reason away.
const lookAgain = 5 * time.Minute

// configure configures the node. A role that is refused is read again when it is
// changed. Being stopped is no failure: the next start goes on.
func configure(ctx context.Context) error {
	out := console.Open("slipway")
	report := status.NewReporter(status.File, out.Say, console.Uptime)
	watch, err := configurator.NewWatch(configurator.RoleFile)
	if err != nil {
		return err
	}
	defer watch.Close()
	err = watch.There(ctx, func() { report.NoRole(configurator.RoleFile) })
	for err == nil {
		var again bool
		if again, err = attempt(ctx, report); !again {
			break
		}
		mended, cancel := context.WithTimeout(ctx, lookAgain)
		if err = watch.Changed(mended); errors.Is(err, context.DeadlineExceeded) {
			err = nil
		}
		cancel()
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// attempt configures the node as its role says by now, and tells whether
// somebody has to mend something first.
func attempt(ctx context.Context, report *status.Reporter) (again bool, err error) {
	c, err := configurator.New(report)
	if err != nil {
		report.Refused(err)
	} else {
		err = c.Run(ctx)
	}
	var fatal *configurator.FatalError
	return err != nil && ctx.Err() == nil && (errors.As(err, &fatal) || diag.ExitCode(err) == diag.ExitInput), err
}
