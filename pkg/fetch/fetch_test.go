package fetch_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/fetch"
	"github.com/slipway-os/slipway/pkg/store"
	"github.com/slipway-os/slipway/pkg/tree"
)

// file is 300 kB that look like nothing else.
var file = func() []byte {
	data := make([]byte, 300_000)
	rand.NewChaCha8([32]byte{1}).Read(data)
	return data
}()

func sum(data []byte) string {
	d := sha256.Sum256(data)
	return hex.EncodeToString(d[:])
}

// server counts requests and remembers their Range headers.
type server struct {
	*httptest.Server
	mu     sync.Mutex
	ranges []string
}

// serve starts a server. The handler is told which request it answers: 0, 1, …
func serve(t *testing.T, handle func(n int, w http.ResponseWriter, r *http.Request)) *server {
	s := &server{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		n := len(s.ranges)
		s.ranges = append(s.ranges, r.Header.Get("Range"))
		s.mu.Unlock()
		handle(n, w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *server) asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.ranges)
}

func content(w http.ResponseWriter, r *http.Request, data []byte) {
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
}

// cut sends the start of an answer and drops the connection.
func cut(w http.ResponseWriter, data []byte, after int) {
	w.Header().Set("Content-Length", fmt.Sprint(len(data)))
	w.Write(data[:after])
	w.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

func newStore(t *testing.T) *store.Store {
	t.Helper()
	st, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func client(st *store.Store) *fetch.Client {
	return fetch.New(st, fetch.Options{Backoff: time.Microsecond})
}

func item(s *server) fetch.Item {
	return fetch.Item{URL: s.URL + "/pool/x.deb", Size: int64(len(file)), SHA256: sum(file)}
}

func check(t *testing.T, contents []tree.Content, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range contents {
		if data, err := tree.ReadAll(c, 1<<20); err != nil || !bytes.Equal(data, file) {
			t.Errorf("got %d bytes (%v), not the file", len(data), err)
		}
	}
}

func TestADownloadGoesOnWhereItWasCutOff(t *testing.T) {
	for _, c := range []struct {
		name   string
		handle func(n int, w http.ResponseWriter, r *http.Request)
		unsure bool // the item's size is not known
		want   []string
	}{
		{name: "in one go", handle: func(_ int, w http.ResponseWriter, r *http.Request) { content(w, r, file) }, want: []string{""}},
		{name: "size not known", unsure: true, handle: func(_ int, w http.ResponseWriter, r *http.Request) { content(w, r, file) }, want: []string{""}},
		{name: "cut off twice", handle: func(n int, w http.ResponseWriter, r *http.Request) {
			switch n {
			case 0:
				cut(w, file, 100_000)
			case 1:
				w.Header().Set("Content-Range", fmt.Sprintf("bytes 100000-%d/%d", len(file)-1, len(file)))
				w.WriteHeader(http.StatusPartialContent)
				w.Write(file[100_000:200_000])
			default:
				content(w, r, file)
			}
		}, want: []string{"", "bytes=100000-", "bytes=200000-"}},
		{name: "by a server that does not resume", handle: func(n int, w http.ResponseWriter, r *http.Request) {
			if n == 0 {
				cut(w, file, 100_000)
			}
			w.Write(file)
		}, want: []string{"", "bytes=100000-"}},
		{name: "by a server that fails for a while", handle: func(n int, w http.ResponseWriter, r *http.Request) {
			if n < 2 {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			content(w, r, file)
		}, want: []string{"", "", ""}},
		{name: "the last byte came, the answer's end did not", unsure: true, handle: func(n int, w http.ResponseWriter, r *http.Request) {
			if n == 0 {
				w.Write(file)
				w.(http.Flusher).Flush()
				panic(http.ErrAbortHandler)
			}
			content(w, r, file)
		}, want: []string{"", "bytes=300000-"}},
		{name: "by a mirror that was being updated", handle: func(n int, w http.ResponseWriter, r *http.Request) {
			if n == 0 {
				io.WriteString(w, "the file as it was yesterday")
				return
			}
			content(w, r, file)
		}, want: []string{"", ""}},
		{name: "redirected to another server", handle: func(n int, w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/other" {
				http.Redirect(w, r, "/other", http.StatusFound)
				return
			}
			content(w, r, file)
		}, want: []string{"", ""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, c.handle)
			want := item(s)
			if c.unsure {
				want.Size = 0
			}
			var progress atomic.Int64
			contents, err := client(newStore(t)).Fetch(t.Context(), []fetch.Item{want}, func(n int64) { progress.Add(n) })
			check(t, contents, err)
			if got := s.asked(); !slices.Equal(got, c.want) {
				t.Errorf("asked for %q, want %q", got, c.want)
			}
			if n := progress.Load(); n != int64(len(file)) {
				t.Errorf("progress ends at %d of %d", n, len(file))
			}
		})
	}
}

func TestAStalledServerIsAskedAgain(t *testing.T) {
	s := serve(t, func(n int, w http.ResponseWriter, r *http.Request) {
		if n == 0 {
			w.Header().Set("Content-Length", fmt.Sprint(len(file)))
			w.Write(file[:100_000])
			w.(http.Flusher).Flush()
			<-r.Context().Done() // for ever
			return
		}
		content(w, r, file)
	})
	f := fetch.New(newStore(t), fetch.Options{Backoff: time.Microsecond, Stall: 100 * time.Millisecond})
	contents, err := f.Fetch(t.Context(), []fetch.Item{item(s)}, nil)
	check(t, contents, err)
	if got := s.asked(); len(got) < 2 {
		t.Errorf("asked %q", got)
	}
}

func TestWhatIsInTheStoreIsNotAskedFor(t *testing.T) {
	s := serve(t, func(_ int, w http.ResponseWriter, r *http.Request) { content(w, r, file) })
	st := newStore(t)
	contents, err := client(st).Fetch(t.Context(), []fetch.Item{item(s), item(s)}, nil)
	check(t, contents, err)
	offline := fetch.New(st, fetch.Options{Offline: true})
	contents, err = offline.Fetch(t.Context(), []fetch.Item{item(s)}, nil)
	check(t, contents, err)
	if got := s.asked(); len(got) != 1 {
		t.Errorf("%d requests, want 1", len(got))
	}
	var missing []fetch.Item
	for i := range 5 {
		missing = append(missing, fetch.Item{URL: fmt.Sprintf("%s/%d.deb", s.URL, i), SHA256: sum([]byte{byte(i)})})
	}
	_, err = offline.Fetch(t.Context(), missing, nil)
	want := fmt.Sprintf("not in the store: %[1]s/0.deb, %[1]s/1.deb, %[1]s/2.deb and 2 more; build once without --offline", s.URL)
	if err == nil || err.Error() != want || diag.ExitCode(err) != diag.ExitDependency {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if _, err := offline.Get(t.Context(), s.URL, 10); diag.ExitCode(err) != diag.ExitDependency {
		t.Errorf("Get: %v", err)
	}
}

func TestTwoBuildsDownloadAFileOnce(t *testing.T) {
	const builds = 4
	began := make(chan struct{})
	s := serve(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		<-began
		content(w, r, file)
	})
	st := newStore(t)
	var group sync.WaitGroup
	for range builds {
		other, err := store.Open(st.Dir())
		if err != nil {
			t.Fatal(err)
		}
		group.Go(func() {
			contents, err := client(other).Fetch(t.Context(), []fetch.Item{item(s)}, nil)
			if err != nil || contents[0].Size() != int64(len(file)) {
				t.Errorf("got %v, %v", contents, err)
			}
		})
	}
	close(began)
	group.Wait()
	if got := s.asked(); len(got) != 1 {
		t.Errorf("%d requests, want 1", len(got))
	}
}

func TestFailedDownloads(t *testing.T) {
	gone := httptest.NewServer(nil)
	gone.Close() // its port is closed now
	const mistaken = " (the server has another file under this name: a stale or tampered mirror, or a proxy's error page)"
	other := []byte("something else")
	for _, c := range []struct {
		name     string
		handle   func(n int, w http.ResponseWriter, r *http.Request)
		address  string // instead of the server's
		want     string // %s is the address
		requests int
	}{
		{name: "not there", handle: func(_ int, w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) },
			want: `downloading %s: status 404 Not Found (the server does not have this file, or no longer)`, requests: 1},
		{name: "credentials wanted", handle: func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) },
			want: `downloading %s: status 403 Forbidden (the server wants credentials, or bars this machine)`, requests: 1},
		{name: "a server that always fails", handle: func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) },
			want: `downloading %s: status 502 Bad Gateway (is the server reachable from this machine (network, proxy)?)`, requests: 5},
		{name: "another file of the same size", handle: func(_ int, w http.ResponseWriter, r *http.Request) { content(w, r, make([]byte, len(file))) },
			want: `downloading %s: not the file that was expected: its sha256 is ` + sum(make([]byte, len(file))) + `, not ` + sum(file) + mistaken, requests: 2},
		{name: "an error page", handle: func(_ int, w http.ResponseWriter, _ *http.Request) { w.Write(other) },
			want: `downloading %s: not the file that was expected: it has 14 bytes, not 300000` + mistaken, requests: 2},
		{name: "data without end", handle: func(_ int, w http.ResponseWriter, _ *http.Request) {
			for {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		}, want: `downloading %s: not the file that was expected: it has `, requests: 2},
		{name: "cut off again and again without a byte more", handle: func(_ int, w http.ResponseWriter, _ *http.Request) { cut(w, file, 0) },
			want: `downloading %s: unexpected EOF (is the server reachable from this machine (network, proxy)?)`, requests: 5},
		{name: "redirected to a file of this machine", handle: func(_ int, w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "file:///etc/hostname", http.StatusFound)
		}, want: `downloading %s: the server redirects to a file address (`, requests: 1},
		{name: "redirected in a circle", handle: func(_ int, w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path, http.StatusFound)
		}, want: `downloading %s: more than 10 redirects (`, requests: 10},
		{name: "nobody listens", address: gone.URL + "/x", want: `downloading %s: dial tcp ` + strings.TrimPrefix(gone.URL, "http://") + `: connect: connection refused (is the server reachable`},
		{name: "no address", address: "http://user:secret@host:port/x", want: `downloading an address that is none: `},
		{name: "no such file", address: "file:///nonexistent/x", want: `downloading %s: status 404 Not Found (`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, c.handle)
			wanted := item(s)
			if c.address != "" {
				wanted.URL = c.address
			}
			st := newStore(t)
			_, err := client(st).Fetch(t.Context(), []fetch.Item{wanted}, nil)
			if err == nil {
				t.Fatal("accepted")
			}
			want := strings.ReplaceAll(c.want, "%s", wanted.URL)
			if got := err.Error(); got != want && (strings.HasSuffix(want, ")") || !strings.HasPrefix(got, want)) {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "\n") {
				t.Errorf("a secret, or more than a line: %v", err)
			}
			if code := diag.ExitCode(err); code != diag.ExitDependency {
				t.Errorf("exit status %d, want %d", code, diag.ExitDependency)
			}
			var failed *fetch.Error
			if errors.As(err, &failed); failed.NotFound() != strings.Contains(want, "status 404") {
				t.Errorf("NotFound is %v", failed.NotFound())
			}
			if got := s.asked(); len(got) != c.requests {
				t.Errorf("%d requests, want %d", len(got), c.requests)
			}
			if _, err := st.Blob(tree.Bytes(file).Digest(), -1); !errors.Is(err, store.ErrMissing) {
				t.Errorf("the store holds it: %v", err)
			}
		})
	}
}

