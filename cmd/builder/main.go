// Command builder bakes operating-system images for Kubernetes nodes.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/slipway-os/slipway/pkg/diag"
)

func main() {
	syscall.Umask(0o022)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := newRootCommand().ExecuteContext(ctx)
	interrupted := ctx.Err() != nil
	stop()
	if err != nil {
		if interrupted {
			err = context.Canceled
		}
		for _, line := range strings.Split(err.Error(), "\n") {
			fmt.Fprintln(os.Stderr, line)
		}
	}
	os.Exit(diag.ExitCode(err))
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "builder",
		Short: "Bake operating-system images for Kubernetes nodes",
		Long: `builder bakes immutable operating-system images that have the container runtime,
the kubelet and the control-plane images already in place, so that a node
joins or starts its cluster at first boot without downloading anything.`,
		Example: `  builder profiles                                        # what can be built
  builder build --profile cp-amd64                        # bake it
  builder role check docs/examples/single-node.yaml       # is this role right?
  builder cluster render demo.yaml --secrets demo.secrets.yaml --out configs
  builder run out/cp-amd64/disk.raw --role docs/examples/single-node.yaml --until ready
  builder inspect out/cp-amd64/disk.raw                   # what is in it?`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return diag.Inputf("%w; see '%s --help'", err, c.CommandPath())
	})
	root.AddCommand(newBuildCommand(), newProfilesCommand(), newRoleCommand(), newClusterCommand(), newRunCommand(), newInspectCommand())
	noPositional(root)
	return root
}

// noPositional makes every complaint about arguments bad input.
func noPositional(c *cobra.Command) {
	check := c.Args
	if check == nil {
		check = cobra.NoArgs
		if c.HasSubCommands() {
			check = func(c *cobra.Command, args []string) error {
				if len(args) == 0 {
					return nil
				}
				var names []string
				for _, s := range c.Commands() {
					names = append(names, s.Name())
				}
				return diag.At(diag.Position{}, diag.Suggest(args[0], names), "unknown command %q for %q", args[0], c.CommandPath())
			}
		}
	}
	c.Args = func(c *cobra.Command, args []string) error {
		if err := check(c, args); err != nil {
			return diag.Inputf("%w; see '%s --help'", err, c.CommandPath())
		}
		return nil
	}
	for _, s := range c.Commands() {
		noPositional(s)
	}
}
