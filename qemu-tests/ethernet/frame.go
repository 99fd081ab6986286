package ethernet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	// header is what every Ethernet frame begins with: two addresses and a type.
	header = 14
	// maxFrame is the largest frame that QEMU takes from a socket: NET_BUFSIZE
	// of its include/net/net.h.
	maxFrame = 4096 + 65536
	prefix   = 4
)

// address is the hardware address of a network card.
type address [6]byte

// group says whether an address is that of several cards: broadcast or multicast.
func (a address) group() bool { return a[0]&1 != 0 }

// frame is an Ethernet frame without its checksum, after its length in four
// bytes, the most significant first: what QEMU's `-netdev stream` sends.
type frame []byte

func (f frame) payload() []byte { return f[prefix:] }

func (f frame) destination() address { return address(f[prefix:]) }

func (f frame) source() address { return address(f[prefix+6:]) }

var errLength = errors.New("reading the length of a frame")

// readFrame reads one frame. The error is io.EOF at the end of the stream, and
// errLength if what comes is not Ethernet.
func readFrame(r io.Reader) (frame, error) {
	var length [prefix]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(length[:])
	if n < header || n > maxFrame {
		return nil, fmt.Errorf("%w: %d bytes, want %d to %d", errLength, n, header, maxFrame)
	}
	f := make(frame, prefix+n)
	copy(f, length[:])
	if _, err := io.ReadFull(r, f.payload()); err != nil {
		return nil, fmt.Errorf("reading a frame of %d bytes: %w", n, err)
	}
	return f, nil
}
