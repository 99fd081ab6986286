package qemutests

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestClusterAPIUserData hands a machine the user data that Cluster API makes
// for a first control plane, as it is, and beside it what the platform tells of
// the machine.
func TestClusterAPIUserData(t *testing.T) {
	if testing.Short() {
		t.Parallel() // only the boot
	}
	s := newScene(t)
	s.opts.Ignition = filepath.Join(s.dir, "user-data")
	metadata := filepath.Join(s.dir, "meta-data")
	for file, text := range map[string]string{
		metadata: "instance-id: i-1\nlocal-hostname: machine-1\n",
		s.opts.Ignition: fmt.Sprintf(`## template: jinja
#cloud-config

write_files:
-   path: /etc/site
    owner: root:root
    permissions: '0640'
    content: "of {{ ds.meta_data.instance_id }}"
-   path: /run/kubeadm/kubeadm.yaml
    owner: root:root
    permissions: '0640'
    content: |
      ---
      apiVersion: kubeadm.k8s.io/v1beta4
      kind: ClusterConfiguration
      clusterName: capi
      networking:
        podSubnet: 192.168.0.0/16
        serviceSubnet: 10.128.0.0/12
      ---
      apiVersion: kubeadm.k8s.io/v1beta4
      kind: InitConfiguration
      nodeRegistration:
        criSocket: /var/run/containerd/containerd.sock
        name: '{{ ds.meta_data.local_hostname }}'
runcmd:
  - "echo before > /var/lib/before"
  - 'kubeadm init --config /run/kubeadm/kubeadm.yaml && echo success > /run/cluster-api/bootstrap-success.complete'
  - "cp /run/cluster-api/bootstrap-success.complete /var/lib/after"
users:
  - name: root
    ssh_authorized_keys: [%q]
`, s.key.Authorized()),
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.opts.Medium = filepath.Join(s.dir, "metadata.iso")
	tool(t, "xorrisofs", "-quiet", "-V", "cidata", "-o", s.opts.Medium, metadata)
	m := s.start()
	m.say("making the certificate authorities")
	for command, want := range map[string]string{
		"cat /etc/hostname":                           "machine-1",
		"cat /etc/site":                               "of i-1",
		"stat -c %a:%U /etc/site":                     "640:root",
		"cat /var/lib/before":                         "before",
		"grep -c 'name: capi' /etc/slipway/role.yaml": "1",
	} {
		if got := m.run(command); got != want {
			t.Errorf("%s: %q, want %q", command, got, want)
		}
	}
	if testing.Short() {
		return
	}
	m.say("NODE READY")
	if got := m.run("cat /run/cluster-api/bootstrap-success.complete; until [ -s /var/lib/after ]; do sleep 1; done; cat /var/lib/after"); got != "success\nsuccess" {
		t.Errorf("the sentinel says %q", got)
	}
}

// TestRefusedUserData hands a machine user data that asks for what no node can
// do: the console says where.
func TestRefusedUserData(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.opts.Ignition = filepath.Join(s.dir, "user-data")
	if err := os.WriteFile(s.opts.Ignition, []byte("#cloud-config\nmounts:\n  - [/dev/sdb, /srv]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m := s.start()
	m.say("2:1: unknown field \"mounts\"")
	m.say("the machine starts again")
	if strings.Contains(m.console.text(), "WAITING FOR A ROLE") {
		t.Error("the machine went on")
	}
}
