package kubeadm

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// program is kubeadm on the node.
const program = "/usr/bin/kubeadm"

// Error is a phase that failed.
type Error struct {
	Phase string
	Err   error
	Said  []string // the last lines that kubeadm printed
}

func (e *Error) Error() string {
	text := fmt.Sprintf("kubeadm init phase %s: %v", e.Phase, e.Err)
	if len(e.Said) > 0 {
		text += ": " + e.Said[len(e.Said)-1]
	}
	return text
}

func (e *Error) Unwrap() error { return e.Err }

// Phase runs a phase of `kubeadm init` ("certs all") with a configuration file.
func Phase(ctx context.Context, phase, config string, args ...string) error {
	words := append([]string{"init", "phase"}, strings.Fields(phase)...)
	words = append(append(words, "--config", config), args...)
	cmd := exec.CommandContext(ctx, program, words...)
	cmd.Env = append(os.Environ(), "PATH=/usr/sbin:/usr/bin")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return &Error{Phase: phase, Err: err, Said: last(out.String(), 8)}
	}
	return nil
}

// last returns the last lines that say something.
func last(text string, n int) []string {
	var lines []string
	for _, l := range strings.Split(text, "\n") {
		if l = strings.TrimSpace(l); l == "" || strings.HasPrefix(l, "To see the stack trace") {
			continue
		}
		// Tokens and keys are nowhere else, but what is not printed cannot
		// leak.
		if strings.Contains(l, "token") && strings.Contains(l, "--token") {
			continue
		}
		lines = append(lines, l)
	}
	return lines[max(0, len(lines)-n):]
}
