package cluster

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/slipway-os/slipway/pkg/role"
)

// differences names what is different in two Ignition configs.
func differences(old, data []byte) []string {
	a, err := parts(old)
	if err != nil {
		return []string{"the old one cannot be read"}
	}
	b, err := parts(data)
	if err != nil {
		return nil
	}
	var names []string
	for _, name := range changed(a, b) {
		if name == role.File {
			if fields := changed(roleFields(a[name]), roleFields(b[name])); len(fields) > 0 {
				name += " (" + strings.Join(fields, ", ") + ")"
			}
		}
		names = append(names, name)
	}
	if len(names) == 0 {
		return []string{"the order"}
	}
	return names
}

// changed returns the names, sorted, of what is not the same in both.
func changed(a, b map[string]any) []string {
	all := maps.Clone(a)
	maps.Copy(all, b)
	maps.DeleteFunc(all, func(name string, _ any) bool {
		x, in := a[name]
		y, also := b[name]
		return in && also && reflect.DeepEqual(x, y)
	})
	return slices.Sorted(maps.Keys(all))
}

// parts takes a config apart: into the files by their paths, and the rest by
// "section.list name".
func parts(config []byte) (map[string]any, error) {
	var c map[string]map[string]any
	if err := json.Unmarshal(config, &c); err != nil {
		return nil, err
	}
	all := map[string]any{}
	for section, fields := range c {
		for field, value := range fields {
			name := section + "." + field
			list, isList := value.([]any)
			if !isList {
				all[name] = value
				continue
			}
			for i, e := range list {
				entry, _ := e.(map[string]any)
				switch {
				case entry["path"] != nil && name == "storage.files":
					all[fmt.Sprint(entry["path"])] = e
				case entry["path"] != nil:
					all[name+" "+fmt.Sprint(entry["path"])] = e
				case entry["name"] != nil:
					all[name+" "+fmt.Sprint(entry["name"])] = e
				default:
					all[fmt.Sprintf("%s[%d]", name, i)] = e
				}
			}
		}
	}
	return all, nil
}

// roleFields returns the fields of the role in a file of a config, by their
// paths.
func roleFields(file any) map[string]any {
	f, _ := file.(map[string]any)
	contents, _ := f["contents"].(map[string]any)
	source, _ := contents["source"].(string)
	_, text, _ := strings.Cut(source, "base64,")
	data, err := base64.StdEncoding.DecodeString(text)
	var fields any
	if err != nil || yaml.Unmarshal(data, &fields) != nil {
		return nil
	}
	flat := map[string]any{}
	flatten(flat, "", fields)
	return flat
}

func flatten(flat map[string]any, path string, v any) {
	m, ok := v.(map[string]any)
	if !ok || len(m) == 0 {
		flat[path] = v
		return
	}
	for name, value := range m {
		at := name
		if path != "" {
			at = path + "." + name
		}
		flatten(flat, at, value)
	}
}
