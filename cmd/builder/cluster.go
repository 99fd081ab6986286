package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/slipway-os/slipway/pkg/cluster"
	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/durable"
	"github.com/slipway-os/slipway/pkg/provision"
	"github.com/slipway-os/slipway/pkg/secrets"
)

func newClusterCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "cluster",
		Short: "Make the secrets of a cluster; turn its description into a config for each node",
		Long: `The secrets of a cluster are made once, offline, and kept. Of them and of a
YAML file that lists the nodes, an Ignition config is made for each node. The
same two files always give the same configs, so that a node can be added, or
installed anew, at any time.`,
		Example: `  builder cluster new --name demo --out demo.secrets.yaml
  builder cluster check docs/examples/ha-cluster.yaml
  builder cluster render demo.yaml --secrets demo.secrets.yaml --out configs
  builder cluster schema > cluster.schema.json`,
	}
	schema := newSchemaCommand("descriptions of clusters", `  builder cluster schema > cluster.schema.json
  builder cluster schema --output markdown > docs/cluster-reference.md`, cluster.Schema, cluster.Reference)
	c.AddCommand(newClusterNewCommand(), newClusterCheckCommand(), newClusterRenderCommand(), schema)
	return c
}

func newClusterCheckCommand() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "check CLUSTER",
		Short: "Say whether the description of a cluster is right",
		Example: `  builder cluster check docs/examples/ha-cluster.yaml
  builder cluster check docs/examples/ha-cluster.yaml --output json`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return checkCluster(c.OutOrStdout(), c.ErrOrStderr(), args[0], output)
		},
	}
	c.Flags().StringVar(&output, "output", "text", "text or json")
	return c
}

// clusterVerdict is what check prints as JSON.
type clusterVerdict struct {
	File     string    `json:"file"`
	Fine     bool      `json:"fine"`
	Cluster  string    `json:"cluster,omitempty"`
	Nodes    int       `json:"nodes,omitempty"`
	Problems []problem `json:"problems"`
	Warnings []problem `json:"warnings"`
}

func checkCluster(w, warnings io.Writer, name, output string) error {
	switch output {
	case "text":
		d, err := readCluster(name, warnings)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(w, "%s: fine: cluster %q, %s\n", name, d.Name, counted(len(d.Nodes), "node"))
		return diag.IO(err)
	case "json":
		d, err := readCluster(name, io.Discard)
		v := clusterVerdict{File: name, Fine: err == nil, Problems: problems(err), Warnings: []problem{}}
		if err == nil {
			v.Cluster, v.Nodes = d.Name, len(d.Nodes)
			for _, p := range d.Warnings {
				v.Warnings = append(v.Warnings, problems(p)...)
			}
		}
		return errors.Join(err, diag.IO(writeJSON(w, v)))
	}
	return diag.Inputf("--output %q: text or json", output)
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// readCluster reads a description and prints what should be known about it.
func readCluster(name string, warnings io.Writer) (*cluster.Cluster, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, diag.Inputf("reading the description of a cluster: %w", err)
	}
	if err := checkKind(name, data, "a description of a cluster"); err != nil {
		return nil, err
	}
	c, err := cluster.Parse(name, data)
	if err != nil {
		return nil, err
	}
	for _, w := range c.Warnings {
		fmt.Fprintf(warnings, "warning: %v\n", w)
	}
	return c, nil
}

type renderFlags struct {
	secrets, identity, out, admin, signed string
	butane                                []string
	dryRun                                bool
}

