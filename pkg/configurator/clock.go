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

// How long the right time is waited for: where the clock is known to be wrong,
// and where it may be right. A clock that is later than when the image was made,
// but wrong all the same, looks like any other.
const (
	wrongClockPatience = 2 * time.Minute
	clockPatience      = 20 * time.Second
)

// clockStep waits for the right time on a node that may ask for it:
// certificates would be made for another year.
func (c *Configurator) clockStep() []step {
	if len(c.role.Time.Servers) == 0 {
		return nil
	}
	return []step{{name: "clock", doing: "waiting for the right time", next: "journalctl -u systemd-timesyncd tells more", run: func(ctx context.Context) error {
		return c.waitTime(ctx, wrongClockPatience, clockPatience)
	}}}
}

// waitTime waits for a time server to set the clock, as long as is given for a
// clock that is known to be wrong, and for one that may be right.
func (c *Configurator) waitTime(ctx context.Context, ifWrong, otherwise time.Duration) error {
	patience, waiting, unset := ifWrong, "the clock was wrong, and no time server has answered yet",
		"no time server answers: certificates are made by a clock that was wrong, and may be of no use once it is right"
	if _, err := os.Stat(c.path(status.WrongClockFile)); errors.Is(err, fs.ErrNotExist) {
		patience, waiting, unset = otherwise, "no time server has answered yet",
			"no time server answers: certificates are made by the machine's own clock, and may be of no use if that is wrong"
	} else if err != nil {
		return err
	}
	set, err := c.within(ctx, patience, func() string {
		if _, err := os.Stat(c.path(synchronized)); err != nil {
			return waiting
		}
		return ""
	})
	if err == nil && !set {
		c.status.Warn(unset)
	}
	return err
}
