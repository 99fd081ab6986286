// Package lossydisk is a disk that forgets at a power cut what was not
// flushed, as real ones do. It is served over NBD, so that QEMU can boot from it.
package lossydisk

import (
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
)

const sector = 512

// Disk is a disk that starts as a copy of an image. Writes are held back
// until a flush; Cut loses a random part of what is held.
type Disk struct {
	size int64
	base *os.File // what lies below; never written

	mu      sync.Mutex
	durable *os.File // what was flushed, sparse
	flushed map[int64]bool
	held    map[int64][]byte // newest content of sectors that were written since the flush
	writes  [][]int64        // the sectors of each write since the flush
}

// New returns a disk of the given size over an image. What is written is kept
// in a file in dir.
func New(image, dir string, size int64) (*Disk, error) {
	base, err := os.Open(image)
	if err != nil {
		return nil, err
	}
	durable, err := os.CreateTemp(dir, "flushed-*")
	if err != nil {
		base.Close()
		return nil, err
	}
	return &Disk{size: size, base: base, durable: durable, flushed: map[int64]bool{}, held: map[int64][]byte{}}, nil
}

// Close lets go of the files.
func (d *Disk) Close() {
	d.base.Close()
	d.durable.Close()
	os.Remove(d.durable.Name())
}

// ReadAt reads what a running machine sees: its own newest writes.
func (d *Disk) ReadAt(p []byte, off int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if off%sector != 0 || len(p)%sector != 0 || off < 0 || off+int64(len(p)) > d.size {
		return fmt.Errorf("reading %d bytes at %d: not whole sectors of the disk", len(p), off)
	}
	clear(p)
	if _, err := d.base.ReadAt(p, off); err != nil && off+int64(len(p)) <= d.baseSize() {
		return err
	}
	for i := 0; i < len(p); i += sector {
		n := (off + int64(i)) / sector
		if data, ok := d.held[n]; ok {
			copy(p[i:], data)
		} else if d.flushed[n] {
			if _, err := d.durable.ReadAt(p[i:i+sector], n*sector); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *Disk) baseSize() int64 {
	info, err := d.base.Stat()
	if err != nil {
		return 0
	}
	return info.Size()
}

// WriteAt takes a write, and holds it.
func (d *Disk) WriteAt(p []byte, off int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if off%sector != 0 || len(p)%sector != 0 || off < 0 || off+int64(len(p)) > d.size {
		return fmt.Errorf("writing %d bytes at %d: not whole sectors of the disk", len(p), off)
	}
	var sectors []int64
	for i := 0; i < len(p); i += sector {
		n := (off + int64(i)) / sector
		d.held[n] = append([]byte(nil), p[i:i+sector]...)
		sectors = append(sectors, n)
	}
	d.writes = append(d.writes, sectors)
	return nil
}

// Flush makes everything held durable.
func (d *Disk) Flush() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.keep(func(int64) bool { return true })
}

// keep makes those held sectors durable for which choose says so, and forgets
// the others.
func (d *Disk) keep(choose func(sector int64) bool) error {
	for _, write := range d.writes {
		for _, n := range write {
			data, ok := d.held[n]
			if !ok || !choose(n) {
				continue
			}
			if _, err := d.durable.WriteAt(data, n*sector); err != nil {
				return err
			}
			d.flushed[n] = true
			delete(d.held, n)
		}
	}
	d.held = map[int64][]byte{}
	d.writes = nil
	return nil
}

// Cut is the power cut: of the writes since the last flush some are kept
// whole, some lost, some torn, as the random source says.
func (d *Disk) Cut(random *rand.Rand) (held, lost int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	held = len(d.held)
	kept := map[int64]bool{}
	for _, write := range d.writes {
		switch fate := random.IntN(3); fate {
		case 0: // lost
		case 1:
			for _, n := range write {
				kept[n] = true
			}
		default: // torn
			for _, n := range write[:random.IntN(len(write)+1)] {
				kept[n] = true
			}
		}
	}
	for n := range d.held {
		if !kept[n] {
			lost++
		}
	}
	return held, lost, d.keep(func(n int64) bool { return kept[n] })
}
