package kubeapi_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/kubeapi"
)

type object = map[string]any

// answers is an API server with some answers to GET, which takes what is
// applied.
type answers struct {
	get     map[string]string
	applied []string
}

func (a *answers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPatch {
		body, _ := io.ReadAll(r.Body)
		a.applied = append(a.applied, r.URL.String()+" "+r.Header.Get("Content-Type")+" "+string(body))
		return
	}
	answer, ok := a.get[r.URL.Path]
	if !ok {
		http.Error(w, `{"message":"the server could not find the requested resource"}`, http.StatusNotFound)
		return
	}
	io.WriteString(w, answer)
}

// discovery is what an API server says of its resources (APIResourceList).
func discovery() map[string]string {
	return map[string]string{
		"/api/v1":                            `{"resources":[{"name":"nodes/status","kind":"Node"},{"name":"nodes","kind":"Node"},{"name":"configmaps","kind":"ConfigMap","namespaced":true}]}`,
		"/apis/apps/v1":                      `{"resources":[{"name":"daemonsets","kind":"DaemonSet","namespaced":true}]}`,
		"/apis/apiextensions.k8s.io/v1":      `{"resources":[{"name":"customresourcedefinitions","kind":"CustomResourceDefinition"}]}`,
		"/apis/rbac.authorization.k8s.io/v1": `{"resources":[{"name":"clusterroles","kind":"ClusterRole"}]}`,
	}
}

func TestApply(t *testing.T) {
	for _, c := range []struct {
		name    string
		object  object
		path    string
		unknown bool
	}{
		{"of the core, in a namespace", object{"apiVersion": "v1", "kind": "ConfigMap", "metadata": object{"name": "a", "namespace": "b"}}, "/api/v1/namespaces/b/configmaps/a", false},
		{"in no namespace", object{"apiVersion": "v1", "kind": "ConfigMap", "metadata": object{"name": "a"}}, "/api/v1/namespaces/default/configmaps/a", false},
		{"of a group", object{"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": object{"name": "a", "namespace": "b"}}, "/apis/apps/v1/namespaces/b/daemonsets/a", false},
		{"without namespaces", object{"apiVersion": "v1", "kind": "Node", "metadata": object{"name": "a"}}, "/api/v1/nodes/a", false},
		{"name with a colon and worse", object{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": object{"name": "a:b/../c"}}, "/apis/rbac.authorization.k8s.io/v1/clusterroles/a:b%2F..%2Fc", false},
		{"unknown kind", object{"apiVersion": "v1", "kind": "Nodes", "metadata": object{"name": "a"}}, "", true},
		{"unknown group", object{"apiVersion": "example.net/v1", "kind": "Node", "metadata": object{"name": "a"}}, "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := &answers{get: discovery()}
			s := serve(t, a)
			err := s.client(t, s.ca).Apply(t.Context(), c.object)
			var unknown *kubeapi.UnknownKindError
			if errors.As(err, &unknown) != c.unknown || err != nil && !c.unknown {
				t.Fatalf("got %v", err)
			}
			if c.unknown {
				if len(a.applied) > 0 {
					t.Errorf("applied %q", a.applied)
				}
				return
			}
			if len(a.applied) != 1 || !strings.HasPrefix(a.applied[0], c.path+"?force=true&fieldManager=slipway application/apply-patch+yaml {") {
				t.Errorf("got %q, want %s", a.applied, c.path)
			}
		})
	}
}

func TestEstablished(t *testing.T) {
	definition := object{"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": object{"name": "as.example.net"}}
	for _, c := range []struct{ name, status, want string }{
		{"new", `{}`, "not established yet"},
		{"served", `{"conditions":[{"type":"NamesAccepted","status":"True"},{"type":"Established","status":"True"}]}`, ""},
		{"name taken", `{"conditions":[{"type":"NamesAccepted","status":"False","message":"as is in use"},{"type":"Established","status":"False"}]}`, "its names are not accepted: as is in use"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := &answers{get: discovery()}
			a.get["/apis/apiextensions.k8s.io/v1/customresourcedefinitions/as.example.net"] = `{"status":` + c.status + `}`
			s := serve(t, a)
			if got, err := s.client(t, s.ca).Established(t.Context(), definition); err != nil || got != c.want {
				t.Errorf("got %q, %v; want %q", got, err, c.want)
			}
		})
	}
	s := serve(t, &answers{})
	other := object{"apiVersion": "v1", "kind": "ConfigMap", "metadata": object{"name": "a"}}
	if got, err := s.client(t, s.ca).Established(t.Context(), other); got != "" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestDescribe(t *testing.T) {
	for want, o := range map[string]object{
		"ConfigMap b/a": {"kind": "ConfigMap", "metadata": object{"name": "a", "namespace": "b"}},
		"Namespace a":   {"kind": "Namespace", "metadata": object{"name": "a"}},
	} {
		if got := kubeapi.Describe(o); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
