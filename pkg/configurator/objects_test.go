package configurator

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-os/slipway/pkg/manifest"
	"github.com/slipway-os/slipway/pkg/role"
)

// discovery is what the API server says of its resources.
func discovery() map[string]string {
	return map[string]string{
		"/api/v1":                            `{"resources":[{"name":"serviceaccounts","kind":"ServiceAccount","namespaced":true},{"name":"configmaps","kind":"ConfigMap","namespaced":true},{"name":"secrets","kind":"Secret","namespaced":true}]}`,
		"/apis/apps/v1":                      `{"resources":[{"name":"daemonsets","kind":"DaemonSet","namespaced":true}]}`,
		"/apis/rbac.authorization.k8s.io/v1": `{"resources":[{"name":"clusterroles","kind":"ClusterRole"},{"name":"clusterrolebindings","kind":"ClusterRoleBinding"}]}`,
		"/apis/apiextensions.k8s.io/v1":      `{"resources":[{"name":"customresourcedefinitions","kind":"CustomResourceDefinition"}]}`,
	}
}

const flannelSet = "/apis/apps/v1/namespaces/kube-system/daemonsets/flannel"

func TestPodNetwork(t *testing.T) {
	for _, c := range []struct{ name, endpoint, server string }{
		{"by the endpoint", "cp.example.net:443", `{"name":"KUBERNETES_SERVICE_HOST","value":"cp.example.net"},{"name":"KUBERNETES_SERVICE_PORT","value":"443"}`},
		{"by the node's own address", "", `{"name":"KUBERNETES_SERVICE_HOST","value":"127.0.0.1"},{"name":"KUBERNETES_SERVICE_PORT","value":"6443"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, a, _ := newCluster(t, discovery())
			n.role.Cluster.Endpoint, n.role.Cluster.PodNetwork.Backend = c.endpoint, role.VXLAN
			n.image = manifest.Image{Images: []string{"slipway.local/etcd:3.7.0-0", "slipway.local/flannel:v0.28.10"}}
			for range 2 { // resumed
				must(t, n.applyNetwork(t.Context()))
				set := a.object(flannelSet)
				if !strings.Contains(set, c.server) || !strings.Contains(set, `"image":"slipway.local/flannel:v0.28.10"`) {
					t.Errorf("got %s", set)
				}
			}
			if last := a.asked[len(a.asked)-1]; last != "PATCH "+flannelSet+" super-admin.conf" {
				t.Errorf("last asked %s", last)
			}
		})
	}
}

func TestNoPodNetwork(t *testing.T) {
	n, a, _ := newCluster(t, discovery())
	n.role.Cluster.PodNetwork.Backend = role.NoNetwork
	must(t, n.applyNetwork(t.Context()))
	if len(a.asked) > 0 {
		t.Errorf("asked %q", a.asked)
	}
}

// Without a pod network the node is done when all runs that needs none.
func TestWaitWithoutPodNetwork(t *testing.T) {
	const ready = `"conditions":[{"type":"Ready","status":"True"}]`
	n, _, said := newCluster(t, map[string]string{
		"/api/v1/nodes/cp1": `{"metadata":{"name":"cp1"},"status":{"conditions":[{"type":"Ready","status":"False","message":"cni plugin not initialized"}]}}`,
		"/api/v1/pods": `{"items":[{"metadata":{"name":"kube-proxy-a","namespace":"kube-system"},"spec":{"hostNetwork":true},"status":{"phase":"Running",` + ready + `}},
			{"metadata":{"name":"coredns-a","namespace":"kube-system"},"status":{"phase":"Pending"}}]}`,
	})
	n.role.Cluster.PodNetwork.Backend = role.NoNetwork
	must(t, n.waitNode(t.Context()))
	must(t, n.waitReady(t.Context()))
	if s := strings.Join(*said, "\n"); !strings.Contains(s, "the role wants no pod network") {
		t.Errorf("said %q", s)
	}
}

// Manifests are applied in their order, each when it can be; nothing of a
// Secret is told.
func TestManifests(t *testing.T) {
	const text = `version: 1
role: control-plane
init: {}
manifests:
  - apiVersion: apiextensions.k8s.io/v1
    kind: CustomResourceDefinition
    metadata: {name: shapes.example.net}
    status: {conditions: [{type: Established, status: "True"}]}
  - |
    apiVersion: example.net/v1
    kind: Shape
    metadata: {name: round, namespace: shapes}
    ---
    apiVersion: v1
    kind: Secret
    metadata: {name: key}
    stringData: {password: hunter2}
`
	n, a, said := newCluster(t, discovery())
	r, err := role.Parse("role.yaml", []byte(text))
	must(t, err)
	n.role = r
	done := make(chan error, 1)
	go func() { done <- n.applyManifests(t.Context()) }()
	for finished := false; !finished; {
		select {
		case err := <-done:
			must(t, err)
			finished = true
		case <-time.After(time.Millisecond):
			a.mu.Lock()
			if slices.Contains(a.asked, "GET /apis/example.net/v1 admin.conf") {
				a.objects["/apis/example.net/v1"] = `{"resources":[{"name":"shapes","kind":"Shape","namespaced":true}]}`
			}
			a.mu.Unlock()
		}
	}
	var patched []string
	for _, asked := range a.asked {
		if path, ok := strings.CutPrefix(asked, "PATCH "); ok {
			patched = append(patched, strings.TrimSuffix(path, " admin.conf"))
		}
	}
	want := []string{"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/shapes.example.net", "/apis/example.net/v1/namespaces/shapes/shapes/round", "/api/v1/namespaces/default/secrets/key"}
	if !slices.Equal(patched, want) {
		t.Errorf("applied %q, want %q", patched, want)
	}
	s := strings.Join(*said, "\n")
	for _, words := range []string{"applied CustomResourceDefinition shapes.example.net", "waiting: Shape shapes/round: the API server knows no Shape of example.net/v1", "applied Secret key"} {
		if !strings.Contains(s, words) {
			t.Errorf("said %q, not %q", s, words)
		}
	}
	if strings.Contains(s, "hunter2") {
		t.Errorf("told the secret: %q", s)
	}

	rest, err := withoutSecrets([]byte(text))
	must(t, err)
	r, err = role.Parse("role.yaml", rest)
	must(t, err)
	kept, err := json.Marshal(r.ManifestObjects())
	must(t, err)
	if strings.Contains(string(rest), "hunter2") || len(r.ManifestObjects()) != 2 || !strings.Contains(string(kept), `"kind":"Shape"`) {
		t.Errorf("the role keeps %s", rest)
	}
}

// An API server may quote what it refuses.
func TestRefusedSecretIsNotQuoted(t *testing.T) {
	n, a, said := newCluster(t, discovery())
	a.refuse = "data[password]: Invalid value: \"hunter2\""
	n.role.Cluster.PodNetwork.Backend = role.NoNetwork
	client, err := n.client()
	must(t, err)
	defer client.Close()
	must(t, n.apply(t.Context(), client, []map[string]any{{"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": "key"}}}))
	if s := strings.Join(*said, "\n"); strings.Contains(s, "hunter2") || !strings.Contains(s, "waiting: Secret key: the API server refuses it with status 422") {
		t.Errorf("said %q", s)
	}
}
