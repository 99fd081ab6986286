package store_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
	s := open(t)
	key := store.Key("a", 1)
	if err := s.Save("kind", key, map[string]int{"n": 7}); err != nil {
		t.Fatal(err)
	}
	var got map[string]int
	if err := s.Load("kind", key, &got); err != nil || got["n"] != 7 {
		t.Fatalf("got %v, %v", got, err)
	}
	if err := os.WriteFile(filepath.Join(s.Dir(), "records", "kind", key[:2], key+".json"), []byte(`{"n":`), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := s.Load("kind", key, &got); !errors.Is(err, store.ErrMissing) {
		t.Errorf("got %v, want ErrMissing", err)
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

func TestAStoreThatCannotBeMade(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := store.Open(filepath.Join(file, "store"))
	if diag.ExitCode(err) != diag.ExitIO || !strings.Contains(err.Error(), "--store") {
		t.Errorf("got %v, exit %d", err, diag.ExitCode(err))
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
