package configurator

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-os/slipway/pkg/kubeadm"
	"github.com/slipway-os/slipway/pkg/kubeadm/kubeadmtest"
	"github.com/slipway-os/slipway/pkg/kubeapi"
)

const (
	worker   = "version: 1\nrole: worker\njoin: {}\n"
	joinPair = "version: 1\nrole: control-plane\njoin: {}\n"
	member   = "version: 1\nrole: etcd\netcd: {members: [{name: cp1, ip: 192.0.2.10}, {name: e2, ip: 192.0.2.12}]}\n"
	digest   = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	token    = "abcdef.0123456789abcdef"
	byToken  = "version: 1\nrole: worker\njoin: {token: " + token + ", caCertHashes: ['" + digest + "']}\ncluster:\n  endpoint: cp\n"
)

// configure returns the configurator of a node with a role, on an image that
// can be anything.
func configure(t *testing.T, role string) (c *Configurator, said *[]string) {
	t.Helper()
	root := newRoot(t, role)
	write(t, root, imageFile, `{"kubernetesVersion":"v1.37.2","imageRepository":"slipway.local","roles":["control-plane","worker","etcd"]}`)
	report, said := newReport(t)
	c, err := newAt(root, report)
	must(t, err)
	pinned, err := kubeadm.NewPinned("cp1", "192.0.2.10")
	must(t, err)
	must(t, c.pin(pinned))
	return c, said
}

