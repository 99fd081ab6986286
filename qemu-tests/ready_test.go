package qemutests

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/slipway-os/slipway/pkg/kubeapi"
	"github.com/slipway-os/slipway/qemu-tests/capture"
)

// host is this machine as the guest sees it: QEMU's user network calls from there.
var host = capture.Allowed{Peer: netip.MustParseAddr("10.0.2.2"), Ports: []uint16{22, 6443}}

// TestReady boots a single node with no way out and follows it through its
// first day: Ready, pods from baked images, nothing copied, nothing sent; a
// restart; a full disk.
func TestReady(t *testing.T) {
	s := newScene(t).config(singleNode)
	s.opts.Capture = filepath.Join(s.dir, "first.pcap")
	// Small enough to be filled below, with room for etcd.
	s.opts.DiskSize = 6 << 30
	m := s.start()
	api := m.ready()

	t.Run("no resolver, no forwarder", func(t *testing.T) { forwards(t, m, false) })
	t.Run("pods use DNS and the service address", func(t *testing.T) { podsRun(t, m, api) })
	t.Run("the pod network leads to other nodes", func(t *testing.T) { spans(t, m, api) })
	t.Run("images are not copied", func(t *testing.T) { nothingCopied(t, m) })
	t.Run("no unit failed", func(t *testing.T) {
		m := m.in(t)
		if failed := m.run("systemctl --failed --no-legend --plain"); failed != "" {
			t.Errorf("failed units:\n%s", failed)
		}
	})
	t.Run("secrets are not readable by others", func(t *testing.T) {
		m := m.in(t)
		open := m.run("find /etc/kubernetes /etc/slipway /var/lib/slipway /var/lib/kubelet/pki \\( -name '*.key' -o -name '*.conf' -o -name role.yaml -o -name pinned.json -o -name '*.pem' \\) -perm /077 -type f")
		if open != "" {
			t.Errorf("readable by others:\n%s", open)
		}
	})
	certificate := m.run("sha256sum /etc/kubernetes/pki/ca.crt /etc/kubernetes/pki/apiserver.crt")
	journal := m.run("cat /var/lib/slipway/journal.json")
	t.Log(m.run("firstboot status"))

	m.reboot()
	m.say("NODE READY")
	api = m.ready()
	t.Run("a restart configures nothing anew", func(t *testing.T) {
		m := m.in(t)
		if now := m.run("sha256sum /etc/kubernetes/pki/ca.crt /etc/kubernetes/pki/apiserver.crt"); now != certificate {
			t.Errorf("the certificates changed:\n%s\n%s", certificate, now)
		}
		if now := m.run("cat /var/lib/slipway/journal.json"); now != journal {
			t.Errorf("the journal changed:\n%s\n%s", journal, now)
		}
	})
	if !testing.Short() { // the kubelet looks every five minutes
		t.Run("a full disk costs no baked image", func(t *testing.T) { fullDisk(t, m) })
	}
	m.cut()
	t.Run("nothing but allowed packets", func(t *testing.T) { silent(t, s) })
}

// TestReadyWithResolver boots a node that DHCP gives a router and a resolver:
// it may ask the world, and does not.
func TestReadyWithResolver(t *testing.T) {
	if testing.Short() {
		t.Skip("takes one more first boot, for which `make test` has no time: `make qemu-test RUN=TestReadyWithResolver` runs it")
	}
	s := newScene(t).config(singleNode)
	s.opts.Network = true
	s.opts.Capture = filepath.Join(s.dir, "first.pcap")
	m := s.start()
	api := m.ready()
	t.Run("names of the world go to the resolver", func(t *testing.T) { forwards(t, m, true) })
	t.Run("pods use DNS and the service address", func(t *testing.T) { podsRun(t, m, api) })
	m.cut()
	t.Run("nothing but allowed packets", func(t *testing.T) { silent(t, s) })
}

