package configurator

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slipway-os/slipway/pkg/journal"
	"github.com/slipway-os/slipway/pkg/kubeadm"
	"github.com/slipway-os/slipway/pkg/kubeadm/kubeadmtest"
	"github.com/slipway-os/slipway/pkg/kubeapi"
	"github.com/slipway-os/slipway/pkg/role"
)

// api is the little of an API server that these steps ask: objects at paths.
type api struct {
	mu      sync.Mutex
	objects map[string]string
	asked   []string // method, path and who asks
	failing int      // how many requests to refuse first
	refuse  string   // what to say to the next PATCH
	version int      // of the object that was written last
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	who := "anybody"
	switch {
	case len(r.TLS.PeerCertificates) > 0:
		who = r.TLS.PeerCertificates[0].Subject.CommonName
	case r.Header.Get("Authorization") == "Bearer "+token:
		who = "system:bootstrap:abcdef"
	case r.URL.Path != clusterInfo: // which alone is for anybody
		http.Error(w, `{"message":"Unauthorized"}`, http.StatusUnauthorized)
		return
	}
	a.asked = append(a.asked, r.Method+" "+r.URL.Path+" "+who)
	if a.failing > 0 {
		a.failing--
		http.Error(w, `{"message":"etcdserver: leader changed"}`, http.StatusInternalServerError)
		return
	}
	body, _ := io.ReadAll(r.Body)
	old, found := a.objects[r.URL.Path]
	switch r.Method {
	case http.MethodGet:
		if !found {
			http.Error(w, `{"message":"not found"}`, http.StatusNotFound)
			return
		}
		io.WriteString(w, old)
	case http.MethodPost:
		var o struct{ Metadata struct{ Name string } }
		json.Unmarshal(body, &o)
		name := r.URL.Path + "/" + o.Metadata.Name
		if _, found := a.objects[name]; found {
			http.Error(w, `{"message":"already exists"}`, http.StatusConflict)
			return
		}
		a.objects[name] = a.versioned(body)
	case http.MethodPut, http.MethodPatch:
		if a.refuse != "" && r.Method == http.MethodPatch {
			w.WriteHeader(http.StatusUnprocessableEntity)
			json.NewEncoder(w).Encode(map[string]string{"message": a.refuse})
			a.refuse = ""
			return
		}
		a.objects[r.URL.Path] = a.versioned(body)
	}
}

// versioned returns an object as it is stored, if it is one.
func (a *api) versioned(body []byte) string {
	var o map[string]any
	json.Unmarshal(body, &o)
	metadata, ok := o["metadata"].(map[string]any)
	if !ok {
		return string(body)
	}
	a.version++
	metadata["resourceVersion"] = strconv.Itoa(a.version)
	stored, _ := json.Marshal(o)
	return string(stored)
}

func (a *api) object(path string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.objects[path]
}

// serve starts an API server with a certificate of an authority.
func serve(t *testing.T, ca kubeadmtest.Pair, v kubeadmtest.Validity, answer http.Handler) *httptest.Server {
	t.Helper()
	own := ca.Sign(t, "kube-apiserver", v)
	pool := x509.NewCertPool()
	pool.AddCert(ca.Cert)
	s := httptest.NewUnstartedServer(answer)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{own.Cert.Raw}, PrivateKey: own.Key}}, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: pool}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// newCluster returns a node whose API server has some objects.
func newCluster(t *testing.T, objects map[string]string) (*Configurator, *api, *[]string) {
	t.Helper()
	a := &api{objects: objects}
	ca := kubeadmtest.Authority(t, "kubernetes", kubeadmtest.Validity{})
	s := serve(t, ca, kubeadmtest.Validity{}, a)
	root := t.TempDir()
	for _, name := range []string{"admin.conf", "super-admin.conf"} {
		write(t, root, kubeadm.ConfigDir+"/"+name, string(kubeadmtest.Kubeconfig(t, s.URL, ca, ca.Sign(t, name, kubeadmtest.Validity{}))))
	}
	report, said := newReport(t)
	r := &role.Role{Cluster: role.Cluster{DNSDomain: "cluster.local", PodSubnets: []string{"10.244.0.0/16", "fd00:10:244::/56"}}}
	j, err := journal.Open(filepath.Join(root, journalFile))
	must(t, err)
	return &Configurator{root: root, role: r, status: report, journal: j, pinned: kubeadm.Pinned{NodeName: "cp1", NodeIP: "127.0.0.1"}}, a, said
}

const corednsMap = "/api/v1/namespaces/kube-system/configmaps/coredns"

func configMapOf(t *testing.T, corefile string) string {
	t.Helper()
	data, err := json.Marshal(map[string]any{"data": map[string]string{"Corefile": corefile}})
	must(t, err)
	return string(data)
}

