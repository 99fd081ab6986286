package configurator

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/cri"
	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/kubeadm"
	"github.com/slipway-os/slipway/pkg/manifest"
)

const minimal = "version: 1\nrole: control-plane\ninit: {}\n"

// write writes a file of a node.
func write(t *testing.T, root, name, content string) {
	t.Helper()
	file := filepath.Join(root, name)
	must(t, os.MkdirAll(filepath.Dir(file), 0o755))
	must(t, os.WriteFile(file, []byte(content), 0o600))
}

// newRoot makes a node with an image and a role.
func newRoot(t *testing.T, role string) string {
	t.Helper()
	root := t.TempDir()
	image, err := json.Marshal(manifest.Image{Profile: "p", Architecture: "amd64", KubernetesVersion: "v1.37.2", ImageRepository: "slipway.local", Roles: []string{"control-plane"}})
	must(t, err)
	write(t, root, imageFile, string(image))
	write(t, root, RoleFile, role)
	return root
}

// What is wrong before anything begins, and what kind of fault it is.
func TestNew(t *testing.T) {
	for _, c := range []struct {
		name  string
		harm  func(t *testing.T, root string)
		says  string
		code  int
		fatal bool
	}{
		{"all is well", func(*testing.T, string) {}, "", 0, false},
		{"no role", func(t *testing.T, root string) { must(t, os.Remove(filepath.Join(root, RoleFile))) }, "reading the role", diag.ExitInput, false},
		{"a role with an unknown field", func(t *testing.T, root string) { write(t, root, RoleFile, minimal+"nodes: {}\n") }, `/etc/slipway/role.yaml:4:1: unknown field "nodes" (did you mean "node"?)`, diag.ExitInput, false},
		{"a role for another version", func(t *testing.T, root string) {
			write(t, root, RoleFile, minimal+"cluster: {kubernetesVersion: v1.30.0}\n")
		}, "/etc/slipway/role.yaml:4:30: cluster.kubernetesVersion is v1.30.0, but the image has v1.37.2", diag.ExitInput, false},
		{"no image", func(t *testing.T, root string) { must(t, os.Remove(filepath.Join(root, imageFile))) }, "reading what the image says of itself", diag.ExitIO, false},
		{"a damaged journal", func(t *testing.T, root string) { write(t, root, journalFile, "") }, "damaged", diag.ExitBug, true},
		{"damaged pins", func(t *testing.T, root string) { write(t, root, pinnedFile, "{}") }, "damaged", diag.ExitBug, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := newRoot(t, minimal)
			c.harm(t, root)
			report, _ := newReport(t)
			_, err := newAt(root, report)
			if c.says == "" {
				must(t, err)
				return
			}
			var fatal *FatalError
			if err == nil || !strings.Contains(err.Error(), c.says) || diag.ExitCode(err) != c.code || errors.As(err, &fatal) != c.fatal {
				t.Errorf("got %v, exit status %d", err, diag.ExitCode(err))
			}
		})
	}
}

// Name and secrets are pinned at the first start; every later one finds them.
func TestPinning(t *testing.T) {
	root := newRoot(t, minimal)
	report, _ := newReport(t)
	c, err := newAt(root, report)
	must(t, err)
	pinned, err := kubeadm.NewPinned("cp1", "192.0.2.10")
	must(t, err)
	must(t, c.pin(pinned))
	must(t, c.writeConfig(c.pinned))
	for _, name := range []string{pinnedFile, kubeadmFile} {
		info, err := os.Stat(filepath.Join(root, name))
		must(t, err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
	}
	again, err := newAt(root, report)
	must(t, err)
	if !reflect.DeepEqual(again.pinned, pinned) {
		t.Errorf("pinned %+v, found %+v", pinned, again.pinned)
	}
	// The step is run once more, as after a power cut: nothing changes.
	first, err := os.ReadFile(filepath.Join(root, kubeadmFile))
	must(t, err)
	must(t, again.node(t.Context()))
	if second, err := os.ReadFile(filepath.Join(root, kubeadmFile)); err != nil || string(second) != string(first) {
		t.Errorf("the configuration changed (%v)", err)
	}
}

// A mended role becomes kubeadm's configuration before the node is Ready.
func TestAMendedRoleIsTaken(t *testing.T) {
	n, _ := configure(t, minimal)
	must(t, n.writeConfig(n.pinned))
	must(t, n.journal.Begin("node"))
	must(t, n.journal.End("node", 0))
	write(t, n.root, RoleFile, minimal+"cluster: {name: mended}\n")
	report, _ := newReport(t)
	again, err := newAt(n.root, report)
	must(t, err)
	must(t, again.needConfig(again.steps()))
	if data, err := os.ReadFile(n.path(kubeadmFile)); err != nil || !strings.Contains(string(data), "clusterName: mended") {
		t.Errorf("%v\n%s", err, data)
	}
}

// An etcd member is known by its name at once, and by an address that it has.
func TestWhichEtcdMemberANodeIs(t *testing.T) {
	for _, c := range []struct{ name, members, host, want string }{
		{"by its name in the role", "node: {name: e2}\netcd: {members: [{name: e1, ip: 192.0.2.11}, {name: e2, ip: 192.0.2.12}]}\n", "x", "192.0.2.12"},
		{"by the host's name", "etcd: {members: [{name: e1, ip: 192.0.2.11}, {name: x, ip: 192.0.2.12}]}\n", "x", "192.0.2.12"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, _ := configure(t, "version: 1\nrole: etcd\n"+c.members)
			name := n.role.Node.Name
			if name == "" {
				name = c.host
			}
			if m, err := n.member(t.Context(), name); err != nil || m.IP != c.want {
				t.Errorf("it is %+v, %v", m, err)
			}
		})
	}
	n, _ := configure(t, "version: 1\nrole: etcd\nnode: {name: e1}\netcd: {members: [{name: e1, ip: 192.0.2.11}]}\n")
	var fatal *FatalError
	if _, err := n.member(t.Context(), "e3"); !errors.As(err, &fatal) || !strings.Contains(err.Error(), `it is "e3", and has none of their addresses`) {
		t.Errorf("none of them: %v", err)
	}
}

