package ignition

import (
	"bytes"
	"cmp"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"
)

// Source is where a machine's config comes from.
type Source struct {
	Platform string // ignition's name of it
	Medium   string // device labelled SLIPWAY, or ""
	Disk     string // device that holds nothing but a config, or ""
	What     string // for people
	raw      string // where the config lies as it is, if it does
}

// Label marks a partition, ISO or disk that carries a config.
const Label = "SLIPWAY"

// ConfigName is the config's file name on such a medium.
const ConfigName = "config.ign"

// Detect looks for a config: named on the kernel's command line, in QEMU's
// firmware configuration, on a labelled medium, or on a platform that the
// command line names. It does not wait; false means that there is none now.
func Detect(commandLine map[string]string) (Source, bool) {
	return machine{"/sys", "/dev"}.detect(commandLine)
}

// Attached names the disks and media with configs that somebody could take off
// the machine whose root is given.
func Attached(root string) []string {
	m := machine{filepath.Join(root, "sys"), filepath.Join(root, "dev")}
	var all []string
	if device := m.disk(serial); device != "" {
		all = append(all, device+", the disk with serial number \""+serial+"\"")
	}
	for _, device := range m.bearing(Label) {
		all = append(all, device+", labelled "+Label)
	}
	return all
}

// machine is where the kernel shows what there is.
type machine struct{ sys, dev string }

// fwcfg is QEMU's firmware configuration, below sys.
const fwcfg = "firmware/qemu_fw_cfg/by_name/opt/com.coreos/config"

// serial is the serial number of a disk that holds nothing but a config.
const serial = "ignition"

func (m machine) detect(commandLine map[string]string) (Source, bool) {
	platform := commandLine["ignition.platform.id"]
	if commandLine["ignition.config.url"] != "" {
		return Source{Platform: cmp.Or(platform, "metal"), What: "the kernel argument ignition.config.url"}, true
	}
	if raw := filepath.Join(m.sys, fwcfg, "raw"); exists(raw) && !isZero(filepath.Join(m.sys, fwcfg, "size")) {
		return Source{Platform: "qemu", What: "the hypervisor (fw_cfg)", raw: raw}, true
	}
	if device := m.disk(serial); device != "" {
		return Source{Platform: "qemu", Disk: device, What: "the disk with serial number \"" + serial + "\"", raw: device}, true
	}
	if device := m.labelled(Label); device != "" {
		return Source{Platform: "metal", Medium: device, What: device + ", labelled " + Label, raw: filepath.Join(systemConfig, "user.ign")}, true
	}
	if platform != "" && platform != "metal" && platform != "qemu" {
		return Source{Platform: platform, What: "platform " + platform}, true
	}
	return Source{}, false
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// isZero says whether a file holds the number 0.
func isZero(name string) bool {
	data, err := os.ReadFile(name)
	return err == nil && strings.TrimSpace(string(data)) == "0"
}

// disk returns the disk with a serial number.
func (m machine) disk(number string) string {
	serials, _ := filepath.Glob(filepath.Join(m.sys, "block/*/serial"))
	for _, name := range serials {
		data, err := os.ReadFile(name)
		if err == nil && strings.TrimSpace(string(data)) == number {
			return filepath.Join(m.dev, filepath.Base(filepath.Dir(name)))
		}
	}
	return ""
}

// labelled returns the first block device that bears a label.
func (m machine) labelled(wanted string) string {
	if all := m.bearing(wanted); len(all) > 0 {
		return all[0]
	}
	return ""
}

// bearing returns the block devices that bear a label.
func (m machine) bearing(wanted string) []string {
	var all []string
	devices, _ := filepath.Glob(filepath.Join(m.sys, "class/block/*"))
	sort.Strings(devices)
	for _, sys := range devices {
		name := filepath.Base(sys)
		if strings.HasPrefix(name, "loop") || strings.HasPrefix(name, "ram") || strings.HasPrefix(name, "dm-") {
			continue
		}
		f, err := os.Open(filepath.Join(m.dev, name))
		if err != nil {
			continue
		}
		_, label := probe(f)
		f.Close()
		if strings.EqualFold(label, wanted) {
			all = append(all, filepath.Join(m.dev, name))
		}
	}
	return all
}

// local returns the config as it lies on this machine; nil if it has to be
// fetched. It need not be right.
func (s Source) local() []byte {
	if s.raw == "" {
		return nil
	}
	f, err := os.Open(s.raw)
	if err != nil {
		return nil
	}
	defer f.Close()
	data, _ := io.ReadAll(io.LimitReader(f, most))
	data, _, _ = bytes.Cut(data, []byte{0}) // a disk is filled up with them
	return data
}

// Ways tells people how a config can be delivered to a machine of an
// architecture.
func Ways(arch string) string {
	hypervisor := map[string]string{
		"amd64": ", or start it with fw_cfg opt/com.coreos/config",
		"arm64": ", or start it with fw_cfg opt/com.coreos/config",
		"s390x": ", or put it into z/VM's reader and start it with the kernel argument ignition.platform.id=zvm",
	}
	return "attach a disk or ISO labelled " + Label + " with the file " + ConfigName + ", or a disk with serial number \"" + serial + "\" that holds nothing else" +
		hypervisor[arch] + ", or start it with the kernel argument ignition.config.url="
}

// most is how large a config may be.
const most = 32 << 20
