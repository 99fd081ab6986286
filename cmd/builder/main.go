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
	context.AfterFunc(ctx, stop) // a second signal ends the program there and then
	err := execute(ctx, newRootCommand())
	stop()
	if err != nil {
		for _, line := range strings.Split(err.Error(), "\n") {
			fmt.Fprintln(os.Stderr, line)
		}
	}
	os.Exit(diag.ExitCode(err))
}

// execute runs a command. Of one that was interrupted it says what that left.
func execute(ctx context.Context, root *cobra.Command) error {
	c, err := root.ExecuteContextC(ctx)
	if err == nil || ctx.Err() == nil {
		return err
	}
	if c.Name() == "build" {
		return diag.Interruptedf("interrupted; nothing is half-written, and the same command goes on from there")
	}
	return diag.Interruptedf("interrupted; nothing is half-written, and the same command may be given again")
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
		Version:       versionText(buildInfo()),
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.Flags().Bool("version", false, "print which builder this is")
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return diag.Inputf("%w; see '%s --help'", err, c.CommandPath())
	})
	root.AddCommand(newBuildCommand(), newProfilesCommand(), newRoleCommand(), newClusterCommand(), newRunCommand(), newInspectCommand(), newExportCommand())
	root.InitDefaultCompletionCmd()
	root.InitDefaultHelpCmd()
	for _, c := range root.Commands() {
		if c.Name() == "help" {
			c.Args = knownTopic
		}
	}
	strictArgs(root)
	return root
}
