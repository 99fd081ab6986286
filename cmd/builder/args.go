package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/slipway-os/slipway/pkg/diag"
)

// strictArgs makes every complaint about arguments bad input, of a command and
// of all below it.
func strictArgs(c *cobra.Command) {
	check := c.Args
	if c.HasSubCommands() {
		check = knownCommand
		if c.RunE == nil && c.Run == nil {
			// Without it, cobra would take a misspelt command for a call of help.
			c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
		}
	}
	if check == nil {
		check = cobra.NoArgs
	}
	c.Args = func(c *cobra.Command, args []string) error {
		if err := check(c, args); err != nil {
			return diag.Inputf("%w; see '%s --help'", err, c.CommandPath())
		}
		return nil
	}
	for _, s := range c.Commands() {
		strictArgs(s)
	}
}

// knownCommand refuses the argument of a command that only has commands below it.
func knownCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, s := range c.Commands() {
		names = append(names, s.Name())
	}
	if c.Version != "" {
		names = append(names, "--version")
	}
	return diag.At(diag.Position{}, diag.Suggest(args[0], names), "unknown command %q for %q", args[0], c.CommandPath())
}

// noneBut is for commands that a flag tells what one may take for an argument.
func noneBut(flag string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		return diag.At(diag.Position{}, fmt.Sprintf("did you mean \"--%s %s\"?", flag, args[0]), "unexpected argument %q", args[0])
	}
}

// knownTopic refuses to help about what is no command.
func knownTopic(c *cobra.Command, args []string) error {
	found, rest, err := c.Root().Find(args)
	if err != nil {
		return err
	}
	return knownCommand(found, rest)
}
