package role

import (
	"fmt"
	"strings"

	"github.com/slipway-os/slipway/pkg/document"
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
		instead := "nothing: it is part of the image"
		if f.instead != "" {
			instead = "`" + f.instead + "`"
		}
		fmt.Fprintf(&b, "| %s | `%s` | %s |\n", f.kind, f.field, instead)
	}
	return b.String()
}
