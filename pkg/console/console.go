// Package console writes for the person in front of a machine: on every
// console that the kernel uses, not on the one that happens to be /dev/console.
package console

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
	"unicode"

	"golang.org/x/sys/unix"
)

// Console is all consoles of the machine.
type Console struct {
	mu      sync.Mutex
	devices []string
	who     string
}

// Open finds the consoles. Lines are prefixed with who. On a machine without
// any, what is written is lost.
func Open(who string) *Console { return open(who, "/sys/class/tty/console/active", "/dev") }

func open(who, active, dev string) *Console {
	c := &Console{who: who}
	names, err := os.ReadFile(active)
	if err != nil {
		names = []byte("console")
	}
	for _, name := range strings.Fields(string(names)) {
		c.devices = append(c.devices, filepath.Join(dev, name))
	}
	return c
}

// Write writes to every console. Each is opened anew: a login prompt that
// starts there hangs up whoever has it open.
func (c *Console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	text := bytes.ReplaceAll(p, []byte("\n"), []byte("\r\n"))
	for _, name := range c.devices {
		// Opening must not wait for a modem, nor make the console ours.
		fd, err := unix.Open(name, unix.O_WRONLY|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			continue
		}
		write(fd, text)
		unix.Close(fd)
	}
	return len(p), nil
}

// write writes to a console for as long as that takes anything: a terminal
// that stopped its line must not stop the machine.
func write(fd int, text []byte) {
	const patience = 1000 // milliseconds
	for len(text) > 0 {
		n, err := unix.Write(fd, text)
		switch {
		case err == nil:
			text = text[n:]
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			ready, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, patience)
			if ready == 0 || err != nil && !errors.Is(err, unix.EINTR) {
				return
			}
		default:
			return
		}
	}
}

// Say writes a line with the seconds since the machine started.
func (c *Console) Say(format string, args ...any) {
	for _, line := range strings.Split(strings.TrimRight(fmt.Sprintf(format, args...), "\n"), "\n") {
		fmt.Fprintf(c, "[%8.2f] %s: %s\n", Uptime().Seconds(), c.who, plain(line))
	}
}

// plain takes out of a line what would steer the terminal: it may quote what
// somebody else wrote.
func plain(line string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(line, "?"))
}

// Uptime returns how long ago the kernel started.
func Uptime() time.Duration {
	data, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return 0
	}
	var seconds float64
	fmt.Sscan(string(data), &seconds)
	return time.Duration(seconds * float64(time.Second))
}