// Steps of two kinds of node have names in common, and would be taken for done.
func TestAChangedKind(t *testing.T) {
	const refused = "/etc/slipway/role.yaml:2:7: this node was being set up as \"worker\", and cannot become \"control-plane join\" any more (take the change back, or give the machine a fresh disk)"
	for _, c := range []struct{ name, begun, refused string }{
		{"while it waits for the cluster", "cluster", ""},
		{"once something was made that the new kind has no step for", "authorities", refused},
		{"once something of its own was made", "kubelet", refused},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, _ := configure(t, worker)
			p := n.pinned
			p.Kind = n.kind()
			must(t, n.pin(p))
			must(t, n.journal.Begin(c.begun))
			write(t, n.root, RoleFile, joinPair)
			report, _ := newReport(t)
			again, err := newAt(n.root, report)
			var fatal *FatalError
			if c.refused != "" {
				if !errors.As(err, &fatal) || err.Error() != c.refused {
					t.Errorf("got %v", err)
				}
				return
			}
			must(t, err)
			if again.pinned.Kind != kindJoin {
				t.Errorf("it is %s", again.pinned.Kind)
			}
		})
	}
}

// Certificates and the cluster have the pinned name and address: whoever changes
// them in the role must learn that it is too late.
func TestChangedRole(t *testing.T) {
	root := newRoot(t, minimal)
	report, _ := newReport(t)
	c, err := newAt(root, report)
	must(t, err)
	pinned, err := kubeadm.NewPinned("cp1", "192.0.2.10")
	must(t, err)
	must(t, c.pin(pinned))
	for _, role := range []struct{ node, warning string }{
		{"{name: cp1, ip: 192.0.2.10}", ""},
		{"{name: cp2}", `node.name is now cp2, but this node was set up with "cp1" and keeps that; a fresh disk takes the new one`},
		{"{ip: 192.0.2.11}", `node.ip is now 192.0.2.11, but this node was set up with "192.0.2.10" and keeps that; a fresh disk takes the new one`},
	} {
		must(t, os.WriteFile(filepath.Join(root, RoleFile), []byte(minimal+"node: "+role.node+"\n"), 0o600))
		report, said := newReport(t)
		_, err := newAt(root, report)
		must(t, err)
		if got := strings.TrimPrefix(strings.Join(*said, "\n"), "WARNING: "); got != role.warning {
			t.Errorf("%s: said %q, want %q", role.node, got, role.warning)
		}
	}
}

