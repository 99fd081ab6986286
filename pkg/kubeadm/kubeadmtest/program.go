package kubeadmtest

import (
	"os"
	"testing"
)

// Etcd is the real etcd, which SLIPWAY_ETCD names. Without one the test is
// skipped.
func Etcd(t testing.TB) string {
	t.Helper()
	program := os.Getenv("SLIPWAY_ETCD")
	if program == "" {
		t.Skip("SLIPWAY_ETCD names no etcd: `make test` takes the one that it bakes; after `make image programs`, `export SLIPWAY_ETCD=$PWD/bin/etcd` does the same")
	}
	return program
}

// Program is the real kubeadm, which SLIPWAY_KUBEADM names. Without one the
// test is skipped.
func Program(t testing.TB) string {
	t.Helper()
	program := os.Getenv("SLIPWAY_KUBEADM")
	if program == "" {
		t.Skip("SLIPWAY_KUBEADM names no kubeadm, which judges what is written for it: `make test` takes the one that it bakes; " +
			"after `make image programs`, `export SLIPWAY_KUBEADM=$PWD/bin/kubeadm` does the same")
	}
	return program
}
