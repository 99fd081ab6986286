package role_test

import (
	"testing"
)

func TestBadPatches(t *testing.T) {
	const member = etcd + "etcd: {members: [{name: e1, ip: 192.0.2.11}]}\n"
	refused(t, "", []badRole{
		{"unknown target", head + "patches: [{target: kube-apisever, patch: {}}]\n", `r.yaml:4:20: patches[0].target: unknown "kube-apisever" (did you mean "kube-apiserver"?)`},
		{"unknown type", head + "patches: [{target: etcd, type: smart, patch: {}}]\n", `r.yaml:4:32: patches[0].type: unknown "smart" (known: strategic, merge, json)`},
		{"nothing to lay over", head + "patches: [{target: etcd}]\n", `r.yaml:4:11: patches[0] has no patch (give patch)`},
		{"operations that are none", head + "patches: [{target: etcd, type: json, patch: {}}]\n", `r.yaml:4:45: patches[0].patch must be a list of operations (for example [{op: add, path: /metadata/labels, value: {a: b}}])`},
		{"a list where an object belongs", head + "patches: [{target: etcd, patch: [a]}]\n", `r.yaml:4:33: patches[0].patch must be an object (for example {metadata: {labels: {a: b}}})`},
		{"what a worker has not", worker + "join: {}\npatches: [{target: etcd, patch: {}}]\n", `r.yaml:4:20: patches[0].target: a worker has no etcd (kubeletconfiguration)`},
		{"what an etcd member has not", member + "patches: [{target: kube-apiserver, patch: {}}]\n", `r.yaml:4:20: patches[0].target: an etcd member has no kube-apiserver (etcd)`},
		{"what an etcd member's kubelet does not read", member + "patches: [{target: kubeletconfiguration, patch: {}}]\n", `r.yaml:4:20: patches[0].target: the kubelet of an etcd member reads no patches (say it with kubelet)`},
		{"an operation that there is not", head + "patches: [{target: etcd, type: json, patch: [{op: ad, path: /a, value: 1}, 5]}]\n", "r.yaml:4:51: patches[0].patch[0].op: unknown \"ad\" (known: add, remove, replace, move, copy, test)\nr.yaml:4:76: patches[0].patch[1] must be an operation (for example {op: add, path: /metadata/labels, value: {a: b}})"},
		{"operations that lack something", head + "patches: [{target: etcd, type: json, patch: [{op: add, path: /a}, {op: remove}, {op: move, path: /a, from: b}]}]\n", "r.yaml:4:46: patches[0].patch[0] has no value\nr.yaml:4:67: patches[0].patch[1].path must be a path that begins with / (for example /metadata/labels)\nr.yaml:4:108: patches[0].patch[2].from must be a path that begins with / (for example /metadata/labels)"},
	})
	parse(t, "patches: [{target: etcd, type: json, patch: [{op: test, path: /a, value: null}, {op: copy, path: /b/-, from: /a}, {op: remove, path: /a~1b}]}]\n")
}
