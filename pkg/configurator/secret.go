package configurator

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/slipway-os/slipway/pkg/durable"
	"github.com/slipway-os/slipway/pkg/kubeadm"
	"github.com/slipway-os/slipway/pkg/role"
)

// forgetSecrets removes from the disk what only the start needed. It may be
// called again.
func (c *Configurator) forgetSecrets() error {
	if err := removeAll(c.path(kubeadmFile), c.path(kubeadm.CredentialsFile), c.path(bootstrapConfig)); err != nil {
		return err
	}
	for _, file := range []string{kubeadmFile, pinnedFile, RoleFile} {
		if err := durable.RemoveUnfinished(c.path(file)); err != nil {
			return err
		}
	}
	if c.pinned.Token != "" || c.pinned.CertificateKey != "" {
		p := c.pinned
		p.Token, p.CertificateKey = "", ""
		if err := c.pin(p); err != nil {
			return err
		}
	}
	file := c.path(RoleFile)
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	rest, err := withoutSecrets(data)
	if err != nil || bytes.Equal(rest, data) {
		return err
	}
	if _, err := role.Parse(RoleFile, rest); err != nil {
		c.status.Warn("the role keeps its secrets, for without them it would not be right any more; write them where they are used")
		return nil
	}
	return durable.WriteFile(file, rest, 0o600)
}

// secretFields are the fields of kubeadm's InitConfiguration that hold
// secrets, and that nothing needs once the cluster runs.
func secretFields() []string { return []string{"bootstrapTokens", "certificateKey"} }

// withoutSecrets returns a role without the secrets that it may hold to join
// with, in its raw kubeadm documents, and among its manifests. A role without
// any comes back as it is, byte by byte.
func withoutSecrets(text []byte) ([]byte, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, errors.New("reading the role: not valid YAML") // the parser's own words could quote a secret
	}
	if len(doc.Content) == 0 {
		return text, nil
	}
	found := false
	if list := value(doc.Content[0], "kubeadm"); list != nil {
		for _, d := range list.Content {
			for _, name := range secretFields() {
				found = drop(d, name) || found
			}
		}
	}
	if join := value(doc.Content[0], "join"); join != nil {
		// Which cluster is meant goes with the token.
		for _, name := range []string{"token", "caCertHashes", "discoveryFile", "certificateKey"} {
			found = drop(join, name) || found
		}
	}
	if list := value(doc.Content[0], "manifests"); list != nil {
		found = dropSecretObjects(list) || found
	}
	if !found {
		return text, nil
	}
	return yaml.Marshal(&doc)
}

// dropSecretObjects removes objects of kind Secret from manifests: the cluster
// has them now.
func dropSecretObjects(list *yaml.Node) bool {
	isSecret := func(o map[string]any) bool { return o["kind"] == "Secret" }
	found := false
	var kept []*yaml.Node
	for _, n := range list.Content {
		var entry any
		err := n.Decode(&entry)
		objects, wrong := role.Objects(entry)
		if err != nil || wrong != nil || !slices.ContainsFunc(objects, isSecret) {
			kept = append(kept, n)
			continue
		}
		found = true
		for _, o := range slices.DeleteFunc(objects, isSecret) {
			var rest yaml.Node
			if err := rest.Encode(o); err == nil { // it was read a moment ago
				kept = append(kept, &rest)
			}
		}
	}
	list.Content = kept
	return found
}

// value returns a field of an object; nil if it has none.
func value(object *yaml.Node, name string) *yaml.Node {
	if object.Kind == yaml.AliasNode {
		object = object.Alias
	}
	if object.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(object.Content); i += 2 {
		if object.Content[i].Value == name {
			return object.Content[i+1]
		}
	}
	return nil
}

// drop removes a field of an object.
func drop(object *yaml.Node, name string) bool {
	if object.Kind == yaml.AliasNode {
		object = object.Alias
	}
	if object.Kind != yaml.MappingNode {
		return false
	}
	for i := 0; i+1 < len(object.Content); i += 2 {
		if object.Content[i].Value == name {
			object.Content = slices.Delete(object.Content, i, i+2)
			return true
		}
	}
	return false
}