func TestStepsOfEachRole(t *testing.T) {
	for _, c := range []struct{ name, role, want string }{
		{"a cluster's first", minimal, "node images network authorities vacant certificates kubeconfigs etcd control-plane kubelet api managers subnet proxy pod-network token admin config mark joined dns coredns manifests ready"},
		{"without add-ons", minimal + "kubeadm: [{kind: ClusterConfiguration, proxy: {disabled: true}, dns: {disabled: true}}]\n", "node images network authorities vacant certificates kubeconfigs etcd control-plane kubelet api managers subnet pod-network token admin config mark joined manifests ready"},
		{"one more control plane", joinPair, "node images network cluster certificates kubeconfigs control-plane kubelet etcd serve admitted api managers mark ready"},
		{"one with etcd elsewhere", joinPair + "etcd: {members: [{name: e1, ip: 192.0.2.12}]}\n", "node images network cluster certificates kubeconfigs control-plane kubelet serve admitted api managers mark ready"},
		{"worker", worker, "node images network cluster kubelet admitted ready"},
		{"etcd member", member, "node images members etcd kubelet promoted ready"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, _ := configure(t, c.role)
			var names []string
			for _, s := range n.steps() {
				names = append(names, s.name)
			}
			if got := strings.Join(names, " "); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// What a node needs to join is asked for before anything begins.
func TestWhatAJoiningNodeWasGiven(t *testing.T) {
	n, _ := configure(t, joinPair)
	var fatal *FatalError
	if err := n.inspect(); !errors.As(err, &fatal) || !strings.Contains(err.Error(), "needs its authorities") {
		t.Errorf("control plane without authorities: %v", err)
	}
	kubeadmtest.Authorities(t, n.path(kubeadm.PKIDir))
	must(t, n.inspect())
	must(t, os.Truncate(n.path(kubeadm.PKIDir+"/etcd/ca.key"), 0))
	if err := n.inspect(); !errors.As(err, &fatal) || !strings.Contains(err.Error(), "etcd/ca.key is empty or damaged") {
		t.Errorf("an authority is damaged: %v", err)
	}

	n, _ = configure(t, member)
	if err := n.inspect(); !errors.As(err, &fatal) || !strings.Contains(err.Error(), "etcd/ca.crt") {
		t.Errorf("etcd member without certificates: %v", err)
	}
	authorities := kubeadmtest.Authorities(t, t.TempDir())
	etcd := authorities["etcd/ca"]
	etcd.Write(t, n.path(kubeadm.PKIDir), "etcd/ca")
	must(t, os.Remove(n.path(kubeadm.PKIDir+"/etcd/ca.key"))) // a member needs it for nothing
	for _, name := range []string{"etcd/server", "etcd/peer", "etcd/healthcheck-client"} {
		etcd.Sign(t, name, kubeadmtest.Validity{}).Write(t, n.path(kubeadm.PKIDir), name)
	}
	must(t, n.inspect())
	authorities["ca"].Sign(t, "etcd/peer", kubeadmtest.Validity{}).Write(t, n.path(kubeadm.PKIDir), "etcd/peer")
	if err := n.inspect(); !errors.As(err, &fatal) || !strings.Contains(err.Error(), "etcd/peer.crt was not signed by etcd/ca.crt") {
		t.Errorf("a certificate of another authority: %v", err)
	}

	n, _ = configure(t, worker)
	must(t, n.inspect())
	if err := n.waitCluster(t.Context()); !errors.As(err, &fatal) || !strings.Contains(err.Error(), "no credentials to join with") {
		t.Errorf("worker without credentials: %v", err)
	}
}

// A control plane whose join of etcd is tried again may be a voter already: the
// cluster could not do anything without it.
func TestTryingToJoinEtcdAgain(t *testing.T) {
	const whole = "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - name: etcd\n  volumes:\n  - name: etcd-certs\n  - name: etcd-data\n"
	for _, c := range []struct {
		name, manifest string
		kept           bool
	}{
		{"whole", whole, true},
		{"torn", whole[:len(whole)-30], false},
		{"empty", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, _ := configure(t, joinPair)
			write(t, n.root, kubeadm.ConfigDir+"/manifests/etcd.yaml", c.manifest)
			for _, s := range n.steps() {
				if s.name == "etcd" {
					must(t, s.clean())
				}
			}
			if _, err := os.Stat(n.manifest("etcd")); (err == nil) != c.kept {
				t.Errorf("kept: %v", err == nil)
			}
		})
	}
}

// joining returns a node with a role in front of a cluster, which has stored the
// given networking.
func joining(t *testing.T, own, networking string) (c *Configurator, a *api, said *[]string) {
	t.Helper()
	n, a, said := newCluster(t, map[string]string{})
	node, _ := configure(t, own)
	n.role = node.role
	admin, err := os.ReadFile(n.path(adminConfig))
	must(t, err)
	client, err := kubeapi.FromKubeconfig(admin, nil)
	must(t, err)
	n.role.Cluster.Endpoint = client.Server()
	if n.role.Join.Token != "" {
		n.role.Join.CACertHashes = []string{digest, authorityOf(t, admin)}
		must(t, os.Remove(n.path(adminConfig)))
	}
	for path, data := range map[string]map[string]string{
		clusterInfo:      {"kubeconfig": string(admin), "jws-kubeconfig-abcdef": "x"},
		clusterConfigMap: {"ClusterConfiguration": "kubernetesVersion: v1.37.1\nnetworking: {" + networking + "}\n"},
	} {
		object, err := json.Marshal(configMap{Data: data})
		must(t, err)
		a.objects[path] = string(object)
	}
	return n, a, said
}

// authorityOf is the digest of a kubeconfig's authority.
func authorityOf(t *testing.T, config []byte) string {
	t.Helper()
	_, rest, _ := strings.Cut(string(config), "certificate-authority-data: ")
	encoded, _, _ := strings.Cut(rest, "\n")
	data, err := base64.StdEncoding.DecodeString(strings.TrimSpace(encoded))
	must(t, err)
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "ca.crt"), data, 0o644))
	hash, err := kubeadm.PKI{Dir: dir}.CAHash()
	must(t, err)
	return hash
}

// A node that joins waits, and says for what.
func TestWaitingForACluster(t *testing.T) {
	for _, c := range []struct{ name, role, missing string }{
		{"by its credentials", worker, clusterConfigMap},
		{"by a token", byToken, clusterInfo},
		{"by a token, once it has stored its configuration", byToken, clusterConfigMap},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, a, said := joining(t, c.role, "podSubnet: 10.244.0.0/16")
			content := a.objects[c.missing]
			delete(a.objects, c.missing)
			done := make(chan error, 1)
			go func() { done <- n.waitCluster(t.Context()) }()
			for {
				select {
				case err := <-done:
					must(t, err)
					if s := strings.Join(*said, "\n"); !strings.Contains(s, "waiting: the cluster at "+n.role.Cluster.Endpoint+" is being set up") {
						t.Errorf("said %q", s)
					}
					return
				case <-time.After(time.Millisecond):
					a.mu.Lock()
					if slices.ContainsFunc(a.asked, func(s string) bool { return strings.Contains(s, c.missing) }) {
						a.objects[c.missing] = content
					}
					a.mu.Unlock()
				}
			}
		})
	}
}

