package role

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/slipway-os/slipway/pkg/diag"
)

var (
	labelPattern     = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)
	qualifiedPattern = regexp.MustCompile(`^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$`)
	versionPattern   = regexp.MustCompile(`^v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.]+)?$`)
	numberPattern    = regexp.MustCompile(`^[0-9]+$`)
)

func isVersion(s string) bool { return versionPattern.MatchString(s) }

// isLabel reports whether s is one label of a domain name, in lower case.
func isLabel(s string) bool { return len(s) <= 63 && labelPattern.MatchString(s) }

// isSubdomain reports whether s is a subdomain by RFC 1123, in lower case.
func isSubdomain(s string) bool {
	if len(s) > 253 {
		return false
	}
	for _, l := range strings.Split(s, ".") {
		if !isLabel(l) {
			return false
		}
	}
	return true
}

// isHost reports whether s is an IP address or a host name. A name whose last
// label is a number would be taken for a (wrong) address by others.
func isHost(s string) bool {
	if _, err := parseAddr(s); err == nil {
		return true
	}
	s = strings.ToLower(s)
	return isSubdomain(s) && !numberPattern.MatchString(s[strings.LastIndexByte(s, '.')+1:])
}

// nameHint suggests a name near to one that is wrong.
func nameHint(s string, dots bool) string {
	better := strings.ReplaceAll(strings.ToLower(s), "_", "-")
	if better != s && (isLabel(better) || dots && isSubdomain(better)) {
		return "write " + better
	}
	if dots {
		return "lower-case letters, digits, hyphens and dots"
	}
	return "lower-case letters, digits and hyphens"
}

// isQualified reports whether s is the name of a label or taint:
// [domain/]name.
func isQualified(s string) bool {
	if domain, name, ok := strings.Cut(s, "/"); ok {
		if !isSubdomain(domain) {
			return false
		}
		s = name
	}
	return len(s) <= 63 && qualifiedPattern.MatchString(s)
}

// isValue reports whether s can be the value of a label or taint.
func isValue(s string) bool {
	return s == "" || len(s) <= 63 && qualifiedPattern.MatchString(s)
}

// effects are what taints can do.
func effects() []string { return []string{"NoSchedule", "PreferNoSchedule", "NoExecute"} }

func parseTaint(s string) (Taint, error) {
	name, effect, ok := strings.Cut(s, ":")
	key, value, _ := strings.Cut(name, "=")
	if !ok || !isQualified(key) || !isValue(value) {
		return Taint{}, fmt.Errorf("%q is not a taint such as key=value:NoSchedule", s)
	}
	if !slices.Contains(effects(), effect) {
		hint := diag.Suggest(effect, effects())
		if hint == "" {
			hint = "known: " + strings.Join(effects(), ", ")
		}
		return Taint{}, fmt.Errorf("unknown effect %q of a taint (%s)", effect, hint)
	}
	return Taint{Key: key, Value: value, Effect: effect}, nil
}

func (r *Role) checkNode(c *checker) {
	// Linux allows 64 characters, the label kubernetes.io/hostname 63.
	switch name := r.Node.Name; {
	case !c.given("node.name", name):
	case len(name) > 63:
		c.errorf("node.name", "at most 63 characters", "node.name is too long")
	case !isSubdomain(name):
		c.errorf("node.name", nameHint(name, true), "node.name: %q is not a name for a node", name)
	case isLocalhost(name):
		c.errorf("node.name", "", "node.name: %q means every machine", name)
	}
	for _, key := range slices.Sorted(maps.Keys(r.Node.Labels)) {
		path, value := "node.labels."+key, r.Node.Labels[key]
		switch {
		case !isQualified(key):
			c.errorf(path, "for example example.net/zone", "node.labels: %q is not the name of a label", key)
		case !isValue(value):
			c.errorf(path, "at most 63 letters, digits, hyphens, underscores and dots, a letter or digit at both ends", "%s: %q is not the value of a label", path, value)
		case !mayLabel(key):
			c.errorf(path, "set it with kubectl label", "node.labels: the kubelet may not set %q on its own node", key)
		}
	}
	if c.doc.Has("node.taints") && r.Node.Taints == nil {
		c.errorf("node.taints", "write [] for no taint, or leave it out for the role's own", "node.taints has no value")
	}
	seen := map[Taint]bool{}
	for i, t := range r.Node.Taints {
		id := Taint{Key: t.Key, Effect: t.Effect}
		switch {
		case t.Key == "":
			c.errorf(at("node.taints", i), "for example key=value:NoSchedule", "%s is empty", at("node.taints", i))
		case seen[id]:
			c.errorf(at("node.taints", i), "", "%s: %s is given twice", at("node.taints", i), id)
		}
		seen[id] = true
	}
}

// mayLabel reports whether a kubelet that is told to set a label on its node
// starts at all: those of Kubernetes' own domains are refused, but for a few.
func mayLabel(key string) bool {
	domain, _, _ := strings.Cut(key, "/")
	under := func(of string) bool { return domain == of || strings.HasSuffix(domain, "."+of) }
	if domain == key || !under("kubernetes.io") && !under("k8s.io") || under("kubelet.kubernetes.io") || under("node.kubernetes.io") {
		return true
	}
	switch key {
	case "kubernetes.io/hostname", "kubernetes.io/os", "kubernetes.io/arch",
		"topology.kubernetes.io/zone", "topology.kubernetes.io/region",
		"failure-domain.beta.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/region",
		"beta.kubernetes.io/instance-type", "beta.kubernetes.io/os", "beta.kubernetes.io/arch":
		return true
	}
	return false
}

func (r *Role) checkCertSANs(c *checker) {
	seen := map[string]bool{}
	for i, s := range r.CertSANs {
		path := at("certSANs", i)
		name := strings.ToLower(s)
		if ip, err := parseAddr(s); err == nil {
			name = ip.String()
		} else if !isHost(strings.TrimPrefix(name, "*.")) {
			c.errorf(path, "for example api.example.net or 192.0.2.10", "%s: %q is neither a host name nor an IP address", path, s)
			continue
		}
		if seen[name] {
			c.errorf(path, "", "%s: %q is given twice", path, s)
		}
		seen[name] = true
		r.CertSANs[i] = name
	}
}

func (r *Role) checkKeys(c *checker) {
	seen := map[string]bool{}
	for i, line := range r.SSH.AuthorizedKeys {
		path := at("ssh.authorizedKeys", i)
		blob, err := publicKey(line)
		switch {
		case errors.Is(err, errOption):
			c.errorf(path, "known: "+strings.Join(keyOptions(), ", "), "%s %v", path, err)
		case errors.Is(err, errPrivate):
			c.errorf(path, "give the public key, the line in the .pub file, and take this one for stolen", "%s %v", path, err)
		case err != nil:
			c.errorf(path, "give a line as in a .pub file: ssh-ed25519 AAAA…", "%s %v", path, err)
		case seen[blob]:
			c.errorf(path, "", "%s is given twice", path)
		}
		seen[blob] = err == nil
		r.SSH.AuthorizedKeys[i] = strings.TrimSpace(line)
	}
}
