package kubeapi_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// Objects as the API server prints them, cut down to what matters.
const (
	readyNode  = `{"metadata":{"name":"cp1"},"status":{"conditions":[{"type":"MemoryPressure","status":"False"},{"type":"Ready","status":"True","reason":"KubeletReady"}]}}`
	noNetwork  = `{"metadata":{"name":"cp1"},"status":{"conditions":[{"type":"Ready","status":"False","reason":"KubeletNotReady","message":"container runtime network not ready: cni plugin not initialized"}]}}`
	lostNode   = `{"metadata":{"name":"cp1"},"status":{"conditions":[{"type":"Ready","status":"Unknown","reason":"NodeStatusUnknown"}]}}`
	newNode    = `{"metadata":{"name":"cp1"},"status":{}}`
	otherNode  = `{"metadata":{"name":"w1"},"status":{"conditions":[{"type":"Ready","status":"False","reason":"KubeletNotReady"}]}}`
	etcd       = `{"metadata":{"name":"etcd-cp1","ownerReferences":[{"kind":"Node","controller":true}]},"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}]}}`
	coredns    = `{"metadata":{"name":"coredns-a"},"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}],"containerStatuses":[{"name":"coredns","state":{"running":{}}}]}}`
	deployment = `{"metadata":{"name":"coredns","generation":1},"spec":{"replicas":2},"status":{"observedGeneration":1,"readyReplicas":2}}`
	daemonset  = `{"metadata":{"name":"kube-proxy","generation":1},"status":{"observedGeneration":1,"desiredNumberScheduled":1,"numberReady":1}}`
)

func pod(name, status string) string {
	return `{"metadata":{"name":"` + name + `","ownerReferences":[{"kind":"ReplicaSet","controller":true}]},"status":` + status + `}`
}

func TestWaiting(t *testing.T) {
	type objects struct{ nodes, pods, deployments, daemonsets string }
	ready := objects{readyNode, etcd + "," + coredns, deployment, daemonset}
	with := func(change func(*objects)) objects {
		o := ready
		change(&o)
		return o
	}
	pods := func(more string) objects { return with(func(o *objects) { o.pods += "," + more }) }
	for _, c := range []struct {
		name    string
		objects objects
		want    string
	}{
		{"all is well", ready, ""},
		{"another node does not count", with(func(o *objects) { o.nodes += "," + otherNode }), ""},
		{"the node has not registered", with(func(o *objects) { o.nodes = otherNode }), `node "cp1" has not registered`},
		{"the node has no network", with(func(o *objects) { o.nodes = noNetwork }), `node "cp1" is not Ready: container runtime network not ready: cni plugin not initialized`},
		{"the node was lost", with(func(o *objects) { o.nodes = lostNode }), `node "cp1" is not Ready: NodeStatusUnknown`},
		{"the node has no status", with(func(o *objects) { o.nodes = newNode }), `node "cp1" is not Ready: no status yet`},
		{"the node is being deleted", with(func(o *objects) {
			o.nodes = strings.Replace(readyNode, `"name"`, `"deletionTimestamp":"2026-01-01T00:00:00Z","name"`, 1)
		}), `node "cp1" is not Ready: being deleted`},
		{"no pod was made", with(func(o *objects) { o.pods = "" }), "no pod in kube-system yet"},
		{"a pod cannot be placed", pods(pod("x", `{"phase":"Pending","conditions":[{"type":"PodScheduled","status":"False","message":"0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available"}]}`)), "x (Pending: 0/1 nodes are available: 1 Insufficient cpu)"},
		{"a pod is being made", pods(pod("x", `{"phase":"Pending","conditions":[{"type":"Ready","status":"False","reason":"ContainersNotReady","message":"containers with unready status: [x]"}],"containerStatuses":[{"name":"x","state":{"waiting":{"reason":"ContainerCreating"}}}]}`)), "x (ContainerCreating)"},
		{"an image is missing", pods(pod("x", `{"phase":"Pending","containerStatuses":[{"name":"x","state":{"waiting":{"reason":"ErrImageNeverPull","message":"Container image \"y\" is not present with pull policy of Never"}}}]}`)), `x (ErrImageNeverPull: Container image "y" is not present with pull policy of Never)`},
		{"a container fails again and again", pods(pod("x", `{"phase":"Running","conditions":[{"type":"Ready","status":"False"}],"containerStatuses":[{"name":"dns","restartCount":7,"state":{"waiting":{"reason":"CrashLoopBackOff","message":"back-off 5m0s restarting failed container=dns"}},"lastState":{"terminated":{"exitCode":1,"reason":"Error","message":"listen tcp :53: address in use"}}}]}`)), "x (CrashLoopBackOff: dns exited with 1: listen tcp :53: address in use)"},
		{"a container is killed again and again", pods(pod("x", `{"phase":"Running","containerStatuses":[{"name":"dns","state":{"waiting":{"reason":"CrashLoopBackOff"}},"lastState":{"terminated":{"exitCode":137,"reason":"OOMKilled"}}}]}`)), "x (CrashLoopBackOff: dns exited with 137: OOMKilled)"},
		{"an init container fails", pods(pod("x", `{"phase":"Pending","initContainerStatuses":[{"name":"i","state":{"waiting":{"reason":"CrashLoopBackOff"}},"lastState":{"terminated":{"exitCode":2,"reason":"Error"}}}],"containerStatuses":[{"name":"x","state":{"waiting":{"reason":"PodInitializing"}}}]}`)), "x (CrashLoopBackOff: i exited with 2)"},
		{"a pod runs and is not ready", pods(pod("x", `{"phase":"Running","conditions":[{"type":"Ready","status":"False","reason":"ContainersNotReady","message":"containers with unready status: [x]"}]}`)), "x (containers with unready status: [x])"},
		{"a pod has completed", pods(pod("job", `{"phase":"Succeeded","conditions":[{"type":"Ready","status":"False","reason":"PodCompleted"}]}`)), ""},
		{"a pod was evicted, another runs", pods(pod("x", `{"phase":"Failed","reason":"Evicted","message":"The node was low on resource: ephemeral-storage."}`)), ""},
		{"a pod of nobody's failed", pods(`{"metadata":{"name":"x"},"status":{"phase":"Failed","reason":"Evicted","message":"The node was low on resource."}}`), "x (failed The node was low on resource.)"},
		{"a static pod failed", pods(`{"metadata":{"name":"x","ownerReferences":[{"kind":"Node","controller":true}]},"status":{"phase":"Failed"}}`), "x (failed)"},
		{"a pod is being deleted", pods(strings.Replace(coredns, `"name"`, `"deletionTimestamp":"2026-01-01T00:00:00Z","name"`, 1)), "coredns-a (being deleted)"},
		{"several, in one order", pods(pod("z", `{"phase":"Pending"}`) + "," + pod("a", `{"phase":"Pending"}`)), "a (Pending), z (Pending)"},
		{"CoreDNS was not added yet", with(func(o *objects) { o.deployments = "" }), "no deployments in kube-system yet"},
		{"kube-proxy was not added yet", with(func(o *objects) { o.daemonsets = "" }), "no daemonsets in kube-system yet"},
		{"a deployment lacks a pod", with(func(o *objects) {
			o.deployments = strings.Replace(deployment, `"readyReplicas":2`, `"readyReplicas":1`, 1)
		}), "coredns (1 of 2 ready)"},
		{"nobody looked at a deployment", with(func(o *objects) { o.deployments = strings.Replace(deployment, `"generation":1`, `"generation":2`, 1) }), "coredns (not looked at yet)"},
		{"a daemon set lacks a pod", with(func(o *objects) { o.daemonsets = strings.Replace(daemonset, `"numberReady":1`, `"numberReady":0`, 1) }), "kube-proxy (0 of 1 ready)"},
		{"a pod on another node does not count", with(func(o *objects) {
			o.pods += `,{"metadata":{"name":"kube-proxy-b"},"spec":{"nodeName":"w1"},"status":{"phase":"Pending"}}`
			o.daemonsets = strings.Replace(daemonset, `"desiredNumberScheduled":1`, `"desiredNumberScheduled":2`, 1)
		}), ""},
		{"a pod on this node does", pods(`{"metadata":{"name":"kube-proxy-a"},"spec":{"nodeName":"cp1"},"status":{"phase":"Pending"}}`), "kube-proxy-a (Pending)"},
		{"a deployment of none", with(func(o *objects) {
			o.deployments += `,{"metadata":{"name":"off","generation":1},"spec":{"replicas":0},"status":{"observedGeneration":1}}`
		}), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			lists := map[string]string{
				"/api/v1/nodes":                                    c.objects.nodes,
				"/api/v1/namespaces/kube-system/pods":              c.objects.pods,
				"/apis/apps/v1/namespaces/kube-system/deployments": c.objects.deployments,
				"/apis/apps/v1/namespaces/kube-system/daemonsets":  c.objects.daemonsets,
			}
			s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				list, ok := lists[r.URL.Path]
				if !ok {
					http.Error(w, r.URL.Path, http.StatusNotFound)
				}
				io.WriteString(w, `{"items":[`+list+`]}`)
			}))
			got, err := s.client(t, s.ca).Waiting(t.Context(), "cp1")
			if err != nil || got != c.want {
				t.Errorf("got  %q, %v\nwant %q", got, err, c.want)
			}
		})
	}
}

