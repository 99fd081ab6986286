package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/slipway-os/slipway/pkg/container"
	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/durable"
	"github.com/slipway-os/slipway/pkg/image"
	"github.com/slipway-os/slipway/pkg/progress"
)

func newExportCommand() *cobra.Command {
	var out string
	c := &cobra.Command{
		Use:   "export IMAGE…",
		Short: "Write the container images of an image as one archive",
		Long: `export writes the container images that were baked into a raw disk as one OCI
archive, with the digests that they have on the node: for a scanner, a registry,
or a machine that Slipway did not make. Of disks for several architectures, what
bears the same name becomes one image for all of them.

containerd (ctr images import), Podman and skopeo read such archives. The layers
are not compressed.`,
		Example: `  builder export out/cp-amd64/disk.raw --out images.tar
  builder export out/cp-amd64/disk.raw out/cp-arm64/disk.raw --out images.tar
  builder export out/cp-amd64/disk.raw --out - | zstd > images.tar.zst`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("name an image, for example out/cp-amd64/disk.raw")
			}
			return nil
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveDefault
		},
		RunE: func(c *cobra.Command, args []string) error {
			if out == "" {
				return diag.Inputf("name the file to write: --out images.tar")
			}
			if out != "-" {
				if err := checkOutput("--out", out, args...); err != nil {
					return err
				}
			}
			return export(c, args, out)
		},
	}
	c.Flags().StringVarP(&out, "out", "o", "", "file to write; - for standard output")
	return c
}

func export(c *cobra.Command, disks []string, out string) error {
	var roots []container.Root
	for _, name := range disks {
		disk, err := image.Open(name)
		if err != nil {
			return err
		}
		defer disk.Close()
		root, err := disk.Root()
		if err != nil {
			return err
		}
		roots = append(roots, container.Root{Name: name, Tree: root})
	}
	archive, err := container.NewArchive(roots)
	if err != nil {
		return err
	}
	if len(archive.References) == 0 {
		return diag.Inputf("image %q has no container images", disks[0])
	}
	board := newBoard(c.ErrOrStderr(), "")
	stage := board.Start("export", archive.Size(), progress.Bytes)
	write := func(w io.Writer) error { return writeArchive(c.Context(), w, archive, stage) }
	if out == "-" {
		err = write(c.OutOrStdout())
	} else {
		err = diag.IO(durable.Write(out, 0o644, write))
	}
	if err == nil {
		stage.Done(progress.Result{Bytes: archive.Size(), Note: fmt.Sprintf("%d images", len(archive.References))})
	}
	board.Close()
	return err
}

// writeArchive writes an archive. What goes wrong, and is not the fault of
// where it is written to, is that of the disks.
func writeArchive(ctx context.Context, w io.Writer, archive *container.Archive, stage *progress.Stage) error {
	to := &written{Writer: w, stage: stage}
	err := archive.Write(ctx, to)
	if err != nil && to.err == nil && ctx.Err() == nil {
		return diag.Input(err)
	}
	return diag.IO(err)
}

// written counts what is written, and remembers why it could not be.
type written struct {
	io.Writer
	stage *progress.Stage
	err   error
}

func (w *written) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	w.stage.Add(int64(n))
	if err != nil {
		w.err = err
	}
	return n, err
}
