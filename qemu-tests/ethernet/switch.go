// Package ethernet is a switch for machines in QEMU: it lets an ordinary user
// join several of them to one network, without any device of the kernel's. Its
// cables can be cut, lose frames, or be long.
package ethernet

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"sync"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// maxAddresses bounds the table of addresses; frames to others are flooded.
const maxAddresses = 4096

// Fault is what is wrong with a cable, for frames in both directions. The zero
// Fault is a sound cable.
type Fault struct {
	Cut   bool          // no frame passes
	Drop  float64       // of all frames this part is lost: 0 to 1
	Delay time.Duration // frames are held back for so long
}

// Switch passes frames between its ports.
type Switch struct {
	dir string

	mu        sync.Mutex
	ports     []*port
	addresses map[address]*port // behind which port an address was seen last
	pairs     map[[2]string]Fault
	random    *rand.Rand
	capture   *pcapgo.Writer
	failed    error // the first
	closed    bool
	running   sync.WaitGroup
}

// New returns a switch without ports. The sockets of its ports are made in
// dir, whose path must be short: Linux takes 107 bytes with the port's name.
// Every frame that a port sends is written to capture (pcap, link type
// Ethernet), even if a fault keeps it from getting anywhere. The seed decides
// which frames are lost.
func New(dir string, capture io.Writer, seed uint64) (*Switch, error) {
	w := pcapgo.NewWriter(capture)
	if err := w.WriteFileHeader(maxFrame, layers.LinkTypeEthernet); err != nil {
		return nil, fmt.Errorf("writing capture: %w", err)
	}
	return &Switch{
		dir: dir, addresses: map[address]*port{}, pairs: map[[2]string]Fault{},
		random: rand.New(rand.NewPCG(seed, 0)), capture: w,
	}, nil
}

// Port adds a port and returns the socket that a machine connects to with
// `-netdev stream,addr.type=unix`. One machine at a time is connected; a new
// one takes the place of the last.
func (s *Switch) Port(name string) (socket string, err error) { return s.add(name, true) }

// QuietPort adds a port that gets no frames for addresses that nobody has
// shown yet: for QEMU's user network, which takes them for its own.
func (s *Switch) QuietPort(name string) (socket string, err error) { return s.add(name, false) }

func (s *Switch) add(name string, flood bool) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return "", net.ErrClosed
	}
	if s.port(name) != nil {
		return "", fmt.Errorf("adding port %q: there is one of that name", name)
	}
	socket := filepath.Join(s.dir, name)
	l, err := net.Listen("unix", socket)
	if err != nil {
		return "", fmt.Errorf("adding port %q: %w", name, err)
	}
	p := &port{name: name, flood: flood, listener: l}
	s.ports = append(s.ports, p)
	s.running.Go(func() { s.serve(p) })
	return socket, nil
}

func (s *Switch) port(name string) *port {
	for _, p := range s.ports {
		if p.name == name {
			return p
		}
	}
	return nil
}

// Fault sets what is wrong with the cable of a port.
func (s *Switch) Fault(name string, f Fault) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.port(name)
	if p == nil {
		return fmt.Errorf("setting a fault of port %q: there is none of that name", name)
	}
	p.fault = f
	return nil
}

// FaultBetween sets what is wrong between two ports, besides the faults of
// their own cables.
func (s *Switch) FaultBetween(a, b string, f Fault) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range []string{a, b} {
		if s.port(name) == nil {
			return fmt.Errorf("setting a fault between ports %q and %q: there is no %q", a, b, name)
		}
	}
	s.pairs[pair(a, b)] = f
	return nil
}

func pair(a, b string) [2]string { return [2]string{min(a, b), max(a, b)} }

// Close ends all connections, removes the sockets, and reports the first
// failure since New: to write the capture, to take a connection, or to
// understand a machine.
func (s *Switch) Close() error {
	s.mu.Lock()
	s.closed = true
	for _, p := range s.ports {
		p.listener.Close()
		p.link.close()
	}
	s.mu.Unlock()
	s.running.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

// port is where the cable of one machine ends.
type port struct {
	name     string
	flood    bool
	listener net.Listener
	fault    Fault
	link     *link // the machine connected now, or nil
}

// serve lets one machine after another connect to a port.
func (s *Switch) serve(p *port) {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				s.fail(fmt.Errorf("accepting at port %q: %w", p.name, err))
			}
			return
		}
		l := newLink(c)
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			l.close()
			return
		}
		p.link.close()
		p.link = l
		s.running.Go(l.write)
		s.running.Go(func() { s.read(p, l) })
		s.mu.Unlock()
	}
}

func (s *Switch) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed == nil {
		s.failed = err
	}
}

// read passes on what a machine sends until its connection ends.
func (s *Switch) read(p *port, l *link) {
	defer s.unplug(p, l)
	for {
		f, err := readFrame(l.reader)
		if errors.Is(err, errLength) {
			s.fail(fmt.Errorf("listening at port %q: %w", p.name, err))
		}
		if err != nil { // else the machine has ended, in the midst of a frame maybe
			return
		}
		s.pass(p, f, time.Now())
	}
}

func (s *Switch) unplug(p *port, l *link) {
	l.close()
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.link != l {
		return
	}
	p.link = nil
	for a, behind := range s.addresses {
		if behind == p {
			delete(s.addresses, a)
		}
	}
}

// pass sends a frame on to where its destination was seen, or to all ports.
func (s *Switch) pass(from *port, f frame, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	info := gopacket.CaptureInfo{Timestamp: now, CaptureLength: len(f.payload()), Length: len(f.payload())}
	if err := s.capture.WritePacket(info, f.payload()); err != nil && s.failed == nil {
		s.failed = fmt.Errorf("writing capture: %w", err)
	}
	if from.fault.Cut {
		return
	}
	source, destination := f.source(), f.destination()
	if _, known := s.addresses[source]; !source.group() && (known || len(s.addresses) < maxAddresses) {
		s.addresses[source] = from
	}
	if to := s.addresses[destination]; to != nil {
		s.send(from, to, f, now)
		return
	}
	for _, to := range s.ports {
		if to.flood || destination.group() {
			s.send(from, to, f, now)
		}
	}
}

func (s *Switch) send(from, to *port, f frame, now time.Time) {
	if from == to || to.link == nil {
		return
	}
	due := now
	for _, fault := range []Fault{from.fault, s.pairs[pair(from.name, to.name)], to.fault} {
		if fault.Cut || fault.Drop > 0 && s.random.Float64() < fault.Drop {
			return
		}
		due = due.Add(fault.Delay)
	}
	to.link.send(f, due)
}
