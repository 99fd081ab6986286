package zipl

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Constant returns what all disks hold alike that start a kernel: the kernel
// as it lies in memory from address 0x10000 on, in whole blocks, with zeros in
// place of the command line and of where the initrd is. It takes a kernel
// image, or what Read returned of one, and says ErrKernel of anything else.
func Constant(kernel *io.SectionReader) (io.Reader, error) {
	kernel, head, room, err := readHead(kernel)
	if err != nil {
		return nil, err
	}
	clear(head[initrdStart : initrdSize+8])
	clear(head[commandLine : commandLine+room])
	head = head[kernelEntry:]
	rest := io.NewSectionReader(kernel, int64(len(head)), kernel.Size()-int64(len(head)))
	return io.MultiReader(bytes.NewReader(head), rest, bytes.NewReader(make([]byte, -kernel.Size()&(BlockSize-1)))), nil
}

// Version returns what a kernel says of itself: its release and when it was
// made by whom. It takes what Constant takes.
func Version(kernel *io.SectionReader) (string, error) {
	kernel, head, _, err := readHead(kernel)
	if err != nil {
		return "", err
	}
	const longest = 256
	b := make([]byte, longest)
	at := binary.BigEndian.Uint64(head[versionText:])
	if at < kernelEntry || at > uint64(kernelEntry+kernel.Size()) {
		return "", nil // one that does not say where it has it
	}
	n, err := kernel.ReadAt(b, int64(at)-kernelEntry)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("reading the kernel: %w", err)
	}
	text, _, _ := bytes.Cut(b[:n], []byte{0})
	return string(text), nil
}

// readHead returns of a kernel what lies in memory from kernelEntry on, its
// head by addresses, and the room for its command line.
func readHead(kernel *io.SectionReader) (image *io.SectionReader, head []byte, room int, err error) {
	magic := make([]byte, len(entryMagic))
	at := func(offset int64) bool {
		n, _ := kernel.ReadAt(magic, offset)
		return n == len(magic) && string(magic) == entryMagic
	}
	switch {
	case at(kernelMagic):
		kernel = io.NewSectionReader(kernel, kernelEntry, kernel.Size()-kernelEntry)
	case !at(kernelMagic - kernelEntry):
		return nil, nil, 0, ErrKernel
	}
	head = make([]byte, kernelEntry+min(kernel.Size(), commandLine+longestLine-kernelEntry))
	if _, err := kernel.ReadAt(head[kernelEntry:], 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, 0, fmt.Errorf("reading the kernel: %w", err)
	}
	room, err = lineRoom(head)
	return kernel, head, room, err
}
