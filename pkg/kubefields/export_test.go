package kubefields

import (
	"maps"
	"slices"
	"strings"
)

// UnknownRules returns the rules of fields that there are not.
func UnknownRules() []string {
	var unknown []string
	for _, at := range slices.Sorted(maps.Keys(rules())) {
		kind, name, _ := strings.Cut(at, ".")
		if read().Types[kind][name] == "" {
			unknown = append(unknown, at)
		}
	}
	return unknown
}
