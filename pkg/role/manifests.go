package role

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// checkManifests reads the objects of the role's manifests, in their order. Messages
// quote nothing of them but kinds and names: they may hold secrets.
func (r *Role) checkManifests(c *checker) {
	for i, m := range r.Manifests {
		path := at("manifests", i)
		objects, err := Objects(m)
		if err != nil {
			c.errorf(path, "", "%s %v", path, err)
			continue
		}
		for j, o := range objects {
			what := path
			if _, text := m.(string); text {
				what = fmt.Sprintf("%s, object %d,", path, j+1)
			}
			if missing := missingIdentity(o); missing != "" {
				c.errorf(path, "", "%s has no %s", what, missing)
			}
		}
		r.objects = append(r.objects, objects...)
	}
}

// ManifestObjects returns what the role asks to be applied to the cluster, in
// the order of the role, in the types of encoding/json.
func (r *Role) ManifestObjects() []map[string]any { return r.objects }

// missingIdentity names a field that every object of the API needs, and this
// one lacks.
func missingIdentity(object map[string]any) string {
	metadata, _ := object["metadata"].(map[string]any)
	for _, f := range []struct {
		name  string
		value any
	}{{"apiVersion", object["apiVersion"]}, {"kind", object["kind"]}, {"metadata.name", metadata["name"]}} {
		if s, _ := f.value.(string); s == "" {
			return f.name
		}
	}
	return ""
}

// Objects returns the objects of one entry of manifests: an object, or a text
// of YAML documents. A List stands for what is in it. The error continues the
// entry's path.
func Objects(entry any) ([]map[string]any, error) {
	switch e := entry.(type) {
	case map[string]any:
		return items(e)
	case string:
		return parseObjects(e)
	}
	return nil, errors.New("must be an object, or a text with YAML documents")
}

func parseObjects(text string) ([]map[string]any, error) {
	if len(text) > maxManifest {
		return nil, fmt.Errorf("is larger than %d MiB", maxManifest>>20)
	}
	var objects []map[string]any
	for d, n := yaml.NewDecoder(strings.NewReader(text)), 1; ; n++ {
		var node yaml.Node
		err := d.Decode(&node)
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, fmt.Errorf("is not valid YAML: %s", strings.TrimPrefix(err.Error(), "yaml: "))
		}
		object, err := plain(&node)
		if err != nil { // its words could quote a secret
			return nil, fmt.Errorf("holds a document (%d) that is no object, or has a field twice", n)
		}
		if object == nil {
			continue // nothing but comments
		}
		more, err := items(object)
		if err != nil {
			return nil, err
		}
		objects = append(objects, more...)
	}
}

// maxManifest bounds a text of manifests, in bytes: more than the API server
// takes in one object.
const maxManifest = 4 << 20

// plain returns a document as Kubernetes reads it: dates are strings, and so
// are all keys.
func plain(document *yaml.Node) (map[string]any, error) {
	retag(document)
	var value any
	if err := document.Decode(&value); err != nil {
		return nil, err
	}
	data, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	var object map[string]any // nil for null
	err = json.Unmarshal(data, &object)
	return object, err
}

func retag(n *yaml.Node) {
	if n.Tag == "!!timestamp" {
		n.Tag = "!!str"
	}
	for i, c := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 && c.Kind == yaml.ScalarNode && c.Tag != "!!merge" {
			c.Tag = "!!str"
		}
		retag(c)
	}
}

// items takes a List apart.
func items(object map[string]any) ([]map[string]any, error) {
	list, ok := object["items"].([]any)
	if kind, _ := object["kind"].(string); kind != "List" || !ok {
		return []map[string]any{object}, nil
	}
	var all []map[string]any
	for i, e := range list {
		o, ok := e.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("holds a List whose items[%d] is no object", i)
		}
		all = append(all, o)
	}
	return all, nil
}
