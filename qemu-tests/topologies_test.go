package qemutests

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	clusterfile "github.com/slipway-os/slipway/pkg/cluster"
	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/qemu-tests/ethernet"
)

// Emulated control planes are slow, and share two processors: what times out
// within seconds elsewhere is given longer, and nothing is restarted because it
// answers slowly, which would only add to the load. All pods fit on a processor,
// of which etcd, that all wait for, has the largest share.
const (
	slowArgs  = `[{name: heartbeat-interval, value: "1000"}, {name: election-timeout, value: "10000"}, {name: warning-apply-duration, value: 5s}, {name: warning-unary-request-duration, value: 5s}, {name: log-level, value: warn}]`
	slowLease = `{name: leader-elect-lease-duration, value: 240s}, {name: leader-elect-renew-deadline, value: 180s}, {name: leader-elect-retry-period, value: 20s}`
	slowPods  = `
controlPlanes:
  kubelet: {nodeLeaseDurationSeconds: 160}
  patches:
    - {target: kube-apiserver, patch: {spec: {containers: [{name: kube-apiserver, resources: {requests: {cpu: 150m}}, livenessProbe: {failureThreshold: 90}, readinessProbe: {periodSeconds: 10}, startupProbe: {failureThreshold: 90}}]}}}
    - {target: kube-controller-manager, patch: {spec: {containers: [{name: kube-controller-manager, resources: {requests: {cpu: 70m}}, livenessProbe: {failureThreshold: 90}, startupProbe: {failureThreshold: 90}}]}}}
    - {target: kube-scheduler, patch: {spec: {containers: [{name: kube-scheduler, resources: {requests: {cpu: 30m}}, livenessProbe: {failureThreshold: 90}, startupProbe: {failureThreshold: 90}}]}}}
`
	slowFlags = `  kubeadm:
    - kind: ClusterConfiguration
      apiServer: {extraArgs: [{name: etcd-healthcheck-timeout, value: 20s}, {name: etcd-readycheck-timeout, value: 20s}]}
      controllerManager: {extraArgs: [{name: node-monitor-grace-period, value: 320s}, ` + slowLease + `]}
      scheduler: {extraArgs: [` + slowLease + `]}
`
	patientEtcd = `{target: etcd, patch: {spec: {containers: [{name: etcd, resources: {requests: {cpu: 400m}}, livenessProbe: {failureThreshold: 90}, readinessProbe: {periodSeconds: 10}, startupProbe: {failureThreshold: 90}}]}}}`
	// Of several control planes, kubelets look at the use of each container once a
	// minute, not every ten seconds: a third of what they do at rest.
	seldom = `    - {kind: InitConfiguration, nodeRegistration: {kubeletExtraArgs: [{name: housekeeping-interval, value: 60s}]}}
    - {kind: JoinConfiguration, nodeRegistration: {kubeletExtraArgs: [{name: housekeeping-interval, value: 60s}]}}
`
	slowPlane = slowPods + slowFlags
	slow      = slowPods + "    - " + patientEtcd + "\n" + slowFlags + "      etcd: {local: {extraArgs: " + slowArgs + "}}\n"
	slowEtcd  = "etcdMembers:\n  patches: [" + patientEtcd + "]\n  kubeadm:\n    - kind: ClusterConfiguration\n      etcd: {local: {extraArgs: " + slowArgs + "}}\n"
	// To wake up costs an emulated machine far more than a real one, and Go's
	// programs do it all the time: half of what an idle control plane does. Those
	// that look after pods stand back behind the pods, of which etcd must not wait:
	// it asks again after half a second, which is then all that it does.
	slowTimers = `variant: fcos
version: 1.5.0
systemd:
  units:
    - {name: containerd.service, dropins: [{name: slow.conf, contents: "[Service]\nTimerSlackNSec=40ms\nCPUWeight=30\n"}]}
    - {name: system.slice, dropins: [{name: slow.conf, contents: "[Slice]\nCPUWeight=20\n"}]}
    - {name: kubelet.service, dropins: [{name: slow.conf, contents: "[Service]\nTimerSlackNSec=40ms\nCPUWeight=30\n"}]}
`
)

// controlPlane, worker and etcdMember are machines of a cluster by their roles;
// n tells them apart.
func controlPlane(n int) *member {
	return &member{name: fmt.Sprint("cp", n), role: "control-plane", ip: fmt.Sprint("10.0.2.15", n)}
}

func worker(n int) *member {
	return &member{name: fmt.Sprint("w", n), role: "worker", ip: fmt.Sprint("10.0.2.16", n)}
}

func etcdMember(n int) *member {
	return &member{name: fmt.Sprint("e", n), role: "etcd", ip: fmt.Sprint("10.0.2.17", n)}
}

