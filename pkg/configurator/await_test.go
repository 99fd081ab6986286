package configurator

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestAwaitRole(t *testing.T) {
	for _, c := range []struct {
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
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "slipway", "role.yaml")
			absent := make(chan struct{})
			done := make(chan error)
			go func() { done <- AwaitRole(t.Context(), file, func() { close(absent) }) }()
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

func TestARoleThatIsThereIsNotAwaited(t *testing.T) {
	file := filepath.Join(t.TempDir(), "role.yaml")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := AwaitRole(t.Context(), file, func() { t.Error("said to be absent") }); err != nil {
		t.Error(err)
	}
}

func TestAwaitingARoleEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	err := AwaitRole(ctx, filepath.Join(t.TempDir(), "role.yaml"), cancel)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