// After Ready nothing that only the start needed is on the disk, and phases
// that have to be run again still find a configuration.
func TestSecretsAfterReady(t *testing.T) {
	const token, key = "abcdef.0123456789abcdef", "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
	root := newRoot(t, minimal+"kubeadm:\n  - kind: InitConfiguration\n    bootstrapTokens: [{token: "+token+"}]\n    certificateKey: "+key+"\n    timeouts: {discovery: 5m0s}\n")
	report, _ := newReport(t)
	c, err := newAt(root, report)
	must(t, err)
	pinned, err := kubeadm.NewPinned("cp1", "192.0.2.10")
	must(t, err)
	must(t, c.pin(pinned))
	must(t, c.writeConfig(c.pinned))
	secrets := []string{token, key, pinned.Token, pinned.CertificateKey}
	for range 2 { // as often as one likes
		must(t, c.forgetSecrets())
		must(t, filepath.WalkDir(root, func(name string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := os.ReadFile(name)
			for _, s := range secrets {
				if strings.Contains(string(data), s) {
					t.Errorf("%s holds %s", name, s)
				}
			}
			return err
		}))
	}
	if info, err := os.Stat(filepath.Join(root, RoleFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("role: %v, %v", info, err)
	}
	c, err = newAt(root, report)
	must(t, err)
	if c.pinned.NodeName != "cp1" || len(c.role.Kubeadm) != 1 {
		t.Errorf("the node forgot too much: %+v, %v", c.pinned, c.role.Kubeadm)
	}
	must(t, c.journal.Begin("node"))
	must(t, c.journal.End("node", 0))
	must(t, c.needConfig([]step{{name: "ready", always: true}}))
	if _, err := os.Stat(filepath.Join(root, kubeadmFile)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a configuration that no step needs: %v", err)
	}
	must(t, c.needConfig([]step{{name: "certificates"}}))
	data, err := os.ReadFile(filepath.Join(root, kubeadmFile))
	must(t, err)
	if strings.Contains(string(data), pinned.Token) || c.pinned.Token != "" {
		t.Error("a secret came back")
	}
}

func TestWithoutSecrets(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"none: not a byte changes", "# mine\nversion:   1\nkubeadm: [{kind: InitConfiguration, skipPhases: [a]}]\n", ""},
		{"no raw documents", "version: 1\n", ""},
		{"empty", "", ""},
		{"a list of none", "kubeadm: []\n", ""},
		{"something else", "kubeadm: {bootstrapTokens: x}\n", ""},
		{"one", "version: 1\nkubeadm:\n    - kind: InitConfiguration\n      certificateKey: x # secret\n      skipPhases: [a] # kept\n", "version: 1\nkubeadm:\n    - kind: InitConfiguration\n      skipPhases: [a] # kept\n"},
		{"both", "kubeadm: [{bootstrapTokens: [{token: x}], certificateKey: y, kind: z}]\n", "kubeadm: [{kind: z}]\n"},
		{"what the node joined with", "version: 1\njoin: {token: x, discoveryFile: /etc/slipway/discovery.conf}\n", "version: 1\njoin: {}\n"},
		{"by an anchor", "kubeadm: [&a {kind: z, certificateKey: y}]\n", "kubeadm: [&a {kind: z}]\n"},
	} {
		want := c.want
		if want == "" {
			want = c.in
		}
		if got, err := withoutSecrets([]byte(c.in)); err != nil || string(got) != want {
			t.Errorf("%s: got %q, %v", c.name, got, err)
		}
	}
	if _, err := withoutSecrets([]byte("token: [hunter2")); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
}

func FuzzWithoutSecrets(f *testing.F) {
	f.Add("kubeadm: [{certificateKey: y, kind: z}]\n")
	f.Add("kubeadm: &a\n- *a\n")
	f.Add("a: &a {certificateKey: y}\nkubeadm: [*a, <<: *a]\n")
	f.Fuzz(func(t *testing.T, in string) {
		once, err := withoutSecrets([]byte(in))
		if err != nil {
			return
		}
		if twice, err := withoutSecrets(once); err != nil || string(twice) != string(once) {
			t.Errorf("%q became %q, then %q, %v", in, once, twice, err)
		}
	})
}

func TestNodeName(t *testing.T) {
	const id = "0123456789abcdef0123456789abcdef\n"
	for _, c := range []struct {
		host, id, want string
		wrong          bool
	}{
		{"cp1", id, "cp1", false},
		{"CP1.Example.net", id, "cp1.example.net", false},
		{"localhost", id, "node-01234567", false},
		{"localhost.localdomain", id, "node-01234567", false},
		{"(none)", id, "node-01234567", false},
		{"", id, "node-01234567", false},
		{"", "", "", true},
		{"cp_1", id, "", true},
		{"cp1-", id, "", true},
		{strings.Repeat("a", 64), id, "", true},
	} {
		got, err := nodeName(c.host, c.id)
		if got != c.want || (err != nil) != c.wrong {
			t.Errorf("%q: got %q, %v", c.host, got, err)
		}
		if err != nil && !strings.Contains(err.Error(), "node.name") {
			t.Errorf("%q: it does not say what to do: %v", c.host, err)
		}
	}
}

