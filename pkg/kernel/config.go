package kernel

import (
	"slices"
	"strings"
)

// MaxConfig is the size of the largest configuration worth reading, in bytes.
// Debian's have a third of a megabyte.
const MaxConfig = 4 << 20

// Missing returns which of the wanted options ("DM_VERITY") a kernel was built
// without: neither in it nor as modules. The configuration is what Kconfig
// writes (Linux, Documentation/kbuild/kconfig.rst), the file boot/config-RELEASE.
func Missing(config string, wanted []string) []string {
	has := map[string]bool{}
	for line := range strings.Lines(config) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		has[name] = value == "y" || value == "m"
	}
	return slices.DeleteFunc(slices.Clone(wanted), func(name string) bool {
		return has["CONFIG_"+strings.TrimPrefix(name, "CONFIG_")]
	})
}
