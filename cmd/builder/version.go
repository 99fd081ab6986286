package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

func buildInfo() *debug.BuildInfo {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return &debug.BuildInfo{GoVersion: runtime.Version()}
	}
	return info
}

// versionText says what is known of how this program was built, and no more:
// without the version control's stamp, nobody knows the revision.
func versionText(info *debug.BuildInfo) string {
	version, revision, modified := info.Main.Version, "", ""
	if version == "" || version == "(devel)" {
		version = "devel"
	}
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = ", revision " + s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = ", modified"
		}
	}
	return fmt.Sprintf("builder %s%s%s, built with %s", version, revision, modified, info.GoVersion)
}
