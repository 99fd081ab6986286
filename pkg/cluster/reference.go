package cluster

import "github.com/slipway-os/slipway/pkg/document"

// Reference returns a page about every field of a description, as Markdown.
func Reference() string {
	return `# Reference of descriptions of clusters

<!-- Written by ` + "`builder cluster schema --output markdown`" + `; a test sees to it that it is up to date. -->

[How they are used](cluster.md) says more. The fields of ` + "`all`, `controlPlanes`, `workers`, `etcdMembers` and `with`" + ` are [those of a role](role.md), but for
` + "`version`, `role`, `init`, `join`, `cluster` and `etcd`" + `, which follow from the description.

` + document.Markdown(document.Reference(file{}))
}
