package qemutests

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/slipway-os/slipway/pkg/kubeapi"
)

// Emulated control planes are slow, and share two processors: what times out
// within seconds elsewhere is given longer.
const slow = `
controlPlanes:
  kubeadm:
    - kind: ClusterConfiguration
      etcd: {local: {extraArgs: [{name: heartbeat-interval, value: "1000"}, {name: election-timeout, value: "10000"}]}}
      controllerManager: {extraArgs: [{name: leader-elect-lease-duration, value: 90s}, {name: leader-elect-renew-deadline, value: 60s}, {name: leader-elect-retry-period, value: 10s}]}
      scheduler: {extraArgs: [{name: leader-elect-lease-duration, value: 90s}, {name: leader-elect-renew-deadline, value: 60s}, {name: leader-elect-retry-period, value: 10s}]}
`

// member is a machine of a cluster under test.
type member struct {
	name, role, ip string
	second         string // address of the other family
	reach          string // address by which the test reaches it, if not by ip
	arch           string // "" for the one that is tested
	links          string // how it is connected, if not by one card with its addresses; %s for each card's address
	scene          *scene
	machine        *machine
}

// cluster is machines on one private network, and the description that they
// are configured from.
type cluster struct {
	t       *testing.T
	net     *network
	dir     string
	members []*member
}

// newCluster makes machines on a network of their own; nothing is started.
func newCluster(t *testing.T, members ...*member) *cluster {
	t.Helper()
	if testing.Short() {
		t.Skip("takes several machines; `make qemu-test` does this too")
	}
	c := &cluster{t: t, net: newNetwork(t), dir: t.TempDir(), members: members}
	kinds := map[string]string{"control-plane": "cp"}
	for _, m := range members {
		kind := kinds[m.role]
		if kind == "" {
			kind = m.role
		}
		arch := cmp.Or(m.arch, architecture())
		m.scene = c.net.machine(arch, baked(t, kind+"-"+arch), m.name, cmp.Or(m.reach, m.ip))
		for range strings.Count(m.links, "%s") - 1 {
			m.scene.opts.NICs = append(m.scene.opts.NICs, c.net.card(fmt.Sprintf("%s-%d", m.name, len(m.scene.opts.NICs))))
		}
		m.scene.opts.Memory = map[string]int{"control-plane": 3072, "worker": 1536, "etcd": 1536}[m.role]
		m.scene.key = members[0].scene.key
	}
	return c
}

// render lets builder make the cluster's secrets and configs from a
// description that this begins, and gives each machine its own.
func (c *cluster) render(description string, args ...string) {
	c.t.Helper()
	var text strings.Builder
	fmt.Fprintf(&text, "version: 1\nname: test\n%s\nall:\n  ssh: {authorizedKeys: [%q]}\nnodes:\n", strings.TrimSpace(description), c.members[0].scene.key.Authorized())
	for _, m := range c.members {
		addresses := m.ip + "/24"
		if m.second != "" {
			addresses += ", '" + m.second + "/64'"
		}
		links := m.links
		if links == "" {
			links = "{name: lan, mac: '%s', addresses: [" + addresses + "]}"
		}
		var cards []any
		for _, n := range m.scene.opts.NICs {
			cards = append(cards, n.MAC)
		}
		fmt.Fprintf(&text, "  - name: %s\n    role: %s\n    ip: %s\n    with: {network: {links: [%s]}}\n", m.name, m.role, m.ip, fmt.Sprintf(links, cards...))
	}
	file, secrets, configs := filepath.Join(c.dir, "cluster.yaml"), filepath.Join(c.dir, "secrets.yaml"), filepath.Join(c.dir, "configs")
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		c.t.Fatal(err)
	}
	builder, err := filepath.Abs("../bin/builder")
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := os.Stat(secrets); err != nil {
		tool(c.t, builder, append([]string{"cluster", "new", "--name", "test", "--out", secrets}, args...)...)
	}
	tool(c.t, builder, "cluster", "render", file, "--secrets", secrets, "--out", configs)
	for _, m := range c.members {
		m.scene.opts.Ignition = filepath.Join(configs, m.name+".ign")
	}
}

// start turns machines on, in this order.
func (c *cluster) start(members ...*member) {
	c.t.Helper()
	for _, m := range members {
		c.t.Logf("starting %s", m.name)
		m.machine = m.scene.start()
	}
}

