package configurator

import (
	"context"
	"errors"
	"os"
	"testing"
)

// What starts a control plane is held until it can start, whatever is
// interrupted on the way.
func TestHeldManifests(t *testing.T) {
	c := &Configurator{root: t.TempDir()}
	hold := c.heldPlaneStep("", "kube-apiserver", "kube-scheduler")
	phase := func(context.Context) error {
		for _, name := range []string{"kube-apiserver", "kube-scheduler"} {
			write(t, "", c.manifest(name), name)
		}
		return nil
	}
	serve, manage := c.releaseStep("serve", "", "kube-apiserver"), c.releaseStep("managers", "", "kube-scheduler")
	expect := func(when string, running ...string) {
		t.Helper()
		for _, name := range []string{"kube-apiserver", "kube-scheduler"} {
			want := false
			for _, r := range running {
				want = want || r == name
			}
			if _, err := os.Stat(c.manifest(name)); (err == nil) != want {
				t.Errorf("%s: %s runs: %v, want %v", when, name, err == nil, want)
			}
		}
	}
	if err := c.holding(phase, "kube-apiserver", "kube-scheduler")(t.Context()); err != nil {
		t.Fatal(err)
	}
	expect("held")
	must(t, hold.clean())
	if _, err := os.Stat(c.path(heldDir)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an interrupted attempt leaves %s: %v", heldDir, err)
	}
	if err := serve.run(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("released what is nowhere: %v", err)
	}
	must(t, c.holding(phase, "kube-apiserver", "kube-scheduler")(t.Context()))
	must(t, serve.run(t.Context()))
	must(t, serve.run(t.Context())) // again: the journal had not got it
	expect("released", "kube-apiserver")
	must(t, manage.run(t.Context()))
	must(t, manage.run(t.Context()))
	expect("all released", "kube-apiserver", "kube-scheduler")
	if _, err := os.Stat(c.path(heldDir)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is left: %v", heldDir, err)
	}
}
