package role

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/slipway-os/slipway/pkg/document"
	"github.com/slipway-os/slipway/pkg/kubefields"
)

// Reference returns a page about every field of a role, as Markdown.
func Reference() string {
	var b strings.Builder
	b.WriteString(`# Reference of roles

<!-- Written by ` + "`builder role schema --output markdown`" + `; a test sees to it that it is up to date. -->

A role says what a node is and which cluster it starts or joins. A field that is an object has its own fields right below it. What a
field becomes is a field of kubeadm's API v1beta4 where nothing else is said.

` + document.Markdown(document.Reference(Role{})) + `
## Everything else that kubeadm can be told

` + "`kubeadm`" + ` takes documents of kind ClusterConfiguration and InitConfiguration (which the control plane reads that starts the cluster) and
JoinConfiguration (which a node reads that joins), ` + "`kubelet` and `kubeProxy`" + ` the fields of KubeletConfiguration and KubeProxyConfiguration. They are
laid over what the role becomes: objects are merged, and so are lists of things with a name, such as ` + "`extraArgs`" + `; all else is replaced. Every field of
these documents can be given, but for those that the role itself says, or the image:

| document | field | say it with |
|---|---|---|
`)
	for _, f := range ownedFields() {
		fmt.Fprintf(&b, "| %s | `%s` | %s |\n", f.kind, f.field, f.say())
	}
	for _, f := range ownedFlags() {
		if !f.beside {
			fmt.Fprintf(&b, "| %s | `%s` with the name `%s` | %s |\n", f.kind, f.field, f.name, f.say())
		}
	}
	b.WriteString(`
## Every field of kubeadm

The fields of kubeadm's documents, and what in a role says them. EnvVar and Taint are those of pods and nodes.

| document | field | type | say it with |
|---|---|---|---|
`)
	fields := document.Reference(Role{})
	for _, kind := range []string{"ClusterConfiguration", "InitConfiguration", "JoinConfiguration"} {
		for _, f := range kubefields.Fields(kind, "EnvVar", "Taint") {
			if f.Path == "apiVersion" || f.Path == "kind" {
				continue
			}
			fmt.Fprintf(&b, "| %s | `%s` | %s | %s |\n", kind, f.Path, f.Type, sayWith(fields, kind, f.Path))
		}
	}
	return b.String()
}

func (f owned) say() string {
	if f.instead == "" {
		return "nothing: " + f.reason()
	}
	return "`" + f.instead + "`"
}

// sayWith returns what in a role says a field of a document of kubeadm's.
func sayWith(fields []document.Field, kind, path string) string {
	for _, f := range fields {
		if !strings.Contains(f.Becomes, kind) && strings.Contains(f.Becomes, "Configuration") {
			continue
		}
		words := strings.FieldsFunc(f.Becomes, func(r rune) bool { return !unicode.IsLetter(r) && r != '.' })
		for _, word := range words {
			if path == word || strings.Contains(word, ".") && strings.HasSuffix(path, "."+word) || kind == "JoinConfiguration" && strings.HasSuffix(path, "."+word) {
				return "`" + f.Path + "`"
			}
		}
	}
	for _, f := range ownedFields() {
		if f.kind == kind && (path == f.field || strings.HasPrefix(path, f.field+".") || strings.HasPrefix(path, f.field+"[")) {
			return f.say()
		}
	}
	return "`kubeadm`"
}
