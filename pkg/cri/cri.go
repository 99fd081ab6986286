// Package cri asks a container runtime about itself and its images: the three
// calls of the Kubernetes Container Runtime Interface (k8s.io/cri-api v0.37,
// pkg/apis/runtime/v1/api.proto) that a node's boot needs, as gRPC over HTTP/2
// on a unix socket. grpc-go and the generated types would be most of a small
// program; the protocol (grpc/grpc doc/PROTOCOL-HTTP2.md) for unary calls is
// one POST.
package cri

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// maxMessage bounds what is read of a reply; kubelet's own bound.
const maxMessage = 16 << 20

// Client asks one runtime. It may be used by several goroutines.
type Client struct {
	http   *http.Client
	socket string
}

// New returns a client for the runtime at a unix socket. Nothing is dialled
// before the first call.
func New(socket string) *Client {
	t := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		},
		DisableCompression: true,
		IdleConnTimeout:    30 * time.Second,
	}
	t.Protocols = new(http.Protocols)
	t.Protocols.SetUnencryptedHTTP2(true)
	return &Client{http: &http.Client{Transport: t}, socket: socket}
}

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Error is what a runtime answers instead of a reply.
type Error struct {
	Method  string // "/runtime.v1.ImageService/ListImages"
	Code    int    // gRPC status code: 14 is "unavailable"
	Message string
}

func (e *Error) Error() string {
	return fmt.Sprintf("calling %s: code %d: %s", e.Method, e.Code, e.Message)
}

// Version is the runtime's name and version.
func (c *Client) Version(ctx context.Context) (Version, error) {
	return call(ctx, c, "/runtime.v1.RuntimeService/Version", parseVersion)
}

// Status is whether the runtime and its network are ready.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return call(ctx, c, "/runtime.v1.RuntimeService/Status", parseStatus)
}

// ListImages lists the images that pods can use, as the runtime orders them:
// not at all.
func (c *Client) ListImages(ctx context.Context) ([]Image, error) {
	return call(ctx, c, "/runtime.v1.ImageService/ListImages", parseImages)
}

// call makes a call; none of them has arguments.
func call[T any](ctx context.Context, c *Client, method string, parse func([]byte) (T, error)) (T, error) {
	var zero T
	message, err := c.invoke(ctx, method)
	if err != nil {
		return zero, err
	}
	reply, err := parse(message)
	if err != nil {
		return zero, fmt.Errorf("parsing the reply to %s from %s: %w", method, c.socket, err)
	}
	return reply, nil
}

func (c *Client) invoke(ctx context.Context, method string) ([]byte, error) {
	// An uncompressed message of no bytes.
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://localhost"+method, bytes.NewReader(make([]byte, 5)))
	if err != nil {
		return nil, fmt.Errorf("calling %s: %w", method, err)
	}
	request.Header.Set("Content-Type", "application/grpc")
	request.Header.Set("Te", "trailers")
	request.Header.Set("User-Agent", "slipway")
	if deadline, ok := ctx.Deadline(); ok {
		// At most eight digits.
		ms := min(max(time.Until(deadline).Milliseconds(), 1), 99999999)
		request.Header.Set("Grpc-Timeout", strconv.FormatInt(ms, 10)+"m")
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, fmt.Errorf("calling %s on %s: %w", method, c.socket, err)
	}
	defer response.Body.Close()
	if t := response.Header.Get("Content-Type"); response.StatusCode != http.StatusOK || !strings.HasPrefix(t, "application/grpc") {
		return nil, fmt.Errorf("calling %s on %s: HTTP status %q of type %q: no gRPC server", method, c.socket, response.Status, t)
	}
	// A failed call may have its status in the header and nothing else.
	if response.Header.Get("Grpc-Status") != "" {
		if err := status(method, response.Header); err != nil {
			return nil, err
		}
	}
	message, err := readFrame(response.Body)
	failed := err != nil && !errors.Is(err, errNoFrame)
	if err == nil || errors.Is(err, errNoFrame) {
		// Trailers are there only after all of the body was read.
		if n, e := io.Copy(io.Discard, io.LimitReader(response.Body, 1)); e != nil {
			err, failed = e, true
		} else if n > 0 {
			err, failed = errors.New("more than one message"), true
		}
	}
	if failed {
		return nil, fmt.Errorf("reading the reply to %s from %s: %w", method, c.socket, err)
	}
	if e := status(method, response.Trailer); e != nil {
		return nil, e
	}
	if err != nil {
		return nil, fmt.Errorf("reading the reply to %s from %s: %w", method, c.socket, err)
	}
	return message, nil
}

// status is the error that headers or trailers tell of.
func status(method string, h http.Header) error {
	text := h.Get("Grpc-Status")
	code, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return fmt.Errorf("calling %s: the answer has no valid grpc-status: %q", method, text)
	}
	if code == 0 {
		return nil
	}
	return &Error{Method: method, Code: int(code), Message: unescape(h.Get("Grpc-Message"))}
}

// unescape decodes a grpc-message; one that is badly encoded is better shown
// than lost.
func unescape(s string) string {
	if u, err := url.PathUnescape(s); err == nil {
		return u
	}
	return s
}

// errNoFrame is an answer without a message: its status says why.
var errNoFrame = errors.New("there is no message")

// readFrame reads one length-prefixed message.
func readFrame(r io.Reader) ([]byte, error) {
	var prefix [5]byte
	if _, err := io.ReadFull(r, prefix[:]); errors.Is(err, io.EOF) {
		return nil, errNoFrame
	} else if err != nil {
		return nil, fmt.Errorf("reading a frame's prefix: %w", err)
	}
	if prefix[0] != 0 {
		return nil, fmt.Errorf("reading a frame: it is compressed (flag %d), which was not offered", prefix[0])
	}
	size := binary.BigEndian.Uint32(prefix[1:])
	if size > maxMessage {
		return nil, fmt.Errorf("reading a frame of %d bytes: the limit is %d", size, maxMessage)
	}
	// As it arrives: the size may be a lie.
	var b bytes.Buffer
	if n, err := io.CopyN(&b, r, int64(size)); err != nil {
		return nil, fmt.Errorf("reading a frame of %d bytes: after %d: %w", size, n, err)
	}
	return b.Bytes(), nil
}
