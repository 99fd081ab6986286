package fetch

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/store"
	"github.com/slipway-os/slipway/pkg/tree"
)

// transfer is one download on its way.
type transfer struct {
	client   *Client
	item     Item
	digest   tree.Digest
	w        *store.Writer
	progress func(int64)
}

var (
	errStalled = errors.New("no more data came")
	errDigest  = errors.New("not the file that was expected")
)

// statusError is an answer of a server that is no file.
type statusError struct{ code int }

func (e *statusError) Error() string {
	return fmt.Sprintf("status %d %s", e.code, http.StatusText(e.code))
}

// run downloads until the whole file is there and has its digest.
func (t *transfer) run(ctx context.Context) error {
	restarted := false
	return t.client.retry(ctx, func() (advanced bool, err error) {
		before := t.w.Size()
		if err := t.more(ctx); err != nil {
			return t.w.Size() > before, err
		}
		if t.w.Digest() == t.digest && (t.item.Size == 0 || t.w.Size() == t.item.Size) {
			return true, nil
		}
		// What an interrupted download left may be at fault: once more, from the start.
		err = fmt.Errorf("%w: sha256 %s, %d bytes", errDigest, t.w.Digest(), t.w.Size())
		if again := t.restart(); again != nil {
			return false, again
		}
		if restarted {
			return false, permanent{err}
		}
		restarted = true
		return false, err
	})
}

func (t *transfer) restart() error {
	t.progress(-t.w.Size())
	return t.w.Restart()
}

// more asks for what is missing and writes it.
func (t *transfer) more(ctx context.Context) error {
	if t.item.Size > 0 && t.w.Size() >= t.item.Size {
		return nil
	}
	from := t.w.Size()
	body, at, err := t.client.open(ctx, t.item.URL, from)
	var status *statusError
	if errors.As(err, &status) && status.code == http.StatusRequestedRangeNotSatisfiable && from > 0 {
		if t.item.Size == 0 {
			return nil // all of it is there, or its digest will tell
		}
		if err := t.restart(); err != nil {
			return err
		}
		body, at, err = t.client.open(ctx, t.item.URL, 0)
	}
	if err != nil {
		return err
	}
	defer body.Close()
	if at != t.w.Size() { // the server does not resume
		if err := t.restart(); err != nil {
			return err
		}
	}
	buf := make([]byte, 1<<16)
	for {
		n, err := body.Read(buf)
		if t.item.Size > 0 && t.w.Size()+int64(n) > t.item.Size {
			return permanent{fmt.Errorf("%w: more than %d bytes", errDigest, t.item.Size)}
		}
		if _, err := t.w.Write(buf[:n]); err != nil {
			return permanent{err}
		}
		t.progress(int64(n))
		if errors.Is(err, io.EOF) {
			if t.item.Size > 0 && t.w.Size() < t.item.Size {
				return io.ErrUnexpectedEOF
			}
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// open asks a server for a file from that byte on, and returns the body and
// the byte at which it starts: 0 where the server does not resume.
func (c *Client) open(ctx context.Context, address string, from int64) (io.ReadCloser, int64, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	watch := time.AfterFunc(c.Stall, func() { cancel(errStalled) })
	body := &watched{ctx: ctx, cancel: cancel, watch: watch, stall: c.Stall}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		body.stop()
		return nil, 0, permanent{err}
	}
	request.Header.Set("User-Agent", "slipway")
	if from > 0 {
		request.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
	}
	response, err := c.http.Do(request)
	if err != nil {
		err = body.cause(err)
		body.stop()
		return nil, 0, err
	}
	body.ReadCloser = response.Body
	switch response.StatusCode {
	case http.StatusOK:
		return body, 0, nil
	case http.StatusPartialContent:
		if strings.HasPrefix(response.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", from)) {
			return body, from, nil
		}
		body.Close()
		return nil, 0, fmt.Errorf("asked for byte %d on, got %q", from, response.Header.Get("Content-Range"))
	default:
		body.Close()
		return nil, 0, &statusError{response.StatusCode}
	}
}

// watched is a body that fails when nothing comes for too long.
type watched struct {
	io.ReadCloser
	ctx    context.Context
	cancel context.CancelCauseFunc
	watch  *time.Timer
	stall  time.Duration
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	if n > 0 {
		w.watch.Reset(w.stall)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = w.cause(err)
	}
	return n, err
}

func (w *watched) cause(err error) error {
	if errors.Is(context.Cause(w.ctx), errStalled) {
		return fmt.Errorf("%w for %s", errStalled, w.stall)
	}
	return err
}

func (w *watched) stop() {
	w.watch.Stop()
	w.cancel(nil)
}

func (w *watched) Close() error {
	defer w.stop()
	return w.ReadCloser.Close()
}

// permanent is an error that another attempt will not mend.
type permanent struct{ error }

func (p permanent) Unwrap() error { return p.error }

// retry calls try until it succeeds, fails for good, or has failed too often
// without getting on.
func (c *Client) retry(ctx context.Context, try func() (advanced bool, err error)) error {
	for failed := 0; ; {
		advanced, err := try()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if advanced {
			failed = 0
		}
		if failed++; failed >= c.Attempts || !transient(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(c.Backoff << (failed - 1)):
		}
	}
}

func transient(err error) bool {
	var p permanent
	var status *statusError
	var dns *net.DNSError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &p), errors.As(err, &certificate):
		return false
	case errors.As(err, &dns):
		return !dns.IsNotFound
	case errors.As(err, &status):
		return status.code >= 500 || status.code == http.StatusTooManyRequests || status.code == http.StatusRequestTimeout
	}
	return true
}

// explain makes an error of what went wrong, the server and what to do. No
// credentials show in it.
func (t *transfer) explain(ctx context.Context, err error) error {
	return explain(ctx, t.item.URL, err)
}

func explain(ctx context.Context, address string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if diag.ExitCode(err) == diag.ExitIO && errors.As(err, new(permanent)) {
		return err // the store's disk
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err // url.Error repeats the address
	}
	hint := "is the server reachable from this machine (network, proxy)?"
	var status *statusError
	switch {
	case errors.Is(err, errDigest):
		hint = "the server has another file under this name: a stale or tampered mirror, or a proxy's error page"
	case errors.As(err, &status) && status.code == http.StatusNotFound:
		hint = "the server does not have this file, or no longer"
	case errors.As(err, &status) && (status.code == http.StatusUnauthorized || status.code == http.StatusForbidden):
		hint = "the server wants credentials, or bars this machine"
	}
	return diag.Dependency(&Error{URL: redact(address), Err: err, Hint: hint})
}

// Error is a failed download.
type Error struct {
	URL  string // without credentials
	Err  error
	Hint string // what to do
}

func (e *Error) Error() string { return fmt.Sprintf("downloading %s: %v (%s)", e.URL, e.Err, e.Hint) }

func (e *Error) Unwrap() error { return e.Err }

// NotFound says that the server was reached and does not have the file.
func (e *Error) NotFound() bool {
	var status *statusError
	return errors.As(e.Err, &status) && status.code == http.StatusNotFound
}

// redact returns an address without user, password and query.
func redact(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "an address that is none"
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}
