package configurator

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func watch(t *testing.T, file string) *Watch {
	t.Helper()
	w, err := NewWatch(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

// layings are ways to lay down a file.
var layings = []struct {
	name string
	lay  func(file string) error
}{
	{"written", func(file string) error { return os.WriteFile(file, []byte("version: 1\n"), 0o600) }},
	{"moved", func(file string) error {
		other := filepath.Join(filepath.Dir(filepath.Dir(file)), "upload")
		return errors.Join(os.WriteFile(other, nil, 0o600), os.Rename(other, file))
	}},
	{"after another file", func(file string) error {
		return errors.Join(os.WriteFile(file+".part", nil, 0o600), os.Rename(file+".part", file))
	}},
}

func TestAwaitedRole(t *testing.T) {
	for _, c := range layings {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "slipway", "role.yaml")
			w := watch(t, file)
			absent, done := make(chan struct{}), make(chan error)
			go func() { done <- w.There(t.Context(), func() { close(absent) }) }()
			<-absent
			if err := c.lay(file); err != nil {
				t.Fatal(err)
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

// A role that was refused is read again when it is mended, not for another file
// beside it.
func TestMendedRole(t *testing.T) {
	for _, c := range layings {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "slipway", "role.yaml")
			w := watch(t, file)
			if err := os.WriteFile(file+".bak", nil, 0o600); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- w.Changed(ctx) }()
			if err := c.lay(file); err != nil {
				t.Fatal(err)
			}
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			go func() { done <- w.Changed(ctx) }()
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Errorf("said twice: %v", err)
			}
			if err := c.lay(file); err != nil {
				t.Fatal(err)
			}
			if err := w.Changed(t.Context()); err != nil {
				t.Errorf("after it was given up once: %v", err)
			}
		})
	}
}

func TestARoleThatIsThereIsNotAwaited(t *testing.T) {
	file := filepath.Join(t.TempDir(), "role.yaml")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := watch(t, file).There(t.Context(), func() { t.Error("said to be absent") }); err != nil {
		t.Error(err)
	}
}

func TestAwaitingARoleEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	err := watch(t, filepath.Join(t.TempDir(), "role.yaml")).There(ctx, cancel)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