func TestDNS(t *testing.T) {
	with, without := kubeadm.Corefile("cluster.local", true), kubeadm.Corefile("cluster.local", false)
	for i, c := range []struct {
		name     string
		resolver bool
		old      string // "" for none
		want     string
	}{
		{"none yet, no resolver", false, "", without},
		{"none yet, a resolver", true, "", with},
		{"a resolver came", true, without, with},
		{"a resolver went", false, with, without},
		{"the user's own stays", false, with + "# mine\n", with + "# mine\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			objects := map[string]string{}
			if c.old != "" {
				objects[corednsMap] = configMapOf(t, c.old)
			}
			n, a, _ := newCluster(t, objects)
			if c.resolver {
				write(t, n.root, "run/systemd/resolve/resolv.conf", "nameserver 192.0.2.53\n")
			}
			if i == 0 {
				a.failing = 2 // it answers when it can
			}
			for range 2 { // a second time changes nothing
				must(t, n.dns(t.Context()))
				var now configMap
				must(t, json.Unmarshal([]byte(a.object(corednsMap)), &now))
				if now.Data["Corefile"] != c.want {
					t.Errorf("got\n%s", now.Data["Corefile"])
				}
			}
		})
	}
}

// A control plane that starts without a resolver does not take those of others
// away from the cluster.
func TestDNSAtALaterBoot(t *testing.T) {
	with, without := kubeadm.Corefile("cluster.local", true), kubeadm.Corefile("cluster.local", false)
	const alone, others = `{"items":[{"metadata":{"name":"cp1"}}]}`, `{"items":[{"metadata":{"name":"cp1"}},{"metadata":{"name":"cp2"}}]}`
	for _, c := range []struct {
		name      string
		resolver  bool
		planes    string
		old, want string
		said      string // "" for nothing
	}{
		{"all is as before", true, others, with, with, ""},
		{"still no resolver", false, others, without, without, ""},
		{"a resolver came", true, others, without, with, ""},
		{"it went, and others may have theirs", false, others, with, with, "goes on with those of the other control planes"},
		{"it went, and nobody else has one", false, alone, with, without, "only knows the cluster's own names"},
		{"the user's own", false, others, with + "# mine\n", with + "# mine\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, a, said := newCluster(t, map[string]string{corednsMap: configMapOf(t, c.old), "/api/v1/nodes": c.planes})
			must(t, n.journal.Begin(ready))
			must(t, n.journal.End(ready, 0))
			if c.resolver {
				write(t, n.root, "run/systemd/resolve/resolv.conf", "nameserver 192.0.2.53\n")
			}
			must(t, n.dns(t.Context()))
			var now configMap
			must(t, json.Unmarshal([]byte(a.object(corednsMap)), &now))
			if now.Data["Corefile"] != c.want {
				t.Errorf("got\n%s", now.Data["Corefile"])
			}
			if s := strings.Join(*said, "\n"); !strings.Contains(s, c.said) || c.said == "" && s != "" {
				t.Errorf("said %q", s)
			}
		})
	}
}

// The first node gets its subnets once; those that it has stay.
func TestAssignSubnet(t *testing.T) {
	const path = "/api/v1/nodes/cp1"
	n, a, said := newCluster(t, map[string]string{})
	done := make(chan error, 1)
	go func() { done <- n.assignSubnet(t.Context()) }()
	for registered := false; ; {
		select {
		case err := <-done:
			must(t, err)
			if !registered {
				t.Fatal("it did not wait for the node")
			}
			if want := `{"spec":{"podCIDR":"10.244.0.0/24","podCIDRs":["10.244.0.0/24","fd00:10:244::/64"]}}`; a.object(path) != want {
				t.Errorf("got %s", a.object(path))
			}
			if s := strings.Join(*said, "\n"); !strings.Contains(s, "the kubelet has not registered the node yet") {
				t.Errorf("said %q", s)
			}
			must(t, n.assignSubnet(t.Context()))
			patches := 0
			for _, q := range a.asked {
				if strings.HasPrefix(q, "PATCH") {
					patches++
				}
				if !strings.HasSuffix(q, " super-admin.conf") {
					t.Errorf("asked %s: nobody else is obeyed yet", q)
				}
			}
			if patches != 1 {
				t.Errorf("%d patches", patches)
			}
			return
		case <-time.After(time.Millisecond):
			a.mu.Lock()
			if !registered && len(a.asked) > 0 {
				a.objects[path], registered = `{"spec":{}}`, true
			}
			a.mu.Unlock()
		}
	}
}

func TestAdmitAdmin(t *testing.T) {
	n, a, _ := newCluster(t, map[string]string{"/api/v1/nodes": `{"items":[]}`})
	for range 2 { // that it is there already is no failure
		must(t, n.admitAdmin(t.Context()))
	}
	var binding struct {
		RoleRef  struct{ Name string }
		Subjects []struct{ Kind, Name string }
	}
	must(t, json.Unmarshal([]byte(a.object("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/kubeadm:cluster-admins")), &binding))
	if binding.RoleRef.Name != "cluster-admin" || len(binding.Subjects) != 1 || binding.Subjects[0].Name != "kubeadm:cluster-admins" || binding.Subjects[0].Kind != "Group" {
		t.Errorf("bound %+v", binding)
	}
	if last := a.asked[len(a.asked)-1]; last != "GET /api/v1/nodes admin.conf" {
		t.Errorf("last asked %s: the administrator himself has to be let in", last)
	}
}