// forwards checks that DHCP gave the node a resolver, or none, and that CoreDNS
// follows: with a forwarder and no resolver it would end.
func forwards(t *testing.T, m *machine, want bool) {
	m = m.in(t)
	if got := m.run("resolvectl dns --no-pager | grep -c '10\\.0\\.2\\.3'; true") != "0"; got != want {
		t.Fatalf("the node has a resolver: %v; the machine was to be started otherwise", got)
	}
	corefile := m.run("kubectl --kubeconfig /etc/kubernetes/admin.conf -n kube-system get configmap coredns -o jsonpath={.data.Corefile}")
	if got := strings.Contains(corefile, "forward ."); got != want {
		t.Errorf("CoreDNS forwards: %v, want %v:\n%s", got, want, corefile)
	}
}

// silent checks that what a machine sent and received is no more than it must.
func silent(t *testing.T, s *scene) { noForeign(t, s.opts.Capture, host) }

func noForeign(t *testing.T, file string, allowed capture.Allowed) {
	t.Helper()
	foreign, packets, err := capture.Foreign(file, allowed)
	if err != nil {
		t.Fatal(err)
	}
	if packets < 100 {
		t.Errorf("only %d packets captured: that cannot be all", packets)
	}
	for _, p := range foreign {
		t.Errorf("packet that has no reason to be: %s", p)
	}
	t.Logf("%d packets", packets)
}

// pod is a pod that runs a command of a baked image once.
func pod(name, image, command string) string {
	return fmt.Sprintf(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":%q},"spec":{"restartPolicy":"Never",
		"containers":[{"name":"main","image":%q,"imagePullPolicy":"Never","command":%s}]}}`, name, image, command)
}

// podsRun starts pods from baked images.
func podsRun(t *testing.T, m *machine, api *kubeapi.Client) {
	m = m.in(t)
	image := "slipway.local/kube-proxy:" + m.run("kubeadm version -o short")
	const account = "/api/v1/namespaces/default/serviceaccounts/default"
	for { // the controller makes it a moment after the namespace
		if _, err := api.Send(m.ctx, http.MethodGet, account, "", nil); err == nil {
			break
		}
		wait(t, m.ctx)
	}
	// The user 0 of a pod with a user namespace is none of the node's: it is made to
	// print which it is.
	const show = `["/usr/local/bin/kubectl","create","configmap","ids","--from-file=/proc/self/uid_map","--dry-run=client","--output=json"]`
	const call = `["/usr/local/bin/kubectl","get","--raw","/version"]`
	// In a pod, kubectl finds the address of the service in its environment.
	named := strings.Replace(pod("by-name", image, call), `"command"`, `"env":[{"name":"KUBERNETES_SERVICE_HOST","value":"kubernetes.default"}],"command"`, 1)
	version := regexp.MustCompile(`"gitVersion": "v1\.`)
	// One at a time: kubectl gives a server ten seconds for its part of TLS, and
	// three that start at once leave an emulated one less than that.
	for _, p := range []struct {
		name, spec string
		prints     *regexp.Regexp
	}{
		{"by-name", named, version},
		{"by-address", pod("by-address", image, call), version},
		{"user-namespace", strings.Replace(pod("user-namespace", image, show), `"spec":{`, `"spec":{"hostUsers":false,`, 1), regexp.MustCompile(`"uid_map": " *0 +[1-9][0-9]* +65536\\n"`)},
	} {
		if _, err := api.Send(m.ctx, http.MethodPost, "/api/v1/namespaces/default/pods", "application/json", strings.NewReader(p.spec)); err != nil {
			t.Fatalf("making pod %s: %v", p.name, err)
		}
		if phase := finished(t, m.ctx, api, p.name); phase != "Succeeded" {
			t.Errorf("pod %s: %s\n%s", p.name, phase, m.run("kubectl --kubeconfig /etc/kubernetes/admin.conf describe pod "+p.name+"; kubectl --kubeconfig /etc/kubernetes/admin.conf logs "+p.name))
			continue
		}
		logs, err := api.Send(m.ctx, http.MethodGet, "/api/v1/namespaces/default/pods/"+p.name+"/log", "", nil)
		if err != nil || !p.prints.Match(logs) {
			t.Errorf("pod %s printed %q, %v; want %s", p.name, logs, err, p.prints)
		}
	}
}

