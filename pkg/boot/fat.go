package boot

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/slipway-os/slipway/pkg/fat"
	"github.com/slipway-os/slipway/pkg/gpt"
	"github.com/slipway-os/slipway/pkg/tree"
)

// serial returns the number of the FAT file system of a payload.
func (p Payload) serial() uint32 { return binary.BigEndian.Uint32(p.Seed[:]) }

// writeFAT fills a partition with a file system of files, by their paths.
func writeFAT(ctx context.Context, disk io.WriterAt, part gpt.Partition, files map[string]tree.Content, p Payload) error {
	b := tree.NewBuilder(p.Epoch)
	for path, c := range files {
		if err := b.Put(path, &tree.Node{Type: tree.File, Mode: 0o644, ModTime: p.Epoch, Content: c}); err != nil {
			return err
		}
	}
	err := fat.Write(ctx, io.NewOffsetWriter(disk, part.Offset), b.Tree(), fat.Options{
		Size: part.Size, Label: "BOOT", Serial: p.serial(), Epoch: p.Epoch, Hidden: uint32(part.Offset / gpt.SectorSize),
	})
	if errors.Is(err, fat.ErrFull) || errors.Is(err, fat.ErrSize) {
		return tooSmall(part.Size, p)
	}
	return err
}

// openFAT opens the file system in a partition.
func openFAT(disk io.ReaderAt, part gpt.Partition) (*fat.Volume, error) {
	return fat.Open(io.NewSectionReader(disk, part.Offset, part.Size), part.Size)
}

// maxText bounds the small files that are read as a whole, in bytes.
const maxText = 1 << 20

func readText(r *io.SectionReader) (string, error) {
	if r.Size() > maxText {
		return "", fmt.Errorf("it has %d bytes, more than %d", r.Size(), maxText)
	}
	data, err := io.ReadAll(r)
	return string(data), err
}
