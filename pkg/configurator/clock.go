package configurator

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/slipway-os/slipway/pkg/status"
)

// synchronized is there once systemd-timesyncd has set the clock
// (systemd-timesyncd.service(8)).
const synchronized = "/run/systemd/timesync/synchronized"

// clockStep waits for the right time on a node whose clock is known to be
// wrong and that may ask for it: certificates would be made for another year.
func (c *Configurator) clockStep() []step {
	if len(c.role.Time.Servers) == 0 {
		return nil
	}
	return []step{{name: "clock", doing: "waiting for the right time", next: "journalctl -u systemd-timesyncd tells more", run: func(ctx context.Context) error {
		return c.waitTime(ctx, 2*time.Minute)
	}}}
}

func (c *Configurator) waitTime(ctx context.Context, patience time.Duration) error {
	if _, err := os.Stat(c.path(status.WrongClockFile)); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	set, err := c.within(ctx, patience, func() string {
		if _, err := os.Stat(c.path(synchronized)); err != nil {
			return "the clock was wrong, and no time server has answered yet"
		}
		return ""
	})
	if err == nil && !set {
		c.status.Warn("no time server answers: certificates are made by a clock that was wrong, and may be of no use once it is right")
	}
	return err
}
