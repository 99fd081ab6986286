package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/durable"
	"github.com/slipway-os/slipway/pkg/image"
	"github.com/slipway-os/slipway/pkg/manifest"
	"github.com/slipway-os/slipway/pkg/provision"
	"github.com/slipway-os/slipway/pkg/role"
)

type roleFlags struct {
	image, output string
	butane        []string
}

func newRoleCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "role",
		Short: "Check a node's role; turn it into an Ignition config",
		Long: `A role is a YAML file that says what a node is to be at its first boot, and in
which cluster. The machine is given it as an Ignition config, together with any
Butane of yours.`,
		Example: `  builder role check docs/examples/single-node.yaml --image out/cp-amd64/disk.raw
  builder role ignition docs/examples/single-node.yaml -o config.ign
  builder role ignition role.yaml --butane users.bu --butane disks.bu > config.ign
  builder role from-user-data user-data
  builder role schema > role.schema.json`,
	}
	c.AddCommand(newRoleCheckCommand(), newRoleIgnitionCommand(), newRoleFromUserDataCommand(), newRoleSchemaCommand())
	return c
}

func newRoleSchemaCommand() *cobra.Command {
	return newSchemaCommand("roles", `  builder role schema > role.schema.json
  builder role schema --output markdown > docs/role.md`, role.Schema, role.Reference)
}

// newSchemaCommand returns a command that tells of the fields of a format.
func newSchemaCommand(what, example string, schema func() map[string]any, page func() string) *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:     "schema",
		Short:   "Print the JSON schema of " + what + ", or a page about their fields",
		Example: example,
		RunE: func(c *cobra.Command, _ []string) error {
			switch output {
			case "json":
				return writeJSON(c.OutOrStdout(), schema())
			case "markdown":
				_, err := io.WriteString(c.OutOrStdout(), page())
				return diag.IO(err)
			}
			return diag.Inputf("--output %q: json or markdown", output)
		},
	}
	c.Flags().StringVar(&output, "output", "json", "json or markdown")
	return c
}

func (f *roleFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.image, "image", "", "raw disk that must be able to take the role")
	c.Flags().StringArrayVar(&f.butane, "butane", nil, "Butane file to merge over the role; may be given again")
}

func newRoleCheckCommand() *cobra.Command {
	var f roleFlags
	c := &cobra.Command{
		Use:   "check ROLE",
		Short: "Say whether a role is right",
		Example: `  builder role check role.yaml
  builder role check role.yaml --image out/cp-amd64/disk.raw --butane users.bu`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return checkRole(c.OutOrStdout(), c.ErrOrStderr(), args[0], f)
		},
	}
	f.add(c)
	c.Flags().StringVar(&f.output, "output", "text", "text or json")
	return c
}

func newRoleIgnitionCommand() *cobra.Command {
	var f roleFlags
	var out string
	c := &cobra.Command{
		Use:   "ignition ROLE",
		Short: "Write the Ignition config of a role",
		Long: `ignition writes the config that makes a machine take the role at its first boot.
It holds whatever secrets the role and the Butane files hold.`,
		Example: `  builder role ignition role.yaml -o config.ign
  builder role ignition role.yaml --butane users.bu | ssh provisioner 'cat > config.ign'`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if out != "" {
				if err := checkOutput("--out", out, append(f.butane, args[0], f.image)...); err != nil {
					return err
				}
			}
			p, err := loadRole(args[0], f)
			if err != nil {
				return err
			}
			if out == "" {
				_, err = c.OutOrStdout().Write(p.config)
				return diag.IO(err)
			}
			return diag.IO(durable.WriteFile(out, p.config, 0o600))
		},
	}
	f.add(c)
	c.Flags().StringVarP(&out, "out", "o", "", "file to write, readable by its owner alone (default: standard output)")
	return c
}

// prepared is a role that was found right.
type prepared struct {
	role   *role.Role
	config []byte // Ignition, as JSON
	image  manifest.Image
}

// loadRole reads a role and all that comes with it, and checks that it goes
// together.
func loadRole(name string, f roleFlags) (*prepared, error) {
	p := &prepared{}
	var has func(string) bool
	if f.image != "" {
		disk, err := image.Open(f.image)
		if err != nil {
			return nil, err
		}
		defer disk.Close()
		if p.image, err = disk.Describe(); err != nil {
			return nil, err
		}
		root, err := disk.Root()
		if err != nil {
			return nil, err
		}
		has = func(program string) bool { return root.Lookup(program[1:]) != nil }
	}
	var opts []provision.Option
	if has != nil {
		opts = append(opts, provision.Programs(has))
	}
	var err, unfit error
	p.role, p.config, err = buildConfig(name, f.butane, opts...)
	if p.role != nil && f.image != "" {
		unfit = p.role.CheckImage(p.image)
	}
	return p, errors.Join(unfit, err)
}

