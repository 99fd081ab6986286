// Package diag gives errors what a user needs from them: a place in a file, a
// hint, and the exit status that the process ends with.
package diag

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

// Exit statuses of every Slipway program.
const (
	ExitBug        = 1 // an error that nobody classified: a fault of the program
	ExitInput      = 2 // a profile, role, flag or other input is wrong
	ExitDependency = 3 // a download, compiler or other dependency failed
	ExitIO         = 4 // the local disk or device failed
	ExitInterrupt  = 130
)

// Position is a place in a file of the user's. Line and Column count from 1;
// zero means unknown.
type Position struct {
	File         string
	Line, Column int
}

func (p Position) String() string {
	switch {
	case p.Line == 0:
		return p.File
	case p.Column == 0:
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	default:
		return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
	}
}

// Error is an error at a place, with what to do about it. It prints as one
// line: "file:line:column: message (hint)".
type Error struct {
	Pos  Position
	Msg  string
	Hint string // what to do; without parentheses
	// Field is the path of the value that is wrong in its document, if it is known.
	Field string
	Kind  error // what kind of fault it is, for errors.Is; or nil
}

func (e *Error) Error() string {
	s := e.Msg
	if p := e.Pos.String(); p != "" {
		s = p + ": " + s
	}
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

// Unwrap returns what kind of fault it is.
func (e *Error) Unwrap() error { return e.Kind }

// Is makes every positioned error bad input.
func (e *Error) Is(target error) bool { return target == errInput }

// At returns bad input at a position.
func At(pos Position, hint, format string, args ...any) *Error {
	return &Error{Pos: pos, Msg: fmt.Sprintf(format, args...), Hint: hint}
}

type class struct {
	err  error
	kind error
}

func (c *class) Error() string        { return c.err.Error() }
func (c *class) Unwrap() error        { return c.err }
func (c *class) Is(target error) bool { return target == c.kind }

var (
	errInput      = errors.New("bad input")
	errDependency = errors.New("failed dependency")
	errIO         = errors.New("input/output error")
)

// Input marks err as the user's to mend: exit status 2.
func Input(err error) error { return mark(err, errInput) }

// Inputf is Input of a formatted error.
func Inputf(format string, args ...any) error { return Input(fmt.Errorf(format, args...)) }

// Dependency marks err as a failed download, compiler or the like: status 3.
func Dependency(err error) error { return mark(err, errDependency) }

// Dependencyf is Dependency of a formatted error.
func Dependencyf(format string, args ...any) error { return Dependency(fmt.Errorf(format, args...)) }

// IO marks err as a failure of the local disk: exit status 4.
func IO(err error) error { return mark(err, errIO) }

// Interruptedf says what an interruption left: exit status 130.
func Interruptedf(format string, args ...any) error {
	return mark(fmt.Errorf(format, args...), context.Canceled)
}

func mark(err, kind error) error {
	if err == nil {
		return nil
	}
	return &class{err: err, kind: kind}
}

// ExitCode returns the exit status for an error; 0 for nil. A path error of
// the operating system that nobody marked is I/O.
func ExitCode(err error) int {
	var pathErr *fs.PathError
	var errno syscall.Errno
	switch {
	case err == nil:
		return 0
	case errors.Is(err, context.Canceled):
		return ExitInterrupt
	case errors.Is(err, errInput):
		return ExitInput
	case errors.Is(err, errDependency):
		return ExitDependency
	case errors.Is(err, errIO), errors.As(err, &pathErr), errors.As(err, &errno):
		return ExitIO
	default:
		return ExitBug
	}
}
