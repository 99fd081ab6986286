package configurator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/slipway-os/slipway/pkg/durable"
	"github.com/slipway-os/slipway/pkg/journal"
	"github.com/slipway-os/slipway/pkg/status"
)

// retryAfter is how long a step that failed rests.
const retryAfter = 10 * time.Second

// step is one step of the journal.
type step struct {
	name  string
	doing string // for people: "making certificates"
	run   func(context.Context) error
	// clean removes what an interrupted attempt may have left half-written.
	clean func() error
	// next is what a person can do if the step keeps failing, or waiting.
	next string
	// always means at every boot, not once.
	always bool
}

// engine works through steps.
type engine struct {
	journal *journal.Journal
	status  *status.Reporter
	pause   time.Duration // before another attempt
	disks   []string      // file systems that steps write to
}

// run does the steps that are not done yet, and those that are done always, in
// their order.
func (e *engine) run(ctx context.Context, steps []step) error {
	for i, s := range steps {
		if e.journal.Done(s.name) && !s.always {
			continue
		}
		e.status.Step(s.name, s.doing, s.next, i+1, len(steps))
		if err := e.until(ctx, s.next, func(ctx context.Context) error { return e.attempt(ctx, s) }); err != nil {
			return err
		}
	}
	return nil
}

// until tries something until it succeeds, however often that takes, or fails
// for good.
func (e *engine) until(ctx context.Context, next string, try func(context.Context) error) error {
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var fatal *FatalError
		if errors.As(err, &fatal) {
			e.status.Failed(err, "", 0) // it says itself what can be done
			return err
		}
		e.status.Failed(err, next, e.pause)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(e.pause):
		}
	}
}

// attempt does a step once. What it wrote is on the disk before the journal
// says that it is done.
func (e *engine) attempt(ctx context.Context, s step) error {
	if e.journal.Done(s.name) {
		return s.run(ctx)
	}
	if e.journal.Interrupted(s.name) && s.clean != nil {
		if err := s.clean(); err != nil {
			return fmt.Errorf("clearing what an interrupted attempt left: %w", err)
		}
	}
	start := time.Now()
	if err := e.journal.Begin(s.name); err != nil {
		return err
	}
	if err := s.run(ctx); err != nil {
		return err
	}
	for _, dir := range e.disks {
		if err := durable.SyncTree(dir); err != nil {
			return fmt.Errorf("syncing %s: %w", dir, err)
		}
	}
	return e.journal.End(s.name, time.Since(start))
}