// buildConfig reads a role and Butane files and makes an Ignition config of
// them. The role is returned where it is right, whatever the rest is.
func buildConfig(name string, butane []string, opts ...provision.Option) (*role.Role, []byte, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, nil, diag.Inputf("reading role: %w", err)
	}
	if err := checkKind(name, data, "a role"); err != nil {
		return nil, nil, err
	}
	r, err := role.Parse(name, data)
	if err != nil {
		return nil, nil, err
	}
	files, err := readButane(butane)
	if err != nil {
		return r, nil, err
	}
	config, err := provision.Config(r, data, files, opts...)
	return r, config, err
}

// problem is one line of what is wrong, for programs.
type problem struct {
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// verdict is what check prints as JSON.
type verdict struct {
	File     string    `json:"file"`
	Fine     bool      `json:"fine"`
	Role     string    `json:"role,omitempty"`
	Node     string    `json:"node,omitempty"`
	Cluster  string    `json:"cluster,omitempty"`
	Image    string    `json:"image,omitempty"` // its profile
	Problems []problem `json:"problems"`
	Warnings []problem `json:"warnings"`
}

func checkRole(w, warnings io.Writer, name string, f roleFlags) error {
	if f.output != "text" && f.output != "json" {
		return diag.Inputf("--output %q: text or json", f.output)
	}
	p, err := loadRole(name, f)
	if f.output == "json" {
		v := verdict{File: name, Fine: err == nil, Problems: problems(err), Warnings: []problem{}}
		if err == nil {
			for _, p := range p.role.Warnings() {
				v.Warnings = append(v.Warnings, problems(p)...)
			}
			v.Role, v.Node, v.Cluster, v.Image = p.role.Role, p.role.Node.Name, p.role.Cluster.Name, p.image.Profile
		}
		return errors.Join(err, diag.IO(writeJSON(w, v)))
	}
	if err != nil {
		return err
	}
	for _, p := range p.role.Warnings() {
		fmt.Fprintf(warnings, "warning: %v\n", p)
	}
	fits := ""
	if f.image != "" {
		fits = fmt.Sprintf("; fits %s (%s, %s, Kubernetes %s)", f.image, p.image.Profile, p.image.Architecture, p.image.KubernetesVersion)
	}
	does := map[bool]string{true: "starts a new cluster", false: "joins it"}[p.role.Init != nil]
	if p.role.Role == role.Etcd {
		does = fmt.Sprintf("one of %d members", len(p.role.Etcd.Members))
	}
	_, err = fmt.Fprintf(w, "%s: fine: %s %q, %s%s\n", name, p.role.Role, p.role.Cluster.Name, does, fits)
	return diag.IO(err)
}

// problems takes an error apart into what it joins.
func problems(err error) []problem {
	list := []problem{}
	if err == nil {
		return list
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			list = append(list, problems(e)...)
		}
		return list
	}
	var d *diag.Error
	if errors.As(err, &d) {
		return append(list, problem{d.Pos.File, d.Pos.Line, d.Pos.Column, d.Msg, d.Hint})
	}
	return append(list, problem{Message: err.Error()})
}

// readImage returns what a disk says of itself.
func readImage(name string) (manifest.Image, error) {
	disk, err := image.Open(name)
	if err != nil {
		return manifest.Image{}, err
	}
	defer disk.Close()
	return disk.Describe()
}

// imageKernel returns the kernel of a disk.
func imageKernel(name string) (io.ReadCloser, error) {
	disk, err := image.Open(name)
	if err != nil {
		return nil, err
	}
	kernel, err := disk.Kernel()
	if err != nil {
		disk.Close()
		return nil, err
	}
	return &diskKernel{kernel, disk}, nil
}

// diskKernel keeps its disk open.
type diskKernel struct {
	io.ReadCloser
	disk *image.Disk
}

func (k *diskKernel) Close() error { return errors.Join(k.ReadCloser.Close(), k.disk.Close()) }

// roleConfig writes the Ignition config of a run's role to the directory of
// the machine and returns its name. The key of the run may log in, but the role
// on the node is the user's own, unchanged.
func roleConfig(f runFlags, info manifest.Image, sshKey string) (string, error) {
	r, config, err := buildConfig(f.role, f.butane, provision.ExtraKeys(sshKey))
	if r != nil {
		err = errors.Join(r.CheckImage(info), err)
	}
	if err != nil {
		return "", err
	}
	file := filepath.Join(f.dir, configFile)
	return file, diag.IO(durable.WriteFile(file, config, 0o600))
}