// topology is which machines there are, and what their description begins with.
type topology struct {
	members     []*member
	description string
}

// topologies are those that can be asked for by name: make qemu-test RUN=ha.
func topologies() map[string]topology {
	pair := func() []*member { return []*member{controlPlane(1), worker(1)} }
	foreign := pair()
	foreign[1].arch = "arm64"
	if architecture() == "arm64" {
		foreign[1].arch = "amd64"
	}
	both := pair()
	both[0].second, both[1].second = "fd00:51::1:1", "fd00:51::1:2"
	tagged := pair()
	for i, m := range tagged {
		// Without a tag only the test is there.
		m.reach, m.ip = m.ip, fmt.Sprint("10.1.10.1", i+1)
		m.links = "{name: a, mac: '%s'}, {name: b, mac: '%s'}, {name: bond0, bond: {members: [a, b]}, addresses: [" + m.reach + "/24]}, {name: vlan10, vlan: {id: 10, link: bond0}, addresses: [" + m.ip + "/24]}"
	}
	return map[string]topology{
		"single":        {[]*member{controlPlane(1)}, slow + "  node: {taints: []}\n"},
		"pair":          {pair(), atFirst + slow},
		"ha":            {[]*member{controlPlane(1), controlPlane(2), controlPlane(3), worker(1), worker(2)}, "cluster: {endpoint: 10.0.2.150}\n" + slow + seldom + "  virtualIP: {addresses: [10.0.2.150]}\n"},
		"external-etcd": {[]*member{controlPlane(1), controlPlane(2), etcdMember(1), etcdMember(2), etcdMember(3)}, atFirst + slowPlane + seldom + slowEtcd},
		"dual-stack":    {both, "cluster:\n  endpoint: 10.0.2.151\n  podSubnets: [10.244.0.0/16, 'fd00:10:244::/56']\n  serviceSubnets: [10.96.0.0/16, 'fd00:10:96::/112']\n" + slow},
		"own-ca":        {pair(), atFirst + slow},
		"external-ca":   {pair(), atFirst + slow},
		"mixed-arch":    {foreign, atFirst + slow},
		"bond-vlan":     {tagged, "cluster: {endpoint: 10.1.10.11}\n" + slow},
		"token":         {[]*member{controlPlane(1), controlPlane(2), worker(1)}, atFirst + slow},
	}
}

// What takes many minutes to boot is at least described rightly.
func TestTopologiesAreDescribedRightly(t *testing.T) {
	for name, of := range topologies() {
		t.Run(name, func(t *testing.T) {
			cards := 0
			text := describe(of.description, "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICiBilQJgIpQJjZoqYM0AssojavVqv9msluZAZCZWyma test", of.members, func(m *member) []any {
				var all []any
				for range max(1, strings.Count(m.links, "%s")) {
					cards++
					all = append(all, fmt.Sprintf("52:54:00:00:00:%02x", cards))
				}
				return all
			})
			c, err := clusterfile.Parse("cluster.yaml", []byte(text))
			if err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			if len(c.Nodes) != len(of.members) {
				t.Errorf("%d nodes, want %d", len(c.Nodes), len(of.members))
			}
			for _, problem := range c.Warnings {
				if name != "token" { // which has an even number of control planes
					t.Errorf("warning: %v", problem)
				}
			}
		})
	}
}

// atFirst is the endpoint of a cluster that has no better one.
const atFirst = "cluster: {endpoint: 10.0.2.151}\n"

// TestTopology builds clusters of several machines, each from one description.
func TestTopology(t *testing.T) {
	for name, test := range map[string]func(*testing.T){
		"single": testSingle, "pair": testPair, "ha": testHA, "external-etcd": testExternalEtcd,
		"dual-stack": testDualStack, "own-ca": testOwnCA, "external-ca": testExternalCA, "mixed-arch": testMixedArch, "bond-vlan": testBondVLAN, "token": testToken,
	} {
		t.Run(name, test)
	}
}

func testSingle(t *testing.T) {
	c := newCluster(t, "single")
	c.render()
	c.start(c.members...)
	c.joined(c.members...)
	c.complete(c.members[0])
	c.quiet()
}

func testPair(t *testing.T) {
	c := newCluster(t, "pair")
	c.render()
	plane, other := c.members[0], c.members[1]
	c.net.fault(ethernet.Fault{Drop: 0.02, Delay: 20 * time.Millisecond}, other.name) // a poor line
	c.start(other)
	other.machine.say("waiting: nobody answers at 10.0.2.151:6443 yet")
	c.start(plane)
	c.joined(c.members...)
	api := c.complete(plane)
	t.Run("pods reach each other", func(t *testing.T) { c.in(t).podsReachEachOther(api) })
	t.Run("nodes forget what they joined with", func(t *testing.T) { c.in(t).forgot() })
	t.Run("a worker comes back by itself", func(t *testing.T) {
		other.machine.in(t).reboot()
		other.machine.in(t).say("NODE READY")
	})
	t.Run("nothing but allowed packets", func(t *testing.T) { c.in(t).quiet() })
}

