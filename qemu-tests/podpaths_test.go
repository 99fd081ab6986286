package qemutests

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/slipway-os/slipway/pkg/kubeapi"
)

// object is a Kubernetes object.
type object = map[string]any

const serverPort = 8080

// podsReachEachOther starts a pod on every node that serves, and one on every
// node that asks all of them: by their addresses, and by the names of services,
// one for each node and family, of which each has addresses of that family only.
func (c *cluster) podsReachEachOther(api *kubeapi.Client) {
	c.t.Helper()
	m := c.members[0].machine.in(c.t)
	kubectl := "slipway.local/kube-proxy:" + m.run("kubeadm version -o short")
	create := func(kind string, o object) {
		c.t.Helper()
		o["apiVersion"] = "v1"
		data, err := json.Marshal(o)
		if err != nil {
			c.t.Fatal(err)
		}
		if _, err := api.Send(m.ctx, http.MethodPost, "/api/v1/namespaces/default/"+kind, "application/json", strings.NewReader(string(data))); err != nil {
			c.t.Fatalf("making %s: %v\n%s", kind, err, data)
		}
	}
	container := func(name string, command ...string) object {
		return object{"name": name, "image": kubectl, "imagePullPolicy": "Never", "command": append([]string{"/usr/local/bin/kubectl"}, command...)}
	}
	for _, n := range c.members {
		name := "serve-" + n.name
		create("pods", object{
			"kind": "Pod", "metadata": object{"name": name, "labels": object{"serves": n.name}},
			"spec": object{"nodeName": n.name, "containers": []any{
				// kubectl proxy serves HTTP, and is in the image.
				container("main", "proxy", "--address=[::]", fmt.Sprintf("--port=%d", serverPort), "--accept-hosts=.*"),
			}},
		})
	}
	var targets []string
	for _, n := range c.members {
		for _, ip := range c.podIPs(api, m, "serve-"+n.name) {
			targets = append(targets, ip)
			family := "IPv4"
			if strings.Contains(ip, ":") {
				family = "IPv6"
			}
			name := "serve-" + n.name + "-" + strings.ToLower(family)
			create("services", object{
				"kind": "Service", "metadata": object{"name": name},
				"spec": object{"selector": object{"serves": n.name}, "ipFamilyPolicy": "SingleStack", "ipFamilies": []string{family}, "ports": []any{object{"port": serverPort}}},
			})
			targets = append(targets, name+".default")
		}
	}
	for _, n := range c.members {
		var calls []any
		for i, to := range targets {
			calls = append(calls, container(fmt.Sprint("to-", i), "--server=http://"+net.JoinHostPort(to, fmt.Sprint(serverPort)), "get", "--raw", "/version"))
		}
		create("pods", object{
			"kind": "Pod", "metadata": object{"name": "ask-" + n.name},
			"spec": object{"nodeName": n.name, "restartPolicy": "OnFailure", "containers": calls},
		})
	}
	for _, n := range c.members {
		c.allReached(api, m, n.name, targets)
	}
}

// allReached waits until every container of the pod that asks on a node had an
// answer; until then they start again.
func (c *cluster) allReached(api *kubeapi.Client, m *machine, node string, targets []string) {
	c.t.Helper()
	path := "/api/v1/namespaces/default/pods/ask-" + node
	for {
		var p kubeapi.Object
		err := api.Get(m.ctx, path, &p)
		if err == nil && p.Status.Phase == "Succeeded" {
			c.t.Logf("a pod on %s reached %s", node, strings.Join(targets, ", "))
			return
		}
		select {
		case <-time.After(time.Second):
		case <-m.ctx.Done():
			for i, to := range targets {
				logs, err := api.Send(c.t.Context(), http.MethodGet, fmt.Sprintf("%s/log?container=to-%d", path, i), "", nil)
				c.t.Errorf("from a pod on %s to %s: %s %v", node, to, logs, err)
			}
			c.t.FailNow()
		}
	}
}

// podIPs waits until a pod runs, and returns its addresses.
func (c *cluster) podIPs(api *kubeapi.Client, m *machine, name string) []string {
	c.t.Helper()
	for {
		var p struct {
			Status struct {
				Phase  string
				PodIPs []struct{ IP string }
			}
		}
		if err := api.Get(m.ctx, "/api/v1/namespaces/default/pods/"+name, &p); err != nil {
			c.t.Fatal(err)
		}
		if p.Status.Phase == "Running" {
			var ips []string
			for _, a := range p.Status.PodIPs {
				ips = append(ips, a.IP)
			}
			return ips
		}
		wait(c.t, m.ctx)
	}
}
