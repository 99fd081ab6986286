package ignition

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
	"golang.org/x/sys/unix"

	"github.com/slipway-os/slipway/pkg/diag"
)

// Metadata returns what a machine knows of what cloud-init calls ds.meta_data:
// from a medium that the platform attaches, and, of a few platforms, from the
// firmware's tables and the DHCP lease. It asks nobody.
func Metadata() (map[string]string, error) {
	m := machine{"/sys", "/dev"}
	data := m.platform(netif + "/leases")
	// OpenStack's config drive, and cloud-init's NoCloud (cloud-init,
	// "Datasources").
	for _, medium := range []struct{ label, file string }{{"config-2", "openstack/latest/meta_data.json"}, {"cidata", "meta-data"}} {
		device := m.labelled(medium.label)
		if device == "" {
			continue
		}
		const at = "/run/slipway/metadata"
		err := mounted(device, at, func() error {
			found, err := readMetadata(at, medium.file)
			maps.Copy(data, found)
			return err
		})
		if err != nil {
			return nil, diag.Inputf("reading the metadata on %s: %w", device, err)
		}
	}
	alias(data, "instance_id", "uuid")
	alias(data, "local_hostname", "hostname")
	alias(data, "hostname", "local_hostname")
	return data, nil
}

// alias gives a name that is missing the value of another.
func alias(data map[string]string, name, of string) {
	if _, known := data[name]; !known && data[of] != "" {
		data[name] = data[of]
	}
}

// readMetadata reads the plain values of a JSON or YAML object, from a file of a
// medium whose links may not lead out of it.
func readMetadata(medium, name string) (map[string]string, error) {
	root, err := os.OpenRoot(medium)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	// To open a pipe would otherwise be to wait for its other end.
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := readRegular(f, 1<<20)
	if err != nil {
		return nil, err
	}
	return plainValues(text)
}

func plainValues(text []byte) (map[string]string, error) {
	var fields map[string]yaml.Node
	if yaml.Unmarshal(text, &fields) != nil {
		return nil, diag.Inputf("it is no object")
	}
	data := map[string]string{}
	for name, value := range fields {
		if value.Kind == yaml.ScalarNode && value.Tag != "!!null" {
			data[strings.ReplaceAll(name, "-", "_")] = value.Value
		}
	}
	return data, nil
}

var (
	ec2Instance = regexp.MustCompile(`^i-[0-9a-f]+$`)
	uuidPattern = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
)

// platform returns what the firmware's tables say of an instance on platforms
// that are known to say it there, and what names their DHCP servers hand out.
func (m machine) platform(leases string) map[string]string {
	dmi := func(name string) string {
		data, _ := os.ReadFile(filepath.Join(m.sys, "class/dmi/id", name))
		return strings.TrimSpace(string(data))
	}
	data := map[string]string{}
	switch dmi("sys_vendor") {
	case "Amazon EC2":
		if id := dmi("board_asset_tag"); ec2Instance.MatchString(id) {
			data["instance_id"] = id
		}
		if host, domain := leased(leases); host != "" && domain != "" {
			data["local_hostname"] = host + "." + domain
		}
	case "Google":
		if host, _ := leased(leases); host != "" {
			data["local_hostname"] = host
		}
	case "OpenStack Foundation":
		if id := strings.ToLower(dmi("product_uuid")); uuidPattern.MatchString(id) {
			data["instance_id"] = id
		}
	}
	return data
}

// leased returns host name and domain of the first lease that networkd has.
func leased(dir string) (host, domain string) {
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	for _, name := range files {
		text, _ := os.ReadFile(name)
		for _, line := range strings.Split(string(text), "\n") {
			if v, ok := strings.CutPrefix(line, "HOSTNAME="); ok {
				host = v
			}
			if v, ok := strings.CutPrefix(line, "DOMAINNAME="); ok {
				domain = v
			}
		}
		if host != "" {
			return host, domain
		}
	}
	return "", ""
}