func TestWaitingProxy(t *testing.T) {
	const running = `{"metadata":{"name":"kube-proxy-a","namespace":"kube-system"},"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}]}}`
	for _, c := range []struct{ name, proxy, pods, want string }{
		{"it runs", daemonset, running, ""},
		{"it starts", daemonset, strings.Replace(running, "True", "False", 1), "kube-proxy-a (Running)"},
		{"it was not made yet", daemonset, strings.Replace(running, "kube-proxy", "kube-flannel", 1), `no kube-proxy on node "cp1" yet`},
		{"the cluster has none", "", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch {
				case r.URL.Path == "/apis/apps/v1/namespaces/kube-system/daemonsets/kube-proxy" && c.proxy != "":
					io.WriteString(w, c.proxy)
				case r.URL.RequestURI() == "/api/v1/pods?fieldSelector=spec.nodeName%3Dcp1":
					io.WriteString(w, `{"items":[`+c.pods+`]}`)
				default:
					http.Error(w, `{"kind":"Status","reason":"NotFound","code":404}`, http.StatusNotFound)
				}
			}))
			got, err := s.client(t, s.ca).WaitingProxy(t.Context(), "cp1")
			if err != nil || got != c.want {
				t.Errorf("got  %q, %v\nwant %q", got, err, c.want)
			}
		})
	}
}

// Whoever asks from outside may not know the node's name.
func TestWaitingForAnyNode(t *testing.T) {
	for nodes, want := range map[string]string{"": "no node has registered", otherNode: `node "w1" is not Ready: KubeletNotReady`} {
		s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"items":[`+nodes+`]}`) }))
		if got, err := s.client(t, s.ca).Waiting(t.Context(), ""); err != nil || got != want {
			t.Errorf("got %q, %v; want %q", got, err, want)
		}
	}
}

func TestWaitingForAnAPIThatFails(t *testing.T) {
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) }))
	if got, err := s.client(t, s.ca).Waiting(t.Context(), "cp1"); err == nil || got != "" {
		t.Errorf("got %q, %v", got, err)
	}
}
