package main

import (
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/slipway-os/slipway/pkg/configurator"
	"github.com/slipway-os/slipway/pkg/manifest"
	"github.com/slipway-os/slipway/pkg/podnet"
	"github.com/slipway-os/slipway/pkg/role"
	"github.com/slipway-os/slipway/pkg/seed"
)

func newSeedCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "seed",
		Short: "Make the baked images known to containerd, before it starts",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := podnet.Prepare(cluster(configurator.RoleFile)); err != nil {
				return err
			}
			r, err := seed.Seed(c.Context(), seed.Options{Images: "/" + manifest.ImagesDir, Root: "/var/lib/containerd", Now: time.Now()})
			for _, note := range r.Notes {
				c.PrintErrln(note)
			}
			return err
		},
	}
}

// cluster is what the role says of the cluster, if there is a good one already;
// otherwise the configurator has it wait, or refuses it, and sets all up anew.
func cluster(file string) role.Cluster {
	data, err := os.ReadFile(file)
	if err != nil {
		return role.Cluster{}
	}
	r, err := role.Parse(file, data)
	if err != nil {
		return role.Cluster{}
	}
	return r.Cluster
}
