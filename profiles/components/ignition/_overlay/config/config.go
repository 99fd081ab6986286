// Package config parses configs: those of Ignition's own formats, and user data
// that has to be translated first.
package config

import (
	"github.com/coreos/ignition/v2/config/v3_7_experimental"
	"github.com/coreos/ignition/v2/config/v3_7_experimental/types"
	"github.com/coreos/ignition/v2/internal/userdata"

	"github.com/coreos/vcontext/report"
)

// Parse parses a config of any version that is supported, whoever gave it: a
// platform, a medium, or another config.
func Parse(raw []byte) (types.Config, report.Report, error) {
	config, rep, err := v3_7_experimental.ParseCompatibleVersion(raw)
	if err == nil || len(raw) == 0 {
		return config, rep, err
	}
	translated, refused := userdata.Translate("/usr/bin/firstboot", raw)
	switch {
	case refused != nil:
		return types.Config{}, report.Report{}, refused
	case translated == nil:
		return config, rep, err
	}
	return v3_7_experimental.ParseCompatibleVersion(translated)
}
