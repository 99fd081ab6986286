package component

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/slipway-os/slipway/pkg/diag"
)

// failure is a way in which go fails that a user can do something about.
type failure struct {
	pattern *regexp.Regexp // the line that tells; the first group, if any, is what it is about
	what    string         // "%s" stands for that
	todo    string
	class   func(error) error
}

// failures are looked for in this order: an answer of the network may be
// wrapped in lines that fit a later one.
var failures = []failure{
	{regexp.MustCompile(`no space left on device|disk quota exceeded`),
		"the disk is full", "free some space, or name another store with --store", diag.IO},
	{regexp.MustCompile(`module lookup disabled by GOPROXY=off`),
		"a module is not in the module cache, and downloads are forbidden", "build once without --offline", diag.Dependency},
	{regexp.MustCompile(`verifying (\S+?)(?:/go\.mod)?: checksum mismatch`),
		"checksum mismatch of module %s", "it is not what go.sum pins: the proxy or the module cache was tampered with; go clean -modcache drops the cache", diag.Dependency},
	{regexp.MustCompile(`requires go >= (\S+)`),
		"the go command is too old: %s is wanted", "install a newer Go", diag.Dependency},
	{regexp.MustCompile(`(dial tcp|no such host|connection refused|i/o timeout|network is unreachable|TLS handshake|proxyconnect|unexpected EOF|connection reset)`),
		"no connection to the module proxy", "check the network and go env GOPROXY", diag.Dependency},
	{regexp.MustCompile(`(\S+@\S+?):.*(?:unknown revision|invalid version|404 Not Found|410 Gone|not found|no such file or directory)`),
		"there is no module %s", "check the version in go.mod and go env GOPROXY", diag.Dependency},
	{regexp.MustCompile(`missing go\.sum entry`),
		"go.sum is incomplete", "run go mod tidy there, look at what changed, and commit it", diag.Input},
	{regexp.MustCompile(`updates to go\.mod needed|no required module provides package|import lookup disabled by -mod=readonly`),
		"go.mod is incomplete", "run go mod tidy there, look at what changed, and commit it", diag.Input},
	{regexp.MustCompile(`permission denied|read-only file system`),
		"a cache or the store cannot be written", "check go env GOCACHE GOMODCACHE and --store", diag.IO},
	{regexp.MustCompile(`signal: killed`),
		"the compiler was killed", "it most likely ran out of memory: Kubernetes takes about 4 GB", diag.Dependency},
}

// maxSaid bounds how much of the compiler's own words an error carries, in bytes.
const maxSaid = 300

// explain makes one line of a failure of go.
func (r *goRun) explain(err error, said []string) error {
	name := r.component.Name
	for _, f := range failures {
		for _, line := range said {
			m := f.pattern.FindStringSubmatch(line)
			if m == nil {
				continue
			}
			what := f.what
			if strings.Contains(what, "%s") {
				what = fmt.Sprintf(what, m[1])
			}
			return f.class(fmt.Errorf("compiling %s: %s: %s (%s)", name, what, trim(line), f.todo))
		}
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) && len(said) == 0 {
		return diag.Dependency(fmt.Errorf("compiling %s: running %s: %w", name, r.tool.path, err))
	}
	log := filepath.Join(r.builder.store.Dir(), "logs", name+".log")
	text := strings.Join(said, "\n")
	for _, line := range said {
		if !strings.HasPrefix(line, "#") { // a package's name: what is wrong comes next
			text = trim(line)
			break
		}
	}
	if err := writeLog(log, said); err != nil {
		return diag.Dependencyf("compiling %s: %s", name, text)
	}
	return diag.Dependencyf("compiling %s: %s (all of it: %s)", name, text, log)
}

func trim(line string) string {
	line = strings.Join(strings.Fields(line), " ")
	line = strings.TrimPrefix(line, "go: ")
	if len(line) > maxSaid {
		line = strings.ToValidUTF8(line[:maxSaid], "") + "…"
	}
	return line
}

func writeLog(file string, lines []string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o644)
}
