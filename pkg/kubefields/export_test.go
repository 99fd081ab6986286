package kubefields

import (
	"maps"
	"slices"
	"strings"
)

// UnknownRules returns the rules of fields that there are not, and such fields that are needed.
func UnknownRules() []string {
	var unknown []string
	for _, at := range slices.Sorted(maps.Keys(rules())) {
		kind, name, _ := strings.Cut(at, ".")
		if read().Types[kind][name] == "" {
			unknown = append(unknown, at)
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(needed())) {
		for _, name := range needed()[kind] {
			if read().Types[kind][name] == "" {
				unknown = append(unknown, kind+"."+name)
			}
		}
	}
	return unknown
}
