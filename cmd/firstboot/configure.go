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

// errChanged ends what is done for a role that is another one by now.
var errChanged = errors.New("the role changed")

// configure configures the node. A role that is changed before it is Ready is
// read again. Being stopped is no failure: the next start goes on.
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
		err = attempt(ctx, report, watch)
		switch {
		case err == nil || ctx.Err() != nil:
			return nil
		case errors.Is(err, errChanged):
			report.Note("the role changed: it is read again; what is done already stays as it is")
			err = nil
		case mendable(err):
			mended, cancel := context.WithTimeout(ctx, lookAgain)
			if err = watch.Changed(mended); errors.Is(err, context.DeadlineExceeded) {
				err = nil
			}
			cancel()
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// mendable tells whether somebody has to mend something before the node can go on.
func mendable(err error) bool {
	var fatal *configurator.FatalError
	return errors.As(err, &fatal) || diag.ExitCode(err) == diag.ExitInput
}

// attempt configures the node as its role says by now. It fails with errChanged
// once the role is another one.
func attempt(ctx context.Context, report *status.Reporter, watch *configurator.Watch) error {
	ctx, stop := context.WithCancel(ctx)
	watched := make(chan bool, 1)
	go func() {
		watched <- watch.Changed(ctx) == nil
		stop()
	}()
	err := run(ctx, report)
	stop()
	// A node that is Ready takes the secrets out of its role itself.
	if changed := <-watched; changed && err != nil {
		return errChanged
	}
	return err
}

func run(ctx context.Context, report *status.Reporter) error {
	c, err := configurator.New(report)
	if err != nil {
		report.Refused(err)
		return err
	}
	return c.Run(ctx)
}
