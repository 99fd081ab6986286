// Package ignition runs Ignition in the final root, finds the config it is to
// apply, and refuses what this system could not carry out.
package ignition

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/state"
)

// config is the part of an Ignition config (specification 3.x) that can ask
// for what the system lacks.
type config struct {
	Ignition struct {
		Version string `json:"version"`
	} `json:"ignition"`
	KernelArguments struct {
		ShouldExist    []string `json:"shouldExist"`
		ShouldNotExist []string `json:"shouldNotExist"`
	} `json:"kernelArguments"`
	Passwd struct {
		Users []struct {
			Name    string `json:"name"`
			HomeDir string `json:"homeDir"`
		} `json:"users"`
		Groups []struct {
			Name string `json:"name"`
		} `json:"groups"`
	} `json:"passwd"`
	Storage struct {
		Directories []node                    `json:"directories"`
		Files       []node                    `json:"files"`
		Links       []node                    `json:"links"`
		Raid        []struct{ Name string }   `json:"raid"`
		Disks       []struct{ Device string } `json:"disks"`
		Luks        []struct {
			Name   string          `json:"name"`
			Clevis json.RawMessage `json:"clevis"`
		} `json:"luks"`
		Filesystems []struct {
			Path   string `json:"path"`
			Format string `json:"format"`
		} `json:"filesystems"`
	} `json:"storage"`
}

type node struct {
	Path string `json:"path"`
}

// Check refuses by name what a config asks for and the system cannot do:
// paths that no boot would keep, kernel arguments, and sections whose
// programs the image lacks (has says whether it has the program at an
// absolute path). The config's values are never part of a message, for they
// may be secrets.
func Check(data []byte, has func(program string) bool) error {
	var c config
	if err := json.Unmarshal(data, &c); err != nil {
		return diag.Inputf("reading the Ignition config: %s", plainJSONError(err))
	}
	var problems []error
	refuse := func(format string, args ...any) { problems = append(problems, diag.Inputf(format, args...)) }
	for _, section := range []struct {
		name  string
		nodes []node
	}{{"directories", c.Storage.Directories}, {"files", c.Storage.Files}, {"links", c.Storage.Links}} {
		for _, n := range section.nodes {
			if !state.Writable(n.Path) {
				refuse("storage.%s: %q cannot be written: the system is read-only but for %s", section.name, n.Path, state.List())
			}
		}
	}
	for _, u := range c.Passwd.Users {
		if u.HomeDir != "" && !state.Writable(u.HomeDir) {
			refuse("passwd.users %q: home directory %q cannot be written: the system is read-only but for %s", u.Name, u.HomeDir, state.List())
		}
	}
	if len(c.KernelArguments.ShouldExist)+len(c.KernelArguments.ShouldNotExist) > 0 {
		refuse("kernelArguments: the command line is part of the image; set kernel.commandLine in its profile")
	}
	need := func(section, program, instead string) {
		if !has(program) {
			refuse("%s: this image has no %s; %s", section, path.Base(program), instead)
		}
	}
	add := "add its package to the profile's os.packages"
	if len(c.Passwd.Users) > 0 {
		need("passwd.users", "/usr/sbin/useradd", add)
		need("passwd.users", "/usr/sbin/usermod", add)
	}
	if len(c.Passwd.Groups) > 0 {
		need("passwd.groups", "/usr/sbin/groupadd", add)
	}
	if len(c.Storage.Raid) > 0 {
		need("storage.raid", "/usr/sbin/mdadm", add)
	}
	if len(c.Storage.Disks) > 0 {
		need("storage.disks", "/usr/sbin/sgdisk", add)
	}
	for _, l := range c.Storage.Luks {
		need(fmt.Sprintf("storage.luks %q", l.Name), "/usr/sbin/cryptsetup", add)
		if len(l.Clevis) > 0 && string(l.Clevis) != "null" && string(l.Clevis) != "{}" {
			need(fmt.Sprintf("storage.luks %q, clevis", l.Name), "/usr/bin/clevis", add)
		}
	}
	for _, f := range c.Storage.Filesystems {
		if f.Path != "" && !state.Writable(f.Path) {
			refuse("storage.filesystems: %q cannot be mounted: mount points must lie below %s", f.Path, state.List())
		}
		if program, known := formatter(f.Format); !known {
			refuse("storage.filesystems: unknown format %q; ext4, xfs, btrfs, vfat, swap or none", f.Format)
		} else if program != "" {
			need(fmt.Sprintf("storage.filesystems, format %s", f.Format), program, add)
		}
	}
	return errors.Join(problems...)
}

// disks says whether a config, which Check accepted, has Ignition make or mount
// file systems.
func disks(data []byte) bool {
	var c config
	json.Unmarshal(data, &c)
	s := c.Storage
	return len(s.Disks)+len(s.Raid)+len(s.Luks)+len(s.Filesystems) > 0
}

// formatter returns the program that makes a file system; "" for none.
func formatter(format string) (program string, known bool) {
	switch format {
	case "", "none":
		return "", true
	case "swap":
		return "/usr/sbin/mkswap", true
	case "vfat":
		return "/usr/sbin/mkfs.fat", true
	case "ext4", "xfs", "btrfs":
		return "/usr/sbin/mkfs." + format, true
	}
	return "", false
}

// plainJSONError says what is wrong without quoting the config.
func plainJSONError(err error) string {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Sprintf("not valid JSON at byte %d", syntax.Offset)
	}
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		return fmt.Sprintf("%s has the wrong type at byte %d", strings.TrimPrefix(kind.Field, "."), kind.Offset)
	}
	return "not valid JSON"
}
