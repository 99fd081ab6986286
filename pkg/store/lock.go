package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/slipway-os/slipway/pkg/diag"
)

// Lock waits until nobody else, in this process or another, holds the lock of
// that name, and takes it; or until ctx ends. It keeps two builds from doing
// the same work twice.
func (s *Store) Lock(ctx context.Context, name string) (unlock func(), err error) {
	sum := sha256.Sum256([]byte(name))
	f, err := os.OpenFile(filepath.Join(s.dir, "locks", hex.EncodeToString(sum[:8])), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, diag.IO(err)
	}
	locked := make(chan error, 1)
	go func() { locked <- flock(f) }()
	select {
	case err = <-locked:
	case <-ctx.Done():
		// The system call cannot be called off: whoever gets the lock too late lets it go.
		go func() {
			<-locked
			f.Close()
		}()
		return nil, ctx.Err()
	}
	if err != nil {
		f.Close()
		return nil, diag.IO(fmt.Errorf("locking %q in the store: %w", name, err))
	}
	return func() { f.Close() }, nil
}

func flock(f *os.File) error {
	for {
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != unix.EINTR {
			return err
		}
	}
}