func TestWithHost(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"no file", "", "192.0.2.1 cp.example.net\n"},
		{"others", "127.0.0.1 localhost\n", "127.0.0.1 localhost\n192.0.2.1 cp.example.net\n"},
		{"no newline at the end", "127.0.0.1 localhost", "127.0.0.1 localhost\n192.0.2.1 cp.example.net\n"},
		{"it is there", "192.0.2.1 cp.example.net\n", "192.0.2.1 cp.example.net\n"},
		{"it is there with another address", "198.51.100.7\tother CP.example.net # by hand\n", "198.51.100.7\tother CP.example.net # by hand\n"},
		{"only in a comment", "# cp.example.net\n", "# cp.example.net\n192.0.2.1 cp.example.net\n"},
		{"a longer name", "192.0.2.1 xcp.example.net\n", "192.0.2.1 xcp.example.net\n192.0.2.1 cp.example.net\n"},
	} {
		got := string(withHost([]byte(c.in), "192.0.2.1", "cp.example.net"))
		if got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
		if again := string(withHost([]byte(got), "192.0.2.1", "cp.example.net")); again != got {
			t.Errorf("%s: a second time: %q", c.name, again)
		}
	}
}

func TestMissingImages(t *testing.T) {
	have := []cri.Image{{RepoTags: []string{"a:1", "b:1"}}, {RepoTags: []string{"c:2"}}}
	for _, c := range []struct {
		wanted []string
		says   string
	}{
		{nil, ""},
		{[]string{"a:1", "b:1", "c:2"}, ""},
		{[]string{"a:1", "c:1", "d:1"}, "containerd lacks baked images: c:1, d:1"},
	} {
		err := missing(c.wanted, have)
		if c.says == "" && err != nil || c.says != "" && (err == nil || err.Error() != c.says) {
			t.Errorf("%v: %v", c.wanted, err)
		}
	}
}

// CoreDNS's configuration follows the resolver, unless somebody wrote his own.
func TestCorefile(t *testing.T) {
	with, without := kubeadm.Corefile("d", true), kubeadm.Corefile("d", false)
	for _, c := range []struct {
		name            string
		upstream, found bool
		old             string
		write           bool
	}{
		{"none yet", true, false, "", true},
		{"as it should be", true, true, with, false},
		{"a resolver came", true, true, without, true},
		{"a resolver went", false, true, with, true},
		{"the user's own", false, true, with + "# mine", false},
		{"the user's own, empty", false, true, "", false},
	} {
		wanted, write := corefile("d", c.upstream, c.found, c.old)
		if write != c.write || wanted != map[bool]string{true: with, false: without}[c.upstream] {
			t.Errorf("%s: write %v", c.name, write)
		}
	}
}

func TestHasResolver(t *testing.T) {
	for in, want := range map[string]bool{
		"":                                 false,
		"nameserver 127.0.0.53\n":          false,
		"nameserver ::1\n":                 false,
		"# nameserver 192.0.2.1\n":         false,
		"search example.net\nnameserver\n": false,
		"nameserver 192.0.2.1\n":           true,
		"nameserver 127.0.0.1\nnameserver fd00::1": true,
	} {
		root := t.TempDir()
		write(t, root, "run/systemd/resolve/resolv.conf", in)
		if got := (&Configurator{root: root}).hasResolver(); got != want {
			t.Errorf("%q: %v", in, got)
		}
	}
	if (&Configurator{root: t.TempDir()}).hasResolver() {
		t.Error("without the file there is one")
	}
}

// What keeps a node from going on is said, between the steps too.
func TestWhatIsMissingBetweenTheStepsIsSaid(t *testing.T) {
	n, said := configure(t, minimal+"apiServer: {encryption: true}\n")
	must(t, n.journal.Begin("node"))
	must(t, n.journal.End("node", 0))
	var fatal *FatalError
	if err := n.Run(t.Context()); !errors.As(err, &fatal) {
		t.Errorf("got %v", err)
	}
	want := "FAILED: /etc/slipway/role.yaml:4:25: Secrets are to be encrypted, but " + kubeadm.EncryptionFile + " is missing (`builder cluster render` lays it down, or a Butane file of yours)"
	if s := strings.Join(*said, "\n"); s != want {
		t.Errorf("said %q, want %q", s, want)
	}
}

// A node that was Ready is not kept from saying so by what it only tells of.
func TestFinishing(t *testing.T) {
	n, said := configure(t, worker)
	write(t, n.root, "sys/block/vdb/serial", "ignition\n")
	if err := n.finish(false); err == nil {
		t.Error("a new node without the cluster's authority is Ready")
	}
	if len(*said) > 0 {
		t.Errorf("said %q before the node was Ready", *said)
	}
	must(t, n.finish(true))
	s := strings.Join(*said, "\n")
	for _, want := range []string{"WARNING: open ", "WARNING: " + n.path("dev/vdb") + `, the disk with serial number "ignition": the config on it`, "NODE READY: cp1"} {
		if !strings.Contains(s, want) {
			t.Errorf("no %q in %q", want, s)
		}
	}
	must(t, os.Remove(n.path(RoleFile)))
	must(t, os.Mkdir(n.path(RoleFile), 0o755))
	if err := n.finish(true); err == nil || !strings.HasPrefix(err.Error(), "removing what only the start needed: ") {
		t.Errorf("got %v", err)
	}
}