// A role that says of the cluster what is not so is refused before the node
// does anything in it.
func TestRolesOfAnotherCluster(t *testing.T) {
	const networking = "podSubnet: 10.1.0.0/16, serviceSubnet: 10.2.0.0/16, dnsDomain: example.net"
	const fits = "  podSubnets: [10.1.0.0/16]\n  serviceSubnets: [10.2.0.0/16]\n"
	for _, c := range []struct{ name, cluster, want string }{
		{"that fits", fits, ""},
		{"that says all there is", fits + "  dnsDomain: example.net\n", ""},
		{"with other subnets", strings.Replace(fits, "10.1", "10.3", 1), "/etc/slipway/role.yaml:6:15: cluster.podSubnets is 10.3.0.0/16, but the cluster has 10.1.0.0/16 (write podSubnets: [10.1.0.0/16])"},
		{"another domain", fits + "  dnsDomain: cluster.local\n", "/etc/slipway/role.yaml:8:14: cluster.dnsDomain is cluster.local, but the cluster has example.net (give that, or leave it out)"},
		{"another version", fits + "  kubernetesVersion: v1.37.2\n", "/etc/slipway/role.yaml:8:22: cluster.kubernetesVersion is v1.37.2, but the cluster has v1.37.1 (give that, or leave it out)"},
	} {
		for how, begin := range map[string]string{"token": byToken, "credentials": strings.Replace(byToken, "join: {token: "+token+", caCertHashes: ['"+digest+"']}", "join: {}", 1)} {
			t.Run(c.name+", by "+how, func(t *testing.T) {
				n, a, _ := joining(t, begin+c.cluster, networking)
				err := n.waitCluster(t.Context())
				var fatal *FatalError
				switch {
				case c.want == "":
					must(t, err)
				case !errors.As(err, &fatal) || err.Error() != c.want:
					t.Errorf("got  %v\nwant %s", err, c.want)
				}
				for _, request := range a.asked {
					if strings.Contains(request, clusterConfigMap) && strings.HasSuffix(request, "anybody") || !strings.HasPrefix(request, http.MethodGet) {
						t.Errorf("asked %s", request)
					}
				}
			})
		}
	}
}

// A node whose role leaves the subnets to the cluster takes them, and knows them
// at later boots, when it may not reach the cluster.
func TestSubnetsOfTheCluster(t *testing.T) {
	const networking = "podSubnet: '10.1.0.0/16,fd00:1::/56', serviceSubnet: '10.2.0.0/16,fd00:2::/112'"
	own := byToken + "  podSubnets: []\n  serviceSubnets: []\nnode: {ip: 192.0.2.10, secondIP: '2001:db8::10'}\n"
	n, _, said := joining(t, own, networking)
	must(t, n.waitCluster(t.Context()))
	config, err := os.ReadFile(n.path(kubeadmFile))
	must(t, err)
	if !strings.Contains(string(config), "value: 192.0.2.10,2001:db8::10") {
		t.Errorf("kubeadm's configuration:\n%s", config)
	}
	if s := strings.Join(*said, "\n"); !strings.Contains(s, "the cluster has pods in 10.1.0.0/16, fd00:1::/56 and services in 10.2.0.0/16, fd00:2::/112") {
		t.Errorf("said %q", s)
	}
	later, _ := configure(t, own)
	later.root = n.root
	must(t, later.recall())
	later.role.Join, later.role.Cluster.Endpoint = n.role.Join, n.role.Cluster.Endpoint
	for _, c := range []*Configurator{n, later} {
		if k := c.role.Cluster; !slices.Equal(k.PodSubnets, []string{"10.1.0.0/16", "fd00:1::/56"}) || !slices.Equal(k.ServiceSubnets, []string{"10.2.0.0/16", "fd00:2::/112"}) {
			t.Errorf("got %v, %v", k.PodSubnets, k.ServiceSubnets)
		}
	}
	must(t, later.waitCluster(t.Context())) // again, after an interruption
	for name, networking := range map[string]string{
		"/etc/slipway/role.yaml:8:12: node.ip is 192.0.2.10, but the first service subnet of the cluster is fd00:2::/112":                   "podSubnet: 'fd00:1::/56', serviceSubnet: 'fd00:2::/112'",
		"the cluster does not say which subnets it has; give cluster.podSubnets and cluster.serviceSubnets in the role":                     "dnsDomain: a",
		"reading the cluster's ClusterConfiguration: \"x\" is not a subnet; give cluster.podSubnets and cluster.serviceSubnets in the role": "serviceSubnet: x",
	} {
		n, _, _ := joining(t, own, networking)
		var fatal *FatalError
		if err := n.waitCluster(t.Context()); !errors.As(err, &fatal) || err.Error() != name {
			t.Errorf("got  %v\nwant %s", err, name)
		}
	}
}

