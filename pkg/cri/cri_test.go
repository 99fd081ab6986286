package cri

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

func text(b []byte, n protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, n, protowire.BytesType), s)
}

func number(b []byte, n protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), v)
}

func frame(message []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
}

func someImages() ([]byte, []Image) {
	a := text(text(text(nil, 1, "sha256:a"), 2, "x/a:1"), 2, "x/a:2")
	a = number(number(text(a, 3, "x/a@sha256:m"), 4, 300), 8, 1)
	a = text(a, 5, string(number(nil, 1, 65534)))                                     // uid: not ours to know
	a = protowire.AppendFixed64(protowire.AppendTag(a, 99, protowire.Fixed64Type), 7) // of a later version
	b := text(nil, 1, "sha256:b")
	return text(text(nil, 1, string(a)), 1, string(b)), []Image{
		{ID: "sha256:a", RepoTags: []string{"x/a:1", "x/a:2"}, RepoDigests: []string{"x/a@sha256:m"}, Size: 300, Pinned: true},
		{ID: "sha256:b"},
	}
}

func someStatus() ([]byte, Status) {
	runtime := number(text(nil, 1, RuntimeReady), 2, 1)
	network := text(text(text(nil, 1, NetworkReady), 3, "NetworkPluginNotReady"), 4, "cni config uninitialized")
	s := text(text(nil, 1, string(runtime)), 1, string(network))
	return text(text(nil, 1, string(s)), 2, "info"), Status{Conditions: []Condition{
		{Type: RuntimeReady, Ready: true},
		{Type: NetworkReady, Reason: "NetworkPluginNotReady", Message: "cni config uninitialized"},
	}}
}

// serve runs an HTTP/2 server on a unix socket.
func serve(t *testing.T, handler http.HandlerFunc) *Client {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: handler, Protocols: new(http.Protocols)}
	s.Protocols.SetUnencryptedHTTP2(true)
	go s.Serve(l)
	c := New(socket)
	t.Cleanup(func() { c.Close(); s.Close() })
	return c
}

func answer(body []byte, code, message string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		w.Write(body)
		w.Header().Set(http.TrailerPrefix+"Grpc-Status", code)
		w.Header().Set(http.TrailerPrefix+"Grpc-Message", message)
	}
}

func TestCalls(t *testing.T) {
	images, wantImages := someImages()
	status, wantStatus := someStatus()
	replies := map[string][]byte{
		"/runtime.v1.RuntimeService/Version":  text(text(text(text(nil, 1, "0.1.0"), 2, "containerd"), 3, "v2.4.2"), 4, "v1"),
		"/runtime.v1.RuntimeService/Status":   status,
		"/runtime.v1.ImageService/ListImages": images,
	}
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if r.Method != http.MethodPost || r.Header.Get("Te") != "trailers" || r.Header.Get("Grpc-Timeout") == "" || err != nil || !bytes.Equal(body, make([]byte, 5)) {
			t.Errorf("request %s %v %q %v", r.Method, r.Header, body, err)
		}
		answer(frame(replies[r.URL.Path]), "0", "")(w, r)
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	v, err := c.Version(ctx)
	if want := (Version{"containerd", "v2.4.2", "v1"}); err != nil || v != want {
		t.Errorf("version %+v, %v; want %+v", v, err, want)
	}
	s, err := c.Status(ctx)
	if err != nil || !reflect.DeepEqual(s, wantStatus) {
		t.Errorf("status %+v, %v; want %+v", s, err, wantStatus)
	}
	if !s.Ready(RuntimeReady) || s.Ready(NetworkReady) || s.Ready("Other") {
		t.Errorf("ready: %+v", s)
	}
	got, err := c.ListImages(ctx)
	if err != nil || !reflect.DeepEqual(got, wantImages) {
		t.Errorf("images %+v, %v; want %+v", got, err, wantImages)
	}
}

func TestErrors(t *testing.T) {
	for _, test := range []struct {
		name    string
		handler http.HandlerFunc
		want    string
	}{
		{"status", answer(nil, "14", "server is not initialized%20yet %"), "calling /runtime.v1.ImageService/ListImages: code 14: server is not initialized%20yet %"},
		{"escaped", answer(nil, "12", "unknown service runtime.v1.ImageService%0A"), "code 12: unknown service runtime.v1.ImageService\n"},
		{"status after a message", answer(frame(nil), "13", "broken"), "code 13: broken"},
		{"status in the header", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/grpc")
			w.Header().Set("Grpc-Status", "2")
			w.Header().Set("Grpc-Message", "no")
		}, "code 2: no"},
		{"no status", answer(frame(nil), "", ""), `no valid grpc-status: ""`},
		{"no message", answer(nil, "0", ""), "there is no message"},
		{"not gRPC", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "what?", 404) }, `HTTP status "404 Not Found"`},
		{"two messages", answer(append(frame(nil), frame(nil)...), "0", ""), "more than one message"},
		{"compressed", answer([]byte{1, 0, 0, 0, 0}, "0", ""), "compressed"},
		{"too long", answer([]byte{0, 1, 0, 0, 1}, "0", ""), "the limit is 16777216"},
		{"cut off", answer([]byte{0, 0, 0, 0, 9, 1}, "0", ""), "after 1"},
		{"cut off in the prefix", answer([]byte{0, 0}, "0", ""), "prefix"},
		{"no protobuf", answer(frame([]byte{0xff}), "0", ""), "parsing the reply"},
		{"another type", answer(frame(number(nil, 1, 5)), "0", ""), "wire type 0, not 2"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := serve(t, test.handler).ListImages(t.Context())
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
	var e *Error
	if _, err := serve(t, answer(nil, "14", "x")).Status(t.Context()); !errors.As(err, &e) || e.Code != 14 {
		t.Errorf("error %v", err)
	}
	if _, err := New(filepath.Join(t.TempDir(), "none")).Version(t.Context()); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }).Version(ctx)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

func FuzzReply(f *testing.F) {
	images, _ := someImages()
	status, _ := someStatus()
	for _, m := range [][]byte{nil, images, status} {
		f.Add(frame(m))
	}
	f.Add([]byte{0, 0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{0, 0, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		message, err := readFrame(bytes.NewReader(data))
		if err != nil {
			if message != nil {
				t.Error("a message and an error")
			}
			return
		}
		if len(message) > len(data)-5 {
			t.Errorf("%d bytes from %d", len(message), len(data))
		}
		parseVersion(message)
		parseStatus(message)
		if list, err := parseImages(message); err == nil && len(list) > len(message) {
			t.Errorf("%d images in %d bytes", len(list), len(message))
		}
	})
}
