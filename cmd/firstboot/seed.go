package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/slipway-os/slipway/pkg/manifest"
	"github.com/slipway-os/slipway/pkg/podnet"
	"github.com/slipway-os/slipway/pkg/seed"
)

func newSeedCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "seed",
		Short: "Make the baked images known to containerd, before it starts",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := podnet.Prepare(); err != nil {
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