// The token is shown to nobody but the cluster that is meant.
func TestTheTokenOfAnotherCluster(t *testing.T) {
	n, a, said := joining(t, byToken, "")
	n.role.Join.CACertHashes = []string{digest}
	waiting, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if err := n.waitCluster(waiting); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if s := strings.Join(*said, "\n"); !strings.Contains(s, "is not the cluster that join.caCertHashes means: the digest of its authority is none of those that were given") {
		t.Errorf("said %q", s)
	}
	for _, request := range a.asked {
		if !strings.HasSuffix(request, "anybody") {
			t.Errorf("asked %s", request)
		}
	}
}

// A discovery file says which cluster is meant, and needs no user.
func TestDiscoveryFile(t *testing.T) {
	const file = "/etc/slipway/discovery.conf"
	n, a, _ := joining(t, byToken, "podSubnet: 10.244.0.0/16, serviceSubnet: 10.96.0.0/12")
	n.role.Join.CACertHashes, n.role.Cluster.Endpoint, n.role.Join.DiscoveryFile = nil, "", file
	var fatal *FatalError
	if err := n.waitCluster(t.Context()); !errors.As(err, &fatal) || !strings.Contains(err.Error(), "join.discoveryFile: there is no "+file+" on this node") {
		t.Errorf("without it: %v", err)
	}
	write(t, n.root, file, "clusters: []\n")
	if err := n.waitCluster(t.Context()); !errors.As(err, &fatal) || !strings.Contains(err.Error(), "it names no cluster") {
		t.Errorf("a file of nothing: %v", err)
	}
	var info configMap
	must(t, json.Unmarshal([]byte(a.objects[clusterInfo]), &info))
	write(t, n.root, file, info.Data["kubeconfig"])
	if err := n.waitCluster(t.Context()); !errors.As(err, &fatal) || !strings.Contains(err.Error(), "it names a user, but the token says who asks") {
		t.Errorf("a file with credentials: %v", err)
	}
	whole, _, _ := strings.Cut(info.Data["kubeconfig"], "users:")
	write(t, n.root, file, whole)
	if err := n.waitCluster(t.Context()); !errors.As(err, &fatal) || !strings.Contains(err.Error(), "not which by current-context") {
		t.Errorf("a file that does not say which cluster: %v", err)
	}
	write(t, n.root, file, strings.Replace(whole, "- name: kubernetes", `- name: ""`, 1)) // as in cluster-info
	must(t, n.waitCluster(t.Context()))
	write(t, n.root, file, whole+"contexts: [{name: a, context: {cluster: kubernetes}}]\ncurrent-context: a\n")
	must(t, n.waitCluster(t.Context()))
	if len(a.asked) != 2 || !strings.HasSuffix(a.asked[0], clusterConfigMap+" system:bootstrap:abcdef") {
		t.Errorf("asked %q", a.asked)
	}
}

// The kubelet's kubeconfig is there before the certificate that it names.
func TestWaitingToBeAdmitted(t *testing.T) {
	n, said := configure(t, worker)
	ca := kubeadmtest.Authority(t, "kubernetes", kubeadmtest.Validity{})
	node := ca.Sign(t, "system:node:cp1", kubeadmtest.Validity{})
	pem := filepath.Join(n.root, "kubelet-client-current.pem")
	inline := string(kubeadmtest.Kubeconfig(t, "https://192.0.2.1:6443", ca, node))
	head, _, _ := strings.Cut(inline, "    client-certificate-data:")
	write(t, n.root, kubeletConfig, head+"    client-certificate: "+pem+"\n    client-key: "+pem+"\n")
	write(t, n.root, bootstrapConfig, "secret")
	waiting, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := n.waitAdmitted(waiting); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without a certificate: %v", err)
	}
	if _, err := os.Stat(n.path(bootstrapConfig)); err != nil {
		t.Errorf("what the kubelet still needs is gone: %v", err)
	}
	if s := strings.Join(*said, "\n"); !strings.Contains(s, "waiting: the kubelet has no certificate of the cluster's yet") {
		t.Errorf("said %q", s)
	}
	must(t, os.WriteFile(pem, append(node.CertPEM(), node.KeyPEM(t)...), 0o600))
	must(t, n.waitAdmitted(t.Context()))
	if _, err := os.Stat(n.path(bootstrapConfig)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what the node joined with is still there: %v", err)
	}
}

