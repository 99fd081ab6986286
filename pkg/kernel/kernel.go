// Package kernel tells what a Linux kernel image is, of any architecture and
// in any of the formats that firmware and loaders start, without unpacking it.
package kernel

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/slipway-os/slipway/pkg/tree"
	"github.com/slipway-os/slipway/pkg/zipl"
)

// ErrRelease says that an image names no release.
var ErrRelease = errors.New("the kernel does not say which release it is")

// Release returns the release of a kernel, as uname -r prints it:
// "6.12.107+deb13-amd64". The images of x86 (Linux,
// Documentation/arch/x86/boot.rst, kernel_version) and of IBM Z say where they
// have it; in others, the greeting that /proc/version shows is looked for.
func Release(image *io.SectionReader) (string, error) {
	text, err := zipl.Version(image)
	if errors.Is(err, zipl.ErrKernel) {
		if text, err = x86Version(image); err == nil && text == "" {
			text, err = greeting(image)
		}
	}
	if err != nil {
		return "", fmt.Errorf("reading the kernel: %w", err)
	}
	release := word(text)
	if !isRelease(release) {
		return "", ErrRelease
	}
	return release, nil
}

// longest is the length of the longest release (__NEW_UTS_LEN of Linux).
const longest = 64

func x86Version(image *io.SectionReader) (string, error) {
	header := make([]byte, 0x210)
	if n, err := image.ReadAt(header, 0); n < len(header) {
		return "", notEOF(err)
	}
	if string(header[0x202:0x206]) != "HdrS" {
		return "", nil
	}
	b := make([]byte, longest+1)
	n, err := image.ReadAt(b, 0x200+int64(binary.LittleEndian.Uint16(header[0x20e:])))
	return string(b[:n]), notEOF(err)
}

// greeting returns what follows "Linux version " where that is a release.
func greeting(image *io.SectionReader) (string, error) {
	const hello = "Linux version "
	const piece, overlap = 1 << 20, len(hello) + longest + 1
	b := make([]byte, piece)
	for at := int64(0); at < image.Size(); at += piece - int64(overlap) {
		n, err := image.ReadAt(b, at)
		if notEOF(err) != nil {
			return "", err
		}
		for rest := b[:n]; ; {
			i := bytes.Index(rest, []byte(hello))
			if i < 0 {
				break
			}
			rest = rest[i+len(hello):]
			if text := string(rest[:min(longest+1, len(rest))]); isRelease(word(text)) {
				return text, nil
			}
		}
	}
	return "", nil
}

func notEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// isRelease reports whether a text begins with two numbers: "6.12".
func isRelease(text string) bool {
	major, rest, ok := strings.Cut(text, ".")
	return ok && len(text) <= longest && major != "" && strings.Trim(major, "0123456789") == "" && rest != "" && rest[0] >= '0' && rest[0] <= '9'
}

// word returns the printable characters that a text begins with.
func word(text string) string {
	if i := strings.IndexFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }); i >= 0 {
		return text[:i]
	}
	return text
}

// Digest returns the sha256 of a kernel. That of one for IBM Z, which is
// changed when it is written to a disk, is of what does not change, so that it
// is the same for the image and for what a disk holds of it.
func Digest(image *io.SectionReader) (tree.Digest, error) {
	r, err := zipl.Constant(image)
	if errors.Is(err, zipl.ErrKernel) {
		r, err = io.NewSectionReader(image, 0, image.Size()), nil
	}
	h := sha256.New()
	if err == nil {
		_, err = io.Copy(h, r)
	}
	if err != nil {
		return tree.Digest{}, fmt.Errorf("reading the kernel: %w", err)
	}
	return tree.Digest(h.Sum(nil)), nil
}