func testHA(t *testing.T) {
	c := newCluster(t, "ha")
	c.render()
	order := c.shuffled(c.members)
	if last := len(order) - 1; order[last].name == "cp1" { // without the first there is no cluster to be late for
		order[0], order[last] = order[last], order[0]
	}
	early, late := order[:len(order)-1], order[len(order)-1:]
	tenMinutes := time.After(10 * time.Minute)
	c.startInTurn(early...)
	c.joined(early...)
	<-tenMinutes
	c.start(late...)
	c.joined(late...)
	c.complete(c.members[0])
	t.Run("the API survives who has its address", func(t *testing.T) { c.in(t).failOver("10.0.2.150") })
	t.Run("nothing but allowed packets", func(t *testing.T) { c.in(t).quiet() })
}

func testExternalEtcd(t *testing.T) {
	c := newCluster(t, "external-etcd")
	c.render()
	etcd, planes := c.split("etcd")
	c.startInTurn(c.shuffled(c.members)...)
	c.joined(etcd...)
	t.Run("a member whose disk is lost comes back", func(t *testing.T) { c.in(t).loseDisk(etcd) })
	c.joined(planes...)
	c.complete(planes[0])
	t.Run("nothing but allowed packets", func(t *testing.T) { c.in(t).quiet() })
}

func testDualStack(t *testing.T) {
	c := newCluster(t, "dual-stack")
	c.render()
	c.start(c.members...)
	c.joined(c.members...)
	api := c.complete(c.members[0])
	t.Run("pods reach each other by both families", func(t *testing.T) { c.in(t).podsReachEachOther(api) })
	t.Run("nothing but allowed packets", func(t *testing.T) { c.in(t).quiet() })
}

