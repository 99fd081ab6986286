package kubeadmtest

import (
	"os"
	"testing"
)

// Program is the real kubeadm, which SLIPWAY_KUBEADM names. Without one the
// test is skipped.
func Program(t testing.TB) string {
	t.Helper()
	program := os.Getenv("SLIPWAY_KUBEADM")
	if program == "" {
		t.Skip("SLIPWAY_KUBEADM names no kubeadm, which judges what is written for it: `make test` takes the one that it bakes; " +
			"after `make image`, `bin/builder inspect out/cp-amd64/disk.raw cat usr/bin/kubeadm > bin/kubeadm && chmod +x bin/kubeadm && export SLIPWAY_KUBEADM=$PWD/bin/kubeadm` does the same")
	}
	return program
}
