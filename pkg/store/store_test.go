package store_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/store"
	"github.com/slipway-os/slipway/pkg/tree"
)

func open(t *testing.T) *store.Store {
	t.Helper()
	s, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestADamagedBlobIsDropped(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(file string) error
	}{
		{"truncated", func(f string) error { return os.Truncate(f, 3) }},
		{"bytes changed", func(f string) error { return os.WriteFile(f, []byte("hellO"), 0o644) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t)
			blob, err := s.Put(strings.NewReader("hello"))
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Verify(blob.Digest()); err != nil {
				t.Fatalf("a sound blob: %v", err)
			}
			if err := c.damage(s.BlobPath(blob.Digest())); err != nil {
				t.Fatal(err)
			}
			if err := s.Verify(blob.Digest()); !errors.Is(err, store.ErrMissing) {
				t.Errorf("got %v, want ErrMissing", err)
			}
			if _, err := s.Blob(blob.Digest(), 5); !errors.Is(err, store.ErrMissing) {
				t.Errorf("it is still served: %v", err)
			}
		})
	}
}

func TestADamagedRecordIsDropped(t *testing.T) {
	type record struct {
		N    int
		Text string
	}
	saved := record{7, "<a & b>"}
	for _, c := range []struct {
		name   string
		damage func(data []byte) []byte
	}{
		{"cut off", func(data []byte) []byte { return data[:len(data)-5] }},
		{"empty", func([]byte) []byte { return nil }},
		{"another value", func(data []byte) []byte { return bytes.Replace(data, []byte("7"), []byte("8"), 1) }},
		{"another name", func(data []byte) []byte { return bytes.Replace(data, []byte(`"Text"`), []byte(`"Tex_"`), 1) }},
		{"another digest", func(data []byte) []byte { return bytes.Replace(data, []byte(`"sha256":"`), []byte(`"sha256":"0`), 1) }},
		{"no digest", func([]byte) []byte { return []byte(`{"N":7,"Text":"x"}`) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t)
			key := store.Key("a", 1)
			if err := s.Save("kind", key, saved); err != nil {
				t.Fatal(err)
			}
			var got record
			if err := s.Load("kind", key, &got); err != nil || got != saved {
				t.Fatalf("got %v, %v", got, err)
			}
			file := filepath.Join(s.Dir(), "records", "kind", key[:2], key+".json")
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, c.damage(data), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := s.Load("kind", key, &got); !errors.Is(err, store.ErrMissing) {
				t.Errorf("got %v, want ErrMissing", err)
			}
			if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("it is still there: %v", err)
			}
		})
	}
}

func TestRecordsOfSomeKindsOnlyAreRecalled(t *testing.T) {
	s := open(t)
	for _, kind := range []string{"old", "new"} {
		if err := s.Save(kind, store.Key(), 1); err != nil {
			t.Fatal(err)
		}
	}
	view := s.Recalling(func(kind string) bool { return kind == "old" })
	var n int
	if err := view.Load("old", store.Key(), &n); err != nil {
		t.Error(err)
	}
	if err := view.Load("new", store.Key(), &n); !errors.Is(err, store.ErrMissing) {
		t.Errorf("got %v, want ErrMissing", err)
	}
	if err := s.Load("new", store.Key(), &n); err != nil {
		t.Errorf("the store itself: %v", err)
	}
	// What is made anew is made once.
	if err := view.Save("new", store.Key(), 2); err != nil {
		t.Fatal(err)
	}
	if err := view.Load("new", store.Key(), &n); err != nil || n != 2 {
		t.Errorf("what the view saved: %d, %v", n, err)
	}
	if err := view.Load("new", store.Key("other"), &n); !errors.Is(err, store.ErrMissing) {
		t.Errorf("another record of that kind: got %v, want ErrMissing", err)
	}
}

func TestNothingIsSeenBeforeCommit(t *testing.T) {
	s := open(t)
	w, err := s.NewWriter()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, "half"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Blob(w.Digest(), -1); !errors.Is(err, store.ErrMissing) {
		t.Errorf("half a blob is served: %v", err)
	}
	w.Abort()
	left, err := os.ReadDir(filepath.Join(s.Dir(), "tmp"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestLockExcludes(t *testing.T) {
	s := open(t)
	unlock, err := s.Lock(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan struct{})
	go func() {
		defer close(got)
		second, err := s.Lock(t.Context(), "x")
		if err != nil {
			t.Error(err)
			return
		}
		second()
	}()
	select {
	case <-got:
		t.Error("two hold one lock")
	default:
	}
	unlock()
	<-got
}

func TestWhoeverWaitsForALockCanBeInterrupted(t *testing.T) {
	s := open(t)
	unlock, err := s.Lock(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Lock(ctx, "x"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	unlock()
	again, err := s.Lock(t.Context(), "x") // the one that gave up lets go of it
	if err != nil {
		t.Fatal(err)
	}
	again()
}

func TestAStoreThatCannotBeMade(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	bad := []string{filepath.Join(file, "store")}
	if os.Getuid() != 0 { // whom modes do not stop
		if _, err := store.Open(filepath.Join(dir, "store")); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(dir, "store", "tmp"), 0o555); err != nil {
			t.Fatal(err)
		}
		bad = append(bad, filepath.Join(dir, "store"))
	}
	for _, name := range bad {
		_, err := store.Open(name)
		if diag.ExitCode(err) != diag.ExitIO || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "--store") {
			t.Errorf("got %v, exit %d", err, diag.ExitCode(err))
		}
	}
}

func TestWhatKilledBuildsLeftIsRemoved(t *testing.T) {
	s := open(t)
	long := time.Now().Add(-48 * time.Hour)
	for _, name := range []string{"old/dir", "young/dir"} {
		if err := os.MkdirAll(filepath.Join(s.Dir(), "tmp", name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"blob-old", "blob-young"} {
		if err := os.WriteFile(filepath.Join(s.Dir(), "tmp", name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"old", "blob-old"} {
		if err := os.Chtimes(filepath.Join(s.Dir(), "tmp", name), long, long); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := store.Open(s.Dir()); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(s.Dir(), "tmp", "*"))
	want := []string{filepath.Join(s.Dir(), "tmp", "blob-young"), filepath.Join(s.Dir(), "tmp", "young")}
	if err != nil || !slices.Equal(left, want) {
		t.Errorf("left %q, want %q", left, want)
	}
}

func TestResumeContinuesWhatWasCutOff(t *testing.T) {
	s := open(t)
	step := func(want int64, text string) *store.Writer {
		t.Helper()
		w, err := s.Resume("x")
		if err != nil {
			t.Fatal(err)
		}
		if w.Size() != want {
			t.Fatalf("resumed at %d, want %d", w.Size(), want)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		return w
	}
	step(0, "hello, ").Suspend()
	c, err := step(7, "world").Commit()
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := tree.ReadAll(c, 100); string(got) != "hello, world" || tree.Bytes(got).Digest() != c.Digest() {
		t.Errorf("committed %q as %s", got, c.Digest())
	}
	w := step(0, "wrong")
	if err := w.Restart(); err != nil {
		t.Fatal(err)
	}
	w.Write([]byte("right"))
	if c, err = w.Commit(); err != nil || c.Digest() != tree.String("right").Digest() {
		t.Errorf("after a restart: %v, %v", c, err)
	}
}