func newClusterRenderCommand() *cobra.Command {
	var f renderFlags
	c := &cobra.Command{
		Use:   "render CLUSTER",
		Short: "Write the Ignition config of each node",
		Long: `render writes NODE.ign for each node, and index.json, which says which machine
is given which. Files that are right already are left alone; those of nodes that
are gone are named, and left too. Each config holds the secrets that its node
needs, and no others.

If the key of an authority is kept elsewhere, render writes what it shall sign
to requests/NODE/NAME.csr. Sign them, put the certificates into a directory as
NODE/NAME.crt, and give it with --signed. Nodes that lack a certificate are
named, and the exit status is 2; the others are written.`,
		Example: `  builder cluster render demo.yaml --secrets demo.secrets.yaml --out configs --dry-run
  builder cluster render demo.yaml --secrets demo.secrets.yaml --out configs --admin admin.conf
  builder cluster render demo.yaml --secrets demo.secrets.yaml.age --identity key.txt --out configs --butane users.bu
  builder cluster render demo.yaml --secrets demo.secrets.yaml --out configs --signed certificates`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return renderCluster(c.Context(), c.OutOrStdout(), c.ErrOrStderr(), args[0], f)
		},
	}
	c.Flags().StringVar(&f.secrets, "secrets", "", "file that 'builder cluster new' made (required)")
	c.Flags().StringVar(&f.identity, "identity", "", "file of the age identity that decrypts the secrets")
	c.Flags().StringVar(&f.out, "out", "", "directory for the configs (required)")
	c.Flags().StringVar(&f.admin, "admin", "", "file to write an administrator's kubeconfig to, outside --out")
	c.Flags().StringVar(&f.signed, "signed", "", "directory with the certificates that were signed elsewhere")
	c.Flags().StringArrayVar(&f.butane, "butane", nil, "Butane file to merge over the config of every node; may be given again")
	c.Flags().BoolVar(&f.dryRun, "dry-run", false, "write nothing; say what would change")
	return c
}

// check finds what is wrong with the flags alone.
func (f *renderFlags) check() error {
	if f.secrets == "" || f.out == "" {
		return diag.Inputf("--secrets and --out must be given; see 'builder cluster render --help'")
	}
	if err := checkDirectory("--out", f.out); err != nil {
		return err
	}
	if f.signed != "" {
		if _, err := os.ReadDir(f.signed); err != nil {
			return diag.Inputf("reading the certificates that were signed elsewhere: %w", err)
		}
	}
	for _, dir := range []string{f.out, f.signed} {
		if f.admin != "" && dir != "" && within(dir, f.admin) {
			return diag.Inputf("--admin %s: lies in %s; name another, outside of it", f.admin, dir)
		}
	}
	return nil
}

// checkOutputs refuses to write over what is read: the secrets could not be
// made again.
func (f *renderFlags) checkOutputs(name string, configs []cluster.Config) error {
	inputs := append([]string{name, f.secrets, f.identity}, f.butane...)
	files := []string{cluster.IndexName}
	for _, c := range configs {
		files = append(files, c.File())
		for _, r := range c.Requests {
			files = append(files, r.File())
		}
	}
	var problems []error
	for _, file := range files {
		problems = append(problems, checkOutput("--out", filepath.Join(f.out, file), inputs...))
	}
	if f.admin != "" {
		problems = append(problems, checkOutput("--admin", f.admin, inputs...))
	}
	return errors.Join(problems...)
}

func renderCluster(ctx context.Context, w, warnings io.Writer, name string, f renderFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	c, err := readCluster(name, warnings)
	if err != nil {
		return err
	}
	s, err := readSecrets(f.secrets, f.identity, warnings)
	if err != nil {
		return err
	}
	if err := errors.Join(c.Of(s.Cluster), s.CheckTime(time.Now()), cluster.SameCluster(f.out, s)); err != nil {
		return err
	}
	butane, err := readButane(f.butane)
	if err != nil {
		return err
	}
	signed := cluster.Signed{Dir: f.signed, Now: time.Now()}
	if f.signed != "" {
		signed.FS = os.DirFS(f.signed)
	}
	configs, err := c.Render(ctx, s, butane, signed)
	if err != nil {
		return err
	}
	if err := f.checkOutputs(name, configs); err != nil {
		return err
	}
	for _, config := range configs {
		for _, p := range config.Warnings {
			fmt.Fprintf(warnings, "warning: %v\n", p)
		}
	}
	index, err := c.Index(s)
	if err != nil {
		return err
	}
	changes, stale, err := cluster.Compare(f.out, configs)
	if err != nil {
		return err
	}
	if !f.dryRun {
		if err := cluster.Write(ctx, f.out, changes, index); err != nil {
			return err
		}
	}
	problems := []error{diag.IO(report(w, f, changes, stale)), unsigned(f, configs)}
	if f.admin != "" {
		problems = append(problems, writeAdmin(f, c, s, signed))
	}
	return errors.Join(problems...)
}

