package kubeadm

import (
	"cmp"

	"github.com/slipway-os/slipway/pkg/role"
)

// EtcdLog is the folder that etcd makes once it knows which cluster it belongs
// to: its write-ahead log, in its data unless a raw document says otherwise.
func EtcdLog(r *role.Role) string {
	_, log := EtcdData(r)
	return log
}

// EtcdData is where etcd keeps what it knows, and its write-ahead log, which may
// lie elsewhere.
func EtcdData(r *role.Role) (member, log string) {
	data := "/var/lib/etcd"
	for _, raw := range r.Kubeadm {
		etcd, _ := raw["etcd"].(map[string]any)
		local, _ := etcd["local"].(map[string]any)
		if dir, _ := local["dataDir"].(string); dir != "" {
			data = dir
		}
		args, _ := local["extraArgs"].([]any)
		for _, a := range args {
			if arg, _ := a.(map[string]any); arg["name"] == "wal-dir" {
				log, _ = arg["value"].(string)
			}
		}
	}
	return data + "/member", cmp.Or(log, data+"/member/wal")
}
