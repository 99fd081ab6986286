package kubefields

import (
	"fmt"
	"math"
	"net/netip"
	"path"
	"regexp"
	"strings"
	"time"
)

// kubeadmRules are those of what kubeadm refuses when it reads its documents
// (cmd/kubeadm/app/apis/kubeadm/validation), and of what the kubelet refuses in the
// static pods that it makes of them.
func kubeadmRules() map[string]rule {
	return map[string]rule{
		"Arg.name":               flagName,
		"BootstrapToken.expires": moment,
		"BootstrapToken.groups":  tokenGroup,
		"BootstrapToken.token":   token,
		"BootstrapToken.ttl":     lasting(0, math.MaxInt64), // a negative one would be for ever
		"BootstrapToken.usages":  among("signing", "authentication"),
		"ClusterConfiguration.caCertificateValidityPeriod": lasting(time.Second, math.MaxInt64),
		"ClusterConfiguration.certificateValidityPeriod":   lasting(time.Second, math.MaxInt64),
		"ClusterConfiguration.encryptionAlgorithm":         oneOf("ECDSA-P256", "ECDSA-P384", "RSA-2048", "RSA-3072", "RSA-4096"),
		"ClusterConfiguration.kubernetesVersion":           release,
		"HostPathMount.pathType":                           oneOf("DirectoryOrCreate", "Directory", "FileOrCreate", "File", "Socket", "CharDevice", "BlockDevice"),
		"InitConfiguration.certificateKey":                 certificateKey,
		"LocalEtcd.dataDir":                                absolute,
		"LocalEtcd.peerCertSANs":                           certificateName,
		"LocalEtcd.serverCertSANs":                         certificateName,
	}
}

var (
	flagPattern      = regexp.MustCompile(`^[A-Za-z0-9][-A-Za-z0-9_.]*$`)
	tokenPattern     = regexp.MustCompile(`^[a-z0-9]{6}\.[a-z0-9]{16}$`)
	groupPattern     = regexp.MustCompile(`^system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]$`)
	keyPattern       = regexp.MustCompile(`^[0-9a-fA-F]{64}$`)
	releasePattern   = regexp.MustCompile(`^v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.]+)?$`)
	subdomainPattern = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
)

func flagName(v any) (string, string) {
	s, _ := v.(string)
	if s == "" || flagPattern.MatchString(s) {
		return fine, "" // whole finds the empty one
	}
	name, _, value := strings.Cut(strings.TrimLeft(s, "-"), "=")
	hint := ""
	switch {
	case !flagPattern.MatchString(name):
	case value:
		hint = "write {name: " + name + ", value: …}"
	default:
		hint = "write " + name
	}
	return "must be the name of a flag, without dashes before it, not " + shown(s), hint
}

// token does not repeat what may be a secret, and neither does certificateKey.
func token(v any) (string, string) {
	if s, _ := v.(string); !tokenPattern.MatchString(s) {
		return "is not a bootstrap token", "six and sixteen characters of a-z and 0-9, as kubeadm token generate prints"
	}
	return fine, ""
}

func certificateKey(v any) (string, string) {
	if s, ok := v.(string); ok && s != "" && !keyPattern.MatchString(s) {
		return "is not a key", "64 digits of 0-9 and a-f, as kubeadm certs certificate-key prints"
	}
	return fine, ""
}

func tokenGroup(v any) (string, string) {
	if s, ok := v.(string); ok && !groupPattern.MatchString(s) {
		return "must be a group as in system:bootstrappers:kubeadm:default-node-token, not " + shown(s), ""
	}
	return fine, ""
}

func moment(v any) (string, string) {
	s, ok := v.(string)
	if _, err := time.Parse(time.RFC3339, s); !ok || err != nil {
		return "must be a time as in 2026-01-31T12:00:00Z, in quotes, not " + shown(v), ""
	}
	return fine, ""
}

func release(v any) (string, string) {
	if s, ok := v.(string); ok && s != "" && !releasePattern.MatchString(s) {
		return "must be a version as in " + Version() + ", not " + shown(s), ""
	}
	return fine, ""
}

func absolute(v any) (string, string) {
	if s, ok := v.(string); ok && s != "" && !path.IsAbs(s) {
		return "must be an absolute path, not " + shown(s), ""
	}
	return fine, ""
}

func certificateName(v any) (string, string) {
	s, ok := v.(string)
	if _, err := netip.ParseAddr(s); !ok || err == nil || isSubdomain(strings.TrimPrefix(s, "*.")) {
		return fine, ""
	}
	return "must be a name or an IP address, not " + shown(s), ""
}

// isSubdomain reports whether s is a subdomain by RFC 1123, in lower case.
func isSubdomain(s string) bool { return len(s) <= 253 && subdomainPattern.MatchString(s) }

// needed are the fields that an object is nothing without.
func needed() map[string][]string {
	return map[string][]string{
		"AdmissionPluginConfiguration": {"name"},
		"Arg":                          {"name", "value"},
		"EnvVar":                       {"name"},
		"HostPathMount":                {"name", "hostPath", "mountPath"},
		"PolicyRule":                   {"level"},
	}
}

// whole says what is wrong with an object whose fields are right, each by itself.
func whole(kind string, fields map[string]any) []Problem {
	var problems []Problem
	for _, name := range needed()[kind] {
		v := fields[name]
		// A flag may be given nothing.
		if v == nil || v == "" && kind+"."+name != "Arg.value" {
			problems = append(problems, Problem{Path: name, Text: "is missing"})
		}
	}
	switch kind {
	case "BootstrapToken":
		problems = append(problems, bootstrapToken(fields)...)
	case "PolicyRule":
		problems = append(problems, policyRule(fields)...)
	case "GroupResources":
		problems = append(problems, groupResources(fields)...)
	case "AdmissionConfiguration":
		problems = append(problems, admission(fields)...)
	}
	return problems
}

func bootstrapToken(fields map[string]any) []Problem {
	var problems []Problem
	if fields["ttl"] != nil && fields["expires"] != nil {
		problems = append(problems, Problem{Path: "expires", Text: "does not go with ttl", Hint: "leave one of them out"})
	}
	// Without groups kubeadm gives it one.
	usages, _ := fields["usages"].([]any)
	if len(usages) > 0 && !has(usages, "authentication") {
		problems = append(problems, Problem{Path: "usages", Text: "lacks authentication, without which a token has no groups", Hint: "add it"})
	}
	return problems
}

func admission(fields map[string]any) []Problem {
	var problems []Problem
	seen := map[string]bool{}
	plugins, _ := fields["plugins"].([]any)
	for i, p := range plugins {
		plugin, _ := p.(map[string]any)
		name, _ := plugin["name"].(string)
		if seen[name] { // the API server takes the first
			problems = append(problems, Problem{Path: fmt.Sprintf("plugins[%d].name", i), Text: shown(name) + " is given twice"})
		}
		seen[name] = true
	}
	return problems
}