func testOwnCA(t *testing.T) {
	c := newCluster(t, "own-ca")
	cert, key := c.ownAuthority()
	c.render("--ca-cert", cert, "--ca-key", key)
	c.start(c.members...)
	c.joined(c.members...)
	c.complete(c.members[0])
	want := tool(t, "openssl", "x509", "-in", cert, "-noout", "-fingerprint", "-sha256")
	for _, m := range c.members {
		copied := filepath.Join(c.dir, m.name+".crt")
		if err := os.WriteFile(copied, []byte(m.machine.run("cat /etc/kubernetes/pki/ca.crt")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := tool(t, "openssl", "x509", "-in", copied, "-noout", "-fingerprint", "-sha256"); got != want {
			t.Errorf("%s trusts %s, want %s", m.name, got, want)
		}
	}
	t.Run("nothing but allowed packets", func(t *testing.T) { c.in(t).quiet() })
}

// ownAuthority makes an authority as a user's own would be.
func (c *cluster) ownAuthority() (cert, key string) {
	cert, key = c.path("own.crt"), c.path("own.key")
	tool(c.t, "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650", "-subj", "/O=Example/CN=Example Kubernetes", "-addext", "keyUsage=critical,keyCertSign,digitalSignature,keyEncipherment", "-keyout", key, "-out", cert)
	return cert, key
}

// testExternalCA has everything signed by an authority whose key no node and
// no secrets have.
func testExternalCA(t *testing.T) {
	c := newCluster(t, "external-ca")
	cert, key := c.ownAuthority()
	c.found("--external-ca", "--ca-cert", cert)
	out, err := exec.CommandContext(t.Context(), c.builder, c.renderArgs()...).CombinedOutput()
	if exit := (&exec.ExitError{}); !errors.As(err, &exit) || exit.ExitCode() != diag.ExitInput {
		t.Fatalf("rendering what nobody signed: %v\n%s", err, out)
	}
	requests, err := filepath.Glob(c.path("configs/requests/*/*.csr"))
	deeper, deeperErr := filepath.Glob(c.path("configs/requests/*/*/*.csr"))
	if err != nil || deeperErr != nil || len(requests) == 0 {
		t.Fatalf("requests %q, %v", requests, errors.Join(err, deeperErr))
	}
	for _, r := range append(requests, deeper...) {
		name, err := filepath.Rel(c.path("configs/requests"), r)
		if err != nil {
			t.Fatal(err)
		}
		signed := c.path("signed", strings.TrimSuffix(name, ".csr")+".crt")
		if err := os.MkdirAll(filepath.Dir(signed), 0o755); err != nil {
			t.Fatal(err)
		}
		tool(t, "openssl", "x509", "-req", "-in", r, "-CA", cert, "-CAkey", key, "-copy_extensions", "copyall", "-days", "365", "-out", signed)
	}
	tool(t, c.builder, c.renderArgs("--signed", c.path("signed"))...)
	c.start(c.members...)
	c.joined(c.members...)
	c.complete(c.members[0])
	for _, m := range c.members {
		if found := m.machine.run("ls /etc/kubernetes/pki/ca.key 2>/dev/null; true"); found != "" {
			t.Errorf("%s has %s", m.name, found)
		}
	}
	t.Run("nothing but allowed packets", func(t *testing.T) { c.in(t).quiet() })
}

func testMixedArch(t *testing.T) {
	c := newCluster(t, "mixed-arch")
	c.render()
	c.start(c.members...)
	c.joined(c.members...)
	api := c.complete(c.members[0])
	t.Run("pods reach each other", func(t *testing.T) { c.in(t).podsReachEachOther(api) })
	t.Run("nothing but allowed packets", func(t *testing.T) { c.in(t).quiet() })
}

func testBondVLAN(t *testing.T) {
	c := newCluster(t, "bond-vlan")
	c.net.allowed.Members = append(c.net.allowed.Members, netip.MustParsePrefix("10.1.10.0/24"))
	c.render()
	c.start(c.members...)
	c.joined(c.members...)
	api := c.complete(c.members[0])
	t.Run("pods reach each other", func(t *testing.T) { c.in(t).podsReachEachOther(api) })
	t.Run("pods' packets fit", func(t *testing.T) {
		if m := c.members[0].machine.in(t); m.run("cat /sys/class/net/vlan10/mtu") != "1500" || m.run("cat /sys/class/net/cni0/mtu") != "1450" {
			t.Errorf("the VLAN has an MTU of %s, pods have %s", m.run("cat /sys/class/net/vlan10/mtu"), m.run("cat /sys/class/net/cni0/mtu"))
		}
	})
	t.Run("nothing but allowed packets", func(t *testing.T) { c.in(t).quiet() })
}

// testToken is kubeadm's classic flow: roles by hand, and a token.
func testToken(t *testing.T) {
	const token, key = "abcdef.0123456789abcdef", "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	c := newCluster(t, "token")
	plane := c.members[0]
	write := func(m *member, text string) string {
		file := filepath.Join(c.dir, m.name+".yaml")
		text = fmt.Sprintf("version: 1\nrole: %s\nnode: {name: %s, ip: %s}\nnetwork: {links: [{name: lan, mac: '%s', addresses: [%s/24]}]}\n%s", m.role, m.name, m.ip, m.scene.opts.NICs[0].MAC, m.ip, text)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	var slowly struct {
		Role map[string]any `yaml:"controlPlanes"`
	}
	if err := yaml.Unmarshal([]byte(slow), &slowly); err != nil {
		t.Fatal(err)
	}
	fields := func(names ...string) string {
		var text strings.Builder
		for _, n := range names {
			value, err := json.Marshal(slowly.Role[n])
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&text, "%s: %s\n", n, value)
		}
		return text.String()
	}
	documents, ok := slowly.Role["kubeadm"].([]any)
	if !ok {
		t.Fatalf("no kubeadm documents in %v", slowly.Role)
	}
	slowly.Role["kubeadm"] = append(documents, map[string]any{
		"kind": "InitConfiguration", "certificateKey": key, "bootstrapTokens": []any{map[string]any{"token": token, "ttl": "24h0m0s"}},
	})
	configure := func(m *member, text string) { m.scene.config(write(m, atFirst+text), slowTimers) }
	configure(plane, "init: {}\n"+fields("kubelet", "patches", "kubeadm"))
	c.start(plane)
	c.joined(plane)
	status, err := plane.machine.guest.Status(plane.machine.ctx)
	if err != nil {
		t.Fatal(err)
	}
	join := fmt.Sprintf("join: {token: %s, caCertHashes: ['%s']", token, status.Summary.CAHash)
	configure(c.members[1], join+", certificateKey: '"+key+"'}\n"+fields("patches"))
	configure(c.members[2], join+"}\n")
	// One by one: machines that are emulated on the same few processors starve each
	// other, and their order is what other topologies are about.
	for _, m := range c.members[1:] {
		c.start(m)
		c.joined(m)
	}
	c.complete(plane)
	t.Run("nodes forget what they joined with", func(t *testing.T) {
		c.in(t).forgot()
		for _, m := range c.members {
			if found := m.machine.in(t).run("grep -rl -e " + token + " -e " + key + " /etc /var/lib/slipway 2>/dev/null; true"); found != "" {
				t.Errorf("%s still has them: %s", m.name, found)
			}
		}
	})
	t.Run("nothing but allowed packets", func(t *testing.T) { c.in(t).quiet() })
}
