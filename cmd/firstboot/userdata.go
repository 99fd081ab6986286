package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/slipway-os/slipway/pkg/clusterapi"
	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/ignition"
	"github.com/slipway-os/slipway/pkg/manifest"
)

func newUserDataCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "user-data",
		Short: "Translate Cluster API's user data, for Ignition",
		Long: `user-data reads a cloud-config or an Ignition config of specification 2.3, as
Cluster API's kubeadm bootstrap provider makes them, from standard input, and
writes the Ignition config that it becomes. Of what is neither it writes nothing.
Ignition runs it; 'builder role from-user-data' is for people.`,
		RunE: func(c *cobra.Command, _ []string) error {
			m, err := thisMachine()
			if err != nil {
				return err
			}
			return translate(c.InOrStdin(), c.OutOrStdout(), m, ignition.Refuse)
		},
	}
}

// thisMachine is what user data has to fit.
func thisMachine() (clusterapi.Machine, error) {
	var image manifest.Image
	about, err := os.ReadFile("/" + manifest.ImagePath)
	if err == nil {
		err = json.Unmarshal(about, &image)
	}
	if err != nil {
		return clusterapi.Machine{}, fmt.Errorf("reading what the image says of itself: %w", err)
	}
	has := func(program string) bool { _, err := os.Stat(program); return err == nil }
	return clusterapi.Machine{Metadata: ignition.Metadata, Image: &image, Has: has}, nil
}

// translate translates user data; why it is refused is told to refuse, too.
func translate(in io.Reader, out io.Writer, m clusterapi.Machine, refuse func(why string) error) error {
	const most = 32 << 20 // as large as a config may be
	data, err := io.ReadAll(io.LimitReader(in, most))
	if err != nil {
		return err
	}
	t, err := clusterapi.Translate("user-data", data, m)
	if errors.Is(err, clusterapi.ErrForeign) {
		return nil
	}
	if err != nil {
		return errors.Join(err, refuse(err.Error()))
	}
	_, err = out.Write(t.Config)
	return diag.IO(err)
}
