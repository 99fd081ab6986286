// Package profile reads the descriptions of what can be built: YAML files
// that extend one another.
package profile

import (
	"fmt"
	"math/bits"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/slipway-os/slipway/pkg/diag"
)

// Profile is a profile with everything it extends merged in: values of the
// extending file win, lists are joined, in order, without repeats.
type Profile struct {
	Name string `yaml:"-" json:"name,omitempty"`

	Description  string     `yaml:"description" json:"description,omitempty" doc:"One line for the table of profiles."`
	Extends      []string   `yaml:"extends" json:"-" doc:"Names of profiles to start from, merged in order."`
	Architecture string     `yaml:"architecture" json:"architecture,omitempty" doc:"amd64, arm64, ppc64le or s390x. A profile without one can only be extended."`
	Roles        []string   `yaml:"roles" json:"roles,omitempty" doc:"Roles a node with this image can take: control-plane, worker, etcd."`
	OS           OS         `yaml:"os" json:"os,omitzero" doc:"The base system, from Debian packages."`
	Kernel       Kernel     `yaml:"kernel" json:"kernel,omitzero" doc:"The kernel, its modules and its command line."`
	Kubernetes   Kubernetes `yaml:"kubernetes" json:"kubernetes,omitzero" doc:"The Kubernetes that is baked in."`
	Components   []string   `yaml:"components" json:"components,omitempty" doc:"Names of directories in profiles/components."`
	Images       string     `yaml:"images" json:"images,omitempty" doc:"The image set (a file in images/sets) that is baked in."`
	Overlays     []string   `yaml:"overlays" json:"overlays,omitempty" doc:"Directories of overlays/ laid over the root, in order."`
	Disk         Disk       `yaml:"disk" json:"disk,omitzero" doc:"Sizes of the partitions."`

	origins map[string]diag.Position
	files   []string
}

// OS says which packages make up the base system.
type OS struct {
	Suite          string   `yaml:"suite" json:"suite,omitempty" doc:"The Debian suite. Its -updates and -security suites are always used with it."`
	Components     []string `yaml:"components" json:"components,omitempty" doc:"Components of the Debian archive that packages come from: main, contrib, non-free-firmware, non-free. Default: main."`
	Mirror         string   `yaml:"mirror" json:"mirror,omitempty" doc:"Base URL of a Debian mirror. Default: --mirror, SLIPWAY_MIRROR, then this machine's own apt sources."`
	SecurityMirror string   `yaml:"securityMirror" json:"securityMirror,omitempty" doc:"Base URL of the mirror for security updates. Default: SLIPWAY_SECURITY_MIRROR, then this machine's own apt sources, then MIRROR-security."`
	Keyring        string   `yaml:"keyring" json:"keyring,omitempty" doc:"File with the OpenPGP public keys that sign the mirror's indexes, binary or armoured, instead of Debian's: for a mirror of your own. Relative to the file that says so."`
	Frozen         bool     `yaml:"frozen" json:"frozen,omitempty" doc:"The mirror is kept as it was on some day: its indexes may have expired. Known holes stay open."`
	Packages       []string `yaml:"packages" json:"packages,omitempty" doc:"Packages wanted; what they depend on comes along."`
	Exclude        []string `yaml:"exclude" json:"exclude,omitempty" doc:"Packages (globs) left out even where others depend on them."`
	Prune          []string `yaml:"prune" json:"prune,omitempty" doc:"Files of packages left out: path globs from the root, a directory takes all in it."`
}

// Kernel says which kernel is used and what is kept of it.
type Kernel struct {
	Package     string   `yaml:"package" json:"package,omitempty" doc:"The package of the kernel; a metapackage will do."`
	CommandLine []string `yaml:"commandLine" json:"commandLine,omitempty" doc:"Words of the kernel command line."`
	Options     []string `yaml:"options" json:"options,omitempty" doc:"Options that the kernel must have been built with, in it or as modules: DM_VERITY."`
	Prune       []string `yaml:"prune" json:"prune,omitempty" doc:"Modules left out: path globs below kernel/, a directory takes all in it."`
	Require     []string `yaml:"require" json:"require,omitempty" doc:"Modules that must be left, or built into the kernel: drivers that machines cannot do without."`
	Firmware    Firmware `yaml:"firmware" json:"firmware,omitzero" doc:"Files that the kernel's modules load into their devices. Those of the packages that no module asks for are left out."`
	Initrd      []string `yaml:"initrd" json:"initrd,omitempty" doc:"Modules the initrd carries, with what they depend on; names the kernel lacks are passed over."`
}

