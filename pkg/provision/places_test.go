package provision_test

import (
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/provision"
)

// Whoever has the key of an authority owns the cluster: nodes that need none
// are given none. What a node is given by the cluster's secrets is not replaced.
func TestPlacesThatButaneMayNotWriteTo(t *testing.T) {
	const (
		worker   = "version: 1\nrole: worker\njoin: {}\ncluster: {endpoint: cp}\n"
		first    = "version: 1\nrole: control-plane\ninit: {}\n"
		members  = "etcd: {members: [{name: e1, ip: 192.0.2.1}]}\n"
		member   = "version: 1\nrole: etcd\n" + members
		pki      = "/etc/kubernetes/pki/"
		owns     = `: whoever has it owns the cluster (leave it out)`
		notForEt = pki + `etcd/ca.key does not go with role "etcd"` + owns
	)
	file := func(path string) string {
		return "storage: {files: [{path: " + path + ", contents: {inline: hunter2}}]}\n"
	}
	for _, c := range []struct{ name, role, given, butane, want string }{
		{"key of the authority", worker, "", file(pki + "ca.key"), `a.bu:3:26: ` + pki + `ca.key does not go with role "worker"` + owns},
		{"key of etcd's authority", worker, "", file(pki + "etcd/ca.key"), `a.bu:3:26: ` + pki + `etcd/ca.key does not go with role "worker"` + owns},
		{"key of the front proxy's authority", worker, "", file(pki + "front-proxy-ca.key"), `a.bu:3:26: ` + pki + `front-proxy-ca.key does not go with role "worker"` + owns},
		{"key of service accounts", worker, "", file(pki + "sa.key"), `a.bu:3:26: ` + pki + `sa.key does not go with role "worker"` + owns},
		{"appended", worker, "", "storage: {files: [{path: " + pki + "ca.key, append: [{inline: hunter2}]}]}\n", `a.bu:3:26: ` + pki + `ca.key does not go with role "worker"` + owns},
		{"link", worker, "", "storage: {links: [{path: " + pki + "ca.key, target: /root/hunter2}]}\n", `a.bu:3:26: ` + pki + `ca.key does not go with role "worker"` + owns},
		{"directory", worker, "", "storage: {directories: [{path: " + pki + "ca.key}]}\n", `a.bu:3:32: ` + pki + `ca.key does not go with role "worker"` + owns},
		{"tree", worker, "", "storage: {trees: [{local: hunter2, path: " + pki + "}]}\n", `a.bu:3:19: storage.trees.0: local files are not supported (give the content with inline)`},
		{"config inside the config", worker, "", "ignition: {config: {merge: [{inline: '{\"ignition\":{\"version\":\"3.6.0\"},\"storage\":{\"files\":[{\"path\":\"" + pki + "ca.key\"}]}}'}]}}\n", `a.bu:3:29: ` + pki + `ca.key does not go with role "worker"` + owns},
		{"packed config inside the config", worker, "", "ignition: {config: {merge: [{inline: '{\"ignition\":{\"version\":\"3.6.0\"}," + strings.Repeat(" ", 4000) + "\"storage\":{\"files\":[{\"path\":\"" + pki + "ca.key\"}]}}'}]}}\n", `a.bu:3:29: ` + pki + `ca.key does not go with role "worker"` + owns},
		{"certificate of the authority", worker, "", file(pki + "ca.crt"), ""},
		{"etcd member with the key of its authority", member, "", file(pki + "etcd/ca.key"), "a.bu:3:26: " + notForEt},
		{"control plane with an authority of its own", first, "", file(pki + "ca.key"), ""},
		{"control plane whose etcd is elsewhere", first + members, "", file(pki + "etcd/ca.key"), `a.bu:3:26: ` + pki + `etcd/ca.key does not go with etcd.members: a control plane needs the certificate only (leave it out)`},
		{"over a key of the cluster's secrets", first, pki + "ca.key", file(pki + "ca.key"), `a.bu:3:26: ` + pki + `ca.key follows from the secrets of the cluster (leave it out)`},
		{"over credentials", worker, "/etc/slipway/join.conf", file("/etc/slipway/join.conf"), `a.bu:3:26: /etc/slipway/join.conf follows from the secrets of the cluster (leave it out)`},
		{"key of an authority that is kept elsewhere", first, pki + "ca.crt", file(pki + "ca.key"), `a.bu:3:26: ` + pki + `ca.key is the key of an authority that is kept elsewhere (leave it out)`},
		{"credentials that nothing else lays down", worker, "", file("/etc/slipway/join.conf"), ""},
		{"role inside a config inside the config", worker, "", "ignition: {config: {merge: [{inline: '{\"ignition\":{\"version\":\"3.6.0\"},\"storage\":{\"files\":[{\"path\":\"/etc/slipway/role.yaml\"}]}}'}]}}\n", `a.bu:3:29: /etc/slipway/role.yaml is the role's own place (change the role itself)`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var opts []provision.Option
			if c.given != "" {
				opts = append(opts, provision.Files(provision.File{Path: c.given, Mode: 0o600, Data: []byte("x")}))
			}
			_, err := config(t, c.role, opts, "variant: fcos\nversion: 1.7.0\n"+c.butane)
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != c.want || err != nil && diag.ExitCode(err) != diag.ExitInput {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}