// What an interrupted build left is used by the next.
func TestAnInterruptedDownloadIsResumedByTheNextBuild(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(partial string) error
		want   string
	}{
		{"as it was left", func(string) error { return nil }, "bytes=100000-"},
		{"the machine lost power: zeros are left", func(p string) error { return os.WriteFile(p, make([]byte, 50_000), 0o600) }, "bytes=50000-"},
		{"nothing is left", os.Remove, ""},
		{"it grew", func(p string) error { return os.WriteFile(p, make([]byte, 400_000), 0o600) }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, interrupt := context.WithCancel(t.Context())
			defer interrupt()
			s := serve(t, func(n int, w http.ResponseWriter, r *http.Request) {
				if n == 0 {
					w.Header().Set("Content-Length", fmt.Sprint(len(file)))
					w.Write(file[:100_000])
					w.(http.Flusher).Flush()
					<-r.Context().Done()
					return
				}
				content(w, r, file)
			})
			st := newStore(t)
			var got atomic.Int64
			_, err := client(st).Fetch(ctx, []fetch.Item{item(s)}, func(n int64) {
				if got.Add(n) == 100_000 {
					interrupt()
				}
			})
			if !errors.Is(err, context.Canceled) || diag.ExitCode(err) != diag.ExitInterrupt {
				t.Fatalf("got %v", err)
			}
			if _, err := st.Blob(tree.Bytes(file).Digest(), -1); !errors.Is(err, store.ErrMissing) {
				t.Errorf("half a file is in the store: %v", err)
			}
			partial, err := filepath.Glob(filepath.Join(st.Dir(), "tmp", "*"))
			if err != nil || len(partial) != 1 {
				t.Fatalf("left: %q, %v", partial, err)
			}
			if err := c.damage(partial[0]); err != nil {
				t.Fatal(err)
			}
			contents, err := client(st).Fetch(t.Context(), []fetch.Item{item(s)}, nil)
			check(t, contents, err)
			if got := s.asked()[1]; got != c.want {
				t.Errorf("asked for %q, want %q", got, c.want)
			}
			if left, _ := filepath.Glob(filepath.Join(st.Dir(), "tmp", "*")); len(left) != 0 {
				t.Errorf("left: %q", left)
			}
		})
	}
}

