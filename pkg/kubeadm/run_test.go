package kubeadm_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/kubeadm"
	"github.com/slipway-os/slipway/pkg/kubeadm/kubeadmtest"
)

// kubeadm itself, with a configuration that it refuses.
func TestAPhaseThatFails(t *testing.T) {
	program := kubeadmtest.Program(t)
	good, err := os.ReadFile("testdata/single.golden.yaml")
	if err != nil {
		t.Fatal(err)
	}
	const secret = "hunter2-is-no-token"
	file := filepath.Join(t.TempDir(), "kubeadm.yaml")
	if err := os.WriteFile(file, []byte(strings.Replace(string(good), "abcdef.0123456789abcdef", secret, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	err = kubeadm.Run(t.Context(), program, "certs ca", file, []string{"init", "phase", "certs", "ca", "--config", file})
	var failed *kubeadm.Error
	if !errors.As(err, &failed) || failed.Phase != "certs ca" {
		t.Fatalf("got %v", err)
	}
	if !strings.Contains(err.Error(), "token") {
		t.Errorf("it does not tell what is wrong: %v", err)
	}
	if strings.Contains(strings.Join(append(failed.Said, err.Error()), "\n"), secret) {
		t.Errorf("it tells the token: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := kubeadm.Run(ctx, program, "certs ca", file, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}
