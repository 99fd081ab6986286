package kubefields

import (
	"slices"
	"strings"
)

// auditRules are those of what the API server refuses in an audit policy
// (apiserver/pkg/apis/audit/validation).
func auditRules() map[string]rule {
	stages := among("RequestReceived", "ResponseStarted", "ResponseComplete", "Panic")
	return map[string]rule{
		"GroupResources.group":       apiGroup,
		"Policy.omitStages":          stages,
		"PolicyRule.level":           oneOf("None", "Metadata", "Request", "RequestResponse"),
		"PolicyRule.nonResourceURLs": urlPath,
		"PolicyRule.omitStages":      stages,
	}
}

func apiGroup(v any) (string, string) {
	s, ok := v.(string)
	if !ok || s == "" || s == "*" || isSubdomain(s) {
		return fine, ""
	}
	hint := ""
	if group, _, version := strings.Cut(s, "/"); version && isSubdomain(group) {
		hint = "write " + group + ", without the version"
	}
	return "must be a group as in apps or rbac.authorization.k8s.io, not " + shown(s), hint
}

func urlPath(v any) (string, string) {
	s, ok := v.(string)
	if !ok || s == "*" || strings.HasPrefix(s, "/") && !strings.Contains(s[:len(s)-1], "*") {
		return fine, ""
	}
	return "must be a path as in /healthz, with * at its end only, not " + shown(s), ""
}

func policyRule(fields map[string]any) []Problem {
	for _, other := range []string{"resources", "namespaces"} {
		if filled(fields["nonResourceURLs"]) && filled(fields[other]) {
			return []Problem{{Path: "nonResourceURLs", Text: "does not go with " + other, Hint: "make two rules of it"}}
		}
	}
	return nil
}

func groupResources(fields map[string]any) []Problem {
	if filled(fields["resourceNames"]) && !filled(fields["resources"]) {
		return []Problem{{Path: "resourceNames", Text: "goes with resources only"}}
	}
	return nil
}

// filled reports whether a value is a list with something in it.
func filled(v any) bool {
	list, _ := v.([]any)
	return len(list) > 0
}

func has(list []any, s string) bool {
	return slices.ContainsFunc(list, func(v any) bool { return v == s })
}