// One download that fails ends the others; the error is that of the former.
func TestAFailureEndsTheOtherDownloads(t *testing.T) {
	hung := make(chan struct{})
	s := serve(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/bad" {
			<-hung
			http.NotFound(w, r)
			return
		}
		close(hung)
		<-r.Context().Done()
	})
	_, err := client(newStore(t)).Fetch(t.Context(), []fetch.Item{item(s), {URL: s.URL + "/bad", SHA256: sum(nil)}}, nil)
	if err == nil || !strings.Contains(err.Error(), "/bad: status 404") {
		t.Errorf("got %v", err)
	}
}

func TestGet(t *testing.T) {
	s := serve(t, func(n int, w http.ResponseWriter, r *http.Request) {
		if n == 0 {
			cut(w, file, 1000)
		}
		content(w, r, file)
	})
	f := client(newStore(t))
	if data, err := f.Get(t.Context(), s.URL, int64(len(file))); err != nil || !bytes.Equal(data, file) {
		t.Errorf("got %d bytes, %v", len(data), err)
	}
	if _, err := f.Get(t.Context(), s.URL, 1000); err == nil || !strings.Contains(err.Error(), "more than 1000 bytes") {
		t.Errorf("too much: %v", err)
	}
	local := filepath.Join(t.TempDir(), "a b%c")
	if err := os.WriteFile(local, file, 0o644); err != nil {
		t.Fatal(err)
	}
	escaped := strings.NewReplacer("%", "%25", " ", "%20").Replace(local)
	for _, address := range []string{"file://" + escaped, "file:" + escaped} {
		if data, err := f.Get(t.Context(), address, 1<<20); err != nil || !bytes.Equal(data, file) {
			t.Errorf("%s: got %d bytes, %v", address, len(data), err)
		}
	}
}

func TestADigestThatIsNoneIsBadInput(t *testing.T) {
	_, err := client(newStore(t)).Fetch(t.Context(), []fetch.Item{{URL: "http://host.invalid/x", SHA256: "../../etc"}}, nil)
	if diag.ExitCode(err) != diag.ExitInput {
		t.Errorf("got %v", err)
	}
}
