package image

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/slipway-os/slipway/pkg/cpio"
	"github.com/slipway-os/slipway/pkg/manifest"
	"github.com/slipway-os/slipway/pkg/tree"
)

// initrd is what an initrd holds.
type initrd struct {
	manifest manifest.Initrd
	size     int64 // bytes, uncompressed
}

// Bounds on what an initrd may ask of its reader, in bytes.
const (
	maxInitrd   = 1 << 30 // uncompressed
	maxWindow   = 32 << 20
	maxManifest = 64 << 10
)

// readInitrd reads an initrd through: cpio archives, one after another with
// zeros between them, of which the last may be compressed (Linux,
// Documentation/driver-api/early-userspace/buffer-format.rst). What zstd
// compressed has a checksum, which is compared.
func readInitrd(r *io.SectionReader) (initrd, error) {
	var in initrd
	found := false
	limited := &io.LimitedReader{N: maxInitrd}
	b := bufio.NewReaderSize(io.NewSectionReader(r, 0, r.Size()), 64<<10)
	for {
		head, err := b.Peek(len(cpio.Magic))
		switch {
		case len(head) == 0 && errors.Is(err, io.EOF):
			if !found {
				return in, fmt.Errorf("it has no /%s", manifest.InitrdPath)
			}
			in.size = maxInitrd - limited.N
			return in, nil
		case len(head) == 0:
			return in, err
		case head[0] == 0:
			if _, err := b.Discard(1); err != nil {
				return in, err
			}
			continue
		}
		limited.R = b
		compressed := string(head) != cpio.Magic
		if compressed {
			if string(head[:min(4, len(head))]) != "\x28\xb5\x2f\xfd" {
				return in, fmt.Errorf("it is neither a cpio archive nor compressed by zstd: it begins with %x", head)
			}
			z, err := zstd.NewReader(b, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true))
			if err != nil {
				return in, err
			}
			defer z.Close()
			limited.R = z
		}
		if err := in.readArchive(limited, &found); err != nil {
			return in, err
		}
		if compressed { // it is the last, and its checksum is at its end
			if err := onlyZeros(limited); err != nil {
				return in, err
			}
		}
		if limited.N == 0 {
			return in, fmt.Errorf("uncompressed, it has more than %d bytes", maxInitrd)
		}
	}
}

// readArchive reads one archive. A later file replaces an earlier one.
func (in *initrd) readArchive(r io.Reader, found *bool) error {
	archive := cpio.NewReader(r)
	for {
		e, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if e.Path != manifest.InitrdPath || e.Type != tree.File {
			continue
		}
		if e.Size > maxManifest {
			return fmt.Errorf("its /%s has %d bytes", manifest.InitrdPath, e.Size)
		}
		data, err := io.ReadAll(archive)
		if err == nil {
			in.manifest = manifest.Initrd{}
			err = json.Unmarshal(data, &in.manifest)
		}
		if err != nil {
			return fmt.Errorf("reading its /%s: %w", manifest.InitrdPath, err)
		}
		*found = true
	}
}

// onlyZeros reads to the end.
func onlyZeros(r io.Reader) error {
	b := make([]byte, 32<<10)
	for {
		n, err := r.Read(b)
		if strings.Trim(string(b[:n]), "\x00") != "" {
			return errors.New("there is something behind its last archive")
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