// joined waits until machines say that they are Ready.
func (c *cluster) joined(members ...*member) {
	c.t.Helper()
	for _, m := range members {
		m.machine.say("NODE READY")
		c.t.Logf("%s is Ready", m.name)
	}
}

// shuffled returns the machines in a random order, which is printed.
func (c *cluster) shuffled(members []*member) []*member {
	seed := number(c.t, "SLIPWAY_SEED", int(time.Now().UnixNano()&0xffffff))
	c.t.Logf("SLIPWAY_SEED=%d", seed)
	random := rand.New(rand.NewPCG(uint64(seed), 0))
	members = slices.Clone(members)
	random.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
	return members
}

// complete waits until the API, asked from outside through a machine, says that
// every node there is to be is Ready, and every pod of kube-system runs.
func (c *cluster) complete(through *member) *kubeapi.Client {
	c.t.Helper()
	api := through.machine.ready()
	want := 0
	for _, m := range c.members {
		if m.role != "etcd" {
			want++
		}
	}
	for {
		var nodes kubeapi.List
		if err := api.Get(through.machine.ctx, "/api/v1/nodes", &nodes); err == nil && len(nodes.Items) == want {
			break
		}
		wait(c.t, through.machine.ctx)
	}
	for {
		missing, err := api.Waiting(through.machine.ctx, "")
		if err == nil && missing == "" {
			return api
		}
		fmt.Fprintf(through.machine.log, "waiting: %s %v\n", missing, err)
		wait(c.t, through.machine.ctx)
	}
}

// quiet checks that nothing left the network, and nothing else moved on it.
func (c *cluster) quiet() {
	c.t.Helper()
	for _, m := range c.members {
		if m.machine != nil {
			m.machine.cut()
		}
	}
	c.net.quiet(c.t)
}

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

// atFirst is the endpoint of a cluster that has no better one.
const atFirst = "cluster: {endpoint: 10.0.2.151}\n"

// TestTopology builds clusters of several machines, each from one description.
func TestTopology(t *testing.T) {
	for name, test := range map[string]func(*testing.T){
		"single": testSingle, "pair": testPair, "ha": testHA, "external-etcd": testExternalEtcd,
		"dual-stack": testDualStack, "own-ca": testOwnCA, "mixed-arch": testMixedArch, "bond-vlan": testBondVLAN, "token": testToken,
	} {
		t.Run(name, test)
	}
}

func testSingle(t *testing.T) {
	c := newCluster(t, controlPlane(1))
	c.render(slow + "  node: {taints: []}\n")
	c.start(c.members...)
	c.joined(c.members...)
	c.complete(c.members[0])
	c.quiet()
}

func testPair(t *testing.T) {
	c := newCluster(t, controlPlane(1), worker(1))
	c.render(atFirst + slow)
	plane, other := c.members[0], c.members[1]
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
	c := newCluster(t, controlPlane(1), controlPlane(2), controlPlane(3), worker(1), worker(2))
	c.render("cluster: {endpoint: 10.0.2.150}\n" + slow + "  virtualIP: {addresses: [10.0.2.150]}\n")
	order := c.shuffled(c.members)
	if last := len(order) - 1; order[last].name == "cp1" { // without the first there is no cluster to be late for
		order[0], order[last] = order[last], order[0]
	}
	early, late := order[:len(order)-1], order[len(order)-1:]
	c.start(early...)
	c.joined(early...)
	c.start(late...)
	c.joined(late...)
	c.complete(c.members[0])
	t.Run("the API survives who has its address", func(t *testing.T) { c.in(t).failOver("10.0.2.150") })
	t.Run("nothing but allowed packets", func(t *testing.T) { c.in(t).quiet() })
}

func testExternalEtcd(t *testing.T) {
	c := newCluster(t, controlPlane(1), controlPlane(2), etcdMember(1), etcdMember(2), etcdMember(3))
	etcd := "etcdMembers:\n  kubeadm:\n    - kind: ClusterConfiguration\n      etcd: {local: {extraArgs: [{name: heartbeat-interval, value: \"1000\"}, {name: election-timeout, value: \"10000\"}]}}\n"
	planes := strings.Join(slices.DeleteFunc(strings.Split(slow, "\n"), func(l string) bool { return strings.Contains(l, "etcd:") }), "\n")
	c.render(atFirst + planes + etcd)
	c.start(c.shuffled(c.members)...)
	c.joined(c.members...)
	c.complete(c.members[0])
	t.Run("nothing but allowed packets", func(t *testing.T) { c.in(t).quiet() })
}

