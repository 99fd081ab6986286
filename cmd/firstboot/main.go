// Command firstboot launches a node: it is /init in the initrd and the
// configurator on the node.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/initramfs"
)

func main() {
	if os.Getpid() == 1 {
		initramfs.Run()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := newRootCommand().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(diag.ExitCode(err))
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "firstboot",
		Short:         "Launch this node",
		Long:          "firstboot runs as /init in the initrd, and on the node as the configurator that\nbrings it into its cluster.",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return diag.Inputf("%w; see '%s --help'", err, c.CommandPath())
	})
	root.AddCommand(newConfigureCommand(), newSeedCommand(), newStatusCommand(), newUserDataCommand(), newWarmCommand())
	for _, c := range root.Commands() {
		c.Args = none
	}
	root.Args, root.RunE = none, func(c *cobra.Command, _ []string) error { return c.Help() }
	return root
}

// none refuses arguments, as bad input.
func none(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return diag.Inputf("unknown argument %q; see '%s --help'", args[0], c.CommandPath())
	}
	return nil
}