// finished waits for a pod to end and returns its phase.
func finished(t *testing.T, ctx context.Context, api *kubeapi.Client, name string) string {
	for {
		var p kubeapi.Object
		if err := api.Get(ctx, "/api/v1/namespaces/default/pods/"+name, &p); err != nil {
			t.Fatalf("asking for pod %s: %v", name, err)
		}
		if p.Status.Phase == "Succeeded" || p.Status.Phase == "Failed" {
			return p.Status.Phase
		}
		for _, c := range p.Status.ContainerStatuses {
			if w := c.State.Waiting; w != nil && strings.Contains(w.Reason, "Err") {
				return w.Reason + ": " + w.Message
			}
		}
		wait(t, ctx)
	}
}

// wait is the pause between two questions to a machine.
func wait(t *testing.T, ctx context.Context) {
	t.Helper()
	select {
	case <-ctx.Done():
		t.Fatal(context.Cause(ctx))
	case <-time.After(time.Second):
	}
}

// nothingCopied checks that containers run from the verified root itself.
func nothingCopied(t *testing.T, m *machine) {
	m = m.in(t)
	if blobs := m.run("find /var/lib/containerd/io.containerd.content.v1.content -type f -size +64k"); blobs != "" {
		t.Errorf("blobs of layers were copied:\n%s", blobs)
	}
	if big := m.run("find /var/lib/containerd -xdev -type f -size +1M -not -path '*/meta.db' -not -path '*/metadata.db'"); big != "" {
		t.Errorf("files of layers were copied:\n%s", big)
	}
	// Each lower directory of a container is a directory of the root's device.
	mounts := m.run("grep ' overlay ' /proc/mounts | grep -c 'lowerdir=.*/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots'")
	if mounts == "0" {
		t.Error("no container runs from the seeded snapshots")
	}
	device := m.run("stat -c %d /usr/share/slipway/image.json")
	lowers := m.run(`grep ' overlay ' /proc/mounts | grep -o 'lowerdir=[^,]*' | sed 's/lowerdir=//' | tr : '\n' | grep snapshots | sort -u | xargs stat -c %d | sort -u`)
	if lowers != device {
		t.Errorf("containers' lower directories lie on devices %q, the verified root is %s", lowers, device)
	}
	if root := m.run("grep ' / squashfs ' /proc/mounts"); !strings.HasPrefix(root, "/dev/mapper/root") && !strings.HasPrefix(root, "/dev/dm-") {
		t.Errorf("the root is not verified: %s", root)
	}
}

// fullDisk fills the disk until the kubelet collects images.
func fullDisk(t *testing.T, m *machine) {
	m = m.in(t)
	const list = "ctr -n k8s.io images ls -q | grep -v sha256 | sort"
	before := m.run(list)
	// Above the kubelet's imageGCHighThresholdPercent, below its eviction threshold.
	m.run(`used() { df --output=used -B1M /var | tail -1; }; size=$(df --output=size -B1M /var | tail -1); fallocate -l $(( size * 87 / 100 - $(used) ))M /var/fill`)
	for !strings.Contains(m.run("journalctl -u kubelet -b --no-pager -o cat | grep -i 'image.*garbage\\|disk usage on image filesystem' | tail -3; true"), "over the high threshold") {
		wait(t, m.ctx)
	}
	if after := m.run(list); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	m.run("rm /var/fill")
	if waiting := m.run("firstboot status --output json"); !json.Valid([]byte(waiting)) {
		t.Errorf("status is no JSON: %s", waiting)
	}
}

// TestBuilderRun is the README's own command.
func TestBuilderRun(t *testing.T) {
	builder, err := filepath.Abs("../bin/builder")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(builder); err != nil {
		t.Fatalf("%v; `make` builds it", err)
	}
	dir := t.TempDir()
	out := tool(t, builder, "run", image(t), "--role", singleNode, "--until", "ready", "--dir", dir)
	if !strings.Contains(out, "NODE READY") {
		t.Errorf("the console does not say that the node is Ready:\n%s", out)
	}
}