func testDualStack(t *testing.T) {
	plane, other := controlPlane(1), worker(1)
	plane.second, other.second = "fd00:51::1:1", "fd00:51::1:2"
	c := newCluster(t, plane, other)
	c.render("cluster:\n  endpoint: 10.0.2.151\n  podSubnets: [10.244.0.0/16, 'fd00:10:244::/56']\n  serviceSubnets: [10.96.0.0/16, 'fd00:10:96::/112']\n" + slow)
	c.start(c.members...)
	c.joined(c.members...)
	api := c.complete(plane)
	t.Run("pods reach each other by both families", func(t *testing.T) { c.in(t).podsReachEachOther(api) })
	t.Run("nothing but allowed packets", func(t *testing.T) { c.in(t).quiet() })
}

func testOwnCA(t *testing.T) {
	c := newCluster(t, controlPlane(1), worker(1))
	cert, key := filepath.Join(c.dir, "own.crt"), filepath.Join(c.dir, "own.key")
	tool(t, "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650", "-subj", "/O=Example/CN=Example Kubernetes", "-addext", "keyUsage=critical,keyCertSign,digitalSignature,keyEncipherment", "-keyout", key, "-out", cert)
	c.render(atFirst+slow, "--ca-cert", cert, "--ca-key", key)
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

func testMixedArch(t *testing.T) {
	foreign := worker(1)
	foreign.arch = "arm64"
	if architecture() == "arm64" {
		foreign.arch = "amd64"
	}
	c := newCluster(t, controlPlane(1), foreign)
	c.render(atFirst + slow)
	c.start(c.members...)
	c.joined(c.members...)
	api := c.complete(c.members[0])
	t.Run("pods reach each other", func(t *testing.T) { c.in(t).podsReachEachOther(api) })
	t.Run("nothing but allowed packets", func(t *testing.T) { c.in(t).quiet() })
}

func testBondVLAN(t *testing.T) {
	var members []*member
	for i, m := range []*member{controlPlane(1), worker(1)} {
		// Without a tag only the test is there.
		m.reach, m.ip = m.ip, fmt.Sprint("10.1.10.1", i+1)
		m.links = "{name: a, mac: '%s'}, {name: b, mac: '%s'}, {name: bond0, bond: {members: [a, b]}, addresses: [" + m.reach + "/24]}, {name: vlan10, vlan: {id: 10, link: bond0}, addresses: [" + m.ip + "/24]}"
		members = append(members, m)
	}
	c := newCluster(t, members...)
	c.net.allowed.Members = append(c.net.allowed.Members, netip.MustParsePrefix("10.1.10.0/24"))
	c.render("cluster: {endpoint: 10.1.10.11}\n" + slow)
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
	c := newCluster(t, controlPlane(1), controlPlane(2), worker(1))
	plane := c.members[0]
	write := func(m *member, text string) string {
		file := filepath.Join(c.dir, m.name+".yaml")
		text = fmt.Sprintf("version: 1\nrole: %s\nnode: {name: %s, ip: %s}\nnetwork: {links: [{name: lan, mac: '%s', addresses: [%s/24]}]}\n%s", m.role, m.name, m.ip, m.scene.opts.NICs[0].MAC, m.ip, text)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	var own struct {
		ControlPlanes struct{ Kubeadm []any } `yaml:"controlPlanes"`
	}
	if err := yaml.Unmarshal([]byte(slow), &own); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(append(own.ControlPlanes.Kubeadm, map[string]any{
		"kind": "InitConfiguration", "certificateKey": key, "bootstrapTokens": []any{map[string]any{"token": token, "ttl": "24h0m0s"}},
	}))
	if err != nil {
		t.Fatal(err)
	}
	plane.scene.config(write(plane, atFirst+"init: {}\nkubeadm: "+string(raw)+"\n"))
	c.start(plane)
	c.joined(plane)
	status, err := plane.machine.guest.Status(plane.machine.ctx)
	if err != nil {
		t.Fatal(err)
	}
	join := fmt.Sprintf(atFirst+"join: {token: %s, caCertHashes: ['%s']", token, status.Summary.CAHash)
	c.members[1].scene.config(write(c.members[1], join+", certificateKey: '"+key+"'}\n"))
	c.members[2].scene.config(write(c.members[2], join+"}\n"))
	c.start(c.members[1:]...)
	c.joined(c.members[1:]...)
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

// in returns the same cluster for a subtest, which its failures then are of.
func (c *cluster) in(t *testing.T) *cluster {
	of := *c
	of.t = t
	return &of
}

// podsReachEachOther starts a pod on every node that serves, and one on every
// node that asks all of them, by their addresses and by the name of a service.
func (c *cluster) podsReachEachOther(api *kubeapi.Client) {
	c.t.Helper()
	m := c.members[0].machine
	image := "slipway.local/kube-proxy:" + m.run("kubeadm version -o short")
	for _, n := range c.members {
		// kubectl proxy serves HTTP, and is in the image.
		spec := strings.Replace(pod("serve-"+n.name, image, `["/usr/local/bin/kubectl","proxy","--address=::","--port=8080","--accept-hosts=.*"]`),
			`"spec":{`, fmt.Sprintf(`"spec":{"nodeName":%q,`, n.name), 1)
		if _, err := api.Send(m.ctx, http.MethodPost, "/api/v1/namespaces/default/pods", "application/json", strings.NewReader(spec)); err != nil {
			c.t.Fatalf("making a pod on %s: %v", n.name, err)
		}
	}
	addresses := map[string]string{}
	for _, n := range c.members {
		for len(addresses) == 0 || addresses[n.name+"-0"] == "" {
			var p struct {
				Status struct {
					Phase  string
					PodIPs []struct{ IP string }
				}
			}
			if err := api.Get(m.ctx, "/api/v1/namespaces/default/pods/serve-"+n.name, &p); err != nil {
				c.t.Fatal(err)
			}
			if p.Status.Phase == "Running" {
				for i, a := range p.Status.PodIPs {
					addresses[fmt.Sprint(n.name, "-", i)] = a.IP
				}
			}
			wait(c.t, m.ctx)
		}
	}
	for _, from := range c.members {
		for to, address := range addresses {
			name := "ask-" + from.name + "-" + to
			spec := strings.Replace(pod(name, image, fmt.Sprintf(`["/usr/local/bin/kubectl","--server=http://%s","get","--raw","/version"]`, net.JoinHostPort(address, "8080"))), `"spec":{`, fmt.Sprintf(`"spec":{"nodeName":%q,`, from.name), 1)
			if _, err := api.Send(m.ctx, http.MethodPost, "/api/v1/namespaces/default/pods", "application/json", strings.NewReader(spec)); err != nil {
				c.t.Fatalf("making a pod on %s: %v", from.name, err)
			}
			if phase := finished(c.t, m.ctx, api, name); phase != "Succeeded" {
				c.t.Errorf("from a pod on %s to one on %s: %s", from.name, to, phase)
			}
		}
	}
}

// forgot checks that no node that joined still has what it joined with.
func (c *cluster) forgot() {
	c.t.Helper()
	for _, m := range c.members {
		if left := m.machine.run("ls /etc/slipway/join.conf /etc/kubernetes/bootstrap-kubelet.conf 2>/dev/null; true"); left != "" {
			c.t.Errorf("%s still has %s", m.name, left)
		}
		if m.role == "worker" {
			if keys := m.machine.run("find / -xdev -name 'ca.key' 2>/dev/null; find /etc /var -name 'ca.key'"); keys != "" {
				c.t.Errorf("worker %s has %s", m.name, keys)
			}
		}
	}
}

// failOver takes the power of the machine that has the shared address, and
// waits for the API to answer there again.
func (c *cluster) failOver(address string) {
	c.t.Helper()
	holder := func() *member {
		for _, m := range c.members {
			if m.role == "control-plane" && m.machine.ctx.Err() == nil && m.machine.run("ip -o address show | grep -wc "+address+"; true") != "0" {
				return m
			}
		}
		return nil
	}
	first := holder()
	if first == nil {
		c.t.Fatalf("nobody has %s", address)
	}
	kubeconfig, err := first.machine.guest.Run(first.machine.ctx, "cat /etc/kubernetes/admin.conf")
	if err != nil {
		c.t.Fatal(err)
	}
	port := c.net.forward(address, 6443)
	api, err := kubeapi.FromKubeconfig(kubeconfig, func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	})
	if err != nil {
		c.t.Fatal(err)
	}
	first.machine.cut()
	cut := time.Now()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	for {
		asked, stop := context.WithTimeout(ctx, 5*time.Second)
		_, err := api.Send(asked, http.MethodGet, "/readyz", "", nil)
		stop()
		if err == nil {
			break
		}
		api.Close()
		wait(c.t, ctx)
	}
	c.t.Logf("%s had %s; without it the API answers after %.0f s", first.name, address, time.Since(cut).Seconds())
}
