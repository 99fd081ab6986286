package qemutests

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/slipway-os/slipway/pkg/manifest"
)

// TestHosts boots a container host of each architecture that SLIPWAY_HOSTS
// names, through that architecture's own firmware.
func TestHosts(t *testing.T) {
	names := strings.Fields(os.Getenv("SLIPWAY_HOSTS"))
	if len(names) == 0 {
		t.Skip("SLIPWAY_HOSTS names no architectures; `make test` names those of other machines")
	}
	for _, arch := range names {
		t.Run(arch, func(t *testing.T) {
			t.Parallel()
			m := newSceneOf(t, arch, baked(t, "host-"+arch)).login().start()
			waitsForARole(t, m)
			servesImages(t, m)
			m.reboot()
			m.say("root verified")
			m.say("WAITING FOR A ROLE")
		})
	}
}

// TestNodesWaitForARole boots workers and etcd members that nobody told yet
// which cluster they are of.
func TestNodesWaitForARole(t *testing.T) {
	if testing.Short() {
		t.Skip("TestHosts does the like on what takes less to bake; `make qemu-test` does this too")
	}
	arch := architecture()
	kinds := []string{"worker", "etcd"}
	if arch == "amd64" || arch == "arm64" { // the others are for bare metal anyway
		kinds = append(kinds, "worker-metal")
	}
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			m := newSceneOf(t, arch, baked(t, kind+"-"+arch)).login().start()
			waitsForARole(t, m)
			servesImages(t, m)
		})
	}
}

// waitsForARole follows a machine without a role from its firmware to the end
// of its boot.
func waitsForARole(t *testing.T, m *machine) {
	m.say("slipway: profile")
	m.say("root verified")
	m.say("config applied")
	m.say("WAITING FOR A ROLE")
	if state := m.run("systemctl is-system-running --wait; true"); state != "running" {
		t.Errorf("the system is %s:\n%s", state, m.run("systemctl --failed --no-legend --plain"))
	}
	want := map[string]string{"amd64": "x86_64", "arm64": "aarch64", "ppc64le": "ppc64le", "s390x": "s390x"}[m.opts.Architecture]
	if machine := m.run("uname -m"); machine != want {
		t.Errorf("the machine is %s, want %s", machine, want)
	}
	reached, err := time.ParseDuration(m.run("systemctl show multi-user.target -p ActiveEnterTimestampMonotonic --value") + "us")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("multi-user %.1f s after the kernel's start", reached.Seconds())
}

// servesImages checks that containerd has each baked image, and that one runs.
func servesImages(t *testing.T, m *machine) {
	var image manifest.Image
	if err := json.Unmarshal([]byte(m.run("cat /"+manifest.ImagePath)), &image); err != nil {
		t.Fatal(err)
	}
	has := strings.Fields(m.run("ctr -n k8s.io images ls -q | grep -v sha256: | sort"))
	if strings.Join(has, " ") != strings.Join(image.Images, " ") {
		t.Errorf("containerd has the images %q, want %q", has, image.Images)
	}
	for _, reference := range image.Images {
		if strings.Contains(reference, "/pause:") {
			m.run("ctr -n k8s.io run -d --runc-binary /usr/bin/crun " + reference + " probe")
		}
	}
	if tasks := m.run("ctr -n k8s.io tasks ls"); !strings.Contains(tasks, "RUNNING") {
		t.Errorf("no container runs:\n%s", tasks)
	}
	nothingCopied(t, m)
}
