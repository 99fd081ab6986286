package role_test

import (
	"testing"
)

func TestBadPatches(t *testing.T) {
	refused(t, "", []badRole{
		{"unknown target", head + "patches: [{target: kube-apisever, patch: {}}]\n", `r.yaml:4:20: patches[0].target: unknown "kube-apisever" (did you mean "kube-apiserver"?)`},
		{"unknown type", head + "patches: [{target: etcd, type: smart, patch: {}}]\n", `r.yaml:4:32: patches[0].type: unknown "smart" (known: strategic, merge, json)`},
		{"nothing to lay over", head + "patches: [{target: etcd}]\n", `r.yaml:4:11: patches[0] has no patch (give patch)`},
		{"operations that are none", head + "patches: [{target: etcd, type: json, patch: {}}]\n", `r.yaml:4:45: patches[0].patch must be a list of operations (for example [{op: add, path: /metadata/labels, value: {a: b}}])`},
		{"a list where an object belongs", head + "patches: [{target: etcd, patch: [a]}]\n", `r.yaml:4:33: patches[0].patch must be an object (for example {metadata: {labels: {a: b}}})`},
		{"what a worker has not", worker + "join: {}\npatches: [{target: etcd, patch: {}}]\n", `r.yaml:4:20: patches[0].target: a worker has no etcd (kubeletconfiguration)`},
	})
}
