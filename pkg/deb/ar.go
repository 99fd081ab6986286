package deb

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
)

const (
	arMagic      = "!<arch>\n"
	arHeaderSize = 60
	maxMembers   = 64
)

// member is a member of an ar archive: where its bytes lie.
type member struct {
	name         string
	offset, size int64
}

// readAr lists the members of an ar archive of that size in bytes (ar(5), the
// common format: file names of at most 16 bytes, which is all a package needs).
func readAr(r io.ReaderAt, size int64) ([]member, error) {
	var header [arHeaderSize]byte
	if _, err := r.ReadAt(header[:len(arMagic)], 0); err != nil || string(header[:len(arMagic)]) != arMagic {
		return nil, fmt.Errorf("not a Debian package: no ar archive")
	}
	var members []member
	for at := int64(len(arMagic)); at < size; {
		if len(members) == maxMembers {
			return nil, fmt.Errorf("more than %d members in the archive", maxMembers)
		}
		if _, err := r.ReadAt(header[:], at); err != nil {
			return nil, fmt.Errorf("reading the archive's header at %d: %w", at, noEOF(err))
		}
		if string(header[58:]) != "`\n" {
			return nil, fmt.Errorf("no archive header at %d", at)
		}
		n, err := strconv.ParseInt(string(bytes.TrimRight(header[48:58], " ")), 10, 64)
		if err != nil || n < 0 || n > size-at-arHeaderSize {
			return nil, fmt.Errorf("member of %q bytes at %d: does not fit into the archive", header[48:58], at)
		}
		name := strings.TrimRight(string(header[:16]), " ")
		members = append(members, member{strings.TrimSuffix(name, "/"), at + arHeaderSize, n})
		at += arHeaderSize + n + n%2
	}
	return members, nil
}

// noEOF makes an end that came too early an error of its own.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
