package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/slipway-os/slipway/pkg/clusterapi"
	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/image"
	"github.com/slipway-os/slipway/pkg/provision"
)

type userDataFlags struct {
	image, output string
	metadata      []string
}

func newRoleFromUserDataCommand() *cobra.Command {
	var f userDataFlags
	c := &cobra.Command{
		Use:   "from-user-data FILE",
		Short: "Show what becomes of Cluster API's user data",
		Long: `from-user-data translates the user data that Cluster API's kubeadm bootstrap
provider hands to a machine, a cloud-config or an Ignition config of
specification 2.3, as the machine does at its first boot. It prints the role and
the Ignition config that carries it: two YAML documents, of which the second is
JSON. Both hold the secrets of the user data. FILE may be - for standard input.`,
		Example: `  kubectl get secret worker-abcde -o jsonpath='{.data.value}' | base64 -d > user-data
  builder role from-user-data user-data
  builder role from-user-data user-data --image out/worker-amd64/disk.raw --metadata local_hostname=worker-1
  builder role from-user-data user-data --output ignition > config.ign`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return fromUserData(c.InOrStdin(), c.OutOrStdout(), args[0], f)
		},
	}
	c.Flags().StringVar(&f.image, "image", "", "raw disk that must be able to take the role")
	c.Flags().StringArrayVar(&f.metadata, "metadata", nil, "NAME=VALUE of ds.meta_data that the machine will know; may be given again")
	c.Flags().StringVar(&f.output, "output", "both", "role, ignition or both")
	return c
}

func fromUserData(in io.Reader, out io.Writer, name string, f userDataFlags) error {
	if f.output != "both" && f.output != "role" && f.output != "ignition" {
		return diag.Inputf("--output %q: role, ignition or both", f.output)
	}
	metadata := map[string]string{}
	for _, pair := range f.metadata {
		key, value, ok := strings.Cut(pair, "=")
		if !ok {
			return diag.Inputf("--metadata %q: not NAME=VALUE", pair)
		}
		metadata[key] = value
	}
	m := clusterapi.Machine{
		Metadata: func() (map[string]string, error) { return metadata, nil },
		Has:      func(string) bool { return true },
	}
	if f.image != "" {
		disk, err := image.Open(f.image)
		if err != nil {
			return err
		}
		defer disk.Close()
		info, err := disk.Describe()
		if err != nil {
			return err
		}
		root, err := disk.Root()
		if err != nil {
			return err
		}
		m.Image, m.Has = &info, func(program string) bool { return root.Lookup(program[1:]) != nil }
	}
	data, err := readInput(in, name)
	if err != nil {
		return err
	}
	t, err := clusterapi.Translate(name, data, m)
	if errors.Is(err, clusterapi.ErrForeign) {
		return diag.At(diag.Position{File: name}, "Ignition configs of specification 3 need no translation", "%v", err)
	}
	if err == nil {
		err = provision.Validate(t.Config, m.Has)
	}
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if f.output != "ignition" {
		text.Write(t.RoleFile)
	}
	if f.output == "both" {
		text.WriteString("---\n")
		if err := json.Indent(&text, t.Config, "", "  "); err != nil {
			return err
		}
	}
	if f.output == "ignition" {
		text.Write(t.Config)
	}
	_, err = out.Write(text.Bytes())
	return diag.IO(err)
}

// readInput reads a file, or standard input.
func readInput(in io.Reader, name string) ([]byte, error) {
	const most = 32 << 20
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, diag.Inputf("reading the user data: %w", err)
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, most))
	if err != nil {
		return nil, diag.Inputf("reading the user data: %w", err)
	}
	return data, nil
}