// A node that was off until its certificate ended says so.
func TestTheKubeletsCertificateHasEnded(t *testing.T) {
	for _, c := range []struct {
		name     string
		validity kubeadmtest.Validity
		want     string
	}{
		{"ended", kubeadmtest.Validity{From: time.Now().Add(-48 * time.Hour), To: time.Now().Add(-24 * time.Hour)}, "it comes in again with a fresh disk"},
		{"valid", kubeadmtest.Validity{}, "does not take this node's credentials"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, _ := configure(t, worker)
			node := kubeadmtest.Authority(t, "kubernetes", kubeadmtest.Validity{}).Sign(t, "system:node:cp1", c.validity)
			write(t, n.root, kubeletPKI+"/kubelet-client-current.pem", string(node.CertPEM())+string(node.KeyPEM(t)))
			if got := n.unjoined("cp:6443", &kubeapi.StatusError{Code: 401, Message: "Unauthorized"}); !strings.Contains(got, c.want) {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestUnreached(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	address := closed.Addr().String()
	must(t, closed.Close())
	for _, c := range []struct {
		name string
		err  func() error
		want string
	}{
		{"credentials of another cluster", func() error { return &kubeapi.StatusError{Code: 401, Message: "Unauthorized"} }, "the cluster at cp:6443 does not take this node's credentials: Unauthorized"},
		{"a cluster that is being set up", func() error { return &kubeapi.StatusError{Code: 403, Message: "forbidden"} }, "the cluster at cp:6443 does not let this node join yet: forbidden"},
		{"etcd has no leader", func() error { return &kubeapi.StatusError{Code: 500, Message: "etcdserver: no leader"} }, "the cluster at cp:6443 answers, but is not ready: etcdserver: no leader"},
		{"nobody listens", func() error {
			client := kubeapi.Unverified(address)
			_, err := client.Send(context.Background(), "GET", "/", "", nil)
			return err
		}, "nobody answers at cp:6443 yet: connect: connection refused"},
		{"name that nobody knows", func() error { return &net.DNSError{Err: "no such host", Name: "cp"} }, "the name of the cluster's endpoint cp:6443 is not known: no such host"},
	} {
		if got := unreached("cp:6443", c.err()); got != c.want {
			t.Errorf("%s: got  %s\nwant %s", c.name, got, c.want)
		}
	}
}

// What a node joined with is gone once it is Ready, from the role too.
func TestCredentialsAfterJoining(t *testing.T) {
	n, _ := configure(t, byToken)
	write(t, n.root, kubeadm.CredentialsFile, "secret")
	write(t, n.root, bootstrapConfig, "secret")
	must(t, n.writeConfig(n.pinned))
	must(t, n.forgetSecrets())
	for _, file := range []string{kubeadm.CredentialsFile, bootstrapConfig, kubeadmFile} {
		if _, err := os.Stat(n.path(file)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there (%v)", file, err)
		}
	}
	role, err := os.ReadFile(n.path(RoleFile))
	must(t, err)
	if strings.Contains(string(role), "0123456789abcdef") {
		t.Errorf("the role still has secrets:\n%s", role)
	}
	report, _ := newReport(t)
	if _, err := newAt(n.root, report); err != nil {
		t.Errorf("without its secrets the role is not right any more: %v", err)
	}
}

// A node's own settings of the kubelet are laid over those of the cluster, and
// patches over that.
func TestPatches(t *testing.T) {
	n, _ := configure(t, worker+"kubelet: {maxPods: 50}\npatches: [{target: kubeletconfiguration, type: json, patch: [{op: add, path: /logging, value: {verbosity: 4}}]}]\n")
	must(t, n.writeConfig(n.pinned))
	files, err := filepath.Glob(n.path(kubeadm.PatchDir + "/*"))
	must(t, err)
	if len(files) != 2 || filepath.Base(files[0]) != "kubeletconfiguration001+merge.yaml" || filepath.Base(files[1]) != "kubeletconfiguration002+json.yaml" {
		t.Fatalf("patches %q", files)
	}
	if data, err := os.ReadFile(files[0]); err != nil || string(data) != "maxPods: 50\n" {
		t.Errorf("%q, %v", data, err)
	}
}
