package kubeadmtest

import (
	"os"
	"testing"
)

// Program is the real kubeadm, which SLIPWAY_KUBEADM names.
func Program(t testing.TB) string { return baked(t, "kubeadm", "SLIPWAY_KUBEADM") }

// Etcd is the real etcd, which SLIPWAY_ETCD names.
func Etcd(t testing.TB) string { return baked(t, "etcd", "SLIPWAY_ETCD") }

// baked is a program of the image that `make test` bakes, takes out of it, and
// names. Without one the test is skipped.
func baked(t testing.TB, name, variable string) string {
	t.Helper()
	program := os.Getenv(variable)
	if program == "" {
		t.Skipf("missing: the %[1]s that is baked, to try this with. `make test` bakes it, installs it as bin/%[1]s, and runs this with it; "+
			"to have it for `go test`: make programs && export %[2]s=$PWD/bin/%[1]s", name, variable)
	}
	return program
}
