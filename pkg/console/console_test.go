package console

import (
	"bufio"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// terminals makes named pipes that stand for consoles, and what lists them.
func terminals(t *testing.T, names ...string) (c *Console, ends map[string]*os.File) {
	t.Helper()
	dir := t.TempDir()
	ends = map[string]*os.File{}
	for _, name := range names {
		pipe := filepath.Join(dir, name)
		if err := unix.Mkfifo(pipe, 0o600); err != nil {
			t.Fatal(err)
		}
		// Held open both ways, so that neither side waits for the other.
		f, err := os.OpenFile(pipe, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		ends[name] = f
	}
	active := filepath.Join(dir, "active")
	if err := os.WriteFile(active, []byte("absent0 "+strings.Join(names, " ")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return open("slipway", active, dir), ends
}

func TestEveryConsoleHearsIt(t *testing.T) {
	c, ends := terminals(t, "tty0", "ttyS0")
	c.Say("step %d of %d\nsecond line\n", 1, 2)
	for name, end := range ends {
		r := bufio.NewReader(end)
		for _, want := range []string{"step 1 of 2", "second line"} {
			line, err := r.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if !regexp.MustCompile(`^\[ *[0-9]+\.[0-9]{2}\] slipway: ` + want + "\r\n$").MatchString(line) {
				t.Errorf("%s: %q", name, line)
			}
		}
	}
}

// A console that takes nothing more, as a serial line does whose terminal
// stopped it, keeps nobody from going on, nor the others from hearing it.
func TestAConsoleThatIsStopped(t *testing.T) {
	c, ends := terminals(t, "ttyS0", "tty0")
	fd := int(ends["ttyS0"].Fd())
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := unix.Write(fd, make([]byte, 4096)); err != nil {
			break // it is full
		}
	}
	c.Say("heard")
	if line, err := bufio.NewReader(ends["tty0"]).ReadString('\n'); err != nil || !strings.Contains(line, "heard") {
		t.Errorf("%q, %v", line, err)
	}
}

func TestWithoutAConsole(t *testing.T) {
	c := open("slipway", "/nowhere", t.TempDir())
	c.Say("lost") // and no harm done
	if len(c.devices) != 1 || filepath.Base(c.devices[0]) != "console" {
		t.Errorf("devices %v", c.devices)
	}
}

// What is said may quote a config: it must not steer the terminal.
func TestPlain(t *testing.T) {
	for in, want := range map[string]string{
		"plain ä 世":                  "plain ä 世",
		"\x1b[2Jcleared":             " [2Jcleared",
		"a\rb\tc\ad\x7fe":            "a b c d e",
		"\u009b31m":                  " 31m", // one-character form of ESC [
		"not \xff UTF-8 \x9b":        "not ? UTF-8 ?",
		"a\u2028b":                   "a b",
		strings.Repeat("x", 100_000): strings.Repeat("x", 100_000),
	} {
		if got := plain(in); got != want {
			t.Errorf("%.40q: got %.40q, want %.40q", in, got, want)
		}
	}
}

func TestUptime(t *testing.T) {
	first := Uptime()
	if first <= 0 || Uptime() < first {
		t.Errorf("uptime %v", first)
	}
}
