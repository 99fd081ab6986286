package kernel_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/kernel"
)

func TestMissing(t *testing.T) {
	const config = `#
# Automatically generated file; DO NOT EDIT.
#
CONFIG_CC_VERSION_TEXT="gcc-14 (Debian 14.2.0-19) 14.2.0"
CONFIG_DM_VERITY=m
CONFIG_SQUASHFS=y
# CONFIG_SQUASHFS_LZ4 is not set
CONFIG_HZ=250
`
	for _, c := range []struct {
		name         string
		wanted, want []string
	}{
		{"built in, and a module", []string{"SQUASHFS", "DM_VERITY"}, nil},
		{"with the prefix", []string{"CONFIG_SQUASHFS", "CONFIG_EROFS_FS"}, []string{"CONFIG_EROFS_FS"}},
		{"not set", []string{"SQUASHFS_LZ4"}, []string{"SQUASHFS_LZ4"}},
		{"not there", []string{"SQUASHFS", "OVERLAY_FS", "DM"}, []string{"OVERLAY_FS", "DM"}},
		{"a number is no yes", []string{"HZ"}, []string{"HZ"}},
	} {
		if got := kernel.Missing(config, c.wanted); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func FuzzMissing(f *testing.F) {
	f.Add("CONFIG_A=y\n# CONFIG_B is not set\n")
	f.Fuzz(func(t *testing.T, config string) {
		if got := kernel.Missing(config, []string{"A"}); len(got) == 0 && !strings.Contains(config, "CONFIG_A=") {
			t.Error("found what is not there")
		}
	})
}
