package qemutests

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestNoConfig starts a machine that was given no config, and then gives it
// one: as a stick that is plugged in while it waits, and as an ISO that is
// there at the next start.
func TestNoConfig(t *testing.T) {
	config := func(s *scene) string {
		file := filepath.Join(s.dir, "config.ign")
		if err := os.WriteFile(file, s.ignition(singleNode), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	s := newScene(t)
	s.opts.Medium = ""
	m := s.start()
	m.say("NO CONFIG WAS DELIVERED")
	m.say("nothing was changed")
	m.cut()

	t.Run("a FAT stick", func(t *testing.T) {
		s := newScene(t)
		s.opts.Medium = filepath.Join(s.dir, "stick.img")
		tool(t, "truncate", "-s", "64M", s.opts.Medium)
		tool(t, "mkfs.fat", "-n", "SLIPWAY", s.opts.Medium)
		tool(t, "mcopy", "-i", s.opts.Medium, config(s), "::config.ign")
		m := s.start()
		m.say("labelled SLIPWAY")
		m.say("finding out name and address")
	})
	t.Run("an ISO, after a start without", func(t *testing.T) {
		s.opts.Medium = filepath.Join(s.dir, "config.iso")
		tool(t, "xorrisofs", "-quiet", "-V", "SLIPWAY", "-o", s.opts.Medium, config(s))
		m := s.start()
		m.say("labelled SLIPWAY")
		m.say("finding out name and address")
	})
}

// TestRefusedConfig gives machines configs that they must refuse, and say why.
func TestRefusedConfig(t *testing.T) {
	for _, c := range []struct{ name, config, says string }{
		{
			"a file outside the writable paths",
			`{"ignition":{"version":"3.4.0"},"storage":{"files":[{"path":"/usr/bin/tool","contents":{"source":"data:,x"}}]}}`,
			"/usr/bin/tool",
		},
		{
			"kernel arguments",
			`{"ignition":{"version":"3.4.0"},"kernelArguments":{"shouldExist":["quiet"]}}`,
			"kernelArguments",
		},
		{
			"broken JSON with a secret",
			`{"ignition":{"version":"3.4.0"},"passwd":{"users":[{"name":"root","passwordHash":"$y$SECRETSECRET"}]},`,
			"CANNOT START",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t)
			s.opts.Ignition = filepath.Join(s.dir, "config.ign")
			if err := os.WriteFile(s.opts.Ignition, []byte(c.config), 0o600); err != nil {
				t.Fatal(err)
			}
			m := s.start()
			m.say(c.says)
			m.say("the machine starts again")
			if strings.Contains(m.console.text(), "SECRETSECRET") {
				t.Error("the console shows a secret of the config")
			}
		})
	}
}

// TestWrongRole gives a node a role that the image cannot take. The console
// says the very line that `builder role check` does.
func TestWrongRole(t *testing.T) {
	s := newScene(t)
	file := filepath.Join(s.dir, "role.yaml")
	if err := os.WriteFile(file, []byte("version: 1\nrole: control-plane\ninit: {}\ncluster:\n  kubernetesVersion: v1.30.0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "../bin/builder", "role", "check", file, "--image", image(t)).CombinedOutput()
	if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 2 {
		t.Fatalf("builder role check: %v: %s; want exit code 2", err, out)
	}
	_, line, _ := strings.Cut(strings.TrimSpace(string(out)), file)
	m := s.config(file).start()
	m.say("/etc/slipway/role.yaml" + line)
}

// TestMissingImage takes one baked image away before the node is configured.
// If that went unnoticed, the other tests would prove nothing.
func TestMissingImage(t *testing.T) {
	m := newScene(t).config(singleNode, `
variant: fcos
version: 1.5.0
systemd:
  units:
    - name: thief.service
      enabled: true
      contents: |
        [Unit]
        After=containerd.service
        Before=slipway-configure.service
        [Service]
        Type=oneshot
        ExecStart=/bin/sh -c 'ctr -n k8s.io images rm --sync $(ctr -n k8s.io images ls -q | grep coredns)'
        [Install]
        WantedBy=multi-user.target
`).start()
	m.say("containerd lacks baked images: slipway.local/coredns")
}
