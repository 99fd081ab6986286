package debian_test

import (
	"errors"
	"testing"

	"github.com/slipway-os/slipway/pkg/debian"
	"github.com/slipway-os/slipway/pkg/debian/debiantest"
	"github.com/slipway-os/slipway/pkg/diag"
)

// A suite that a repository lacks is told from a repository that is not there.
func TestMissingSuites(t *testing.T) {
	for _, c := range []struct {
		name, suite, path string // what follows the addresses of the repositories
		gone              string // file that is not served
		want              string // of a *SuiteError; "" for another error
		known             string
	}{
		{name: "misspelt", suite: "trixy", want: "there is no suite trixy at 127.0.0.1", known: "trixie"},
		{name: "updates are missing", suite: "trixie", gone: "debian/dists/trixie-updates/InRelease", want: "there is no suite trixie-updates at 127.0.0.1", known: "trixie"},
		{name: "no repository", suite: "trixie", path: "/x"},
		{name: "neither", suite: "trixy", path: "/x"},
		{name: "no security repository", suite: "trixie", gone: "debian-security/dists/trixie-security/InRelease"},
		{name: "no index", suite: "trixie", gone: "debian/dists/trixie/main/*/*"},
	} {
		t.Run(c.name, func(t *testing.T) {
			key := debiantest.NewKey(t, "archive", now)
			repo := debiantest.New(t, "trixie", now, key)
			repo.Main.ByHash = false
			repo.Main.Packages = []debiantest.Package{{Name: "app", Version: "1"}}
			repo.Publish(t)
			if c.gone != "" {
				repo.Tamper(t, c.gone, func([]byte) []byte { return nil })
			}
			m := newMachine(t, debiantest.Keyring(t, key))
			_, err := m.client.Indexes(t.Context(), debian.Suites(repo.Mirror()+c.path, repo.SecurityMirror()+c.path, c.suite), "amd64")
			var wrong *debian.SuiteError
			switch found := errors.As(err, &wrong); {
			case found != (c.want != ""):
				t.Errorf("got %v", err)
			case !found && diag.ExitCode(err) != diag.ExitDependency:
				t.Errorf("status %d: %v", diag.ExitCode(err), err)
			case found && (wrong.Error() != c.want || len(wrong.Known) != 1 || wrong.Known[0] != c.known):
				t.Errorf("got %v, it has %q", wrong, wrong.Known)
			}
		})
	}
}
