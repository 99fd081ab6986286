package main

import (
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/slipway-os/slipway/pkg/manifest"
	"github.com/slipway-os/slipway/pkg/readahead"
)

func newWarmCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "warm",
		Short: "Read the programs of the node into memory, before they start",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			layers := filepath.Join("/", manifest.ImagesDir, "layers", "*")
			return readahead.Files(
				"/usr/bin/containerd", "/usr/bin/kubelet", "/usr/bin/containerd-shim-runc-v2", "/usr/bin/crun",
				filepath.Join(layers, "pause"), filepath.Join(layers, "usr/local/bin/etcd"), filepath.Join(layers, "coredns"),
			)
		},
	}
}
