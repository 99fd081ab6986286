package qemutests

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestConfigArrives starts machines that were given no config, and then gives
// them one, each in another way.
func TestConfigArrives(t *testing.T) {
	const applied = "finding out name and address" // the role is there
	t.Run("on a FAT disk that is plugged in while it waits", func(t *testing.T) {
		t.Parallel()
		s := newScene(t)
		stick, monitor := filepath.Join(s.dir, "stick.img"), filepath.Join(s.dir, "monitor")
		tool(t, "truncate", "-s", "64M", stick)
		tool(t, "mkfs.fat", "-n", "SLIPWAY", stick)
		tool(t, "mcopy", "-i", stick, s.configFile(singleNode), "::config.ign")
		adapter := "virtio-scsi-pci"
		if architecture() == "s390x" {
			adapter = "virtio-scsi-ccw"
		}
		s.opts.Args = []string{
			"-device", adapter + ",id=scsi", "-drive", "if=none,id=stick,format=raw,readonly=on,file=" + stick,
			"-monitor", "unix:" + monitor + ",server=on,wait=off",
		}
		m := s.start()
		m.say("NO CONFIG WAS DELIVERED")
		m.say("nothing was changed")
		m.command(monitor, "device_add scsi-hd,bus=scsi.0,drive=stick")
		m.say("labelled SLIPWAY")
		m.say(applied)
	})
	t.Run("on an ISO that is there at the next start", func(t *testing.T) {
		t.Parallel()
		s := newScene(t)
		m := s.start()
		m.say("NO CONFIG WAS DELIVERED")
		m.cut()
		s.opts.Medium = filepath.Join(s.dir, "config.iso")
		tool(t, "xorrisofs", "-quiet", "-V", "SLIPWAY", "-o", s.opts.Medium, s.configFile(singleNode))
		m = s.start()
		m.say("labelled SLIPWAY")
		m.say(applied)
	})
	t.Run("from a web server that a kernel argument names", func(t *testing.T) {
		if a := architecture(); a != "amd64" && a != "arm64" {
			t.Skipf("QEMU cannot hand the firmware of %s a kernel argument: run it on amd64 or arm64", a)
		}
		t.Parallel()
		s := newScene(t)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: http.FileServer(http.Dir(filepath.Dir(s.configFile(singleNode))))}
		go server.Serve(l)
		defer server.Close()
		// The guest reaches this machine's loopback at 10.0.2.2, if it may reach anything.
		s.opts.Network = true
		_, port, _ := net.SplitHostPort(l.Addr().String())
		s.opts.Args = []string{"-smbios", "type=11,value=io.systemd.stub.kernel-cmdline-extra=ignition.config.url=http://10.0.2.2:" + port + "/config.ign"}
		m := s.start()
		m.say("the kernel argument ignition.config.url")
		m.say("the config lies on the network")
		m.say(applied)
	})
}

// configFile writes a config that lets the test log in, alone in a directory.
func (s *scene) configFile(roleFile string) string {
	s.t.Helper()
	dir := filepath.Join(s.dir, "config")
	file := filepath.Join(dir, "config.ign")
	err := os.Mkdir(dir, 0o700)
	if err == nil {
		err = os.WriteFile(file, s.ignition(roleFile), 0o600)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return file
}

// command gives QEMU's monitor a command.
func (m *machine) command(socket, line string) {
	m.t.Helper()
	c, err := net.Dial("unix", socket)
	if err != nil {
		m.t.Fatal(err)
	}
	defer c.Close()
	r := bufio.NewReader(c)
	for _, s := range []string{"", line + "\n"} {
		if _, err := io.WriteString(c, s); err != nil {
			m.t.Fatal(err)
		}
		if _, err := r.ReadString(')'); err != nil { // the prompt: (qemu)
			m.t.Fatal(err)
		}
	}
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
			t.Parallel()
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
	t.Parallel()
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
	// Who mends it on the node does not wait for anything.
	m.run("sed -i s/v1.30.0/$(kubeadm version -o short)/ /etc/slipway/role.yaml")
	m.say("checking the baked images")
	// Nor has what already works by it to end first.
	m.run("echo '# changed' >> /etc/slipway/role.yaml")
	m.say("the role changed: it is read again")
	m.say("starting the kubelet")
}

// TestMissingImage takes one baked image away before the node is configured.
// If that went unnoticed, the other tests would prove nothing.
func TestMissingImage(t *testing.T) {
	t.Parallel()
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
