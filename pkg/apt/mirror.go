// Package apt finds a Debian mirror: the one that was given, or else the one
// that the building machine's own apt uses.
package apt

import (
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/slipway-os/slipway/pkg/diag"
)

// Environment variables that name mirrors.
const (
	MirrorVariable   = "SLIPWAY_MIRROR"
	SecurityVariable = "SLIPWAY_SECURITY_MIRROR"
)

// Options say where to look.
type Options struct {
	Mirror   string              // base URI that a profile or flag gives, or ""
	Security string              // the same for security updates
	Getenv   func(string) string // default: os.Getenv
	Dir      string              // of apt's configuration; default: /etc/apt
}

// Mirrors are the two repositories that packages come from.
type Mirrors struct {
	Main     string // base URI, below which dists/ lies, without a slash at its end
	Security string // the same for security updates
	From     string // a sentence: what was taken from where
}

// FindMirrors returns the mirrors to use: those given, else those that the
// environment names, else those of the machine's own apt sources, whatever
// Debian suite these are for. A mirror for security updates that nobody names
// is looked for beside the main one: …/debian, …/debian-security.
func FindMirrors(o Options) (Mirrors, error) {
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	if o.Dir == "" {
		o.Dir = "/etc/apt"
	}
	var m Mirrors
	var err error
	var from, securityFrom string
	security := o.Security
	if security != "" {
		securityFrom = "as given"
	} else if security = o.Getenv(SecurityVariable); security != "" {
		securityFrom = "from " + SecurityVariable
	}
	switch {
	case o.Mirror != "":
		m.Main, from = o.Mirror, "as given"
	case o.Getenv(MirrorVariable) != "":
		m.Main, from = o.Getenv(MirrorVariable), "from "+MirrorVariable
	default:
		found, err := ownMirrors(o.Dir)
		if err != nil {
			return m, err
		}
		m.Main, from = found.main.uri, fmt.Sprintf("from this machine's own apt sources (%s, which names %s)", found.main.file, found.main.suite)
		if security == "" && found.security.uri != "" {
			security, securityFrom = found.security.uri, "from "+found.security.file
		}
	}
	if m.Main, err = base("mirror", m.Main); err != nil {
		return m, err
	}
	if security == "" {
		security, securityFrom = beside(m.Main), "beside it"
	}
	if m.Security, err = base("security mirror", security); err != nil {
		return m, err
	}
	m.From = fmt.Sprintf("Debian packages from %s, %s; security updates from %s, %s", plain(m.Main), from, plain(m.Security), securityFrom)
	return m, nil
}

// base checks the address of a mirror and drops slashes at its end.
func base(what, uri string) (string, error) {
	if !Usable(uri) {
		return "", diag.Inputf("%s %q: not an http, https or file address", what, plain(uri))
	}
	return strings.TrimRight(uri, "/"), nil
}

// Usable says whether something is the address of a mirror: http, https or file.
func Usable(uri string) bool {
	u, err := url.Parse(uri)
	if err != nil {
		return false
	}
	switch u.Scheme {
	case "http", "https":
		return u.Host != ""
	case "file":
		return strings.HasPrefix(u.Path, "/") && u.Host == ""
	}
	return false
}

// beside returns where mirrors keep security updates.
func beside(mirror string) string {
	u, err := url.Parse(mirror)
	if err != nil {
		return ""
	}
	u.Path, u.RawPath = u.Path+"-security", ""
	return u.String()
}

// plain returns an address without the credentials in it.
func plain(uri string) string {
	u, err := url.Parse(uri)
	if err != nil {
		return "an address that is none"
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}

// Names of suites: Debian's, by which its repositories are known, and those of
// Ubuntu that a building machine may run, to say why they are of no use.
var (
	debianSuites = []string{"oldoldstable", "oldstable", "stable", "testing", "unstable", "sid", "buster", "bullseye", "bookworm", "trixie", "forky", "duke"}
	ubuntuSuites = []string{"bionic", "focal", "jammy", "noble", "oracular", "plucky", "questing", "resolute"}
)

const howToGive = "give one: mirror: in the profile, --mirror, or " + MirrorVariable

type own struct{ main, security source }

// ownMirrors picks Debian's repositories out of apt's sources.
func ownMirrors(dir string) (own, error) {
	var found own
	best := 0
	var others []string
	sources := readSources(dir)
	for _, s := range sources {
		name, pocket, _ := strings.Cut(strings.Replace(s.suite, "/updates", "-security", 1), "-")
		switch {
		case slices.Contains(ubuntuSuites, name):
			others = append(others, "Ubuntu "+name)
		case !slices.Contains(debianSuites, name):
			others = append(others, s.suite)
		case !slices.Contains(s.components, "main"):
			others = append(others, fmt.Sprintf("%s by %q without main", s.suite, plain(s.uri)))
		case !Usable(s.uri):
			others = append(others, fmt.Sprintf("%s by %q, which is neither http, https nor file", s.suite, plain(s.uri)))
		case pocket == "security":
			if found.security.uri == "" {
				found.security = s
			}
		case pocket == "":
			if r := likely(s, sources); r > best {
				found.main, best = s, r
			}
		}
	}
	if found.main.uri != "" {
		return found, nil
	}
	slices.Sort(others)
	others = slices.Compact(others)
	switch {
	case len(sources) == 0:
		return found, diag.Inputf("no Debian mirror: this machine has no apt sources in %s (%s)", dir, howToGive)
	case len(others) == 0:
		return found, diag.Inputf("no Debian mirror: this machine's apt sources in %s name a security mirror only (%s)", dir, howToGive)
	}
	return found, diag.Inputf("no Debian mirror: this machine's apt sources in %s name only %s (%s)", dir, strings.Join(others, ", "), howToGive)
}

// likely says how much a source looks like Debian itself: others, too, name
// their suites after Debian's.
func likely(s source, all []source) int {
	score := 1
	if strings.HasSuffix(strings.TrimRight(s.uri, "/"), "/debian") {
		score++
	}
	if slices.ContainsFunc(all, func(o source) bool { return o.uri == s.uri && o.suite == s.suite+"-updates" }) {
		score += 2
	}
	return score
}
