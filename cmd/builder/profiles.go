package main

import (
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/document"
	"github.com/slipway-os/slipway/pkg/profile"
)

func newProfilesCommand() *cobra.Command {
	var project, output string
	c := &cobra.Command{
		Use:   "profiles",
		Short: "List what can be built",
		Example: `  builder profiles
  builder profiles show cp-amd64
  builder profiles schema > profile.schema.json`,
		RunE: func(c *cobra.Command, _ []string) error {
			dir, err := findProject(project)
			if err != nil {
				return err
			}
			return listProfiles(c.OutOrStdout(), dir, output)
		},
	}
	c.PersistentFlags().StringVar(&project, "project", "", "directory with profiles/, images/ and overlays/")
	c.Flags().StringVar(&output, "output", "text", "text or json")
	show := &cobra.Command{
		Use:               "show NAME",
		Short:             "Print a profile with all that it extends merged in",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeProfiles,
		RunE: func(c *cobra.Command, args []string) error {
			dir, err := findProject(project)
			if err != nil {
				return err
			}
			p, err := dir.Read(args[0])
			if err != nil {
				return err
			}
			return showProfile(c.OutOrStdout(), *p)
		},
	}
	schema := &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON schema of profiles",
		RunE: func(c *cobra.Command, _ []string) error {
			return writeJSON(c.OutOrStdout(), document.Schema("Slipway profile", profile.Profile{}))
		},
	}
	c.AddCommand(show, schema)
	return c
}

// buildable returns the profiles that are there to be built, not to be
// extended, and all that is wrong with any.
func buildable(dir profile.Dir) ([]*profile.Profile, error) {
	names, err := dir.Names()
	if err != nil {
		return nil, err
	}
	var list []*profile.Profile
	var wrong mistakes
	for _, name := range names {
		p, err := dir.Read(name)
		wrong.add(err)
		if err == nil && p.Architecture != "" && p.Images != "" {
			list = append(list, p)
		}
	}
	return list, wrong.err()
}

func listProfiles(w io.Writer, dir profile.Dir, output string) error {
	list, err := buildable(dir)
	if err != nil {
		return err
	}
	switch output {
	case "json":
		return writeJSON(w, list)
	case "text":
	default:
		return diag.Inputf("--output %q: text or json", output)
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "NAME\tARCHITECTURE\tROLES\tKUBERNETES\tDESCRIPTION")
	for _, p := range list {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", p.Name, p.Architecture, strings.Join(p.Roles, ","), p.Kubernetes.Version, p.Description)
	}
	return tw.Flush()
}

// showProfile prints a profile so that it can be built from, too.
func showProfile(w io.Writer, p profile.Profile) error {
	if file := p.KeyringFile(); file != "" {
		abs, err := filepath.Abs(file)
		if err != nil {
			return diag.IO(err)
		}
		p.OS.Keyring = abs
	}
	if _, err := fmt.Fprintf(w, "# %s, with all that it extends\n", p.Name); err != nil {
		return diag.IO(err)
	}
	p.Name = "" // which is that of the file
	return writeYAML(w, p)
}

func completeProfiles(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	dir, err := findProject("")
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	names, err := dir.Names()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// writeYAML prints by the JSON names, which are the YAML names too.
func writeYAML(w io.Writer, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	var n yaml.Node
	if err := yaml.Unmarshal(data, &n); err != nil {
		return err
	}
	plain(&n)
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	defer enc.Close()
	return enc.Encode(&n)
}

// plain drops the JSON look of a parsed value.
func plain(n *yaml.Node) {
	n.Style = 0
	for _, c := range n.Content {
		plain(c)
	}
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