func writeAdmin(f renderFlags, c *cluster.Cluster, s *secrets.Secrets, signed cluster.Signed) error {
	data, err := c.Admin(s, signed)
	if err != nil || f.dryRun {
		return err
	}
	return diag.IO(durable.WriteFile(f.admin, data, 0o600))
}

// unsigned names the nodes that lack certificates.
func unsigned(f renderFlags, configs []cluster.Config) error {
	var problems []error
	for _, c := range configs {
		if len(c.Missing) > 0 {
			requests := filepath.Join(f.out, cluster.RequestsDir, c.Node.Name)
			problems = append(problems, diag.Inputf("%s was not rendered: nobody has signed %s (sign the requests in %s, and give --signed)", c.Node.Name, strings.Join(c.Missing, ", "), requests))
		}
	}
	return errors.Join(problems...)
}

// report says what changed, without values. Without --dry-run the nodes are
// only counted.
func report(w io.Writer, f renderFlags, changes []cluster.Change, stale []string) error {
	var text strings.Builder
	count := map[string]int{}
	for _, c := range changes {
		count[c.State]++
		if !f.dryRun {
			continue
		}
		fmt.Fprintf(&text, "%s: %s", c.Config.Node.Name, c.State)
		if len(c.Differs) > 0 {
			fmt.Fprintf(&text, ": %s", strings.Join(c.Differs, ", "))
		}
		text.WriteByte('\n')
	}
	for _, name := range stale {
		fmt.Fprintf(&text, "%s is the config of no node of this cluster: remove it if its node is gone\n", filepath.Join(f.out, name))
	}
	fmt.Fprintf(&text, "%s: %d new, %d changed, %d unchanged", f.out, count[cluster.New], count[cluster.Changed], count[cluster.Unchanged])
	if n := count[cluster.Unsigned]; n > 0 {
		fmt.Fprintf(&text, ", %d unsigned", n)
	}
	if f.dryRun {
		text.WriteString("; nothing was written")
	}
	_, err := fmt.Fprintln(w, text.String())
	return err
}

// readSecrets reads the secrets of a cluster, encrypted or not.
func readSecrets(name, identity string, warnings io.Writer) (*secrets.Secrets, error) {
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, diag.At(diag.Position{File: name}, "'builder cluster new' makes secrets that start another cluster",
			"no such file; the secrets of a cluster that runs cannot be made again: take your copy")
	}
	if err != nil {
		return nil, diag.Inputf("reading the secrets: %w", err)
	}
	if err := checkKind(name, data, "the secrets of a cluster"); err != nil {
		return nil, err
	}
	if !secrets.Encrypted(data) {
		if info, err := os.Stat(name); err == nil && info.Mode().Perm()&0o077 != 0 {
			fmt.Fprintf(warnings, "warning: %s: others can read the secrets of the cluster (chmod 600)\n", name)
		}
		if identity != "" {
			fmt.Fprintf(warnings, "warning: %s: not encrypted; --identity is not needed\n", name)
		}
		return secrets.Parse(name, data)
	}
	if identity == "" {
		return nil, diag.At(diag.Position{File: name}, "give --identity", "the secrets are encrypted with age")
	}
	key, err := os.ReadFile(identity)
	if err != nil {
		return nil, diag.Inputf("reading the age identity: %w", err)
	}
	ids, err := secrets.Identities(identity, key)
	if err != nil {
		return nil, err
	}
	if data, err = secrets.Decrypt(name, data, ids); err != nil {
		return nil, err
	}
	return secrets.Parse(name, data)
}

// readButane reads Butane files.
func readButane(names []string) ([]provision.ButaneFile, error) {
	var files []provision.ButaneFile
	for _, b := range names {
		data, err := os.ReadFile(b)
		if err != nil {
			return nil, diag.Inputf("reading Butane file: %w", err)
		}
		files = append(files, provision.ButaneFile{Name: b, Data: data})
	}
	return files, nil
}