// Firmware says in what the firmware of an image differs from what the modules
// name (MODULE_FIRMWARE).
type Firmware struct {
	Keep  []string `yaml:"keep" json:"keep,omitempty" doc:"Files kept though no module asks for them: path globs below usr/lib/firmware, a directory takes all in it."`
	Waive []string `yaml:"waive" json:"waive,omitempty" doc:"Files that modules ask for and the image goes without: path globs below usr/lib/firmware, a directory takes all in it. Say why in a comment."`
}

// Kubernetes says which Kubernetes is baked in.
type Kubernetes struct {
	Version         string `yaml:"version" json:"version,omitempty" doc:"With the v: v1.37.2."`
	ImageRepository string `yaml:"imageRepository" json:"imageRepository,omitempty" doc:"Repository name that the baked images bear: one of your own, not that of Kubernetes itself."`
}

// Disk gives the sizes of the partitions.
type Disk struct {
	Boot   Size `yaml:"boot" json:"boot,omitzero" doc:"Boot partition."`
	Root   Size `yaml:"root" json:"root,omitzero" doc:"Each of the two root slots."`
	Verity Size `yaml:"verity" json:"verity,omitzero" doc:"Each of the two hash trees."`
	State  Size `yaml:"state" json:"state,omitzero" doc:"State partition as shipped; it grows to the end of the disk at first boot."`
}

// Size is a number of bytes, written as "512MiB" or "1GiB".
type Size int64

var sizePattern = regexp.MustCompile(`^([0-9]+)(KiB|MiB|GiB|TiB)$`)

// UnmarshalText implements document.Unmarshaler.
func (s *Size) UnmarshalText(text []byte) error {
	m := sizePattern.FindStringSubmatch(string(text))
	if m == nil {
		return fmt.Errorf(`%q is not a size such as "512MiB" or "1GiB"`, text)
	}
	n, err := strconv.ParseUint(m[1], 10, 63)
	shift := map[string]int{"KiB": 10, "MiB": 20, "GiB": 30, "TiB": 40}[m[2]]
	if err != nil || bits.Len64(n)+shift > 62 {
		return fmt.Errorf("%q is too large", text)
	}
	*s = Size(n << shift)
	return nil
}

func (s Size) String() string {
	for _, u := range []struct {
		shift int
		unit  string
	}{{40, "TiB"}, {30, "GiB"}, {20, "MiB"}, {10, "KiB"}} {
		if s != 0 && s%(1<<u.shift) == 0 {
			return fmt.Sprintf("%d%s", s>>u.shift, u.unit)
		}
	}
	return fmt.Sprintf("%d", int64(s))
}

// MarshalText writes the form that UnmarshalText reads.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Origin returns where an element of a list was written, for messages about
// it: Origin("os.packages", "crun").
func (p *Profile) Origin(field, value string) diag.Position {
	if pos, ok := p.origins[field+"="+value]; ok {
		return pos
	}
	return p.origins[field]
}

// KeyringFile returns the path of the keyring, or "" if the profile names none.
func (p *Profile) KeyringFile() string {
	if p.OS.Keyring == "" || filepath.IsAbs(p.OS.Keyring) {
		return p.OS.Keyring
	}
	return filepath.Join(filepath.Dir(p.origins["os.keyring"].File), p.OS.Keyring)
}

// Architectures are the architectures that profiles may name.
func Architectures() []string { return []string{"amd64", "arm64", "ppc64le", "s390x"} }

func (p *Profile) errorf(field, hint, format string, args ...any) error {
	pos := p.origins[field]
	if pos.File == "" {
		pos = diag.Position{File: p.files[len(p.files)-1], Line: 1, Column: 1}
	}
	return diag.At(pos, hint, format, args...)
}

// known checks a value of a field, which names such a thing, against a list.
func (p *Profile) known(thing, field, value string, candidates []string) error {
	for _, c := range candidates {
		if c == value {
			return nil
		}
	}
	hint := diag.Suggest(value, candidates)
	switch {
	case hint != "":
	case len(candidates) == 0:
		hint = "there is none"
	default:
		hint = "known: " + strings.Join(candidates, ", ")
	}
	pos := p.Origin(field, value)
	return diag.At(pos, hint, "unknown %s %q", thing, value)
}
