package qemutests

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-os/slipway/pkg/kubeapi"
)

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
	builder string // the program
	// description is the beginning of the file that all are configured from.
	description string
}

// newCluster makes the machines of a topology on a network of their own;
// nothing is started.
func newCluster(t *testing.T, name string) *cluster {
	t.Helper()
	if testing.Short() {
		t.Skipf("takes several machines, for which `make test` has no time: `make qemu-test RUN=%s` runs it", name)
	}
	of := topologies()[name]
	members := of.members
	c := &cluster{t: t, net: newNetwork(t), dir: t.TempDir(), members: members, description: of.description}
	kinds := map[string]string{"control-plane": "cp"}
	planes := 0
	for _, m := range members {
		if m.role == "control-plane" {
			planes++
		}
	}
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
		if planes > 1 {
			// One processor wakes no other, which costs more than it brings where
			// several machines take turns.
			m.scene.opts.CPUs = 1
		}
		m.scene.opts.Memory = map[string]int{"control-plane": 3072, "worker": 1536, "etcd": 1536}[m.role]
		m.scene.key = members[0].scene.key
		m.scene.keepKey()
		m.scene.patience *= time.Duration(len(members)) // they wait for each other
	}
	return c
}

// describe returns the description of a cluster. cards are the addresses of a
// machine's network cards.
func describe(beginning, sshKey string, members []*member, cards func(*member) []any) string {
	var text strings.Builder
	fmt.Fprintf(&text, "version: 1\nname: test\n%s\nall:\n  ssh: {authorizedKeys: [%q]}\nnodes:\n", strings.TrimSpace(beginning), sshKey)
	for _, m := range members {
		addresses := m.ip + "/24"
		if m.second != "" {
			addresses += ", '" + m.second + "/64'"
		}
		links := m.links
		if links == "" {
			links = "{name: lan, mac: '%s', addresses: [" + addresses + "]}"
		}
		fmt.Fprintf(&text, "  - name: %s\n    role: %s\n    ip: %s\n    with: {network: {links: [%s]}}\n", m.name, m.role, m.ip, fmt.Sprintf(links, cards(m)...))
	}
	return text.String()
}

// render lets builder make the cluster's secrets, with more arguments, and the
// configs from its description, and gives each machine its own.
func (c *cluster) render(args ...string) {
	c.t.Helper()
	c.found(args...)
	tool(c.t, c.builder, c.renderArgs()...)
}

// found makes the cluster's secrets, with more arguments, and writes its
// description.
func (c *cluster) found(args ...string) {
	c.t.Helper()
	text := describe(c.description, c.members[0].scene.key.Authorized(), c.members, func(m *member) []any {
		var cards []any
		for _, n := range m.scene.opts.NICs {
			cards = append(cards, n.MAC)
		}
		return cards
	})
	if err := os.WriteFile(c.path("cluster.yaml"), []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
	var err error
	if c.builder, err = filepath.Abs("../bin/builder"); err != nil {
		c.t.Fatal(err)
	}
	tool(c.t, c.builder, append([]string{"cluster", "new", "--name", "test", "--out", c.path("secrets.yaml")}, args...)...)
	for _, m := range c.members {
		m.scene.opts.Ignition = c.path("configs", m.name+".ign")
	}
}

func (c *cluster) path(names ...string) string {
	return filepath.Join(append([]string{c.dir}, names...)...)
}

// renderArgs are what builder is called with to render the cluster.
func (c *cluster) renderArgs(more ...string) []string {
	return append([]string{"cluster", "render", c.path("cluster.yaml"), "--secrets", c.path("secrets.yaml"), "--butane", c.timers(), "--out", c.path("configs")}, more...)
}

// timers writes the Butane file that lets emulated machines sleep longer, and
// returns its name.
func (c *cluster) timers() string {
	c.t.Helper()
	file := c.path("timers.bu")
	if err := os.WriteFile(file, []byte(slowTimers), 0o600); err != nil {
		c.t.Fatal(err)
	}
	return file
}

// start turns machines on, in this order.
func (c *cluster) start(members ...*member) {
	c.t.Helper()
	for _, m := range members {
		c.t.Logf("starting %s", m.name)
		m.machine = m.scene.start()
	}
}

// startInTurn turns machines on in this order, each once the one before has
// booted: to boot keeps an emulated machine busier than anything after it.
func (c *cluster) startInTurn(members ...*member) {
	c.t.Helper()
	for _, m := range members {
		c.start(m)
		m.machine.say("finding out name and address")
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

// split returns the machines of a role, and the others.
func (c *cluster) split(role string) (of, others []*member) {
	for _, m := range c.members {
		if m.role == role {
			of = append(of, m)
		} else {
			others = append(others, m)
		}
	}
	return of, others
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

// in returns the same cluster for a subtest, which its failures then are of.
func (c *cluster) in(t *testing.T) *cluster {
	of := *c
	of.t = t
	return &of
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

// loseDisk gives an etcd member a fresh disk, and does what its console then asks
// for on another one.
func (c *cluster) loseDisk(etcd []*member) {
	c.t.Helper()
	lost, other := etcd[0], etcd[1]
	lost.machine.cut()
	if err := os.Remove(filepath.Join(lost.scene.dir, "disk.qcow2")); err != nil {
		c.t.Fatal(err)
	}
	c.start(lost)
	m := lost.machine.in(c.t)
	line, err := m.console.match(m.ctx, m.vm, regexp.MustCompile(`member remove [0-9a-f]+\s`))
	if err != nil {
		c.t.Fatalf("waiting for what to do: %v; the console ends with:\n%s", err, m.console.end())
	}
	const ctl = "cd /etc/kubernetes/pki/etcd && etcdctl --cacert ca.crt --cert peer.crt --key peer.key "
	other.machine.in(c.t).run(ctl + strings.TrimSpace(line))
	c.in(c.t).joined(lost)
	list := other.machine.in(c.t).run(ctl + "member list --write-out=simple")
	if strings.Count(list, "started") != len(etcd) || strings.Count(list, "false") != len(etcd) { // false: no learner
		c.t.Errorf("etcd's members are\n%s", list)
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
