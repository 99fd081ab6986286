package debian

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/slipway-os/slipway/pkg/fetch"
)

// SuiteError says that a repository lacks a suite, but has others.
type SuiteError struct {
	Suite string
	Host  string   // of the repository
	Known []string // some that it has
}

func (e *SuiteError) Error() string {
	return fmt.Sprintf("there is no suite %s at %s", e.Suite, e.Host)
}

// codenames are suites that a repository may have which lacks another.
var codenames = []string{"trixie", "bookworm", "forky"}

// missing finds the suite that keeps indexes from being read, after a server
// said that it lacks a file; nil if the repository, and not the suite, is what
// is not there.
func (c *Client) missing(ctx context.Context, suites []Suite) *SuiteError {
	for _, s := range suites {
		_, _, err := c.release(ctx, s)
		if err == nil {
			continue
		}
		if !notFound(err) {
			return nil
		}
		if known := c.others(ctx, s); len(known) > 0 {
			return &SuiteError{Suite: s.Name, Host: host(s.URI), Known: known}
		}
		return nil
	}
	return nil
}

// others returns suites that the repository of a suite has.
func (c *Client) others(ctx context.Context, s Suite) []string {
	base, suffix := s.Name, ""
	for _, of := range []string{"-updates", "-security"} {
		if name, found := strings.CutSuffix(s.Name, of); found {
			base, suffix = name, of
		}
	}
	var known []string
	try := func(name string) {
		other := s
		other.Name = name
		if _, _, err := c.release(ctx, other); name != s.Name && err == nil {
			known = append(known, name)
		}
	}
	for _, name := range codenames {
		try(name + suffix)
	}
	try(base)
	return known
}

func notFound(err error) bool {
	var failed *fetch.Error
	return errors.As(err, &failed) && failed.NotFound()
}