func TestWaitReady(t *testing.T) {
	ready := `{"type":"Ready","status":"True"}`
	n, a, said := newCluster(t, map[string]string{
		"/api/v1/nodes":                                    `{"items":[{"metadata":{"name":"cp1"},"status":{"conditions":[` + ready + `]}}]}`,
		"/api/v1/namespaces/kube-system/pods":              `{"items":[{"metadata":{"name":"coredns-a"},"status":{"phase":"Pending"}}]}`,
		"/apis/apps/v1/namespaces/kube-system/deployments": `{"items":[{"metadata":{"name":"coredns"}}]}`,
		"/apis/apps/v1/namespaces/kube-system/daemonsets":  `{"items":[{"metadata":{"name":"kube-proxy"}}]}`,
	})
	done := make(chan error, 1)
	go func() { done <- n.waitReady(t.Context()) }()
	for {
		select {
		case err := <-done:
			must(t, err)
			if s := strings.Join(*said, "\n"); !strings.Contains(s, "waiting: coredns-a (Pending)") {
				t.Errorf("said %q", s)
			}
			return
		case <-time.After(time.Millisecond):
			a.mu.Lock()
			if len(a.asked) >= 4 {
				a.objects["/api/v1/namespaces/kube-system/pods"] = `{"items":[{"metadata":{"name":"coredns-a"},"status":{"phase":"Running","conditions":[` + ready + `]}}]}`
			}
			a.mu.Unlock()
		}
	}
}

// A node that was Ready once does not wait for what other nodes lack, nor for
// what somebody took out of the cluster.
func TestWaitReadyAtALaterBoot(t *testing.T) {
	const own = `{"metadata":{"name":"kube-proxy-a","namespace":"kube-system"},"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}]}}`
	n, a, _ := newCluster(t, map[string]string{
		"/api/v1/nodes":                       `{"items":[]}`,
		"/api/v1/nodes/cp1":                   `{"metadata":{"name":"cp1"},"status":{"conditions":[{"type":"Ready","status":"True"}]}}`,
		"/api/v1/pods":                        `{"items":[` + own + `]}`, // as the field selector has it
		"/api/v1/namespaces/kube-system/pods": `{"items":[` + own + `,{"metadata":{"name":"kube-proxy-b"},"status":{"phase":"Pending"}}]}`,
		"/apis/apps/v1/namespaces/kube-system/deployments": `{"items":[]}`,
	})
	must(t, n.journal.Begin(ready))
	must(t, n.journal.End(ready, 0))
	must(t, n.waitReady(t.Context()))
	if last := a.asked[len(a.asked)-1]; last != "GET /api/v1/pods admin.conf" {
		t.Errorf("last asked %s", last)
	}
}

func TestWaitingEndsWithItsContext(t *testing.T) {
	n, _, _ := newCluster(t, map[string]string{})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	for name, step := range map[string]func(context.Context) error{"api": n.waitAPI, "node": n.waitNode, "ready": n.waitReady, "subnet": n.assignSubnet} {
		if err := step(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An API server that does not answer, or not rightly, has a reason.
func TestWhy(t *testing.T) {
	n, _, _ := newCluster(t, nil)
	stranger := kubeadmtest.Authority(t, "other", kubeadmtest.Validity{})
	data, err := os.ReadFile(n.path(adminConfig))
	must(t, err)
	_, rest, _ := strings.Cut(string(data), "server: ")
	server, _, _ := strings.Cut(rest, "\n")
	client, err := kubeapi.FromKubeconfig(kubeadmtest.Kubeconfig(t, server, stranger, stranger.Sign(t, "x", kubeadmtest.Validity{})), nil)
	must(t, err)
	defer client.Close()
	_, unknown := client.Send(t.Context(), http.MethodGet, "/", "", nil)
	refused := errors.New("connection refused")
	for _, c := range []struct {
		name string
		err  error
		do   func()
		want string
	}{
		{"it says why", fmt.Errorf("wrapped: %w", &kubeapi.StatusError{Code: 500, Message: "etcd failed"}), nil, "the API server answers, but is not ready: etcd failed"},
		{"another's certificate", unknown, nil, "the API server's certificate is not accepted: "},
		{"nothing runs", refused, nil, "the kubelet has started no pod yet"},
		{"something runs", refused, func() {
			for _, pod := range []string{"kube-system_etcd-cp1_1/etcd", "kube-system_kube-apiserver-cp1_1/kube-apiserver", "default_x_1/x"} {
				must(t, os.MkdirAll(n.path("/var/log/pods/"+pod), 0o755))
			}
		}, "the API server does not answer; there are logs of etcd, kube-apiserver"},
		{"the node's address is gone", refused, func() { n.pinned.NodeIP = "192.0.2.254" }, "the address 192.0.2.254, which this node was configured with, is on none of its interfaces; give it back to the machine"},
	} {
		if c.do != nil {
			c.do()
		}
		if got := n.why(c.err); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: got %q", c.name, got)
		}
	}
}
