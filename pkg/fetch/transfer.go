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
	errStalled  = errors.New("no more data came")
	errMistaken = errors.New("not the file that was expected")
)

// statusError is an answer of a server that is no file.
type statusError struct{ code int }

func (e *statusError) Error() string {
	return fmt.Sprintf("status %d %s", e.code, http.StatusText(e.code))
}

// run downloads until the whole file is there and has its digest.
func (t *transfer) run(ctx context.Context) error {
	mistaken := false
	return t.client.retry(ctx, func() (advanced bool, err error) {
		before := t.w.Size()
		if err = t.more(ctx); err == nil && t.w.Digest() != t.digest {
			err = fmt.Errorf("%w: its sha256 is %s, not %s", errMistaken, t.w.Digest(), t.digest)
		}
		if !errors.Is(err, errMistaken) {
			return t.w.Size() > before, err
		}
		// What an interrupted download left may be at fault, or one of several
		// mirrors behind the address: once more, from the start.
		if again := t.restart(); again != nil {
			return false, permanent{again}
		}
		if mistaken {
			return false, permanent{err}
		}
		mistaken = true
		return false, err
	})
}

func (t *transfer) restart() error {
	t.progress(-t.w.Size())
	return t.w.Restart()
}

// more asks for what is missing and writes it.
func (t *transfer) more(ctx context.Context) error {
	from := t.w.Size()
	if t.item.Size > 0 && from >= t.item.Size {
		return t.sized(from)
	}
	body, err := t.client.open(ctx, t.item.URL, from)
	var status *statusError
	if errors.As(err, &status) && status.code == http.StatusRequestedRangeNotSatisfiable && from > 0 {
		return nil // the server's file ends here; the digest tells whether it is the right one
	}
	if err != nil {
		return err
	}
	defer body.Close()
	if body.size >= 0 {
		if err := t.sized(body.size); err != nil {
			return err
		}
	}
	if body.from != from { // the server does not resume
		if err := t.restart(); err != nil {
			return permanent{err}
		}
	}
	buf := make([]byte, 1<<16)
	for {
		n, err := body.Read(buf)
		if _, err := t.w.Write(buf[:n]); err != nil {
			return permanent{err}
		}
		t.progress(int64(n))
		if t.item.Size > 0 && t.w.Size() > t.item.Size {
			return t.sized(t.w.Size())
		}
		if errors.Is(err, io.EOF) && body.size < 0 && t.w.Size() < t.item.Size {
			return io.ErrUnexpectedEOF // an old server's way to end, and to be cut off
		}
		if errors.Is(err, io.EOF) {
			return t.sized(t.w.Size())
		}
		if err != nil {
			return err
		}
	}
}

// sized compares the size that the server's file has with the one it must have.
func (t *transfer) sized(n int64) error {
	if t.item.Size == 0 || n == t.item.Size {
		return nil
	}
	return fmt.Errorf("%w: it has %d bytes, not %d", errMistaken, n, t.item.Size)
}

// open asks a server for a file from that byte on.
func (c *Client) open(ctx context.Context, address string, from int64) (*watched, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	watch := time.AfterFunc(c.Stall, func() { cancel(errStalled) })
	body := &watched{ctx: ctx, cancel: cancel, watch: watch, stall: c.Stall, size: -1}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		body.stop()
		return nil, permanent{err}
	}
	request.Header.Set("User-Agent", "slipway")
	if from > 0 {
		request.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
	}
	response, err := c.http.Do(request)
	if err != nil {
		err = body.cause(err)
		body.stop()
		return nil, err
	}
	body.ReadCloser = response.Body
	switch response.StatusCode {
	case http.StatusOK:
	case http.StatusPartialContent:
		if !strings.HasPrefix(response.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", from)) {
			body.Close()
			return nil, fmt.Errorf("asked for byte %d on, got %q", from, response.Header.Get("Content-Range"))
		}
		body.from = from
	default:
		body.Close()
		return nil, &statusError{response.StatusCode}
	}
	if response.ContentLength >= 0 {
		body.size = body.from + response.ContentLength
	}
	return body, nil
}

// watched is the body of an answer; it fails when nothing comes for too long.
type watched struct {
	io.ReadCloser
	from   int64 // the byte at which it starts: 0 where the server does not resume
	size   int64 // of the whole file; -1 where the server does not say
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
	case errors.Is(err, errMistaken):
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
