package kubeadm

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// program is kubeadm on the node.
const program = "/usr/bin/kubeadm"

// Error is a phase that failed.
type Error struct {
	Phase string // "init phase certs all"
	Err   error
	Said  []string // the last lines that kubeadm printed, without secrets
}

func (e *Error) Error() string {
	text := fmt.Sprintf("kubeadm %s: %v", e.Phase, e.Err)
	if len(e.Said) > 0 {
		text += ": " + e.Said[len(e.Said)-1]
	}
	return text
}

func (e *Error) Unwrap() error { return e.Err }

// Phase runs a phase ("init phase certs all") with a configuration file.
func Phase(ctx context.Context, phase, config string, args ...string) error {
	words := append(strings.Fields(phase), "--config", config)
	return run(ctx, program, phase, config, append(words, args...))
}

func run(ctx context.Context, program, phase, config string, words []string) error {
	cmd := exec.CommandContext(ctx, program, words...)
	cmd.Env = append(os.Environ(), "PATH=/usr/sbin:/usr/bin")
	cmd.WaitDelay = 10 * time.Second // what it started may hold its output open
	var out tail
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		// A configuration that cannot be read has no secrets to print.
		data, _ := os.ReadFile(config)
		return &Error{Phase: phase, Err: err, Said: last(secretsOf(data).remove(string(out)), 8)}
	}
	return nil
}

// tail keeps the end of what is written to it.
type tail []byte

func (t *tail) Write(p []byte) (int, error) {
	const kept = 64 << 10
	*t = append(*t, p...)
	if len(*t) > 2*kept {
		*t = append([]byte(nil), (*t)[len(*t)-kept:]...)
	}
	return len(p), nil
}

// last returns the last lines that say something.
func last(text string, n int) []string {
	const longest = 500
	var lines []string
	for _, l := range strings.Split(text, "\n") {
		if l = strings.TrimSpace(l); l == "" || strings.HasPrefix(l, "To see the stack trace") {
			continue
		}
		if len(l) > longest {
			l = strings.ToValidUTF8(l[:longest], "") + "…"
		}
		lines = append(lines, l)
	}
	return lines[max(0, len(lines)-n):]
}
