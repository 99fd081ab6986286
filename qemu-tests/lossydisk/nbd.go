package lossydisk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
)

// Constants of the NBD protocol (NetworkBlockDevice/nbd, doc/proto.md).
const (
	magicInit    = 0x4e42444d41474943 // NBDMAGIC
	magicOption  = 0x49484156454F5054 // IHAVEOPT
	magicReply   = 0x3e889045565a9
	magicRequest = 0x25609513
	magicSimple  = 0x67446698

	optExportName = 1
	optAbort      = 2
	optInfo       = 6
	optGo         = 7

	repAck      = 1
	repInfo     = 3
	repErrUnsup = 1<<31 + 1

	cmdRead  = 0
	cmdWrite = 1
	cmdDisc  = 2
	cmdFlush = 3
	cmdTrim  = 4

	flagFUA = 1 << 0

	transmission = 1<<0 | 1<<2 | 1<<3 | 1<<5 // has flags, flush, FUA, trim

	errIO    = 5
	errInval = 22

	maxRequest = 32 << 20
	maxOption  = 64 << 10
)

// Serve serves the disk to one client after another until the listener is closed.
func (d *Disk) Serve(l net.Listener) error {
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		d.session(c)
		c.Close()
	}
}

func (d *Disk) session(c net.Conn) {
	if err := d.negotiate(c); err != nil {
		return
	}
	d.transmit(c)
}

var be = binary.BigEndian

func (d *Disk) negotiate(c net.Conn) error {
	hello := be.AppendUint64(nil, magicInit)
	hello = be.AppendUint64(hello, magicOption)
	hello = be.AppendUint16(hello, 1|2) // fixed newstyle, no zeroes
	if _, err := c.Write(hello); err != nil {
		return err
	}
	var flags [4]byte
	if _, err := io.ReadFull(c, flags[:]); err != nil {
		return err
	}
	for {
		var head [16]byte
		if _, err := io.ReadFull(c, head[:]); err != nil {
			return err
		}
		option, length := be.Uint32(head[8:]), be.Uint32(head[12:])
		if be.Uint64(head[:]) != magicOption || length > maxOption {
			return fmt.Errorf("option %d of %d bytes: not NBD", option, length)
		}
		if _, err := io.ReadFull(c, make([]byte, length)); err != nil {
			return err
		}
		info := be.AppendUint16(be.AppendUint64(nil, uint64(d.size)), transmission)
		switch option {
		case optExportName:
			_, err := c.Write(info)
			return err
		case optGo, optInfo:
			if err := reply(c, option, repInfo, append([]byte{0, 0}, info...)); err != nil {
				return err
			}
			if err := reply(c, option, repAck, nil); err != nil || option == optGo {
				return err
			}
		case optAbort:
			return errors.New("aborted")
		default:
			if err := reply(c, option, repErrUnsup, nil); err != nil {
				return err
			}
		}
	}
}

func reply(c net.Conn, option, kind uint32, data []byte) error {
	b := be.AppendUint64(nil, magicReply)
	b = be.AppendUint32(b, option)
	b = be.AppendUint32(b, kind)
	b = be.AppendUint32(b, uint32(len(data)))
	_, err := c.Write(append(b, data...))
	return err
}

func (d *Disk) transmit(c net.Conn) error {
	for {
		var head [28]byte
		if _, err := io.ReadFull(c, head[:]); err != nil {
			return err
		}
		flags, command := be.Uint16(head[4:]), be.Uint16(head[6:])
		cookie, offset, length := be.Uint64(head[8:]), int64(be.Uint64(head[16:])), be.Uint32(head[24:])
		if be.Uint32(head[:]) != magicRequest || (command <= cmdWrite && length > maxRequest) {
			return errors.New("not an NBD request")
		}
		var data []byte
		if command <= cmdWrite {
			data = make([]byte, length)
		}
		if command == cmdWrite {
			if _, err := io.ReadFull(c, data); err != nil {
				return err
			}
		}
		if command == cmdDisc {
			return nil
		}
		code := d.execute(command, flags, offset, data)
		answer := be.AppendUint32(nil, magicSimple)
		answer = be.AppendUint32(answer, code)
		answer = be.AppendUint64(answer, cookie)
		if command == cmdRead && code == 0 {
			answer = append(answer, data...)
		}
		if _, err := c.Write(answer); err != nil {
			return err
		}
	}
}

func (d *Disk) execute(command, flags uint16, offset int64, data []byte) (code uint32) {
	var err error
	switch command {
	case cmdRead:
		err = d.ReadAt(data, offset)
	case cmdWrite:
		if err = d.WriteAt(data, offset); err == nil && flags&flagFUA != 0 {
			err = d.Flush()
		}
	case cmdFlush:
		err = d.Flush()
	case cmdTrim: // only a hint
	default:
		return errInval
	}
	if err != nil {
		return errIO
	}
	return 0
}
