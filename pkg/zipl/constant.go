package zipl

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// Constant returns what all disks hold alike that start a kernel: the kernel
// as it lies in memory from address 0x10000 on, in whole blocks, with zeros in
// place of the command line and of where the initrd is. It takes a kernel
// image, or what Read returned of one, and says ErrKernel of anything else.
func Constant(kernel *io.SectionReader) (io.Reader, error) {
	magic := make([]byte, len(entryMagic))
	at := func(offset int64) bool {
		n, _ := kernel.ReadAt(magic, offset)
		return n == len(magic) && string(magic) == entryMagic
	}
	switch {
	case at(kernelMagic):
		kernel = io.NewSectionReader(kernel, kernelEntry, kernel.Size()-kernelEntry)
	case !at(kernelMagic - kernelEntry):
		return nil, ErrKernel
	}
	head := make([]byte, kernelEntry+min(kernel.Size(), commandLine+longestLine-kernelEntry))
	if _, err := kernel.ReadAt(head[kernelEntry:], 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("reading the kernel: %w", err)
	}
	room, err := lineRoom(head)
	if err != nil {
		return nil, err
	}
	clear(head[initrdStart : initrdSize+8])
	clear(head[commandLine : commandLine+room])
	head = head[kernelEntry:]
	rest := io.NewSectionReader(kernel, int64(len(head)), kernel.Size()-int64(len(head)))
	return io.MultiReader(bytes.NewReader(head), rest, bytes.NewReader(make([]byte, -kernel.Size()&(BlockSize-1)))), nil
}
